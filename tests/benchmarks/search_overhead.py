"""What a search costs beside training: start, gaps between trials, layout, memory, files, and a long study's record.

python -m tests.benchmarks.search_overhead [--quick]

Runs the real command on drawn pictures of 64 x 32 pixels, in a temporary folder. Takes about 9 minutes on 2 cores (3
with --quick, whose figures mean little). The last line is the figures as one JSON object.

Trainings are watched from outside: every process of the search imports a module of this benchmark's that writes a line
after each optimizer step and around each epoch. Nothing in the project is changed or left out.
"""

import argparse
import itertools
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
BATCH = 32
TRAINING_IMAGES = 256
"""Images that are trained on, of the sample's: 32 of 40 identities, 8 each."""
STEP_LOG = "SEARCH_OVERHEAD_LOG"
HOOK = """
import importlib.abc, importlib.util, os, sys, time

def say(*words):
    with open(os.environ["SEARCH_OVERHEAD_LOG"], "a") as log:
        log.write(" ".join(map(str, (time.time(), os.getpid(), *words))) + "\\n")

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "reid_train.training.loop":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def watched(module):
            execute(module)
            from torch.optim import optimizer
            optimizer.register_optimizer_step_post_hook(lambda *_: say("step"))
            train_epochs = module.train_epochs
            def epochs(*arguments, **named):
                for report in train_epochs(*arguments, **named):
                    say("report", report.epoch, report.num_epochs, report.seconds)
                    yield report
            module.train_epochs = epochs
        spec.loader.exec_module = watched
        return spec

sys.meta_path.insert(0, Watch())
"""
"""sitecustomize.py of every process of a watched search: Python imports it at its start."""


@dataclass(frozen=True)
class Event:
    """A line of the log: when (seconds since the epoch), in which process, and what."""

    at_s: float
    process: int
    words: tuple[str, ...]


def read_events(log: Path) -> list[Event]:
    lines = log.read_text().splitlines() if log.exists() else []
    rows = [line.split() for line in lines]
    return [Event(float(row[0]), int(row[1]), tuple(row[2:])) for row in rows]


class Watched:
    """The search command under watch, with its events, its memory every half second, and its folder."""

    def __init__(self, folder: Path, data: str, epochs: int, trials: int, *options: str):
        folder.mkdir()
        (folder / "hook").mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(HOOK)
        write_space(folder / "bench.yaml", data=data, rungs=[epochs], trials=trials)
        command = ["-m", "tuning.search", "--space", folder / "bench.yaml", "--results", folder / "results", *options]
        self.folder, self.log = folder / "results" / "bench", folder / "log"
        environment = {**os.environ, STEP_LOG: str(self.log), "PYTHONPATH": str(folder / "hook")}
        self.trials_wanted = trials
        self.driver_mb, self.trial_mb = list[float](), list[float]()
        self.began_s = time.time()
        with (folder / "output").open("w") as output:
            running = subprocess.Popen(
                [sys.executable, *map(str, command)], cwd=ROOT, env=environment, stdout=output, stderr=output
            )
            while running.poll() is None:
                time.sleep(0.5)
                self._weigh(running.pid)
        self.ended_s = time.time()
        assert running.returncode == 0, (folder / "output").read_text()
        self.events = read_events(self.log)
        self.output = (folder / "output").read_text()

    def _weigh(self, driver: int) -> None:
        """Proportional memory, of pages that processes share a part; while trials train and the driver is idle."""
        events = read_events(self.log)
        ended = sum(event.words[0] == "report" and event.words[1] == event.words[2] for event in events)
        if ended < self.trials_wanted and any(event.words[0] == "step" for event in events):
            self.driver_mb.append(memory_mb(driver))
            self.trial_mb += [memory_mb(process) for process in {event.process for event in events}]

    def first_step_s(self) -> float:
        return next(event.at_s for event in self.events if event.words[0] == "step") - self.began_s

    def trials(self) -> list[list[Event]]:
        """The events of each trial, by process and then by time."""
        found = []
        for process in dict.fromkeys(event.process for event in self.events):
            trial: list[Event] = []
            for event in (event for event in self.events if event.process == process):
                trial.append(event)
                if event.words[0] == "report" and event.words[1] == event.words[2]:
                    found.append(trial)
                    trial = []
        return found

    def gaps_s(self) -> list[float]:
        """From a trial's last report to the next trial's first step in the same process, an ordinary step taken off."""
        gaps = []
        trials = self.trials()
        for before, after in itertools.pairwise(trials):
            if before[0].process == after[0].process:
                steps = [event.at_s for event in after if event.words[0] == "step"]
                ordinary_s = statistics.median(b - a for a, b in itertools.pairwise(steps))
                gaps.append(steps[0] - ordinary_s - before[-1].at_s)
        return gaps

    def overhead(self) -> list[tuple[float, float]]:
        """For each trial but a process's first: seconds from the end of the one before to its own, of them training."""
        trials = self.trials()
        return [
            (after[-1].at_s - before[-1].at_s, trained_s(after))
            for before, after in itertools.pairwise(trials)
            if before[0].process == after[0].process
        ]


def trained_s(trial: list[Event]) -> float:
    """Seconds of training and validation, as the epochs' reports have them."""
    return sum(float(event.words[3]) for event in trial if event.words[0] == "report")


def memory_mb(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3
    except (OSError, StopIteration):
        return 0.0


def write_space(file: Path, *, data: str, rungs: list[int], trials: int, sampler: str = "tpe") -> None:
    """A space like the sample's until 2026-11-27, with one batch size, so that trials are alike, and a time budget
    that never ends it."""
    fixed = {"image_height": 64, "image_width": 32, "backbone": "resnet50", "pretrained": "none", "last_stride": 2}
    fixed |= {"images_per_identity": 4, "batch_size": BATCH, "data_dir": str(file.parents[1] / data)}
    search = {
        "learning_rate": {"low": 2e-4, "high": 1e-2, "log": True},
        "margin": [0.1, 0.3, 1.0, "soft"],
        "weight_decay": {"low": 1e-5, "high": 1e-2, "log": True},
        "randaugment_magnitude": [0, 4, 9],
        "pct_start": {"low": 0.7, "high": 0.8},  # an epoch of `few` has 3 steps: at least 2 of warm-up
    }
    study = {"rungs": rungs, "trials": trials, "time_budget": "1d", "sampler": sampler}
    file.write_text(yaml.safe_dump({"fixed": fixed, "search": search, "study": study}))


def shown(what: str, values: list[float], unit: str) -> float:
    """Prints median and spread; gives the median."""
    middle = statistics.median(values)
    print(f"{what}: {middle:.3g} {unit} ({min(values):.3g} to {max(values):.3g}, n={len(values)})", flush=True)
    return middle


def measure_starts(folder: Path, repeats: int) -> dict[str, float]:
    """Short searches: start to first step, gaps between trials, files that are left."""
    Watched(folder / "warm-up", "few", 1, 1)  # decodes the pictures and fills the disk's cache
    default, alone = list[Watched](), list[Watched]()
    for number in range(repeats):
        default.append(Watched(folder / f"default-{number}", "few", 1, 6))
        if number < 3:
            alone.append(Watched(folder / f"alone-{number}", "few", 1, 3, "--cpus-per-trial", "2"))
    print(next(line for line in default[0].output.splitlines() if " at once" in line).partition(": ")[2])
    left = [sorted((search.folder / "trials").iterdir()) for search in default]
    sizes = [size_mb(trial) for trials in left for trial in trials]
    shown("trial folders left by a search of 6", [float(len(trials)) for trials in left], "")
    return {
        "first_step_s": shown("typing the command to the first step done", [s.first_step_s() for s in default], "s"),
        "first_step_alone_s": shown("  one trial at a time", [s.first_step_s() for s in alone], "s"),
        "trial_gap_s": shown(
            "end of a trial to the next first step", [gap for s in default for gap in s.gaps_s()], "s"
        ),
        "trial_gap_alone_s": shown("  one trial at a time", [gap for s in alone for gap in s.gaps_s()], "s"),
        "most_trials_kept": max(len(trials) for trials in left),
        "files_per_kept_trial": max(sum(1 for _ in trial.rglob("*.*")) for trials in left for trial in trials),
        "mb_per_kept_trial": shown("files of a kept trial", sizes, "MB"),
    }


def size_mb(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def measure_long_trials(folder: Path, epochs: int) -> dict[str, float]:
    """A search whose trials train for some 30 s: what is not training or validation, and the memory."""
    search = Watched(folder / "long", "sample", epochs, 6)
    trained = [trained_s(trial) for trial in search.trials()]
    shown("training and validation of a trial", trained, "s")
    overheads = [100 * (whole - training) / whole for whole, training in search.overhead()]
    places = len({event.process for event in search.events})
    spent = (search.ended_s - search.began_s) * places
    figures = {
        "overhead_percent": shown("from trial to trial, not training or validation", overheads, "%"),
        "overhead_percent_whole_command": 100 * (spent - sum(trained)) / spent,
        "driver_memory_mb": shown("the driver while trials train (proportional)", search.driver_mb, "MB"),
        "trial_memory_mb": max(search.trial_mb),
    }
    print(f"a trial, at most (proportional): {figures['trial_memory_mb']:.0f} MB")
    whole = figures["overhead_percent_whole_command"]
    print(f"the whole command, start and conclusion included, over {len(trained)} trials: {whole:.1f} %", flush=True)
    return figures


def train_for_ever(threads: int, folder: Path) -> None:
    """A trial's training, a line on standard output after each step; stopped and continued from outside."""
    from torch.optim import optimizer

    from data.pixels.cache import open_pixels
    from data.sets.readers import read_train
    from data.sets.splits import split_identities
    from reid_train.training.loop import train_epochs
    from tuning.space.read import read_space

    config = read_space(folder / "bench.yaml").base_config().changed(num_threads=threads, num_epochs=10_000)
    samples = read_train(config.data_dir, config.dataset)
    data = split_identities(samples, fraction=config.validation_fraction, seed=config.split_seed)
    pixels = open_pixels(samples, height=config.image_height, width=config.image_width)
    optimizer.register_optimizer_step_post_hook(lambda *_: print(time.monotonic(), flush=True))
    for _ in train_epochs(config, data, pixels):
        pass


def measure_layouts(folder: Path, repeats: int, seconds: float) -> dict[str, float]:
    """Images/s of two trainings of one thread against one of two, by turns: the side that rests is stopped."""
    folder.mkdir()
    write_space(folder / "bench.yaml", data="sample", rungs=[1], trials=1)
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # as trials have it
    files = [folder / name for name in ("two-threads", "one-thread-a", "one-thread-b")]
    processes = []
    for file, threads in zip(files, (2, 1, 1), strict=True):
        command = [sys.executable, "-m", __spec__.name, "--train", str(threads), str(folder)]
        with file.open("w") as output:
            processes.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output))
    sides: dict[str, list[int]] = {"one": [0], "two": [1, 2]}
    rates: dict[str, list[float]] = {"one": [], "two": []}
    try:
        while not all(len(file.read_text().split()) > 3 for file in files):
            assert all(process.poll() is None for process in processes)
            time.sleep(0.2)
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        for repeat in range(repeats):
            for side in ("one", "two") if repeat % 2 else ("two", "one"):
                began_s = time.monotonic()
                for place in sides[side]:
                    processes[place].send_signal(signal.SIGCONT)
                time.sleep(seconds)
                for place in sides[side]:
                    processes[place].send_signal(signal.SIGSTOP)
                ended_s = time.monotonic()
                rates[side].append(sum(images_per_s(files[place], began_s, ended_s) for place in sides[side]))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    shown("one trial of two threads", rates["one"], "images/s, validation included")
    two = shown("two trials of one thread", rates["two"], "images/s, validation included")
    ratios = [two / one for one, two in zip(rates["one"], rates["two"], strict=True)]
    from tuning.run.resources import plan_resources

    default = plan_resources(None, None, None, "cpu")
    better = statistics.median(ratios) >= 1
    print(f"the default here: {default.concurrency} at once, {default.cpus} threads each")
    return {
        "two_trials_over_one": shown("two trials over one", ratios, ""),
        "two_trials_images_per_s": two,
        "default_is_the_better": float((default.concurrency > 1) == better),
    }


def images_per_s(steps: Path, began_s: float, ended_s: float) -> float:
    """Between the first and the last step that ended in this time."""
    times = [float(line) for line in steps.read_text().split("\n")[:-1] if began_s < float(line) < ended_s]
    return BATCH * (len(times) - 1) / (times[-1] - times[0])


FIGURES = (
    "loss", "ce_loss", "accuracy", "grad_norm", "learning_rate", "images_per_s", "router_loss", "gate_entropy",
    "kd_loss", "val_rank1", "val_rank5", "val_rank10", "val_mINP", "val_metric_loss", "val_ce_loss", "val_accuracy",
)  # fmt: skip
"""What a stub trial reports beside its score: 16 numbers, as many as a real one."""


@dataclass
class StubTrial:
    """What our searcher, scheduler and display read of Ray's trial."""

    config: dict[str, Any]
    status: str = "RUNNING"


def drive(sampler: str, trials: int, folder: Path, server: tuple[str, str] | None = None) -> dict[str, float]:
    """The driver's whole part of a search, with trials that cost nothing, in this process; `server` as Study's."""
    from tests.reports import epoch_report
    from tuning.decide.budget import Purse
    from tuning.decide.policy import Policy
    from tuning.record.study import Study
    from tuning.run.messages import EpochEnded, job_of, ray_result
    from tuning.run.progress import Progress
    from tuning.run.resources import Resources
    from tuning.run.scheduler import RungScheduler
    from tuning.run.searcher import StudySearcher
    from tuning.space.read import read_space

    write_space(folder / "bench.yaml", data="none", rungs=[1, 2], trials=trials, sampler=sampler)
    space = read_space(folder / "bench.yaml")
    study = Study(folder / "study", space, server=server)
    policy = Policy(study, Purse(study, None))
    display = Progress(policy, Resources(1, 0, 1))
    scheduler = RungScheduler(policy)
    searcher = StudySearcher(policy, policy.job)
    chance, spent_s, memory = random.Random(0), list[float](), list[float]()
    while True:
        began_s = time.perf_counter()
        given = searcher.suggest("trial")
        if isinstance(given, str):
            break
        trial, job = StubTrial(given), job_of(given)
        waited_s = write_stub_weights(Path(job.folder))
        scheduler.on_trial_add(None, trial)
        display.on_trial_start(0, [], trial)
        for epoch in range(study.trial(job.number).rung + 1, 3):
            rung = epoch
            score = 0.5 * math.exp(-((math.log10(job.config.learning_rate) + 2.8) ** 2)) + 0.05 * chance.random()
            figures = {name: chance.random() for name in FIGURES}
            result = ray_result(EpochEnded(rung, epoch_report(epoch, val_mAP=score, **figures)))
            decision = scheduler.on_trial_result(None, trial, result)
            display.on_trial_result(0, [], trial, result)
            if decision == scheduler.STOP:
                break
        spent_s.append(time.perf_counter() - began_s - waited_s)
        memory.append(memory_mb(os.getpid()))
    study.leave()
    trials = len(spent_s)  # one that was promoted later counts twice, for Ray as here
    hundred = trials // 10
    early, late = sum(spent_s[:hundred]), sum(spent_s[-hundred:])
    return {
        "late_over_early": late / early,
        "first_ms": 1e3 * early / hundred,
        "last_ms": 1e3 * late / hundred,
        "growth_mb": memory[-1] - memory[hundred],
        "record_kb": (study.folder / "study.db").stat().st_size / 1e3 / trials if server is None else 0.0,
        "kept": len(list((study.folder / "trials").iterdir())),
    }


def write_stub_weights(folder: Path) -> float:
    """What a trial leaves, in small; gives the seconds, which are the trial's and not the driver's."""
    began_s = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights").write_bytes(bytes(1000))
    return time.perf_counter() - began_s


def measure_drivers(trials: int) -> dict[str, float]:
    """A long study in a fresh process, by sampler."""
    figures = dict[str, float]()
    for sampler, suffix in (("random", ""), ("tpe", "_tpe"), ("model", "_model")):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", __spec__.name, "--drive", sampler, str(trials), folder]
            done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{trials} trivial trials, {sampler}: the driver's time for one is {found['first_ms']:.0f} ms in the first "
            f"tenth, {found['last_ms']:.0f} ms in the last; memory from then on {found['growth_mb']:+.1f} MB; "
            f"{found['record_kb']:.1f} kB of record a trial; {found['kept']} trial folders left",
            flush=True,
        )
        figures |= {f"{name}{suffix}": found[name] for name in ("late_over_early", "first_ms", "last_ms", "growth_mb")}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.search_overhead", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a try of the benchmark itself")
    parser.add_argument("--train", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--drive", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train_for_ever(int(options.train[0]), Path(options.train[1]))
        return
    if options.drive:
        sampler, trials, folder = options.drive
        for part in ("warm-up", "counted"):
            (Path(folder) / part).mkdir()
        drive(sampler, 30, Path(folder) / "warm-up")  # what is imported or compiled once does not count as early cost
        print(json.dumps(drive(sampler, int(trials), Path(folder) / "counted")))
        return
    from data.drawing.datasets import draw_dataset
    from tests.benchmarks.machine import describe_machine

    print(f"{describe_machine()}, Ray {version('ray')}, Optuna {version('optuna')}")
    quick = options.quick
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        drawn: dict[str, Any] = {
            "layout": "market1501",
            "test_identities": 16,
            "cameras": 4,
            "images_per_camera": 2,
            "seed": 0,
        }
        draw_dataset(out_dir=folder / "sample", identities=40, **drawn)
        draw_dataset(out_dir=folder / "few", identities=20, **drawn)
        figures = measure_starts(folder, 1 if quick else 5)
        layouts = measure_layouts(folder / "layouts", 2 if quick else 5, 5 if quick else 8)
        epoch_s = TRAINING_IMAGES / (layouts["two_trials_images_per_s"] / 2)
        figures |= measure_long_trials(folder, max(1, round((8 if quick else 30) / epoch_s))) | layouts
    figures |= measure_drivers(100 if quick else 1000)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
