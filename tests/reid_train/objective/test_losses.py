"""The triplet losses against published numbers, plain loops and torch's own loss."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from reid_train.model.classifiers import build_classifier, cross_entropy
from reid_train.model.settings import ModelSettings
from reid_train.objective.losses import (
    active_share,
    batch_hard_triplet_loss,
    feature_loss,
    hardest_distances,
    pairwise_distances,
    random_triplet_loss,
)
from reid_train.objective.settings import LossSettings

VECTORS = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())["batch_hard_triplet"]


def draw(seed: int, size: int = 12, identities: int = 4, width: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, identities, (size,), generator=generator)
    labels[:2] = torch.tensor([0, 1])  # at least two identities, so that every anchor has a negative
    return torch.randn(size, width, dtype=torch.float64, generator=generator), labels


def loop_loss(features, labels, margin):
    """The definition, image by image."""
    total = 0.0
    for anchor, label in zip(features.tolist(), labels.tolist(), strict=True):
        positive, negative = 0.0, math.inf
        for other, other_label in zip(features.tolist(), labels.tolist(), strict=True):
            distance = math.dist(anchor, other)
            if other_label == label:
                positive = max(positive, distance)
            else:
                negative = min(negative, distance)
        gap = positive - negative
        total += math.log1p(math.exp(gap)) if margin == "soft" else max(0.0, gap + margin)
    return total / len(features)


@pytest.mark.parametrize("case", VECTORS)
@pytest.mark.parametrize(
    ("margin", "key"), [(0.1, "margin_0.1"), (0.3, "margin_0.3"), (1.0, "margin_1.0"), ("soft", "soft_margin")]
)
def test_agrees_with_published_numbers(case, margin, key):
    features, identities = torch.tensor(case["features"]), torch.tensor(case["identities"])
    assert batch_hard_triplet_loss(features, identities, margin).item() == pytest.approx(
        case["expected"][key], abs=1e-6
    )


@pytest.mark.parametrize("margin", [0.3, 2.0, "soft"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_hard_equals_a_plain_loop(margin, dtype):
    for seed in range(5):
        features, labels = draw(seed)
        loss = batch_hard_triplet_loss(features.to(dtype), labels, margin)
        assert loss.dtype == dtype
        expected = loop_loss(features, labels, margin)
        # An anchor counts as 1e-6 from itself, so that the root has a gradient.
        assert loss.item() == pytest.approx(expected, abs=1e-5 if dtype == torch.float32 else 1.01e-6)


def test_distances_equal_torchs_own():
    features, _ = draw(0, size=20)
    torch.testing.assert_close(pairwise_distances(features), torch.cdist(features, features), atol=2e-6, rtol=0)


def test_gradient_is_that_of_finite_differences():
    features, labels = draw(3, size=6)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: batch_hard_triplet_loss(f, labels, 1.0), features)


@pytest.mark.parametrize("margin", [0.3, "soft"])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("loss", [batch_hard_triplet_loss, random_triplet_loss])
def test_identical_features_have_finite_gradients(loss, margin, value):
    features = torch.full((8, 16), value, requires_grad=True)
    result = loss(features, torch.arange(8) // 2, margin)
    result.backward()
    assert features.grad is not None and features.grad.isfinite().all()
    assert result.item() == pytest.approx(0.3 if margin == 0.3 else math.log(2), abs=1e-4)  # collapse


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", [batch_hard_triplet_loss, random_triplet_loss])
def test_half_precision_features_are_compared_in_float32_even_under_autocast(loss, dtype):
    features, labels = draw(1, width=64)
    # Squares of these overflow float16 and lose all digits in bfloat16.
    half = (100 + 30 * features).to(dtype)
    seeds = [torch.Generator().manual_seed(0) for _ in range(2)]
    options = [{} if loss is batch_hard_triplet_loss else {"generator": seed} for seed in seeds]
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(half, labels, 0.3, **options[0])
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(loss(half.double(), labels, 0.3, **options[1]).item(), rel=1e-4)


def test_an_anchor_without_positive_counts_with_distance_zero():
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 3.5]])
    labels = torch.tensor([0, 1, 2])
    # Nearest negatives: 4.61, 0.5, 0.5; positives: 0.
    assert batch_hard_triplet_loss(features, labels, 1.0).item() == pytest.approx((0 + 0.5 + 0.5) / 3, abs=1e-5)


@pytest.mark.parametrize("margin", [0.3, "soft"])
def test_a_batch_of_one_identity_has_a_finite_loss(margin):
    features = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    batch_hard_triplet_loss(features, torch.zeros(4, dtype=torch.int64), margin).backward()
    assert features.grad is not None and features.grad.isfinite().all()


def drawn_triplets(labels, seed):
    """The triplets that random_triplet_loss draws, seen through torch's own loss."""
    seen = []
    original = F.triplet_margin_loss
    features = torch.arange(len(labels), dtype=torch.float64)[:, None]

    def spy(anchor, positive, negative, **options):
        seen.extend(zip(*(side.flatten().long().tolist() for side in (anchor, positive, negative)), strict=True))
        return original(anchor, positive, negative, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "triplet_margin_loss", spy)
        random_triplet_loss(features, labels, generator=torch.Generator().manual_seed(seed))
    return seen


def test_random_triplets_are_valid_differ_and_equal_torchs_loss():
    everything = set()
    for seed in range(10):
        features, labels = draw(seed % 3)
        triplets = drawn_triplets(labels, seed)
        everything.update(triplets)
        for anchor, positive, negative in triplets:
            assert anchor != positive and labels[anchor] == labels[positive] != labels[negative]
        with_positive = [i for i in range(len(labels)) if (labels == labels[i]).sum() > 1]
        assert [anchor for anchor, _, _ in triplets] == with_positive
        places = torch.tensor(triplets).T
        expected = torch.nn.TripletMarginLoss(margin=0.7)(*(features[place] for place in places))
        found = random_triplet_loss(features, labels, 0.7, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(found, expected)
    assert len(everything) > 60  # drawn at random, not always the same


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]], ids=["no negatives", "no positives"])
def test_without_any_triplet_the_random_loss_is_zero_with_zero_gradient(labels):
    features = torch.randn(4, 3, requires_grad=True)
    loss = random_triplet_loss(features, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0 and features.grad is not None and not features.grad.any()


def test_active_share_counts_anchors_that_still_have_a_loss():
    # On a line: identity 0 at 0 and 1, identity 1 at 1.5 and 5. Gaps positive - negative: 1-1.5, 1-0.5, 3.5-0.5, 3.5-4.
    features, labels = torch.tensor([[0.0], [1.0], [1.5], [5.0]]), torch.tensor([0, 0, 1, 1])
    assert active_share(*hardest_distances(features, labels), 0.3).item() == 0.5
    assert active_share(*hardest_distances(features, labels), 0.6).item() == 1.0
    assert active_share(*hardest_distances(features, labels), "soft").item() == 0.5


@pytest.mark.parametrize("mining", ["batch_hard", "random"])
def test_the_feature_loss_is_the_chosen_triplets_of_unit_features(mining):
    features, labels = draw(0)
    torch.manual_seed(5)
    triplet, active = feature_loss(features, labels, LossSettings(margin=0.4, mining=mining, normalize_features=True))
    unit = (features / features.norm(dim=1, keepdim=True)).float()
    assert active == active_share(*hardest_distances(unit, labels), 0.4)
    torch.manual_seed(5)
    loss = batch_hard_triplet_loss if mining == "batch_hard" else random_triplet_loss
    torch.testing.assert_close(triplet, loss(unit, labels, 0.4))


def test_cross_entropy_is_smoothed_and_the_mean_of_the_parts():
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(3, 12, 5, generator=generator), torch.arange(12) % 5
    target = torch.full((12, 5), 0.1 / 5)
    target[torch.arange(12), labels] += 0.9
    parts = [-(target * part.log_softmax(dim=1)).sum(dim=1).mean() for part in logits]
    torch.testing.assert_close(cross_entropy(logits, labels, 0.1), torch.stack(parts).mean())


def cosines(features):
    unit = (features / features.norm(dim=1, keepdim=True)).double()
    return unit @ unit.T


def pairs_of(labels, anchor):
    same = [j for j in range(len(labels)) if labels[j] == labels[anchor] and j != anchor]
    return same, [j for j in range(len(labels)) if labels[j] != labels[anchor]]


def circle(features, labels, gamma=80.0, m=0.25):
    """Sun et al. 2020, equations 6 to 8, an anchor at a time."""
    s, losses = cosines(features), []
    for i in range(len(labels)):
        positives, negatives = pairs_of(labels, i)
        p = [-gamma * max(0.0, 1 + m - float(s[i, j])) * (float(s[i, j]) - (1 - m)) for j in positives]
        n = [gamma * max(0.0, float(s[i, j]) + m) * (float(s[i, j]) - m) for j in negatives]
        losses.append(math.log1p(sum(map(math.exp, p)) * sum(map(math.exp, n))))
    return sum(losses) / len(losses)


def supcon(features, labels, temperature=0.1):
    """Khosla et al. 2020, equation 2, an anchor at a time."""
    s, losses = cosines(features) / temperature, []
    for i in range(len(labels)):
        positives, negatives = pairs_of(labels, i)
        every = math.log(sum(math.exp(float(s[i, j])) for j in (*positives, *negatives)))
        losses.append(-sum(float(s[i, j]) - every for j in positives) / len(positives))
    return sum(losses) / len(losses)


def multi_similarity(features, labels, alpha=2.0, beta=50.0, base=0.5):
    """Wang et al. 2019, equation 15, an anchor at a time."""
    s, losses = cosines(features), []
    for i in range(len(labels)):
        positives, negatives = pairs_of(labels, i)
        pull = math.log1p(sum(math.exp(-alpha * (float(s[i, j]) - base)) for j in positives)) / alpha
        push = math.log1p(sum(math.exp(beta * (float(s[i, j]) - base)) for j in negatives)) / beta
        losses.append(pull + push)
    return sum(losses) / len(losses)


@pytest.mark.parametrize(
    ("name", "plain"), [("circle", circle), ("supcon", supcon), ("multi_similarity", multi_similarity)]
)
def test_metric_losses_are_those_of_their_papers_worked_out_in_a_plain_loop(name, plain):
    features, labels = draw(3)[0], torch.arange(12) % 4
    settings = LossSettings(metric_loss=name)
    assert feature_loss(features, labels, settings)[0].item() == pytest.approx(plain(features, labels), rel=1e-3)


def test_the_scale_is_gamma_beta_and_one_over_the_temperature():
    features, labels = draw(4)[0], torch.arange(12) % 4
    for name, scale, expected in (
        ("circle", 16.0, circle(features, labels, 16.0)),
        ("supcon", 5.0, supcon(features, labels, 0.2)),
        ("multi_similarity", 20.0, multi_similarity(features, labels, beta=20.0)),
    ):
        settings = LossSettings(metric_loss=name, metric_scale=scale)
        assert feature_loss(features, labels, settings)[0].item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["arcface", "cosface"])
def test_margin_classifiers_demand_their_margin_of_the_true_identity_alone(name):
    """Deng et al. 2019 (equation 3) and Wang et al. 2018 (equation 4), an image at a time."""
    generator = torch.Generator().manual_seed(2)
    torch.manual_seed(0)
    classifier = build_classifier(ModelSettings(identity_loss=name), identities=5, width=8)
    embeddings, labels = torch.randn(12, 8, generator=generator), torch.arange(12) % 5
    logits = classifier(embeddings)
    (weights,) = classifier.parameters()
    unit = weights / weights.norm(dim=0, keepdim=True)
    cosine = (embeddings / embeddings.norm(dim=1, keepdim=True)) @ unit
    torch.testing.assert_close(logits[0], 30 * cosine, atol=1e-4, rtol=1e-4)
    losses = []
    for i, label in enumerate(labels.tolist()):
        row = cosine[i].tolist()
        row[label] = math.cos(math.acos(row[label]) + 0.3) if name == "arcface" else row[label] - 0.3
        losses.append(math.log(sum(math.exp(30 * c) for c in row)) - 30 * row[label])
    found = classifier.loss(embeddings, logits, labels, 0.0).item()
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-3)
