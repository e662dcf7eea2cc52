"""`reid VERB ...`: every command of this project under one name. A verb is the last part of its module's name.

reid search --space search_spaces/sample.yaml  # as python -m tuning.search --space search_spaces/sample.yaml
"""

import sys
from importlib import import_module
from importlib.util import find_spec

from data.system.commands import REID
from data.system.errors import UserError, exit_on_user_error, suggestion
from data.system.options import EXIT_CODES

GROUPS: dict[str, dict[str, str]] = {
    "your data": {
        "data.doctor": "says what a data set holds and what is wrong with it",
        "tuning.init": "writes a search space that fits a data set",
        "data.synthetic": "draws a sample data set",
    },
    "a search": {
        "tuning.search": "searches a space within a budget, and evaluates the winner once",
        "tuning.watch": "shows how a running search stands",
        "tuning.report": "prints a study's results and makes its tables, plots and page again",
        "tuning.compare": "compares two studies of the same data",
        "tuning.retrain": "trains the winner on all training identities, or tells what its settings are worth",
        "tuning.dashboard": "opens a study in optuna-dashboard",
        "tuning.publish": "writes a study to TensorBoard, W&B or MLflow",
        "tuning.pack": "packs a study into one file to send on",
    },
    "a model": {
        "reid_train.train": "trains one model",
        "reid_train.evaluate": "evaluates a model on query and gallery images",
        "reid_train.errors": "shows where a model is wrong",
        "reid_train.embed": "writes the embeddings of a folder of images",
        "reid_train.query": "looks for a picture's likes in a gallery",
        "reid_train.export": "writes a model as ONNX, TorchScript or pt2",
    },
    "reference": {
        "reid.settings": "lists all settings with range, default and meaning",
    },
}
"""For each module of a verb, by groups: what `reid --help` says of it."""


def verbs() -> dict[str, str]:
    """The module of each verb that is there."""
    modules = [module for group in GROUPS.values() for module in group if _is_there(module)]
    return {verb_of(module): module for module in modules}


def verb_of(module: str) -> str:
    return module.rpartition(".")[2]


def _is_there(module: str) -> bool:
    return find_spec(module) is not None


def help_text() -> str:
    """What `reid --help` prints."""
    known = verbs()
    width = max(map(len, known))
    lines = [f"usage: {REID} VERB ...", "", f"{REID} VERB --help explains a verb."]
    for title, group in GROUPS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {verb_of(m):{width}}  {says}" for m, says in group.items() if known.get(verb_of(m)) == m]
    lines += ["", "exit codes:", *(f"  {code:<{width}}  {meaning}" for code, meaning in EXIT_CODES.items())]
    return "\n".join(lines)


@exit_on_user_error
def main() -> None:
    """Runs a verb's command, as which this process is then known."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h"):
        print(help_text())
    elif name == "--version":
        from importlib.metadata import version

        print(version("reid-tuning"))
    else:
        known = verbs()
        if name not in known:
            way_out = suggestion(name, list(known)) or f"; {REID} --help lists them"
            raise UserError(f"{name}: no such verb{way_out}")
        sys.argv = [f"{REID} {name}", *sys.argv[2:]]
        import_module(known[name]).main()


if __name__ == "__main__":
    main()
