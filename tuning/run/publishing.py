"""Publishes a search while it runs, in a process of its own that reads copies of the record: no trial waits for it.

with publishing(study.folder, "tensorboard"):
    ...  # a logger that fails costs a line
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data.system.commands import command
from data.system.errors import printable
from data.system.packages import check_packages

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}
"""What each logger needs. tensorboardX comes with Ray; the others are extras of their names."""
LAST_S = 120.0
"""How long a search waits at its end for what is still to be written; after Ctrl-C, AT_ONCE_S."""
AT_ONCE_S = 2.0


def check_logger(to: str, option: str) -> None:
    """Raises UserError that begins with the option where what the logger needs is not installed."""
    check_packages(f"{option} {to}", [PACKAGES[to]], to)


@contextmanager
def publishing(folder: Path, to: str | None) -> Iterator[None]:
    """Has `tuning.publish --follow` run beside the block, and write the last of it at the end; nothing for None."""
    if to is None:
        yield
        return
    follows = [sys.executable, "-m", "tuning.publish", str(folder.absolute()), "--to", to, "--follow"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                follows,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the search, which then ends it
            )
        except OSError as error:
            _say(folder, to, error.strerror or str(error))
            yield
            return
        patience_s = AT_ONCE_S
        try:
            yield
            patience_s = LAST_S
        finally:
            problem = _end(process, patience_s)
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            if problem is not None:
                _say(folder, to, problem or (said[-1].removeprefix("error: ") if said else "it ended early"))


def _end(process: "subprocess.Popen[bytes]", patience_s: float) -> str | None:
    """Tells it that this is the end, and waits; why it failed ("": it says so itself), None where it did not."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        return "" if process.wait(patience_s) else None
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"it was not done after {patience_s:.0f} s"
    except BaseException:  # Ctrl-C meanwhile
        process.kill()
        raise


def _say(folder: Path, to: str, problem: str) -> None:
    """A line, which has no part in how the search ends."""
    later = command("tuning.publish", str(folder), "--to", to)
    print(printable(f"note: not all is published: {problem[:200]}; the record is whole: {later} writes it"), flush=True)
