"""What a search asks of its teachers before it starts."""

import pytest

from data.sets.readers import read_train
from data.sets.splits import split_identities
from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import build_model, save_checkpoint
from reid_train.settings.config import TrainConfig
from reid_train.training.teacher import teacher_digest
from tests.commands import run_here
from tests.tiny_space import TINY_FIXED
from tuning.prepare.models import teachers_in
from tuning.record.study import Study
from tuning.space.read import read_space

SPACE = "fixed: {{pretrained: none}}\nsearch:\n  margin: [0.3, soft]\n  teacher: [{teachers}]\n{weights}"
ALL = "  kd_logits_weight: [0.0, 1.0]\n  kd_embedding_weight: {low: 0.0, high: 1.0}\n"


@pytest.fixture
def data(tiny_data):
    return split_identities(read_train(tiny_data), fraction=0.2, seed=0)


@pytest.fixture
def teacher(tmp_path, data, without_ray):
    def write(name, samples):
        identities = sorted({sample.identity for sample in samples})
        config = TrainConfig(backbone="resnet18", image_height=32, image_width=16)
        state = build_model(config, len(identities)).state_dict()
        save_checkpoint(tmp_path / name, state, config=config, epoch=1, metrics={}, identities=identities)
        return str(tmp_path / name)

    return write


def space(tmp_path, *teachers, weights=ALL):
    (tmp_path / "space.yaml").write_text(SPACE.format(teachers=", ".join(teachers), weights=weights))
    return read_space(tmp_path / "space.yaml")


def test_each_teacher_is_checked_and_gives_its_digest(tmp_path, data, teacher):
    good = teacher("good", data.train)
    assert teachers_in(space(tmp_path, "null", good), data) == teacher_digest(TrainConfig(teacher=good))
    for bad, message in (
        (str(tmp_path / "missing"), "no such checkpoint; train it first"),
        (teacher("leaky", [*data.train, *data.query]), "was trained on .* validation identities"),
        (teacher("ignorant", data.train[:-10]), "does not know .* training identities"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            teachers_in(space(tmp_path, good, bad), data)
        assert f"teacher={bad}: " in str(caught.value) and "\n" not in str(caught.value)
    # One whose scores no trial asks for need not know the identities.
    ignorant = str(tmp_path / "ignorant")
    assert teachers_in(
        space(tmp_path, ignorant, weights="  kd_logits_weight: [0.0]\n  kd_relation_weight: [1.0]\n"), data
    )


def test_the_check_is_made_in_a_process_of_its_own(tmp_path, data):
    with pytest.raises(UserError, match=f"teacher={tmp_path}/missing: no such checkpoint; train it first"):
        teachers_in(space(tmp_path, "null", str(tmp_path / "missing")), data)


def test_a_search_is_taught_and_goes_on_with_the_same_teacher_alone(tmp_path, data, tiny_data, teacher):
    good = teacher("good", data.train)
    file = tmp_path / "taught.yaml"
    file.write_text(
        f"{TINY_FIXED}  teacher: {good}\nsearch: {{kd_logits_weight: [0.5, 1.0]}}\nstudy: {{trials: 1, rungs: [2]}}\n"
    )
    command = ["--space", file, "--data-dir", tiny_data, "--results", tmp_path, "--cache-dir", tmp_path / "cache"]
    done = run_here("tuning.search", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    study = Study(tmp_path / "taught")
    assert study.facts["teachers"] == teacher_digest(TrainConfig(teacher=good))
    assert all(epoch.report.kd_loss > 0 for epoch in study.trial(0).reports)

    teacher("good", data.train)  # again, with other weights
    done = run_here("tuning.search", *command, "--trials", 2)
    assert done.returncode == 2 and "the teacher's weights was " in done.stderr, done.stderr


def test_without_teachers_nothing_is_asked(tmp_path, data):
    assert teachers_in(space(tmp_path, "null"), data) is None
