"""What configurations cost: a look-up among the prices of architectures that were measured before the search.

costs_of(study, {"backbone": "resnet50"})  # {"latency_ms": 8.1}, where the study minimises latency_ms
"""

from collections.abc import Mapping
from typing import Any

from reid_train.settings.config import ARCHITECTURE, TrainConfig
from tuning.record.study import Study


def costs_of(study: Study, parameters: Mapping[str, Any]) -> dict[str, float]:
    """What a configuration costs, by the study's metrics; empty where none of them is a cost."""
    if not study.space.study.costs:
        return {}
    key = architecture_key(study.space.config(parameters))
    return next(costs for known, costs in study.facts["prices"] if known == key)


def architecture_key(config: TrainConfig) -> list[Any]:
    """The settings that costs depend on: configurations that share them cost the same."""
    return [getattr(config, name) for name in ARCHITECTURE]
