"""Has matplotlib keep its fonts where it may write.

prepare_plotting()  # before anything imports matplotlib; the processes that this one starts inherit it
"""

import atexit
import os
import tempfile
from contextlib import suppress
from pathlib import Path


def prepare_plotting() -> None:
    """Where matplotlib can write neither into its folders in the user's home nor where variables say, gives it one
    that ends with this process; by itself it would make one, too, and print two lines about it."""
    if all(map(_can_be_made, _folders())):
        return
    from data.system.own_folder import OwnFolder  # which Windows's refusal must not wait for

    with suppress(OSError):  # nothing can be written anywhere: matplotlib tells of that
        own = OwnFolder("reid-plots-", Path(tempfile.gettempdir()))
        atexit.register(own.remove)
        os.environ["MPLCONFIGDIR"] = str(own.path)


def _folders() -> list[str]:
    """Where matplotlib keeps settings and fonts."""
    if named := os.environ.get("MPLCONFIGDIR"):
        return [named]
    home = os.path.expanduser("~")  # noqa: PTH111 - Path's raises without one
    bases = {"XDG_CONFIG_HOME": ".config", "XDG_CACHE_HOME": ".cache"}
    return [f"{os.environ.get(name) or f'{home}/{base}'}/matplotlib" for name, base in bases.items()]


def _can_be_made(folder: str) -> bool:
    """Whether the folder can be written, or made where it is not there."""
    there = os.path.abspath(folder)  # noqa: PTH100 - a name may be too long
    while not os.path.lexists(there):
        there = os.path.dirname(there)  # noqa: PTH120
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)  # noqa: PTH112
