"""Losses of features: triplets by hand, others by pytorch-metric-learning, which takes nearly a second to import.

    loss, active = feature_loss(feature_BD, identities, LossSettings(metric_loss="circle"))

A new one is a function here, a case of `metric_loss` and a name of LossSettings.metric_loss.
"""

# B images of a batch, D embedding width

from collections.abc import Callable
from typing import Literal, assert_never

import torch
from torch.nn import functional as F

from reid_train.objective.settings import LossSettings

Margin = float | Literal["soft"]


class NonFiniteLoss(RuntimeError):
    """The loss, or what the weights make of an image, is NaN or infinite: training has diverged."""


def pairwise_distances(features: torch.Tensor) -> torch.Tensor:
    """Euclidean distances between all rows of `features` (B x D) -> (B x B), in float32 or the input's float64.

    Computed as |a|^2 + |b|^2 - 2ab and clamped, so that identical rows have finite gradients.
    """
    features_BD = features if features.dtype == torch.float64 else features.float()
    with torch.autocast(features.device.type, enabled=False):
        square_B = features_BD.square().sum(dim=1)
        squared_BB = square_B[:, None] + square_B[None, :] - 2 * features_BD @ features_BD.T
        # Rounding leaves the diagonal near zero, and the root makes that large.
        squared_BB = squared_BB.masked_fill(torch.eye(len(square_B), dtype=torch.bool, device=square_B.device), 0)
        return squared_BB.clamp(min=1e-12).sqrt()


def hardest_distances(features: torch.Tensor, identities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each anchor's distance to its furthest positive and to its nearest negative, two tensors (B).

    An anchor without another image of its identity has itself as its positive; one without a negative gets
    the largest distance of the batch.
    """
    distance_BB = pairwise_distances(features)
    same_BB = identities[:, None] == identities[None, :]
    positive_B = distance_BB.masked_fill(~same_BB, -torch.inf).amax(dim=1)
    negative_B = torch.where(same_BB, distance_BB.detach().max(), distance_BB).amin(dim=1)
    return positive_B, negative_B


def margin_loss(positive_B: torch.Tensor, negative_B: torch.Tensor, margin: Margin) -> torch.Tensor:
    """Mean of max(0, positive - negative + margin), or of log(1 + exp(positive - negative)) for "soft"."""
    if margin == "soft":
        return F.softplus(positive_B - negative_B).mean()
    return F.relu(positive_B - negative_B + float(margin)).mean()


def batch_hard_triplet_loss(features: torch.Tensor, identities: torch.Tensor, margin: Margin = 0.3) -> torch.Tensor:
    """Batch-hard triplet loss (Hermans et al., "In Defense of the Triplet Loss", 2017), mean over all anchors.

    `features` is B x D, not normalised unless the caller did; `identities` is B. `margin` > 0, in units of
    Euclidean distance, or "soft". The result is at least 0.
    """
    positive_B, negative_B = hardest_distances(features, identities)
    return margin_loss(positive_B, negative_B, margin)


def random_triplet_loss(
    features: torch.Tensor, identities: torch.Tensor, margin: Margin = 0.3, *, generator: torch.Generator | None = None
) -> torch.Tensor:
    """torch.nn.TripletMarginLoss over one random triplet for each anchor that has a positive and a negative.

    0, with a gradient of 0, where no anchor has both. `generator` is a CPU generator.
    """
    same_BB = identities[:, None] == identities[None, :]
    other_BB = same_BB & ~torch.eye(len(identities), dtype=torch.bool, device=identities.device)
    anchors = (other_BB.any(dim=1) & (~same_BB).any(dim=1)).nonzero().flatten()
    if not len(anchors):
        return features.float().sum() * 0
    draw_BB = torch.rand(same_BB.shape, generator=generator).to(features.device)
    positives = draw_BB.masked_fill(~other_BB, -1).argmax(dim=1)[anchors]
    negatives = draw_BB.masked_fill(same_BB, -1).argmax(dim=1)[anchors]
    features_BD = features if features.dtype == torch.float64 else features.float()
    triplets = features_BD[anchors], features_BD[positives], features_BD[negatives]
    if margin == "soft":
        return margin_loss(F.pairwise_distance(*triplets[:2]), F.pairwise_distance(triplets[0], triplets[2]), "soft")
    return F.triplet_margin_loss(*triplets, margin=float(margin))


def active_share(positive_B: torch.Tensor, negative_B: torch.Tensor, margin: Margin) -> torch.Tensor:
    """Share of anchors (0 to 1) whose hardest triplet still has a loss; for "soft", whose order is still wrong."""
    gap = 0.0 if margin == "soft" else float(margin)
    return (positive_B.detach() - negative_B.detach() + gap > 0).float().mean()


MINING: dict[str, Callable[[torch.Tensor, torch.Tensor, Margin], torch.Tensor]] = {
    "batch_hard": batch_hard_triplet_loss,
    "random": random_triplet_loss,
}
"""The choices of `mining`."""


def metric_loss(features: torch.Tensor, identities: torch.Tensor, settings: LossSettings) -> torch.Tensor:
    """The loss that `metric_loss` names, of float32 features. All but triplets compare directions, not lengths.

    circle: Sun et al. 2020 (arXiv 2002.10857), margin 0.25 as for ReID; supcon: Khosla et al. 2020 (2004.11362);
    multi_similarity: Wang et al. 2019 (1904.06627).
    """
    if settings.metric_loss == "triplet":
        return MINING[settings.mining](features, identities, settings.margin)
    from pytorch_metric_learning import losses

    scale = settings.metric_scale
    match settings.metric_loss:
        case "circle":
            function = losses.CircleLoss(m=0.25, gamma=scale or 80.0)
        case "supcon":
            function = losses.SupConLoss(temperature=1 / (scale or 10.0))
        case "multi_similarity":
            function = losses.MultiSimilarityLoss(beta=scale or 50.0)
        case unknown:
            assert_never(unknown)
    with torch.autocast(features.device.type, enabled=False):
        loss: torch.Tensor = function(features, identities)
    return loss


def is_static(settings: LossSettings) -> bool:
    """Whether the shapes of the metric loss's tensors depend on no values, so that a GPU's step can be recorded."""
    return (settings.metric_loss, settings.mining) == ("triplet", "batch_hard")


def feature_loss(
    feature_BD: torch.Tensor, identities: torch.Tensor, settings: LossSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """The configured metric loss of features before the BNNeck, and the share of anchors whose hardest triplet still
    has a loss (0 to 1), whichever loss is trained."""
    feature_BD = F.normalize(feature_BD.float()) if settings.normalize_features else feature_BD.float()
    with torch.no_grad():
        active = active_share(*hardest_distances(feature_BD, identities), settings.margin)
    return metric_loss(feature_BD, identities, settings), active
