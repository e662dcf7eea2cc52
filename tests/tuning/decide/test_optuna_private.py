"""What is relied upon of Optuna beyond its public interface: it is there in the version that is installed."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from tuning.decide.optuna_private import PlacedQMCSampler, RewritableStudy

RANGES = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
FIRST = create_trial(params={"x": 0.5, "y": 0.5}, distributions=RANGES, value=0.0)


def asked(sampler, count=1):
    """The points that the sampler proposes one after the other, in a study that knows a trial."""
    study = optuna.create_study(sampler=sampler)
    study.add_trial(FIRST)
    return [study.ask(RANGES).params for _ in range(count)]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_place_in_the_sequence_is_what_optunas_sampler_gives_there():
    sequence = asked(optuna.samplers.QMCSampler(seed=3, scramble=True), 5)
    assert len({point["x"] for point in sequence}) == 5
    for place in (0, 2, 4):
        assert asked(PlacedQMCSampler(place, seed=3, scramble=True)) == [sequence[place]]


def test_a_row_that_is_changed_is_seen_changed():
    rewritable = RewritableStudy([StudyDirection.MAXIMIZE])
    rewritable.study.add_trial(
        create_trial(state=TrialState.RUNNING, params={"x": 0.5}, distributions={"x": RANGES["x"]})
    )
    (row,) = rewritable.rows()
    row.state, row.values, row.params = TrialState.COMPLETE, [0.3], {"x": 0.7}
    (seen,) = rewritable.study.get_trials()
    assert (seen.state, seen.values, seen.params) == (TrialState.COMPLETE, [0.3], {"x": 0.7})
    row.values = [0.9]
    assert rewritable.study.get_trials()[0].values == [0.9], "a trial that has ended may be changed again"


def test_what_a_sampler_noted_of_the_study_is_forgotten():
    rewritable = RewritableStudy([StudyDirection.MAXIMIZE])
    rewritable.study._storage.set_study_system_attr(rewritable.study._study_id, "nsga2:parents", [1, 2])
    rewritable.forget_sampler()
    assert rewritable.study._storage.get_study_system_attrs(rewritable.study._study_id) == {"nsga2:parents": None}
