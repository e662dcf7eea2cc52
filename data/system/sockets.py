"""Folders for sockets, whose paths have 107 bytes at most: TMPDIR alone may have more, as batch systems set it.

socket_folder(69)  # Path("/tmp"), or whatever leaves 69 bytes for what lies below it
"""

import multiprocessing.util
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

from data.system.errors import UserError
from data.system.own_folder import OwnFolder

LONGEST_PATH = 107 if sys.platform == "linux" else 103
OF_PYTHON = len("/reid-sockets-12345678/pymp-12345678/listener-12345678")
"""What we and Python's multiprocessing put below the folder of temporary files."""


def socket_folder(below: int) -> Path:
    """A folder for temporary files that leaves so many bytes for the path below it: RAY_TMPDIR or TMPDIR where they are
    short enough, else the system's own. Raises UserError where none can be written to."""
    named = [os.environ[name] for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)]
    for place in (*named, "/tmp", "/var/tmp", "/dev/shm"):
        folder = os.path.abspath(place)  # noqa: PTH100 - links stay as they are, which may be shorter
        fits = len(os.fsencode(folder)) + below <= LONGEST_PATH
        if fits and os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK):  # noqa: PTH112
            return Path(folder)
    raise UserError(
        f"TMPDIR={tempfile.gettempdir()}: sockets need a folder whose path has at most {LONGEST_PATH - below} bytes, "
        "and /tmp cannot be written; export TMPDIR=FOLDER with a short one"
    )


@cache
def shorten_sockets() -> None:
    """Has this process and those that it starts through multiprocessing keep their sockets in a folder of its own, with
    a short path. Where this process is killed, the next that is told so removes the folder."""
    own = OwnFolder("reid-sockets-", socket_folder(OF_PYTHON))
    before, tempfile.tempdir = tempfile.tempdir, str(own.path)
    try:
        multiprocessing.util.get_temp_dir()  # it is chosen once
    finally:
        tempfile.tempdir = before
    multiprocessing.util.Finalize(None, own.remove, exitpriority=-101)  # after multiprocessing has removed its own
