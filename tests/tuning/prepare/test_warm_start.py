"""Warm starts: what becomes of recipes and of earlier studies' best, once, and never with their scores."""

import pytest
import torch

from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import build_model
from reid_train.objective.weighted_sum import Objective
from reid_train.settings.config import read_config
from reid_train.settings.file import read_settings
from reid_train.training.optim import build_optimizer
from tests.reports import epoch_report
from tuning.decide.pareto import best_trials
from tuning.decide.sampler import Sampler
from tuning.prepare.warm_start import RECIPES, warm_started
from tuning.record.cause import Cause, Kind
from tuning.record.study import Study
from tuning.record.trial import TrialState
from tuning.space.read import read_space

NAMES = sorted(file.stem for file in RECIPES.glob("*.yaml"))
EARLIER = """\
fixed: {backbone: resnet18, pretrained: none, weight_decay: 0.02}
search:
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  optimizer: [adamw, sgd]
  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}
study: {trials: 8, rungs: [2, 4]}
"""
LATER = """\
fixed: {backbone: resnet18, pretrained: none}
search:
  learning_rate: {low: 1e-3, high: 5e-2, log: true}
  weight_decay: {low: 0.0, high: 0.01}
  optimizer: [adamw, sgd]
  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}
study: {trials: 8, rungs: [2, 4]}
"""


@pytest.fixture
def make_space(tmp_path):
    def make(text):
        file = tmp_path / "space.yaml"
        file.write_text(text)
        return read_space(file)

    return make


@pytest.fixture
def earlier(tmp_path, make_space):
    """Five trials: scores 0.1 to 0.4 at the top, the best of which is over the later space's range; one failed."""
    study = Study(tmp_path / "earlier", make_space(EARLIER))
    for rate, score in ((2e-4, 0.3), (3e-3, 0.1), (8e-2, 0.4), (4e-3, 0.2), (5e-3, None)):
        add(study, {"learning_rate": rate, "optimizer": "sgd", "momentum": 0.6}, score)
    return study


def add(study, parameters, score):
    number = study.add(parameters)
    for rung in (2, 4):
        study.record(number, rung, epoch_report(rung, val_mAP=0.9 if score is None else score))
    if score is None:
        study.finish(number, TrialState.FAILED, Cause(Kind.ERROR, "RuntimeError: a fault"))
    else:
        study.finish(number, TrialState.COMPLETE)


@pytest.mark.parametrize(
    ("name", "size", "epochs", "places", "rate", "other"),  # P x K
    [
        ("brief", (256, 256), 50, (8, 4), 1e-3, {"weight_decay": 1e-4, "pct_start": 0.1, "margin": 0.3}),
        ("strong_baseline", (256, 128), 120, (16, 4), 3.5e-4, {"weight_decay": 5e-4, "erasing_probability": 0.5}),
        ("sbs", (384, 128), 60, (4, 16), 3.5e-4, {"margin": "soft", "pooling": "gem", "optimizer": "adamw"}),
        ("sbs_veri", (256, 256), 60, (4, 16), 0.01, {"backbone": "resnet50_ibn", "margin": "soft", "optimizer": "sgd"}),
        ("voc_reid", (320, 320), 50, (4, 16), 3.5e-4, {"backbone": "resnet50_ibn", "pooling": "gem", "margin": 0.3}),
        ("mbr", (256, 256), 130, (6, 8), 1e-4, {"backbone": "resnet50_ibn", "margin": 0.1, "ce_weight": 0.6}),
    ],
)
def test_a_recipe_is_what_was_published(name, size, epochs, places, rate, other):
    config = read_config(str(RECIPES / f"{name}.yaml"))
    assert (config.image_height, config.image_width, config.num_epochs) == (*size, epochs)
    assert (config.batch_size // config.images_per_identity, config.images_per_identity) == places
    assert config.learning_rate == rate
    assert {key: getattr(config, key) for key in other} == other


def test_values_are_clipped_into_ranges_left_open_where_no_choice_and_what_differs_is_named(make_space):
    space = make_space(
        "fixed: {image_height: 256, image_width: 128, crop_scale: 1.0, label_smoothing: 0.2}\n"
        "search:\n  learning_rate: {low: 1e-3, high: 1e-2}\n  batch_size: {low: 16, high: 48, step: 16}\n"
        "  margin: [0.1, soft]\n  metric_weight: [1, 2]\n  erasing_probability: {low: 0, high: 0.7}\n"
        "study: {warm_start: [strong_baseline]}\n"
    )
    space, (line,) = warm_started(space, [])
    expected = {"learning_rate": 1e-3, "batch_size": 48, "metric_weight": 1, "erasing_probability": 0.5}
    assert space.warm_starts == (expected,)
    assert line.startswith("warm start strong_baseline: ")
    for remark in (
        "learning_rate 0.00035 becomes 0.001", "batch_size 64 becomes 48", "margin 0.3 is no choice here",
        "weight_decay 0.0001 instead of 0.0005", "randaugment_magnitude 9 instead of 0",
        "label_smoothing 0.2 instead of 0.1",
    ):  # fmt: skip
        assert remark in line
    assert "image" not in line and "erasing" not in line and "num_epochs" not in line


def test_the_same_configuration_is_tried_once(make_space):
    text = (
        "search:\n  margin: [0.1, 0.3]\n  optimizer: [adamw, sgd]\n"
        "  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}\n"
        "first_trials:\n  - {margin: 0.3, optimizer: adamw, momentum: 0.6}\n"
        "study: {warm_start: [brief, mbr, strong_baseline, mbr]}\n"
    )
    space, lines = warm_started(make_space(text), [])
    assert space.warm_starts == ({"margin": 0.1, "optimizer": "adamw"},)
    assert ["tried once" in line for line in lines] == [True, False, True, True]


def test_the_best_of_an_earlier_study_come_first_without_their_scores(tmp_path, make_space, earlier):
    space, lines = warm_started(make_space(LATER), [earlier.folder])
    study = Study(tmp_path / "later", space)
    assert study.trials() == []
    sampler = Sampler(study.space, study.plan)
    study.add(*sampler.propose([]))
    assert study.trial(0).parameters == space.default
    best = [t for t in best_trials(earlier) if t.state is not TrialState.FAILED][:3]
    assert best[0].number == 2
    for rate in (min(max(trial.parameters["learning_rate"], 1e-3), 5e-2) for trial in best):  # clipped
        parameters, notes = sampler.propose(study.trials())
        expected = {"learning_rate": rate, "weight_decay": 0.01, "optimizer": "sgd", "momentum": 0.6}
        assert parameters == pytest.approx(expected)
        assert study.trial(study.add(parameters, notes)).scores == {}
    parameters, _ = sampler.propose(study.trials())
    assert parameters["learning_rate"] not in (5e-2, 1e-3, 4e-3, 3e-3, 5e-3)
    assert not any(row.values for row in sampler._shown.study.get_trials())
    assert len(lines) == 4 and f"{earlier.folder}, trial 2: learning_rate 0.08 becomes 0.05" in lines[0]


def test_warm_starts_belong_to_a_study_once_it_has_begun(tmp_path, make_space, earlier):
    space, _ = warm_started(make_space(LATER), [earlier.folder])
    begun = Study(tmp_path / "later", space).space.warm_starts
    add(earlier, {"learning_rate": 2e-2, "optimizer": "adamw"}, 0.9)  # meanwhile the earlier one goes on
    changed, _ = warm_started(make_space(LATER), [earlier.folder])
    assert changed.warm_starts != begun
    assert Study(tmp_path / "later", changed).space.warm_starts == begun
    again = Study(tmp_path / "later", make_space(LATER))  # without the option
    assert again.space.warm_starts == begun and len(begun) == 3


def test_other_recipes_make_another_space(tmp_path, make_space):
    Study(tmp_path / "study", make_space(LATER))
    with pytest.raises(UserError, match="warm_start was None, is now"):
        Study(tmp_path / "study", make_space(LATER.replace("trials: 8", "trials: 8, warm_start: [brief]")))


@pytest.mark.parametrize(
    ("text", "message"),
    [("warm_start: [brief,\n    sbss]", "space.yaml:5: 'sbss' is no recipe; there are brief, mbr, sbs, sbs_veri,"),
     ("warm_start: brief", "space.yaml:4: study.warm_start should be a list of recipes, e.g. [brief, sbs]")],
)  # fmt: skip
def test_what_is_no_recipe_is_told_with_its_line_and_the_right_ones(text, message, make_space):
    with pytest.raises(UserError) as caught:
        warm_started(make_space(f"search:\n  margin: [0.1, 0.3]\nstudy:\n  {text}\n"), [])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_a_study_or_without_scores_is_told(tmp_path, make_space):
    with pytest.raises(UserError, match="nothing: holds no study"):
        warm_started(make_space(LATER), [tmp_path / "nothing"])
    assert not (tmp_path / "nothing").exists()
    add(Study(tmp_path / "empty", make_space(EARLIER)), {"learning_rate": 5e-3, "optimizer": "adamw"}, None)
    with pytest.raises(UserError, match="empty: none of its trials ended a schedule well"):
        warm_started(make_space(LATER), [tmp_path / "empty"])


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_builds_and_takes_a_step(name):
    """With its own backbone, losses and optimizer; the pictures are small, and what it starts from is random."""
    published = read_config(str(RECIPES / f"{name}.yaml"))
    config = published.changed(image_height=32, image_width=32, batch_size=4, images_per_identity=2, pretrained="none")
    torch.manual_seed(0)
    model = build_model(config, identities=2).train()
    optimizer = build_optimizer(model, config)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    step = Objective(config)(model, model(images), torch.tensor([0, 0, 1, 1]))
    step.loss.backward()
    before = [weight.detach().clone() for weight in model.parameters()]
    optimizer.step()
    learned = [weight for weight in model.parameters() if weight.requires_grad]
    assert step.figures.isfinite().all() and all(weight.isfinite().all() for weight in model.parameters())
    changed = sum(not torch.equal(was, weight) for was, weight in zip(before, model.parameters(), strict=True))
    assert changed > 0.5 * len(learned)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_states_all_that_the_others_state_so_that_none_rests_on_defaults(name):
    stated, brief = (set(read_settings(RECIPES / f"{recipe}.yaml").values) for recipe in (name, "brief"))
    assert stated - {"momentum"} == brief and ("momentum" in stated) == (name == "sbs_veri")
    text = (RECIPES / f"{name}.yaml").read_text()
    assert name == "brief" or ("mAP" in text.split("image_height")[0] and "There" in text)


def test_every_recipe_can_be_tried_whole(make_space):
    space = make_space(f"search:\n  learning_rate: {{low: 1e-6, high: 1}}\nstudy: {{warm_start: {NAMES}}}\n")
    assert {start["learning_rate"] for start in warm_started(space, [])[0].warm_starts} == {1e-4, 3.5e-4, 1e-3, 1e-2}
