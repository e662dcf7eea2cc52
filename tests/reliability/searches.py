"""A real `python -m tuning.search` in a session of its own, whose processes are known by id and by role."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.commands import ROOT, USUAL, command_line
from tests.tiny_space import TINY_FIXED

ROLES = ("driver", "worker", "raylet", "gcs")

SPACE = (
    TINY_FIXED
    + """\
search:
  learning_rate: RATES
  weight_decay: [0.0001, 1.0]
first_trials:
  - {learning_rate: 0.05, weight_decay: 0.0001}
  - {learning_rate: 10, weight_decay: 1.0}  # diverges
study: {BUDGET, rungs: [3, 6], promotion: continue, state_interval: 1.5s}
"""
)
"""All stages are there: rungs, promotion, a failure, the test images, tables; with repeats, these too."""
RATES = [0.05, 10, 0.02, 0.01]
EPOCHS = 6
"""Of a trial that comes to the top, and of a repeat."""


def write_space(file: Path, *, trials: int, repeats: int = 0) -> Path:
    """A space; with `repeats` one of as many configurations as `trials`, and epochs for at least so many repeats."""
    rates, budget = "{low: 1e-6, high: 10, log: true}", f"trials: {trials}"
    if repeats:
        rates, budget = str(RATES[: trials // 2]), f"epochs: {EPOCHS * (trials + repeats)}"
    file.write_text(SPACE.replace("RATES", rates).replace("BUDGET", budget))
    return file


class Search:
    """One process of the command and all that it starts. Only processes that were seen in its session are killed."""

    def __init__(self, log: Path, *arguments: object, module: str = "tuning.search"):
        self.log, self.arguments = log, arguments
        command = command_line(module, *arguments)
        environment = {**os.environ, **USUAL, "PYTHONUNBUFFERED": "1"}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.pid = self.process.pid

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def commands(self) -> dict[int, str]:
        """Process id -> command line, of all that live in the session."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                state, _, _, session = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:4]
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:  # it ended
                continue
            if int(session) == self.pid and state != "Z":
                found[int(entry.name)] = command
        return found

    def alive(self) -> dict[int, str]:
        """Process id -> role, of all that live in the session; "" for those without one of ROLES."""
        found = self.commands().items()
        return {pid: "driver" if pid == self.pid else _role(command.split("\0")[0]) for pid, command in found}

    def kill_one(self, words: str) -> int:
        """Kills (-9) the first process in whose command line these words stand, when there is one; gives its id."""
        assert self.wait_until(lambda: any(words in command for command in self.commands().values())), self.said()
        killed = min(pid for pid, command in self.commands().items() if words in command)
        os.kill(killed, signal.SIGKILL)
        return killed

    def kill(self, target: str, rng: random.Random) -> bool:
        """Kills (-9) a process of that role, or "all" at once; whether there was one."""
        alive = self.alive()
        chosen = list(alive) if target == "all" else [pid for pid, role in sorted(alive.items()) if role == target]
        for pid in chosen if target == "all" else rng.sample(chosen, min(1, len(chosen))):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # the death of another took it along
                continue
        return bool(chosen)

    def wait_until(self, condition: Callable[[], bool], limit_s: float = 600) -> bool:
        """Whether the condition came true before the command ended. Raises TimeoutError when neither happens."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if self.process.poll() is not None:
                return condition()
            if time.monotonic() > deadline:
                self.kill("all", random.Random())
                raise TimeoutError(f"{self.log}: nothing happened for {limit_s} s:\n{self.said()[-2000:]}")
            time.sleep(0.05)
        return True

    def wait(self, limit_s: float = 600) -> int:
        """The exit code. Raises TimeoutError, with all killed, when it hangs."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill("all", random.Random())
            raise TimeoutError(f"{self.log}: still running after {limit_s} s:\n{self.said()[-2000:]}") from None

    def orphans(self, roles_let_live: tuple[str, ...] = ("agent",), limit_s: float = 30) -> dict[int, str]:
        """What lives on in the session when the command has ended, after a while.

        Two helpers of Ray's, its agents, look for their raylet once in a while, and end within a minute or so.
        """

        def left() -> dict[int, str]:
            return {pid: role for pid, role in self.alive().items() if role not in roles_let_live}

        deadline = time.monotonic() + limit_s
        while left() and time.monotonic() < deadline:
            time.sleep(0.2)
        return left()


def _role(program: str) -> str:
    if program.startswith("ray::ResourceTrainable"):
        return "worker"
    if program.startswith(("ray::DashboardAgent", "ray::RuntimeEnvAgent")):
        return "agent"
    return {"raylet": "raylet", "gcs_server": "gcs"}.get(Path(program).name, "")
