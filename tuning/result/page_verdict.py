"""The page's first screen: the winner, how sure that is, what it changes, and what to do next.

verdict_of(study, record).tiles
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from data.system.commands import command
from data.system.wording import counted, show_value
from reid_train.inference.evaluation_count import describe_count, read_test_metrics
from tuning.confirm.candidates import DEFAULT
from tuning.confirm.verdict import outcome_of
from tuning.decide.pareto import best_trials
from tuning.decide.ranking import repeated_scores
from tuning.decide.stopping import chance_of_gain
from tuning.record.folders import BEST, BEST_CONFIG
from tuning.record.study import Study
from tuning.record.trial import ENDED, TrialState
from tuning.result.effects import Effect, effects
from tuning.result.hints import edges, next_search
from tuning.result.plots import label_of

PLAIN_TEXT = re.compile(r"[A-Za-z_][\w./-]*")
WORDS_OF_YAML = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


class Tile(NamedTuple):
    """One large figure."""

    label: str
    value: str
    note: str


class Changed(NamedTuple):
    """A searched setting of the winner."""

    name: str
    default: str
    winner: str
    worth: str
    """Points that its best value gains near the winner, where that is known."""

    @property
    def differs(self) -> bool:
        return self.default != self.winner


class Step(NamedTuple):
    """Something to do next."""

    text: str
    command: str = ""


class Bar(NamedTuple):
    """A configuration of the confirmation: where its mean lies, and a dot for each run."""

    name: str
    mean: float
    low: float
    high: float
    runs: list[float]
    is_default: bool


@dataclass
class Verdict:
    """What the search came to."""

    title: str
    outcome: str | None = None
    """Winner against default, in a few words."""
    sentences: list[str] = field(default_factory=list)
    tiles: list[Tile] = field(default_factory=list)
    settings: list[Changed] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    yaml: str = ""
    assignments: str = ""
    """The searched settings as --set name=value."""
    command: str = ""
    """The next one to give."""
    next: list[Step] = field(default_factory=list)


def verdict_of(study: Study, record: Study | None) -> Verdict:
    """The verdict on a study in any state."""
    ranked = best_trials(study, repeats=repeated_scores(study, record))
    if not ranked:
        return Verdict("No trial has completed a schedule yet", next=_next(study, record, {}, []))
    best, metric = ranked[0], label_of(study.space.study.metric)
    confirmed = study.facts.get("confirmation")
    parameters, title = best.parameters, f"Best so far: trial {best.number}"
    said, tiles = [], [Tile(f"{metric} at {counted(best.rung, 'epoch')}", percent(best.score or 0.0), "validation")]
    rows: list[dict[str, Any]] = confirmed.get("rows", []) if confirmed else []
    if rows:
        winner, said = rows[0], confirmed["sentences"] if confirmed else []
        parameters = {name: winner[name] for name in study.space.searched if winner[name] is not None}
        title = "The default wins" if winner["configuration"] == DEFAULT else f"Winner: {winner['configuration']}"
        tiles = _tiles(rows, metric, said)
    found = effects(study, record, parameters)
    test = read_test_metrics(study.folder)
    return Verdict(
        title,
        outcome_of(" ".join(said)),
        [part for sentence in said for part in _parts(sentence)],
        [*tiles, *_test_tile(test)],
        _settings(study, parameters, found),
        [_bar(row) for row in rows],
        yaml_of(study.folder, parameters),
        shlex.join(part for name, value in parameters.items() for part in ("--set", f"{name}={as_yaml(value)}")),
        _go_on(study) if unfinished(study) else command("tuning.retrain", str(study.folder)),
        _next(study, record, parameters, found),
    )


def percent(share: float | None) -> str:
    """0.589 as 58.9 %; a dash for what is not known."""
    return f"{100 * share:.1f} %" if isinstance(share, (int, float)) else "\N{EN DASH}"


def digits(value: float | None, behind: int) -> str:
    """0.6134 with 2 digits behind the point as 0.61; a dash for what is not known."""
    return f"{value:.{behind}f}" if isinstance(value, (int, float)) else "\N{EN DASH}"


def points(difference: float) -> str:
    """+0.6, with a true minus sign."""
    return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def _parts(sentence: str) -> list[str]:
    """A verdict's parts, each beginning with a capital letter."""
    parts = sentence.removeprefix("winner: ").split("; ")
    return [f"{part[:1].upper()}{part[1:]}." for part in parts]


def _tiles(rows: Sequence[Mapping[str, Any]], metric: str, said: Sequence[str]) -> list[Tile]:
    winner = rows[0]
    bounds = f"90 % interval {100 * winner['low']:.1f} to {100 * winner['high']:.1f}"
    tiles = [Tile(f"Validation {metric}, expected over seeds", percent(winner["mean"]), bounds)]
    if winner["p_best"] is not None:
        trained = sum(row["p_best"] is not None for row in rows)
        tiles.append(Tile("Probability of being the best", f"{winner['p_best']:.2f}", f"of {trained} trained as long"))
    default = next((row for row in rows if row["configuration"] == DEFAULT), None)
    if default is not None and default is not winner:
        above = points(winner["mean"] - default["mean"])
        tiles.append(Tile("Points above the default", above, outcome_of(" ".join(said)) or "cannot be compared"))
    return tiles


def _test_tile(test: Mapping[str, Any]) -> list[Tile]:
    """The test's mAP, and how often the test images were looked at."""
    if "mAP" not in test:
        return [Tile("Test", "not evaluated", str(test["not_evaluated"]))] if "not_evaluated" in test else []
    looks = len(test.get("evaluations", []))
    note = f"test images looked at {'once' if looks == 1 else f'{looks} times'}"
    if bounds := (test.get("intervals") or {}).get("mAP"):
        note = f"95 % interval {100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}; {note}"
    return [Tile("Test mAP", percent(test["mAP"]), note)]


def test_rows(study: Study) -> tuple[str, list[tuple[str, str, str]]]:
    """How often the test images were looked at, and each test figure with its interval."""
    test = read_test_metrics(study.folder)
    intervals, labels = test.get("intervals") or {}, {"mAP": "mAP", "rank1": "rank 1", "rank5": "rank 5"}
    labels |= {"rank10": "rank 10", "mINP": "mINP", "mAP_trapezoid": "mAP, trapezoid rule"}
    bounds = {name: " to ".join(f"{100 * bound:.1f}" for bound in intervals.get(name, ())) for name in labels}
    rows = [(label, percent(test[name]), bounds[name]) for name, label in labels.items() if name in test]
    for name, of_test in list(test.get("test_sets", {}).items())[1:]:
        rows += [(f"{labels[key]}, test set {name}", percent(of_test[key]), "") for key in ("mAP", "rank1")]
    return describe_count(test["evaluations"]) if test.get("evaluations") else "", rows


def _settings(study: Study, winner: Mapping[str, Any], found: Sequence[Effect]) -> list[Changed]:
    """The winner's searched settings, those first that differ from the default."""
    worth = {effect.key: effect for effect in found}
    rows = []
    for parameter in study.space.counting(winner):
        effect, default = worth.get(parameter.key), study.space.default.get(parameter.name)
        gain = "" if effect is None else f"{points(effect.gain)} ({points(effect.low)} to {points(effect.high)})"
        rows.append(
            Changed(
                parameter.name,
                "not used" if default is None else show_value(default),
                show_value(winner[parameter.name]),
                gain if effect is None or effect.seen else "not seen to matter",
            )
        )
    return sorted(rows, key=lambda row: not row.differs)


def _bar(row: Mapping[str, Any]) -> Bar:
    runs = [float(score) for score in str(row["scores"]).split()] if "scores" in row else []
    runs += [row[name] for name in row if name.startswith("seed ") and row[name] is not None]
    return Bar(row["configuration"], row["mean"], row["low"], row["high"], runs, row["configuration"] == DEFAULT)


def unfinished(study: Study) -> bool:
    """Whether the search has not handed over a model."""
    return not (study.folder / BEST).is_dir()


def _go_on(study: Study) -> str:
    return study.facts.get("command", command("tuning.search"))


def _next(study: Study, record: Study | None, winner: Mapping[str, Any], found: Sequence[Effect]) -> list[Step]:
    """What may be done now, the most useful first."""
    if unfinished(study):
        done = sum(trial.state in ENDED for trial in study.trials())
        return [
            Step(
                f"The search is not finished: {counted(done, 'trial')} ended. Where it was stopped, this goes on.",
                _go_on(study),
            )
        ]
    folder, best = str(study.folder), str(study.folder / BEST)
    steps = [
        Step("Train the winner on all training identities, and test each seed.", command("tuning.retrain", folder))
    ]
    at_edges = edges(study.space, winner, {effect.key for effect in found if effect.seen})
    if at_edges:
        going_on = next_search(study).split(": ", 1)[1]
        steps.append(
            Step(f"Search on: {'; '.join(at_edges)}. Write that into a copy of the space and give this.", going_on)
        )
    if (chance := chance_of_gain(study, record)) is not None:
        more = "is worth it" if chance >= 0.5 else "may be worth it" if chance >= 0.1 else "is hardly worth it"
        steps.append(Step(f"A larger budget {more}: it gains more than half the noise with probability {chance:.2f}."))
    failed = [trial for trial in study.trials() if trial.state is TrialState.FAILED]
    if failed:
        causes = ", ".join(sorted({trial.cause.kind for trial in failed if trial.cause is not None}))
        steps.append(Step(f"{counted(len(failed), 'trial')} failed ({causes}): the table of all trials says by what."))
    query = command("reid_train.query", "--checkpoint", best, "--gallery", "DIR", "--image", "FILE")
    steps.append(Step("Look for a picture's likes in a folder.", query))
    export = command("reid_train.export", "--checkpoint", best, "--format", "onnx")
    return [*steps, Step("Use the model without this project.", export)]


def as_yaml(value: Any) -> str:
    """A plain value as YAML has it on one line; explorer.js writes it in the same way."""
    if isinstance(value, str) and PLAIN_TEXT.fullmatch(value) and value.lower() not in WORDS_OF_YAML:
        return value
    text = json.dumps(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")  # YAML 1.1 takes 1e-05 for a text
    return text


def yaml_of(folder: Path, parameters: Mapping[str, Any]) -> str:
    """best_config.yaml where it is there, else the searched settings."""
    file = folder / BEST_CONFIG
    if file.is_file():
        return file.read_text(encoding="utf-8")
    return "".join(f"{name}: {as_yaml(value)}\n" for name, value in parameters.items())
