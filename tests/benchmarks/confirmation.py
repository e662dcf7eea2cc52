"""What a confirmation is worth: searches that take their single best score, and searches that confirm it, compared.

    python -m tests.benchmarks.confirmation [--replays 1000]

On the recorded pedestrians, of which the 20 best configurations and the default have 10 seeds (record_curves.py). In a
replay a search has tried some of the 20, each with one seed, drawn from the first two. One side takes the best score;
the other confirms the 3 best and the default, with 3 of the other 8 seeds, by the rule of tuning/confirm/winner.py.
Both are judged by the 5 seeds that are left: the regret is how far the mean of what was taken is below that of the
candidate which is best by all 10 seeds. Judging by 5 seeds is noisy itself: what the same rule gives where the truth is
known is in tests/tuning/confirm/test_statistics.py.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from data.system.errors import exit_on_user_error
from tests.benchmarks.curve_table import CURVES, Table
from tuning.confirm.statistics import Comparison
from tuning.confirm.winner import choose
from tuning.space.read import read_space

TRIED, TOP_K, SEEDS = 12, 3, 3
FIRST_SEEDS = 2
"""Seeds that all configurations were recorded with; searches see these."""


def main_table() -> tuple[np.ndarray, np.ndarray, int]:
    """Final scores and seconds of the configurations with all seeds, configurations x seeds, and epochs of a run."""
    table = Table.read(read_space(Path(CURVES / "pedestrians.yaml")))
    top = table.rungs[-1]
    scores = table.scores(str(top), top).unstack().dropna()
    times = table.rows[table.rows["path"].astype(str) == str(top)].groupby(["configuration", "seed"])["seconds"].sum()
    return scores.to_numpy(), times.unstack().loc[scores.index].to_numpy(), top


def replay(scores: np.ndarray, seconds: np.ndarray, seed: int) -> dict[str, float]:
    """One search with and without confirmation; row 0 of the arrays is the default."""
    rng = np.random.default_rng(seed)
    tried = rng.choice(np.arange(1, len(scores)), TRIED, replace=False)
    found = scores[tried, rng.integers(FIRST_SEEDS, size=TRIED)]
    candidates = np.append(tried[np.argsort(-found)[:TOP_K]], 0)
    seeds = rng.permutation(np.arange(FIRST_SEEDS, scores.shape[1]))
    mine, held_out = seeds[:SEEDS], seeds[SEEDS:]
    sure = Comparison(scores[np.ix_(candidates, mine)][:, :, None], [1], chosen=candidates != 0, seed=seed)
    place = choose(sure, seconds[np.ix_(candidates, mine)].tolist())
    all_seeds = scores[candidates].mean(axis=1)
    judged = scores[np.ix_(candidates, held_out)].mean(axis=1)
    best = int(all_seeds.argmax())
    return {
        "single": judged[best] - judged[0],
        "confirmed": judged[best] - judged[place],
        "single against the luckiest": judged.max() - judged[0],
        "confirmed against the luckiest": judged.max() - judged[place],
        "stated": float(sure.p_best_C.max()),
        "right": float(sure.p_best_C.argmax() == best),
    }


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--replays", type=int, default=1000)
    replays = parser.parse_args().replays
    scores, seconds, epochs = main_table()
    outcomes = [replay(scores, seconds, seed) for seed in range(replays)]
    figures = {name: np.array([outcome[name] for outcome in outcomes]) for name in outcomes[0]}
    runs = (TOP_K + 1) * SEEDS
    print(f"{len(scores)} configurations, {scores.shape[1]} seeds; {TRIED} tried, {runs} runs to confirm")
    print(f"epochs: {TRIED * epochs} at full length for the trials, {runs * epochs} more with a confirmation")
    for side in ("single", "confirmed", "single against the luckiest", "confirmed against the luckiest"):
        error = figures[side].std(ddof=1) / np.sqrt(replays)
        print(f"regret, {side}: {figures[side].mean():.4f} ± {error:.4f} mAP (standard error, n={replays})")
    for low, high in ((0.0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.01)):
        those = (figures["stated"] >= low) & (figures["stated"] < high)
        if those.any():
            right = figures["right"][those].mean()
            print(f"stated P(best) {low:.1f} to {min(high, 1.0):.1f}: right in {right:.2f} of {those.sum()}")
    stated = figures["stated"] >= 0.9
    result = {
        "regret_confirmed_over_best_single": round(float(figures["confirmed"].mean() / figures["single"].mean()), 3),
        "stated_90_right": round(float(figures["right"][stated].mean()), 3) if stated.any() else None,
        "replays": replays,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
