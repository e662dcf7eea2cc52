"""The verbs of `reid`, each with its module, for the pages and their tests."""

from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LATER = {  # until reid/command.py is here, which names them itself
    "search": "tuning.search",
    "report": "tuning.report",
    "retrain": "tuning.retrain",
    "watch": "tuning.watch",
    "compare": "tuning.compare",
    "dashboard": "tuning.dashboard",
    "publish": "tuning.publish",
    "pack": "tuning.pack",
    "init": "tuning.init",
    "train": "reid_train.train",
    "evaluate": "reid_train.evaluate",
    "errors": "reid_train.errors",
    "embed": "reid_train.embed",
    "query": "reid_train.query",
    "export": "reid_train.export",
    "doctor": "data.doctor",
    "synthetic": "data.synthetic",
    "settings": "reid.settings",
}


def verbs() -> dict[str, str]:
    """The module of each verb, those included that are not there yet."""
    if find_spec("reid") is None:
        return LATER
    from reid.command import GROUPS

    return {module.rpartition(".")[2]: module for group in GROUPS.values() for module in group}


VERBS = verbs()


def is_command(module: str) -> bool:
    """Whether the module is there, in this folder, and has a main()."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return False
    file = Path(spec.origin or "") if spec is not None else Path()
    return file.is_relative_to(ROOT) and "\ndef main(" in file.read_text()
