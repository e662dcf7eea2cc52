"""Proposals: inside the space, the same for the same record, better than chance where there is something to learn."""

import math
import random
import statistics
from dataclasses import replace

import pytest

from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.errors import UserError
from reid_train.settings.config import check_training
from tuning.decide.sampler import OPTUNAS, Sampler, describe_order, learns_from
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import TrialRecord, TrialState
from tuning.space.batches import fit_to_data
from tuning.space.plan import Plan
from tuning.space.read import read_space
from tuning.space.space import key_of

SAMPLERS = ("model", *OPTUNAS)
SPACE = """\
fixed: {backbone: resnet18, pretrained: none}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  weight_decay: {low: 0.0, high: 0.1}
  optimizer: [adamw, sgd]
  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}
  batch_size: {low: 16, high: 64, step: 16}
first_trials:
  - {learning_rate: 0.01, optimizer: sgd, momentum: 0.6}
study: {trials: 12, rungs: [1, 3], sampler: NAME}
"""


@pytest.fixture
def make_space(tmp_path):
    def make(name):
        file = tmp_path / "space.yaml"
        file.write_text(SPACE.replace("NAME", name))
        return read_space(file)

    return make


def sampler_of(space):
    return Sampler(space, Plan.of(space.study))


def record(number, parameters, scores, state=TrialState.COMPLETE, notes=None):
    return TrialRecord(number, state, parameters, scores, notes=notes or {})


def shown(sampler, count):
    """The first rows of what Optuna's sampler is shown."""
    return sampler._shown.study.get_trials()[:count]


def quality(parameters):
    """Best at a learning rate of 1e-2, with little weight decay."""
    return 1 - abs(math.log10(parameters["learning_rate"]) + 2) / 2 - 5 * parameters["weight_decay"]


def run(space, trials, opened_again=0):
    """A search whose scores are given; a new sampler takes over after `opened_again` trials."""
    records, sampler = [], sampler_of(space)
    for number in range(trials):
        if number == opened_again:
            sampler = sampler_of(space)
        parameters, notes = sampler.propose(records)
        scores = (
            {1: quality(parameters) - 0.3} if number % 3 else {1: quality(parameters) - 0.3, 3: quality(parameters)}
        )
        state = TrialState.COMPLETE if 3 in scores else TrialState.PAUSED
        records.append(record(number, parameters, scores, state, notes))
    return records


@pytest.mark.parametrize("name", SAMPLERS)
def test_proposals_lie_in_the_space_and_differ(make_space, name):
    space = make_space(name)
    records = run(space, 9)
    for trial in records:
        space.config(trial.parameters)
        assert ("momentum" in trial.parameters) == (trial.parameters["optimizer"] == "sgd")
        for parameter in space.parameters:
            assert parameter.name not in trial.parameters or parameter.contains(trial.parameters[parameter.name])
    assert len({key_of(trial.parameters) for trial in records}) == 9
    assert len({trial.parameters["learning_rate"] for trial in records}) == 9 or name == "model", "it moves some alone"


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_record_gives_the_same_proposal(make_space, name):
    space = make_space(name)
    assert run(space, 9) == run(space, 9) == run(space, 9, opened_again=6)


def test_first_trials_come_first_and_what_they_leave_open_is_sampled(make_space):
    parameters, _ = sampler_of(make_space("tpe")).propose([])
    assert parameters.items() >= {"learning_rate": 0.01, "optimizer": "sgd", "momentum": 0.6}.items()
    assert 0 <= parameters["weight_decay"] <= 0.1


@pytest.mark.parametrize("name", ["model", "tpe", "gp", "cmaes"])
def test_samplers_that_learn_come_to_propose_good_configurations(make_space, name):
    """The last third of 30 trials beats random search's by more than chance; most scores are those of short rungs."""
    space = make_space(name)
    learnt = statistics.mean(quality(trial.parameters) for trial in run(space, 30)[20:])
    chance = statistics.mean(quality(trial.parameters) for trial in run(make_space("random"), 60)[1:])
    assert learnt > chance + 0.15


def random_space(rng, sampler):
    """A space with batches that do not fit, conditions on them, and settings that make small data too few."""
    sizes = sorted({*rng.sample(range(6, 70), rng.randint(1, 4)), rng.choice([12, 24, 36])})
    images = sorted({*rng.sample(range(2, 13), rng.randint(1, 4)), rng.choice([2, 3, 4, 6])})
    of_gem, of_avg = images[: len(images) // 2 + 1], images[len(images) // 2 :]
    batch_size = rng.choice(
        [f"{sizes}", f"{{low: {sizes[0]}, high: {sizes[0] + 40}, log: {rng.choice(['true', 'no'])}}}"]
    )
    images_per_identity = rng.choice(
        [
            f"{images}",
            f"{{choices: {images}, when: {{pooling: gem}}}}",
            f"[{{choices: {of_gem}, when: {{pooling: gem}}}}, {{choices: {of_avg}, when: {{pooling: avg}}}}]",
            f"[{{choices: {images}, when: {{pooling: gem}}}}, {{low: 2, high: 8, when: {{pooling: avg}}}}]",
        ]
    )
    lines = [f"  batch_size: {batch_size}", f"  images_per_identity: {images_per_identity}", "  pooling: [avg, gem]"]
    lines += [
        "  pct_start: {low: 0.3, high: 0.5}",
        f"  dropout: {{low: 0, high: 0.5, when: {{batch_size: {sizes[0]}}}}}",
    ]
    rng.shuffle(lines)
    study = f"study: {{rungs: [3, 6], sampler: {sampler}}}"
    return "\n".join(["fixed: {backbone: resnet18, pretrained: none}", "search:", *lines, study])


@pytest.mark.parametrize("name", SAMPLERS)
def test_whatever_a_space_combines_every_proposal_can_be_trained_on_the_data(name, tmp_path):
    spaces, searched, left_out = 6 if name in ("gp", "model") else 24, 0, 0  # those take long
    for seed in range(spaces):
        rng = random.Random(seed)
        file = tmp_path / "space.yaml"
        file.write_text(random_space(rng, name))
        identities, of_each = rng.randint(3, 20), rng.randint(8, 20)
        data = TrainingData([Sample(f"{n}", n % identities, n % 2) for n in range(identities * of_each)], [], [])
        try:
            space, note = fit_to_data(read_space(file), data)
        except UserError as error:
            assert "space.yaml" in str(error) and "\n" not in str(error)
            continue
        searched, left_out = searched + 1, left_out + (note is not None)
        records, sampler = [], sampler_of(space)
        for number in range(10):
            parameters, notes = (sampler_of(space) if number == 7 else sampler).propose(records)
            check_training(space.config(parameters).changed(num_epochs=3), data)
            for parameter in space.parameters:
                if parameter.key in space.by_key(parameters):
                    assert parameter.contains(parameters[parameter.name])
            score = rng.random()
            records.append(record(number, parameters, {3: score, 6: score}, notes=notes))
    assert searched > spaces / 2 and left_out > spaces / 4


def test_what_optunas_sampler_is_shown_is_what_is_trained(tmp_path):
    """A batch size that cannot be trained is moved to the nearest, in the record and in what is learnt from."""
    file = tmp_path / "space.yaml"
    file.write_text(
        "search: {batch_size: {low: 30, high: 50}, dropout: {low: 0, high: 0.5}}\nstudy: {sampler: random}\n"
    )
    space, records = read_space(file), []
    sampler = sampler_of(space)
    for number in range(12):
        records.append(record(number, sampler.propose(records)[0], {1: 0.5}))
    sampler.propose(records)
    sizes = [row.params["batch_size"] for row in shown(sampler, 12)]
    assert sizes == [trial.parameters["batch_size"] for trial in records]
    assert set(sizes) <= {32, 36, 40, 44, 48} and len(set(sizes)) > 2


MARGINS = """\
fixed: {backbone: resnet18, pretrained: none}
search:
  normalize_features: [false, true]
  margin:
    - {choices: [0.8, 2.0, soft], when: {normalize_features: false}}
    - {low: 0.05, high: 0.6, when: {normalize_features: true}}
first_trials:
  - {normalize_features: true, margin: 0.3}
study: {trials: 12, sampler: NAME}
"""


@pytest.mark.parametrize("name", SAMPLERS)
def test_two_ranges_of_one_setting_are_searched_each_under_its_condition(name, tmp_path):
    (tmp_path / "space.yaml").write_text(MARGINS.replace("NAME", name))
    space = read_space(tmp_path / "space.yaml")
    study, sampler = Study(tmp_path / "study", space), sampler_of(space)
    for number in range(14):
        proposed, notes = (sampler_of(space) if number == 9 else sampler).propose(study.trials())
        margin = proposed["margin"]
        assert 0.05 <= margin <= 0.6 if proposed["normalize_features"] else margin in (0.8, 2.0, "soft")
        assert study.config(study.add(proposed, notes)).margin == margin
    assert study.trials()[0].parameters == {"normalize_features": True, "margin": 0.3}
    assert {trial.parameters["normalize_features"] for trial in study.trials()} == {True, False}
    assert [t.parameters for t in Study(tmp_path / "study").trials()] == [t.parameters for t in study.trials()]


def test_failed_configurations_are_shown_as_worse_than_all_others_and_faults_are_not_shown(make_space):
    sampler, records = sampler_of(make_space("tpe")), []
    for scores, state, kind in [
        ({1: 0.5, 3: 0.6}, TrialState.COMPLETE, None),
        ({1: 0.3, 3: 0.4}, TrialState.COMPLETE, None),
        ({}, TrialState.FAILED, Kind.DIVERGED),
        ({1: 0.9}, TrialState.FAILED, Kind.COLLAPSED),
        ({}, TrialState.FAILED, Kind.OUT_OF_MEMORY),
        ({}, TrialState.FAILED, Kind.WORKER_DIED),
    ]:
        proposed, notes = sampler.propose(records)
        cause = None if kind is None else Cause(kind, "said so")
        records.append(replace(record(len(records), proposed, scores, state, notes), cause=cause))
    sampler.propose(records)
    rows = shown(sampler, 6)
    assert [row.state.name for row in rows] == ["COMPLETE"] * 5 + ["FAIL"]
    good, worse, *bad = [row.values[0] for row in rows[:5]]
    assert 0.3 < worse < good - 0.05 and good < 0.6, "two scores are not believed to the letter"
    assert bad == pytest.approx([worse - (good - worse)] * 3) and rows[5].values is None


@pytest.mark.parametrize("name", ["model", "tpe", "gp"])
def test_samplers_learn_to_avoid_where_training_diverges(make_space, name):
    """Above a learning rate of 1e-2, a third of the space, every trial diverges; below, all are alike."""

    def diverged_of_last(name, trials, last):
        space, records, rng = make_space(name), [], random.Random(0)
        sampler = sampler_of(space)
        for number in range(trials):
            parameters, notes = sampler.propose(records)
            failed = parameters["learning_rate"] > 1e-2
            row = record(number, parameters, {} if failed else {1: 0.5 + 0.1 * rng.random()}, notes=notes)
            records.append(replace(row, state=TrialState.FAILED, cause=Cause(Kind.DIVERGED, "nan")) if failed else row)
        return sum(trial.state is TrialState.FAILED for trial in records[-last:]) / last

    assert diverged_of_last("random", 60, 60) > 0.2
    assert diverged_of_last(name, 40, 20) < 0.15


def test_running_and_failed_trials_do_not_disturb(make_space):
    space = make_space("gp")
    records = run(space, 6)
    records[2] = replace(records[2], state=TrialState.FAILED, scores={})
    records[3] = replace(records[3], state=TrialState.RUNNING, scores={})
    parameters, _ = sampler_of(space).propose(records)
    space.config(parameters)


FEW = """\
search: {margin: [0.1, 0.3, soft], label_smoothing: [0.0, 0.1], dropout: {low: 0.0, high: 0.5, step: 0.25}}
study: {trials: 100, rungs: [1, 3], sampler: NAME}
"""


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "cmaes"])
def test_every_configuration_of_a_small_space_is_proposed_once_and_then_none(name, tmp_path):
    (tmp_path / "space.yaml").write_text(FEW.replace("NAME", name))
    space, records, rng = read_space(tmp_path / "space.yaml"), [], random.Random(0)
    sampler = sampler_of(space)
    while (proposed := sampler.propose(records)) is not None and len(records) < 30:
        score = rng.random()
        records.append(record(len(records), proposed[0], {1: score, 3: score}, notes=proposed[1]))
    assert len(records) == 3 * 2 * 3 == len({key_of(trial.parameters) for trial in records})
    assert sampler_of(space).propose(records) is None


def test_what_runs_is_not_proposed_beside_itself(make_space):
    """Eight trials run at once, without a score: their places count as tried."""
    space = make_space("model")
    records = run(space, 12)
    for number in range(12, 20):
        parameters, notes = sampler_of(space).propose(records)
        records.append(record(number, parameters, {}, TrialState.RUNNING, notes))
    at_work = [trial.parameters for trial in records[12:]]
    assert len({key_of(parameters) for parameters in at_work}) == 8
    assert len({parameters["learning_rate"] for parameters in at_work}) > 4


def test_where_the_model_does_not_rank_tpe_stands_in(make_space, monkeypatch):
    space, rng = make_space("model"), random.Random(1)
    records = [replace(trial, scores={1: quality(trial.parameters)}) for trial in run(space, 30)]
    by_model = sampler_of(space).propose(records)
    assert by_model == sampler_of(space).propose(records) and by_model[1] == {}
    shuffled = [replace(trial, scores={1: rng.random()}) for trial in records]
    asked = []
    monkeypatch.setattr("tuning.decide.sampler.propose", lambda *_: asked.append("model") or ({}, {}))
    sampler_of(space).propose(records)
    assert asked == ["model"]
    sampler_of(space).propose(shuffled)
    assert asked == ["model"], "scores are by chance: no order is foretold"


@pytest.mark.parametrize(
    ("study", "order", "learns"),
    [
        ("", "order: first the default; then 4 configurations spread over the space; then from trial 5 on what the", 5),
        (
            "sampler: gp",
            "order: first the default; then 4 configurations drawn at random; then from trial 5 on what gp",
            5,
        ),
        (
            "sampler: nsga2",
            "order: first the default; then 7 configurations drawn at random; then from trial 8 on what",
            8,
        ),
        ("sampler: random", "order: first the default; then random, which learns nothing from scores", None),
        ("trials: 9", "order: first the default; then 4 configurations spread over the space; then from trial 5 on", 5),
        ("metrics: {val_mAP: max, parameters: min}", "order: first the default; then 4 configurations drawn at", 5),
    ],
)
def test_the_order_that_is_told_is_the_one_that_is_kept(tmp_path, study, order, learns):
    (tmp_path / "space.yaml").write_text(f"search: {{margin: {{low: 0.1, high: 1.0}}}}\nstudy: {{{study}}}\n")
    space = read_space(tmp_path / "space.yaml")
    assert describe_order(space).startswith(order) and learns_from(space) == learns
    more = replace(space, first_trials=({"margin": 0.2}, {"margin": 0.4}), warm_starts=({"margin": 0.5},))
    assert describe_order(more).startswith("order: first the default, 1 first trial, 1 warm start; then ")


def test_the_model_proposes_at_random_until_the_trial_that_is_told(tmp_path):
    """The scores do not matter before that trial, and do from it on."""
    (tmp_path / "space.yaml").write_text("search: {margin: {low: 0.1, high: 1.0}}\nstudy: {rungs: [2]}\n")
    space = read_space(tmp_path / "space.yaml")
    told = learns_from(space)

    def proposals(score):
        records, proposed = [], []
        for number in range(told + 3):
            parameters, notes = Sampler(space, Plan(rungs=(2,), promotion="restart")).propose(records)
            proposed.append(parameters)
            scores = {2: score(parameters["margin"])}
            records.append(TrialRecord(number, TrialState.COMPLETE, parameters, scores, notes=notes))
        return proposed

    rising, falling = proposals(lambda margin: margin), proposals(lambda margin: 1 - margin)
    assert rising[:told] == falling[:told] and rising[told:] != falling[told:]
