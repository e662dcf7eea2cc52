"""What people meet first: the command `reid` with its verbs, and the same from Python. The top package.

import reid

result = reid.search("search_spaces/sample.yaml", trials=8)
result.best.parameters, result.frame()
reid.open_study("results/sample").report
reid.load_model("results/sample").embed(["a.jpg", "b.jpg"])

Mistakes are a UserError, which is a ValueError. Nothing heavy is imported before it is needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import reid_train  # noqa: F401 - which sees to it that `data` is this project's
from data.system.errors import UserError

if TYPE_CHECKING:
    from reid.result import Result
    from reid_train.embed import Embedder

__all__ = ["UserError", "load_model", "open_study", "search"]

_Path = str | Path


def search(
    space: _Path | None = None,
    data_dir: _Path | None = None,
    *,
    config: _Path | None = None,
    search: Mapping[str, str] | Sequence[str] = (),
    trials: int | None = None,
    epochs: int | None = None,
    time_budget: str | float | None = None,
    name: str | None = None,
    results: _Path = "results",
    set: Mapping[str, Any] | Sequence[str] = (),
    sampler: str | None = None,
    study: Mapping[str, Any] | Sequence[str] = (),
    no_test: bool = False,
    warm_start: Sequence[_Path] = (),
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | None = None,
    cache_dir: _Path | None = None,
    cache_limit: float | None = None,
    address: str | None = None,
    storage: str | None = None,
    study_storage: str | None = None,
    publish: str | None = None,
    images: bool | None = None,
    open: bool = False,
    quiet: bool = False,
) -> "Result":
    """Searches a space within a budget and evaluates the winner once, as the command `reid search` does.

    The arguments are the command's options: `set` fixes settings, `{"margin": 0.3}` or `["margin=0.3"]`, and `study`
    study settings; `config` with `search`, `{"learning_rate": "1e-4..1e-2:log"}`, takes a space's place; without
    either it is search_spaces/sample.yaml. `time_budget` is `"45m"`, or seconds; `cache_limit` is in GiB. `images`:
    None puts pictures into report.html only where this project drew them. `quiet` prints nothing. The same call goes
    on where an interrupted one stopped, and gives the result at once when the search is over.

    Raises UserError for what the caller can put right. After Ctrl-C KeyboardInterrupt comes out of it, with all that
    was trained on record. One search at a time in a process.
    """
    from reid.searching import asked, run

    given = {
        "trials": trials,
        "epochs": epochs,
        "name": name,
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
        "address": address,
        "storage": storage,
        "study_storage": study_storage,
        "publish": publish,
        "sampler": sampler,
        "no_test": no_test,
        "images": images,
        "open": open,
    }
    paths = {"space": space, "config": config, "data_dir": data_dir, "results": results, "cache_dir": cache_dir}
    assignments = {"set": set, "search": search, "study": study}
    request = asked(
        paths, given, assignments=assignments, time_budget=time_budget, warm=warm_start, cache_gib=cache_limit
    )
    return run(request, quiet=quiet)


def open_study(folder: _Path) -> "Result":
    """The study in a folder `results/NAME`, whether its search is over, was interrupted or runs in another process.

    Raises UserError where there is none, or where it is damaged.
    """
    from reid.result import Result

    return Result(folder)


def load_model(folder: _Path, **options: Any) -> "Embedder":
    """The model of a checkpoint's folder, or the winner of a study's: `.embed(pictures)` gives embeddings.

    Options are those of `reid_train.embed.load_model`. Raises UserError where there is none.
    """
    from reid_train.embed import load_model as load
    from tuning.record.folders import BEST, BEST_CONFIG, DATABASE

    place = Path(folder)
    if (place / DATABASE).is_file():
        if not (place / BEST).is_dir():
            raise UserError(f"{place}: holds no {BEST}/ yet (nor {BEST_CONFIG}); finish its search first")
        place = place / BEST
    return load(place, **options)
