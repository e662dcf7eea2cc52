"""Search spaces: what they accept, and the one clear line for each thing that is wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.errors import UserError
from reid_train.settings.config import FIELD_NAMES, TrainConfig
from tuning.space.batches import fit_to_data
from tuning.space.parameter import Parameter
from tuning.space.plan import Plan
from tuning.space.read import NOT_SEARCHABLE, read_space
from tuning.space.settings import DEFAULT_TRIALS, RETIRED, StudySettings, parse_duration, show_duration
from tuning.space.space import SearchSpace

ROOT = Path(__file__).resolve().parents[3]
VALUES = {
    "image_height": [32, 64], "image_width": [32, 64], "batch_size": [32, 64], "images_per_identity": [4, 8],
    "backbone": ["resnet18", "resnet50"], "pretrained": ["none", "imagenet"], "margin": [0.3, "soft"],
    "max_grad_norm": [1.0, None], "moe_experts": [1], "moe_top_k": [1], "teacher": [None, "results/sample/best"],
    "freeze": ["none", "first_2"], "name_pattern": [None, r"(?P<identity>\d+)_"],
}  # fmt: skip
"""Choices for settings that take any text, and for those that must fit others."""


def space_from(tmp_path: Path, text: str, **arguments):
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return read_space(file, **arguments)


def values_of(field: str) -> list[Any] | dict[str, float]:
    """Choices or a range that the setting takes, by what its own field says of it."""
    schema = TrainConfig.model_json_schema()["properties"][field]
    kinds = [schema, *schema.get("anyOf", [])]
    names = [name for kind in kinds for name in kind.get("enum", [True, False] * (kind.get("type") == "boolean"))]
    if names:
        return names
    numbers = next(kind for kind in kinds if kind.get("type") in ("number", "integer"))
    low = numbers.get("minimum", numbers.get("exclusiveMinimum"))
    high = numbers.get("maximum", numbers.get("exclusiveMaximum", low + 1))
    ends = [low + share * (high - low) for share in (0.25, 0.5)]
    return dict(zip(("low", "high"), map(round, ends) if numbers["type"] == "integer" else ends, strict=True))


@pytest.mark.parametrize("field", FIELD_NAMES)
def test_every_setting_is_searchable_or_refused_with_a_reason(field, tmp_path):
    if field in NOT_SEARCHABLE:
        with pytest.raises(UserError, match=f"space.yaml:2: {field} cannot be searched: .*compared"):
            space_from(tmp_path, f"search:\n  {field}: [1, 2]\n")
        return
    spec = VALUES.get(field) or values_of(field)
    space = space_from(tmp_path, f"search:\n  {field}: {spec!r}\n".replace("None", "null").replace("True", "true"))
    (parameter,) = space.parameters
    for value in parameter.extremes():
        assert getattr(space.config({field: value}), field) == value


@pytest.mark.parametrize("name", ["sample", "veri", "market1501", "frozen"])
def test_shipped_spaces_are_valid(name):
    space = read_space(ROOT / "search_spaces" / f"{name}.yaml")
    assert space.parameters and min(Plan.of(space.study).rungs_of(space.base_config())) >= 4
    for trial in space.first_trials:
        assert set(trial) == {parameter.name for parameter in space.parameters}
    for value in ("true", "false"):
        read_space(ROOT / "search_spaces" / f"{name}.yaml", [f"normalize_features={value}"])


@pytest.mark.parametrize(("name", "plain"), [("kd", {"distills": False}), ("moe", {"moe_experts": 1})])
def test_spaces_of_a_choice_compare_with_the_model_without_it(name, plain):
    space = read_space(ROOT / "search_spaces" / f"{name}.yaml")
    base, *others = [space.config(trial) for trial in space.first_trials]
    for setting, value in plain.items():
        assert getattr(base, setting) == value and all(getattr(other, setting) != value for other in others)
    assert space.default == space.first_trials[0]


def test_a_range_is_checked_where_its_condition_holds(tmp_path):
    """moe_top_k=4 is right with 8 experts, though not with the default's one, and wrong with 2."""
    text = "fixed: {{fc_layers: 1}}\nsearch:\n  moe_experts: [1, {0}]\n"
    text += "  moe_top_k: {{choices: [4], when: {{moe_experts: {0}}}}}\n"
    assert space_from(tmp_path, text.format(8)).parameters[1].choices == (4,)
    with pytest.raises(UserError, match=r"space\.yaml:4: moe_top_k=4 is more than moe_experts=2"):
        space_from(tmp_path, text.format(2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("serach:\n  margin: [0.1]\n", "space.yaml:1: unknown section serach; did you mean search?"),
        ("search:\n  marginn: [0.1]\n", "space.yaml:2: unknown setting marginn; did you mean margin?"),
        ("fixed:\n  lerning_rate: 1\n", "space.yaml:2: unknown setting lerning_rate; did you mean learning_rate?"),
        ("fixed:\n  batch_size: many\n", "space.yaml:2: batch_size='many' should be a valid integer"),
        ("search:\n  margin: {low: 1, high: 0.1}\n", "space.yaml:2: margin has low=1 and high=0.1: low must be below"),
        ("search:\n  margin: {low: 1, high: 1}\n", "low must be below high"),
        (
            "search:\n  weight_decay: {low: 0, high: 0.1, log: true}\n",
            "space.yaml:2: weight_decay is searched on a log scale from low=0: low must be above 0",
        ),
        (
            "search:\n  label_smoothing: {low: 0, high: 1.5}\n",
            "space.yaml:2: label_smoothing=1.5 should be less than 1",
        ),
        ("search:\n  backbone: {low: 1, high: 2}\n", "space.yaml:2: backbone takes names, not numbers: give choices"),
        ("search:\n  batch_size: {low: 8.5, high: 16}\n", "space.yaml:2: batch_size takes whole numbers"),
        ("search:\n  margin: {low: 0.1, hgih: 1}\n", "space.yaml:2: unknown key hgih of margin; did you mean high?"),
        ("search:\n  margin: 0.3\n", "space.yaml:2: margin should be a list of choices or"),
        ("search:\n  margin: [0.3, 0.3]\n", "choices of margin should be a list of different values"),
        ("search:\n  margin: [0.3]\nfixed:\n  margin: 0.2\n", "space.yaml:2: margin is searched and also fixed"),
        (
            "search:\n  batch_size: [34, 30]\n",
            "space.yaml:2: batch_size=34 is not a multiple of images_per_identity=4; nearest: 32",
        ),
        (
            "search:\n  pooling: [avg, gem]\n  images_per_identity: {choices: [5, 6], when: {pooling: gem}}\n",
            "space.yaml:3: batch_size=32 is not a multiple of images_per_identity=5; nearest: 30",
        ),
        ("search:\n  batch_size: [32, none]\n", "space.yaml:2: batch_size='none' should be a valid integer"),
        ("search:\n  images_per_identity: [4, '8']\n", "space.yaml:2: images_per_identity takes whole numbers"),
        (
            "search:\n  batch_size: [32, 36]\n  images_per_identity: [4, 8]\n"
            "first_trials:\n  - {batch_size: 36, images_per_identity: 8}\n",
            "space.yaml:5: batch_size=36 is not a multiple of images_per_identity=8; nearest: 32",
        ),
        (
            "search:\n  pooling: [avg, gem]\n  margin:\n    - {low: 0.1, high: 1, when: {pooling: gem}}\n"
            "    - {low: 0.2, high: 3, when: {pooling: [avg, gem]}}\n",
            "space.yaml:5: two ranges of margin may count at once; give each a `when` that rules the other out",
        ),
        (
            "search:\n  margin: [{low: 0.1, high: 1}, {low: 0.2, high: 3}]\n",
            "space.yaml:2: two ranges of margin may count at once",
        ),
        (
            "search:\n  pooling: [avg, gem]\n  margin:\n    - {low: 0.1, high: 1, when: {pooling: gem}}\n"
            "    - {low: 0.2, hihg: 3, when: {pooling: avg}}\n",
            "space.yaml:5: unknown key hihg of margin; did you mean high?",
        ),
        (
            "search:\n  pooling: [avg, gem]\n  margin:\n    - {low: 0.1, high: 1, when: {pooling: gem}}\n"
            "    - {low: 2, high: 3, when: {pooling: avg}}\nfirst_trials:\n  - {pooling: gem, margin: 2.5}\n",
            "space.yaml:7: margin=2.5 of a first trial lies outside its range",
        ),
        ("study:\n  rungs: [8, 4]\n", "space.yaml:2: study.rungs should be epochs in increasing order"),
        (
            "study:\n  rungs: automatic\n",
            "space.yaml:2: study.rungs should be epochs in increasing order, e.g. [4, 8], or auto",
        ),
        ("study:\n  trails: 3\n", "space.yaml:2: study.trails is no study setting; did you mean trials?"),
        ("study:\n  metrics: val_mAP\n", "space.yaml:2: study.metrics should be a mapping, e.g. {val_mAP: max,"),
        ("study: {metrics: {latency_ms: min}}\n", "study.metrics should have exactly one of val_mAP, val_rank1"),
        ("study: {metrics: {val_mAP: max, latency: min}}\n", "unknown metric latency; did you mean latency_ms?"),
        ("study: {metrics: {val_mAP: max, latency_ms: max}}\n", "study.metrics should have latency_ms: min"),
        ("study: {pick: {latency_ms: 5}}\n", "study.pick has a limit for latency_ms, which is not among the costs"),
        ("study: {pick: best}\n", "study.pick should be knee, or limits of costs, e.g. {latency_ms: 5}"),
        (
            "study: {metrics: {val_mAP: max, parameters: min}, pick: {parameters: -1}}\n",
            "study.pick should have a number above 0 for parameters",
        ),
        (
            "study: {metrics: {val_mAP: max, parameters: min}, sampler: cmaes}\n",
            "study.sampler cmaes knows one metric only; take tpe",
        ),
        ("study: {metric: val_mAP}\n", "study.metric is no study setting; did you mean metrics?"),
        ("study:\n  time_budget: soon\n", "space.yaml:2: study.time_budget time budget 'soon' should be"),
        ("fixed: {num_epochs: 3}\nstudy: {rungs: [4]}\n", "study.rungs sets the epochs; remove num_epochs or rungs"),
        ("search:\n  momentum: {low: 0, high: 0.9, when: {optimiser: sgd}}\n", "did you mean optimizer?"),
        (
            "search:\n  optimizer: [adamw, sgd]\n  momentum: {low: 0, high: 0.9, when: {optimizer: adam}}\n",
            "space.yaml:3: momentum waits for optimizer='adam', but optimizer is not among what is searched",
        ),
        (
            "search:\n  momentum: {low: 0, high: 0.9, when: {optimizer: sgd}}\n",
            "space.yaml:2: momentum waits for optimizer='sgd', but optimizer is 'adamw' in every trial",
        ),
        (
            "search:\n  margin: {low: 0.1, high: 0.3, step: 0.5}\n",
            "space.yaml:2: step=0.5 of margin is larger than its range from 0.1 to 0.3",
        ),
        ("fixed: {batch_size: 32}\n", "space.yaml: nothing to search"),
        ("first_trials:\n  - {margin: 0.3}\n", "space.yaml:2: margin of a first trial is not searched"),
        (
            "search:\n  margin: [0.1]\nfirst_trials:\n  - {margin: 0.3}\n",
            "space.yaml:4: margin=0.3 of a first trial lies outside its range",
        ),
        (
            "search:\n  batch_size: {low: 16, high: 48, step: 16}\nfirst_trials:\n  - {batch_size: 20}\n",
            "space.yaml:4: batch_size=20 of a first trial lies outside its range",
        ),
        (
            "search:\n  randaugment_magnitude: {low: 0, high: 9}\nfirst_trials:\n  - {randaugment_magnitude: 2.5}\n",
            "space.yaml:4: randaugment_magnitude=2.5 of a first trial lies outside its range",
        ),
        ("- 1\n- 2\n", "space.yaml:1: expected `name: value` lines"),
        ("search: [\n", "not valid YAML"),
        ("search:\n  margin: [0.1]\n  margin: [0.2]\n", "space.yaml:3: margin is set twice, first on line 2"),
    ],
)
def test_what_is_wrong_gives_one_line_with_file_and_line(text, message, tmp_path):
    with pytest.raises(UserError) as caught:
        space_from(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path):
    with pytest.raises(UserError) as caught:
        space_from(tmp_path, "fixed:\n  batch_size: 0\n  learning_rate: -1\n")
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == [
        f"{tmp_path}/space.yaml:2:",
        f"{tmp_path}/space.yaml:3:",
    ]


def test_numbers_without_a_decimal_point_are_numbers(tmp_path):
    (parameter,) = space_from(tmp_path, "search:\n  learning_rate: {low: 1e-5, high: 1E-2, log: true}\n").parameters
    assert (parameter.low, parameter.high, parameter.log) == (1e-5, 1e-2, True)


def test_conditions_follow_what_they_depend_on_wherever_they_stand(tmp_path):
    text = "search:\n  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}\n  optimizer: [adamw, sgd]\n"
    first, second = space_from(tmp_path, text).parameters
    assert (first.name, second.name) == ("optimizer", "momentum")
    assert second.applies({"optimizer": "sgd"}) and not second.applies({"optimizer": "adamw"})


def test_conditions_that_wait_for_each_other_are_refused(tmp_path):
    text = "search:\n  momentum: {choices: [0.9], when: {dropout: 0}}\n  dropout: {choices: [0], when: {momentum: 1}}\n"
    with pytest.raises(UserError, match="wait for each other"):
        space_from(tmp_path, text)


def test_what_is_set_on_the_command_line_is_no_longer_searched(tmp_path):
    text = "search:\n  margin: [0.1, 0.3]\n  dropout: [0, 0.1]\nfirst_trials:\n  - {margin: 0.1, dropout: 0}\n"
    space = space_from(tmp_path, text, assignments=["margin=0.7"], data_dir="/elsewhere")
    assert [parameter.name for parameter in space.parameters] == ["dropout"]
    assert space.fixed == {"margin": 0.7, "data_dir": "/elsewhere"}
    assert space.first_trials == ({"dropout": 0},)


def test_fewer_identities_than_a_batch_needs_is_an_error_that_says_what_fits(tmp_path):
    space = space_from(tmp_path, "search:\n  batch_size: [48, 64]\nfixed: {pct_start: 0.5}\n")
    data = TrainingData([Sample(f"{i}", i % 8, i % 2) for i in range(80)], [], [])
    message = r"space.yaml:2: batch_size=48 .* needs 12 identities a batch, the training set has 8.*held out"
    with pytest.raises(UserError, match=message):
        fit_to_data(space, data)


def test_batches_that_cannot_be_trained_are_left_out_with_a_note(tmp_path):
    space = space_from(tmp_path, "search:\n  batch_size: [32, 30, 64]\nfixed: {pct_start: 0.5}\n")
    assert set(space.batches) == {(32, 4), (64, 4)}
    data = TrainingData([Sample(f"{i}", i % 8, i % 2) for i in range(80)], [], [])
    fitted, note = fit_to_data(space, data)
    assert fitted.batches == ((32, 4),) and fitted.largest("batch_size") == 32
    assert note.startswith(f"note: {tmp_path}/space.yaml:2: 2 of 3 combinations of batch_size and images_per_identity ")
    assert "needs 16 identities a batch, the training set has 8" in note and "\n" not in note
    plenty = TrainingData([Sample(f"{i}", i % 40, i % 2) for i in range(800)], [], [])
    assert fit_to_data(space_from(tmp_path, "search:\n  batch_size: [32, 64]\n"), plenty)[1] is None


ALTERNATIVES = """\
search:
  normalize_features: [false, true]
  margin:
    - {choices: [0.1, 1.0, soft], when: {normalize_features: false}}
    - {low: 0.05, high: 0.6, when: {normalize_features: true}}
first_trials:
  - {normalize_features: false, margin: 1.0}
"""


def test_a_setting_may_have_two_ranges_under_conditions_that_exclude_each_other(tmp_path):
    space = space_from(tmp_path, ALTERNATIVES)
    _, raw, unit = space.parameters
    assert (raw.name, unit.name) == ("margin", "margin") and raw.key != unit.key
    assert space.by_key({"normalize_features": True, "margin": 0.1}) == {"normalize_features": True, unit.key: 0.1}
    assert space.by_key({"normalize_features": False, "margin": 0.1}) == {"normalize_features": False, raw.key: 0.1}


@pytest.mark.parametrize(
    ("value", "kind", "trials"), [("true", "float", {}), ("false", "categorical", {"margin": 1.0})]
)
def test_of_two_ranges_the_command_line_leaves_the_one_that_counts(value, kind, trials, tmp_path):
    space = space_from(tmp_path, ALTERNATIVES, assignments=[f"normalize_features={value}"])
    (margin,) = space.parameters
    assert (margin.key, margin.kind) == ("margin", kind)
    assert space.first_trials == (trials,)


SPACES = [*sorted((ROOT / "search_spaces").glob("*.yaml")), *sorted((ROOT / "tests/benchmarks").glob("**/*.yaml"))]
CONDITIONAL = """\
fixed: {data_dir: elsewhere, label_smoothing: 0.1, max_grad_norm: null}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  optimizer: [adamw, sgd]
  momentum: {low: 0.5, high: 0.9, step: 0.1, when: {optimizer: [sgd]}}
  normalize_features: [false, true]
  margin:
    - {choices: [0.1, 1, soft], when: {normalize_features: false}}
    - {low: 0.05, high: 0.6, when: {normalize_features: true, optimizer: [adamw, sgd]}}
  batch_size: {low: 16, high: 64, step: 16}
  images_per_identity: [4, null]
first_trials:
  - {normalize_features: false, margin: soft, batch_size: 32, images_per_identity: null}
  - {learning_rate: 0.01}
study:
  metrics: {val_mINP: max, latency_ms: min, parameters: min}
  pick: {latency_ms: 5}
  rungs: [2, 4]
  time_budget: 1.5h
  warm_start: [brief]
sample_data: {layout: market1501, identities: 20}
"""


def kept(space):
    """The space as a study reads it again."""
    return SearchSpace.from_record(json.loads(json.dumps(space.to_record())), "results/study")


@pytest.mark.parametrize("text", [CONDITIONAL, ALTERNATIVES, "search:\n  num_epochs: [10, 20]\nstudy: {rungs: null}\n"])
def test_a_space_is_kept_without_loss(text, tmp_path):
    space = space_from(tmp_path, text)
    space = replace(space, warm_starts=({"learning_rate": 0.02, "optimizer": "adamw"},))
    assert kept(space) == space and kept(space).identity() == space.identity()
    assert kept(space).default == space.default and kept(space).base_config() == space.base_config()
    for one, other in zip(kept(space).parameters, space.parameters, strict=True):
        assert repr(one) == repr(other), "whole numbers stay whole"


@pytest.mark.parametrize("file", [pytest.param(file, id=file.name) for file in SPACES if "search:" in file.read_text()])
def test_every_space_of_this_project_is_kept_without_loss(file):
    space = read_space(file)
    assert kept(space) == space and kept(space).identity() == space.identity()


@pytest.mark.parametrize(
    "change",
    [
        {"warm_starts": ({"learning_rate": 0.02},)},
        {"first_trials": ()},
        {"batches": ()},
        {"sample_data": None},
        {"name": "other"},
    ],
)
def test_spaces_that_differ_are_kept_as_different_ones(change, tmp_path):
    space = space_from(tmp_path, CONDITIONAL)
    assert kept(replace(space, **change)) != space


def test_the_identity_leaves_out_what_changes_no_trial(tmp_path):
    space = space_from(tmp_path, CONDITIONAL)
    elsewhere = replace(space, fixed={**space.fixed, "data_dir": "/mnt", "on_bad_image": "skip"}, sample_data=None)
    budgets = {"trials": 99, "epochs": 7, "time_budget": None, "stop": "auto"}
    longer = replace(elsewhere, study=space.study.model_copy(update=budgets))
    assert longer.identity() == space.identity()
    assert json.loads(json.dumps(space.identity())) == space.identity(), "it is read again as it was"


@pytest.mark.parametrize("name", RETIRED)
def test_a_setting_that_is_no_more_is_told_with_its_line_and_why(name, tmp_path):
    with pytest.raises(UserError) as refused:
        space_from(tmp_path, f"search:\n  margin: [0.1, 0.3]\nstudy:\n  {name}: 1\n")
    assert str(refused.value).endswith(f"space.yaml:4: study.{name} is a setting no more: {RETIRED[name]}; remove it")


def test_a_record_that_has_settings_which_are_no_more_is_read_without_them(tmp_path):
    space = space_from(tmp_path, CONDITIONAL)
    record = json.loads(json.dumps(space.to_record()))
    record["study"] |= dict.fromkeys(RETIRED, 2)
    assert SearchSpace.from_record(record, "results/study") == space


@pytest.mark.parametrize(
    ("given", "trials"),
    [
        ({}, DEFAULT_TRIALS),
        ({"trials": 7}, 7),
        ({"epochs": 7}, None),
        ({"time_budget": "2h"}, None),
        ({"time_budget": "2h", "trials": 7}, 7),
    ],
)
def test_without_any_budget_a_search_tries_so_many_configurations(given, trials):
    assert StudySettings(**given).most_trials == trials


@pytest.mark.parametrize("wrong", ["epochs: 0", "trials: 0", "stop: never", "sampler: best", "rungs: [4, 2]"])
def test_a_study_setting_that_is_wrong_is_told_with_its_line(wrong, tmp_path):
    with pytest.raises(UserError, match=rf"space\.yaml:4: study\.{wrong.split(':')[0]} "):
        space_from(tmp_path, f"search:\n  margin: [0.1, 0.3]\nstudy:\n  {wrong}\n")


def test_steps_end_on_the_last_value_that_the_step_reaches(tmp_path):
    (parameter,) = space_from(tmp_path, "search:\n  batch_size: {low: 16, high: 30, step: 8}\n").parameters
    assert parameter.values() == (16, 24)
    assert isinstance(parameter, Parameter)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("45m", 2700), ("1.5h", 5400), ("1d", 86400)])
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("seconds", [1, 59, 60, 90, 2700, 3600, 5400, 86400, 12.5])
def test_durations_are_shown_as_they_are_read(seconds):
    assert parse_duration(show_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "0", "2 weeks", "-1h", "h", "9" * 309])
def test_durations_that_are_none(text):
    with pytest.raises(UserError, match="should be a number above 0 with s, m, h or d"):
        parse_duration(text)


def test_a_condition_on_billions_of_values_is_checked_at_once(tmp_path):
    file = tmp_path / "space.yaml"
    search = "seed: {low: 0, high: 2147483647}, batch_size: {choices: [16, 32], when: {seed: [5, 7]}}"
    file.write_text(f"fixed: {{images_per_identity: 8}}\nsearch: {{{search}}}\n")
    assert read_space(file).batches == ((32, 8), (16, 8))
    file.write_text(file.read_text().replace("identity: 8", "identity: 5"))
    with pytest.raises(UserError, match="batch_size=32 is not a multiple of images_per_identity=5"):
        read_space(file)


def test_a_schedule_that_is_too_short_for_its_warm_up_is_told_at_the_line_of_pct_start(tmp_path):
    few = TrainingData([Sample(f"{n}", n % 20, n % 2) for n in range(64)], [], [])
    space = space_from(tmp_path, "search:\n  margin: [0.1, 0.3]\nfixed:\n  num_epochs: 1\n  pct_start: 0.1\n")
    with pytest.raises(UserError, match=r"space\.yaml:5: pct_start=0\.1 of 2 steps"):
        fit_to_data(space, few)


def test_defaults_that_the_space_leaves_open_adapt_to_the_data_and_say_so(tmp_path):
    """The same 2 steps as above, but nobody has set pct_start; and 3 identities, where nobody has set the batch."""
    few = TrainingData([Sample(f"{n}", n % 20, n % 2) for n in range(64)], [], [])
    space = space_from(tmp_path, "search:\n  margin: [0.1, 0.3]\nfixed: {num_epochs: 1, batch_size: 16}\n")
    fitted, note = fit_to_data(space, few)
    assert note == "note: pct_start: 0.5 in place of the default 0.1, for 2 warm-up steps of 4 in the shortest schedule"
    assert "pct_start" not in fitted.config({"margin": 0.1}).model_fields_set
    fewer = TrainingData([Sample(f"{n}", n % 3, n % 2) for n in range(640)], [], [])
    fitted, note = fit_to_data(space_from(tmp_path, "search:\n  margin: [0.1, 0.3]\n"), fewer)
    assert fitted.config({"margin": 0.1}).images_per_identity == 16 and fitted.batches == ((32, 16),)
    assert note.startswith("note: images_per_identity: 16 in place of the default 4")
    assert SearchSpace.from_record(fitted.to_record(), "x").config({"margin": 0.1}).images_per_identity == 16
