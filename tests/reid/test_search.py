"""A search from a program: twice in a process in which an event loop runs and stdout is not a file."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import fields
from inspect import signature

import pytest

import reid
from tests.commands import LONGEST_S, ROOT, as_it_was
from tuning.prepare.request import SearchRequest
from tuning.record.study import Study
from tuning.record.trial import TrialState

PROGRAM = """
import asyncio, io, json, os, signal, sys, threading, time
from pathlib import Path
import reid

SPACE, DATA, PLACE = sys.argv[1:]
HOW = {"results": f"{PLACE}/results", "cache_dir": f"{PLACE}/cache", "cpus_per_trial": 1}

def interrupt():
    from tests.watched_search import has_reports
    while not has_reports(Path(f"{PLACE}/results/mine")):
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)

def trials_of(folder):
    return [str(trial) for trial in reid.open_study(folder).frame()["state"]]

async def cell():
    out, sys.stdout = sys.stdout, io.StringIO()
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "RAY_CHDIR_TO_TRIAL_DIR", "HOME")}
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    told = {}
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        reid.search(SPACE, DATA, trials=2, name="mine", **HOW)
    except KeyboardInterrupt:
        told["interrupted"] = trials_of(f"{PLACE}/results/mine")
    second = reid.search(SPACE, DATA, trials=2, name="mine", **HOW)
    told["second"], told["printed"] = trials_of(second.folder), sys.stdout.getvalue()
    told["same"] = before == {name: os.environ.get(name) for name in before}
    told["handlers"] = handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    told["best"] = [second.best.of, second.best.model.name, second.test["mAP"]]
    sys.stdout = out
    return told

print(json.dumps(asyncio.new_event_loop().run_until_complete(cell())))  # asyncio.run would take SIGINT for itself
"""
"""Without `if __name__ == "__main__"`: what a search starts must not run it again."""


def test_a_program_searches_twice_is_interrupted_and_goes_on(tmp_path, tiny_data, tiny_space):
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, file, tiny_space, tiny_data, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "winner: default" in told["printed"]
    assert "running" not in told["interrupted"] and "waiting" in told["interrupted"]
    assert told["second"] == ["complete", "failed"]
    assert told["same"] and told["handlers"]
    assert told["best"][:2] == ["default", "best"] and 0 < told["best"][2] < 1
    assert "-m tuning.search --space" in Study(tmp_path / "results" / "mine").facts["command"]


def test_a_search_here_gives_its_study_and_leaves_the_process_as_it_was(tmp_path, tiny_data, tiny_space, without_ray):
    main = sys.modules["__main__"]
    with as_it_was():
        result = reid.search(
            tiny_space,
            tiny_data,
            trials=2,
            set={"fc_width": 16, "label_smoothing": 1e-05},
            results=tmp_path / "results",
            cache_dir=tmp_path / "cache",
            quiet=True,
        )
    assert sys.modules["__main__"] is main
    assert result.folder == tmp_path / "results" / "tiny"
    assert result.config(0).label_smoothing == 1e-05
    assert [trial.state for trial in Study(result.folder).trials()] == [TrialState.COMPLETE, TrialState.FAILED]
    assert "--set label_smoothing=1e-05" in Study(result.folder).facts["command"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "--trials 0: at least 1"),
        ({"trials": "8"}, "trials='8': a whole number is needed"),
        ({"time_budget": "soon"}, "--time-budget 'soon' should be a number"),
        ({"time_budget": float("nan")}, "time_budget=nan: seconds are needed"),
        ({"set": "margin=0.3"}, "set takes several"),
        ({"warm_start": "results/one"}, "warm_start takes several"),
        ({"study": {"stopp": "auto"}}, "--study stopp: study.stopp is no study setting; did you mean stop?"),
        ({"sampler": "bayes"}, "--sampler"),
        ({"config": "c.yaml"}, "--config: takes the place of --space"),
        ({"set": {"marginn": 0.3}}, "--set marginn: unknown setting marginn; did you mean margin?"),
        ({"name": "../else"}, "--name ../else: a folder's name is needed"),
    ],
)
def test_mistakes_are_exceptions_and_leave_nothing(tmp_path, tiny_data, tiny_space, options, message):
    with pytest.raises(reid.UserError, match="^" + message.replace("?", r"\?").replace("(", r"\(")):
        reid.search(tiny_space, tiny_data, results=tmp_path / "results", **options)
    assert not (tmp_path / "results").exists()


def test_every_option_of_the_command_is_an_argument(monkeypatch):
    """But --plan and --json, which print; against the command line's own words."""
    given = []
    monkeypatch.setattr("reid.searching.run", lambda request, quiet: given.append(request))
    reid.search(
        config="one.yaml",
        search={"learning_rate": "1e-4..1e-2:log", "margin": [0.1, "soft"]},
        sampler="random",
        study={"rungs": [4, 12], "stop": "auto"},
        no_test=True,
        images=False,
        open=True,
        time_budget=90,
        cache_limit=0.5,
    )
    assert shlex.join(given[0].words()) == (
        "--config one.yaml --search learning_rate=1e-4..1e-2:log --search 'margin=[0.1, \"soft\"]' --time-budget 90s "
        "--sampler random "
        "--study 'rungs=[4, 12]' --study 'stop=\"auto\"' --no-test --cache-limit 0.5 --no-images --open"
    )
    there = {field.name for field in fields(SearchRequest)} - {"command", "plan", "json", "limit_bytes"}
    assert set(signature(reid.search).parameters) == there | {"cache_limit", "quiet"}


def test_importing_it_imports_nothing_heavy():
    program = "import sys, reid; print(sorted({'torch', 'ray', 'pandas', 'optuna', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
