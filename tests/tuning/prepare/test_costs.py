"""What models cost, against published numbers; and the architectures of a space, counted by hand."""

import platform

import pytest

from data.system.errors import UserError
from reid_train.inference.cost import latency_ms, parameters_and_width
from reid_train.model.settings import ModelSettings
from reid_train.settings.config import ARCHITECTURE, TrainConfig
from tuning.prepare.costs import MOST_ARCHITECTURES, architectures, describe_prices
from tuning.space.read import read_space


@pytest.fixture
def make_space(tmp_path):
    def make(search, study="study: {metrics: {val_mAP: max, latency_ms: min}}"):
        file = tmp_path / "space.yaml"
        file.write_text(f"search:\n  learning_rate: [0.1, 0.2]\n{search}{study}\n")
        return read_space(file)

    return make


def test_parameters_are_torchvisions_without_its_classifier():
    """ResNet-50 has 25,557,032 weights, 2,049,000 of them in its classifier; the BNNeck adds 2 x 2,048."""
    costs = parameters_and_width(TrainConfig(pretrained="none"))
    assert costs == {"parameters": 25_557_032 - 2_049_000 + 2 * 2048, "embedding_width": 2048}
    one_layer = parameters_and_width(TrainConfig(backbone="resnet18", fc_layers=1, fc_width=64))
    # 11,689,512 weights, 513,000 of them in the classifier.
    assert one_layer == {"parameters": 11_689_512 - 513_000 + 513 * 64 + 2 * 64, "embedding_width": 64}


def test_a_larger_picture_takes_longer():
    small, large = (
        latency_ms(TrainConfig(backbone="resnet18", image_height=size, image_width=size, num_threads=1))
        for size in (32, 224)
    )
    assert 0 < small < large


def test_costs_depend_on_every_setting_of_the_model_that_counts_without_training():
    of_training = {"pretrained", "freeze", "dropout", "moe_noise", "identity_loss", "angular_margin", "angular_scale"}
    assert set(ModelSettings.model_fields) - set(ARCHITECTURE) == of_training


def test_each_architecture_is_there_once_the_defaults_too(make_space):
    space = make_space(
        "  fc_layers: [0, 1]\n  fc_width: {low: 64, high: 256, step: 64, when: {fc_layers: 1}}\n"
        "  dropout: {low: 0.0, high: 0.5}\n  image_height: [64, 128]\n"
    )
    found = [(c.image_height, c.fc_layers, c.fc_width) for c in architectures(space)]
    searched = {(h, *fc) for h in (64, 128) for fc in [(0, 512), *((1, width) for width in (64, 128, 192, 256))]}
    assert set(found) == searched | {(256, 0, 512)} and len(found) == len(set(found))  # 256: the default's height


def test_more_architectures_than_can_be_measured_are_refused_with_the_line(make_space):
    space = make_space("  fc_layers: [1, 2]\n  fc_width: {low: 64, high: 512}\n")
    with pytest.raises(UserError, match=f"space.yaml:4: fc_width makes more than {MOST_ARCHITECTURES} architectures"):
        architectures(space)


def test_it_is_told_that_the_latency_is_not_the_clusters():
    config = TrainConfig(pretrained="none")
    prices = [(config.model_dump(), {"latency_ms": 5.0}), (config.model_dump(), {"latency_ms": 7.0})]
    assert describe_prices(prices) == ["latency_ms of 2 architectures: 5 to 7"]
    assert describe_prices(prices, on_cluster=True)[1:] == [
        f"note: latency_ms is that of this machine, {platform.node()}, whatever machines train"
    ]
    assert len(describe_prices([(config.model_dump(), {"parameters": 5})], on_cluster=True)) == 1
