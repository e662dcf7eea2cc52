"""A mixture of experts, against a plain loop over images and experts."""

import math

import pytest
import torch
from torch import nn

from reid_train.model.experts import MixtureOfExperts
from reid_train.model.network import ReIDModel
from reid_train.model.settings import ModelSettings
from reid_train.training.loop import train_epochs
from tests.reid_train.conftest import tiny_config


def make(experts=4, top_k=2, noise=False, width=6):
    torch.manual_seed(0)
    layer = MixtureOfExperts(lambda: nn.Linear(width, 3), width=width, experts=experts, top_k=top_k, noise=noise)
    nn.init.normal_(layer.router.weight)
    return layer


@pytest.fixture
def pooled():
    return torch.randn(10, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_routing_is_that_of_a_plain_loop(pooled, top_k):
    layer = make(top_k=top_k)
    outputs, routing = layer(pooled)
    chosen, probabilities, squares = [0] * 4, [0.0] * 4, []
    for image, output in zip(pooled, outputs, strict=True):
        scores = (layer.router.weight @ image).tolist()
        best = sorted(range(4), key=lambda e: -scores[e])[:top_k]
        total = sum(math.exp(scores[e]) for e in best)
        expected = sum(math.exp(scores[e]) / total * layer.experts[e](image) for e in best)
        torch.testing.assert_close(output, expected)
        every = sum(map(math.exp, scores))
        squares.append(math.log(every) ** 2)
        for e in range(4):
            probabilities[e] += math.exp(scores[e]) / every / 10
            chosen[e] += e in best
    usage = [count / (10 * top_k) for count in chosen]
    assert routing.usage_E.tolist() == pytest.approx(usage)
    assert routing.balance_loss.item() == pytest.approx(
        4 * sum(u * p for u, p in zip(usage, probabilities, strict=True)), rel=1e-5
    )
    assert routing.z_loss.item() == pytest.approx(sum(squares) / 10, rel=1e-5)


def test_losses_are_least_where_all_experts_are_used_alike_and_grow_where_one_is():
    layer = make(experts=4, top_k=1)
    with torch.no_grad():
        layer.router.weight.copy_(torch.eye(6)[:4] * 20)
    alike, alone = 5 * torch.eye(6)[:4].repeat(2, 1), 5 * torch.eye(6)[:1].repeat(8, 1)
    assert layer(alike)[1].balance_loss.item() == pytest.approx(1.0, abs=1e-4)
    assert layer(alone)[1].balance_loss.item() == pytest.approx(4.0, abs=1e-4)
    assert layer(alone)[1].entropy.item() == pytest.approx(0.0, abs=1e-4)
    nn.init.zeros_(layer.router.weight)
    assert layer(alike)[1].entropy.item() == pytest.approx(math.log(4), abs=1e-5)


def test_noise_moves_the_choice_in_training_alone_and_is_learned(pooled):
    layer = make(noise=True)
    layer.eval()
    assert torch.equal(layer(pooled)[0], layer(pooled)[0])
    layer.train()
    first, second = layer(pooled)[0], layer(pooled)[0]
    assert not torch.equal(first, second)
    first.sum().backward()
    assert layer.noise.weight.grad is not None and layer.router.weight.grad.abs().sum() > 0


def test_one_expert_is_exactly_the_plain_head():
    def model(**options):
        torch.manual_seed(3)
        return ReIDModel(ModelSettings(backbone="resnet18", fc_layers=2, fc_width=16, **options), identities=5)

    plain, mixture = model(), model(moe_experts=1, moe_top_k=1)
    assert plain.state_dict().keys() == mixture.state_dict().keys()
    images = torch.randint(0, 256, (4, 3, 32, 16), dtype=torch.uint8)
    for one, other in zip(plain(images)[:3], mixture(images)[:3], strict=True):
        assert torch.equal(one, other)
    assert mixture(images).routing is None


@pytest.mark.usefixtures("narrow")
def test_a_run_reports_the_experts_usage_and_the_routers_certainty(data, pixels):
    config = tiny_config(fc_layers=1, fc_width=16, moe_experts=3, moe_top_k=2)
    *_, report = train_epochs(config, data, pixels)
    assert len(report.expert_usage) == 3 and sum(report.expert_usage) == pytest.approx(1, abs=1e-5)
    assert 0 < report.gate_entropy <= math.log(3) + 1e-6
    weighted = config.ce_weight * report.ce_loss + config.metric_weight * report.metric_loss + report.router_loss
    assert report.loss == pytest.approx(weighted, rel=1e-5)
