"""One training run, with or without a tuner around it. Imports only `data`."""

import importlib.util
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def _find_data() -> None:
    """Sees to it that `data` is this project's package, whatever lies in the folder that a program runs in.

    A folder `data` without code steps back. Raises ImportError where other code has that name.
    """
    ours = _ROOT / "data" / "__init__.py"
    taken = sys.modules.get("data")
    spec = taken.__spec__ if taken is not None else importlib.util.find_spec("data")
    origin = None if spec is None else spec.origin
    if origin is not None and Path(origin).resolve() == ours:
        return
    if origin is not None:
        raise ImportError(
            f"`data` is {origin} here, not this project's package of that name; run from {_ROOT}, or from a folder "
            f"without that file, or begin your program with: import sys; sys.path.insert(0, {str(_ROOT)!r})"
        )
    found = importlib.util.spec_from_file_location("data", ours, submodule_search_locations=[str(ours.parent)])
    assert found is not None and found.loader is not None
    sys.modules["data"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(sys.modules["data"])


_find_data()
