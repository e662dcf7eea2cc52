"""What a search asks of its teachers before it starts."""

import pytest

from data.sets.readers import read_train
from data.sets.splits import split_identities
from data.system.errors import UserError
from reid_train.checkpoint import build_model, save_checkpoint
from reid_train.config import TrainConfig
from reid_train.model.backbones import BACKBONES
from reid_train.teacher import teacher_digest
from tests.narrow_resnet import NarrowResNet
from tuning.prepare.models import teachers_in
from tuning.space.read import read_space

SPACE = "fixed: {{pretrained: none}}\nsearch:\n  margin: [0.3, soft]\n  teacher: [{teachers}]\n{weights}"
ALL = "  kd_logits_weight: [0.0, 1.0]\n  kd_embedding_weight: {low: 0.0, high: 1.0}\n"


@pytest.fixture
def data(tiny_data):
    return split_identities(read_train(tiny_data), fraction=0.2, seed=0)


@pytest.fixture
def teacher(tmp_path, data, monkeypatch):
    monkeypatch.setitem(BACKBONES, "resnet18", (NarrowResNet, "", 64))

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


def test_without_teachers_nothing_is_asked(tmp_path, data):
    assert teachers_in(space(tmp_path, "null"), data) is None
