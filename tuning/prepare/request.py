"""SearchRequest: what a search is asked for, by the command line or by a program.

request = SearchRequest(space="search_spaces/veri.yaml", data_dir="data/VeRi", trials=20)
request.changed(results="/tmp/results")  # a copy
request.words()  # ["--space", "search_spaces/veri.yaml", "--data-dir", "data/VeRi", "--trials", "20"]
"""

import argparse
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from data.system.errors import UserError

DEFAULT_SPACE = "search_spaces/sample.yaml"
REPEATED = ("set", "search", "study")
"""Options that are given once for each value."""


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """The options of `tuning.search`, each by its name there. None: the space's value, or what the machine allows."""

    space: str | None = None
    """The space's file; where there is no `config`, DEFAULT_SPACE."""
    config: str | None = None
    """A file of the settings of one training, in the space's place; `search` says what is searched."""
    search: tuple[str, ...] = ()
    """Settings that are searched, as name=range."""
    data_dir: str | None = None
    set: tuple[str, ...] = ()
    """Settings that are fixed, as name=value."""
    time_budget: str | None = None
    """With a unit: 45m, 2h."""
    epochs: int | None = None
    trials: int | None = None
    sampler: str | None = None
    study: tuple[str, ...] = ()
    """Study settings, as name=value."""
    no_test: bool = False
    """Leaves the test images alone."""
    plan: bool = False
    """Only says what the budget would buy."""
    json: bool = False
    """The plan as one JSON object."""
    warm_start: tuple[str, ...] = ()
    """Folders of earlier studies."""
    cpus_per_trial: int | None = None
    gpus_per_trial: float | None = None
    name: str | None = None
    results: str = "results"
    cache_dir: Path | None = None
    limit_bytes: int | None = None
    """Of decoded pixels that are kept (--cache-limit, in GiB)."""
    images: bool | None = None
    """Whether report.html has pictures of the data set; None: only where this project drew them."""
    open: bool = False
    """Opens report.html in the browser."""
    address: str | None = None
    storage: str | None = None
    study_storage: str | None = None
    publish: str | None = None
    """Where the search is published while it runs: tensorboard, wandb or mlflow."""
    command: str | None = None
    """What goes on with the study, as it can be typed; None: the command that runs now."""

    def __post_init__(self) -> None:
        if self.space is not None and self.config is not None:
            raise UserError("--config: takes the place of --space; give one of them")
        if self.config is not None and not self.search:
            raise UserError(
                "--config: says what is fixed; say what is searched, too: --search learning_rate=1e-4..1e-2:log"
            )
        if self.config is None and self.space is None:
            object.__setattr__(self, "space", DEFAULT_SPACE)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """The request of a parsed command line."""
        given = dict[str, Any]()
        for field in fields(cls):
            if field.name != "command":
                value = getattr(arguments, field.name)
                given[field.name] = tuple(value) if isinstance(value, list) else value
        return cls(**given)

    def changed(self, **changes: Any) -> Self:
        """A copy with other values."""
        return replace(self, **changes)

    @property
    def cache(self) -> dict[str, Any]:
        """How decoded pixels are kept, as `open_pixels` takes it."""
        return {"cache_dir": self.cache_dir, "limit_bytes": self.limit_bytes}

    def words(self) -> list[str]:
        """The command line that asks for the same."""
        words = list[str]()
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "command" or value is None or (value == field.default and field.name != "space"):
                continue
            option = f"--{field.name.replace('_', '-')}"
            if field.name in REPEATED:
                words += [word for assignment in value for word in (option, assignment)]
            elif field.name == "limit_bytes":
                words += ["--cache-limit", f"{value / 2**30:g}"]
            elif isinstance(value, bool):
                words.append(option if value else f"--no-{field.name}")
            else:
                words += [option, *map(str, value)] if isinstance(value, tuple) else [option, str(value)]
        return words
