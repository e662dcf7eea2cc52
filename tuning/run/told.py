"""Tells whoever asked that a search has news.

Told(page.refresh)  # a Ray callback
"""

from collections.abc import Callable
from typing import Any

from ray.tune import Callback


class Told(Callback):
    """Calls a function whenever a trial has reported or has ended."""

    def __init__(self, call: Callable[[], None]):
        self.call = call

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its callbacks."""
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        self.call()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self.call()
