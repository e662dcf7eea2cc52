"""Everything of Optuna's that is relied upon beyond its public interface; test_optuna_private.py holds each thing.

1. QMCSampler._find_sample_id gives the place in the sequence that is sampled next.
2. InMemoryStorage hands out its own rows, not copies, with deepcopy=False: a change of a row is seen by the samplers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial


class PlacedQMCSampler(optuna.samplers.QMCSampler):
    """Optuna's, with a given place in the sequence instead of a counter in the storage."""

    def __init__(self, place: int, **options: Any):
        super().__init__(**options)
        self._place = place

    def _find_sample_id(self, study: optuna.Study, search_space: Mapping[str, Any]) -> int:
        return self._place


class RewritableStudy:
    """An Optuna study in memory whose finished rows may be changed: what is known of trials changes as others end."""

    def __init__(self, directions: Sequence[StudyDirection]):
        self._storage = InMemoryStorage()
        self.study = optuna.create_study(storage=self._storage, directions=directions)
        self._id = self._storage.get_study_id_from_name(self.study.study_name)

    def rows(self) -> list[FrozenTrial]:
        """The study's own rows, by number: to be changed in place."""
        return self._storage.get_all_trials(self._id, deepcopy=False)

    def forget_sampler(self) -> None:
        """Removes what samplers noted of the study as a whole: NSGA-II's parents, chosen by earlier estimates."""
        for key in self._storage.get_study_system_attrs(self._id):
            self._storage.set_study_system_attr(self._id, key, None)
