"""Kills real searches at seeded random moments, goes on with the same command, and holds the end against the beginning.

python -m tests.reliability.crashes [--studies 3] [--seed 0] [--out DIR]

The last line is a JSON object; the exit code is 0 when nothing was lost and at least 12 kills a study were done.
"""

import argparse
import json
import random
import re
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from data.drawing.datasets import draw_dataset
from tests.reliability.record import Findings, Snapshot, check_files, compare, snapshot
from tests.reliability.searches import ROLES, Search, write_space

TRIALS, REPEATS = 6, 3
STAGES = {
    "search": (5, "driver worker raylet gcs all"),
    "resume": (2, "driver all"),
    "confirmation": (2, "driver worker raylet gcs all"),
    "evaluation": (1, "driver all"),
    "tables": (2, "driver all"),
}
"""Kills of each stage in a study, and the targets that they are drawn from. The stages come in this order, but for
"resume", which is put between others."""
LONGEST_DELAY_S = {"search": 8.0, "resume": 6.0, "confirmation": 12.0, "evaluation": 1.0, "tables": 2.0}
"""After a stage was seen to begin, a kill comes within this time."""
GOES_ON = "its process died; it goes on from its last state"
EXITS = {"raylet": 3, "gcs": 3}
"""The driver's exit code when these die and it does not."""


@dataclass
class Run:
    """One study, and what was seen of it in all sessions."""

    folder: Path
    command: tuple[object, ...]
    snapshots: list[Snapshot] = field(default_factory=list)
    said: str = ""
    sessions: list[Search] = field(default_factory=list)

    def start(self) -> Search:
        log = self.folder.parent / f"{self.folder.name}-{len(self.sessions) + 1}.log"
        self.sessions.append(Search(log, *self.command))
        return self.sessions[-1]

    def take(self) -> None:
        """Notes what is on record now."""
        if (self.folder / "environment.json").is_file():
            self.snapshots.append(snapshot(self.folder))


def plan(rng: random.Random) -> list[tuple[str, str]]:
    """Stage and target of a study's kills, in their order; every target comes in the search, in an order of its own."""
    kills = []
    for stage, (count, targets) in STAGES.items():
        kills += [(stage, target) for target in rng.sample(targets.split(), count)]
    resumes = [kill for kill in kills if kill[0] == "resume"]
    kills = [kill for kill in kills if kill[0] != "resume"]
    for kill in resumes:
        kills.insert(rng.randint(1, 6), kill)
    return kills


def begun(stage: str, run: Run, search: Search, tables_before: float) -> bool:
    """Whether the stage has begun in this session."""
    if stage == "search":
        return " begins" in search.said() or " goes on from" in search.said()
    if stage == "confirmation":
        return ": repeats of the best" in search.said()
    if stage == "evaluation":
        return (run.folder / "confirmation.csv").is_file()
    if stage == "tables":
        return _modified(run.folder / "trials.csv") > tables_before
    return True


def _modified(file: Path) -> float:
    return file.stat().st_mtime if file.is_file() else 0.0


def kill_once(run: Run, stage: str, target: str, rng: random.Random, found: Findings) -> int:
    """A session that is killed in that stage, or ends before; gives the kills.

    After a worker was killed the command has to go on by itself; it is killed too when it has.
    """
    tables_before = _modified(run.folder / "trials.csv")
    search = run.start()
    reached = search.wait_until(lambda: begun(stage, run, search, tables_before))
    delay_s = rng.uniform(0, LONGEST_DELAY_S[stage])
    if reached:
        time.sleep(delay_s)
    killed, also_driver = False, False
    if search.process.poll() is None:
        if target not in ("driver", "all"):  # the driver lives on, and so does what it writes
            run.take()
            search.wait_until(lambda: target in search.alive().values())
        killed = search.process.poll() is None and search.kill(target, rng)
    if killed and target == "worker":
        search.wait_until(lambda: GOES_ON in search.said())
        search.wait_until(lambda: re.search(r" goes on from| begins", search.said().split(GOES_ON)[-1]) is not None)
        time.sleep(rng.uniform(0, LONGEST_DELAY_S[stage]))
        also_driver = search.process.poll() is None and search.kill("driver", rng)
    code = search.wait()
    if left := search.orphans():
        found.problems.append(f"{search.log}: {left} lived on")
    if killed and target in EXITS and not (code == EXITS[target] and "died; what was saved is kept" in search.said()):
        found.problems.append(f"{search.log}: {target} was killed, exit code {code}")
    if target == "worker" and not also_driver and code != 0:
        found.problems.append(f"{search.log}: a worker was killed, exit code {code}")
    if not killed and code != 0:
        found.problems.append(f"{search.log}: exit code {code}")
    run.said += search.said()
    run.take()
    what = f"{target}{', then driver' * also_driver}" if killed else "not reached"
    print(f"{time.strftime('%H:%M:%S')} {stage}: {what}", flush=True)
    return killed + also_driver


def finish(run: Run, found: Findings, trials: int) -> None:
    """Goes on to the end, and compares."""
    search = run.start()
    code = search.wait(400)
    run.said += search.said()
    if code != 0:
        found.problems.append(f"{search.log}: exit code {code}")
    for session in run.sessions:
        if left := session.orphans(roles_let_live=(), limit_s=120):
            found.problems.append(f"{session.log}: {left} lived on for two minutes")
    compare(run.folder, run.snapshots, run.said, trials, found)
    check_files(run.folder, found)


def make_run(out: Path, name: str, *, trials: int, repeats: int = 0) -> Run:
    """A study that has not begun, below `out`."""
    space = write_space(out / f"{name}.yaml", trials=trials, repeats=repeats)
    if not (out / "market").is_dir():
        options = {"identities": 20, "test_identities": 4, "cameras": 2, "images_per_camera": 3}
        draw_dataset("market1501", out / "market", seed=0, **options)
    command = ["--space", space, "--data-dir", out / "market", "--results", out, "--cache-dir", out / "cache"]
    return Run(out / name, (*command, "--cpus-per-trial", 1))


def report(kills: int, found: Findings) -> str:
    """The last line."""
    counts = {name: len(value) if isinstance(value, list) else value for name, value in asdict(found).items()}
    return json.dumps({"kills": kills, **counts})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="kept there; default: a temporary folder, removed when all is well")
    arguments = parser.parse_args()
    assert set(ROLES) | {"all"} == {target for _, targets in STAGES.values() for target in targets.split()}
    out = arguments.out or Path(tempfile.mkdtemp(prefix="crashes-"))
    out.mkdir(parents=True, exist_ok=True)
    found, kills, started = Findings(), 0, time.monotonic()
    for number in range(arguments.studies):
        rng = random.Random(f"{arguments.seed} {number}")
        run = make_run(out, f"killed-{number}", trials=TRIALS, repeats=REPEATS)
        print(f"study {number}", flush=True)
        for stage, target in plan(rng):
            kills += kill_once(run, stage, target, rng, found)
        finish(run, found, TRIALS)
        print(f"study {number} finished after {time.monotonic() - started:.0f} s: {report(kills, found)}", flush=True)
    for line in (*found.lost, *found.trained_twice, *found.left_running, *found.problems):
        print(line)
    wrong = found.lost or found.trained_twice or found.left_running or found.problems or kills < 10 * arguments.studies
    if not wrong and arguments.out is None:
        shutil.rmtree(out)
    elif arguments.out is None:
        print(f"logs and studies are in {out}")
    print(report(kills, found))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
