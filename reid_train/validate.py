"""What is measured after an epoch: retrieval on held-out identities, the classifier on held-out images."""

from collections.abc import Mapping
from pathlib import Path

import torch

from data.pixels.cache import Pixels
from data.pixels.sampler import epoch_batches
from data.sets.splits import TrainingData
from reid_train.checkpoint import load_network
from reid_train.config import TrainConfig
from reid_train.device import choose_device, choose_precision
from reid_train.evaluate import extract_features, score
from reid_train.frozen import FrozenFeatures
from reid_train.measure.metrics import RetrievalMetrics
from reid_train.model.classifiers import cross_entropy
from reid_train.model.network import ReIDModel
from reid_train.objective.losses import NonFiniteLoss
from reid_train.objective.objective import feature_loss


def validate(
    model: ReIDModel,
    config: TrainConfig,
    data: TrainingData,
    pixels: Pixels,
    label_of: Mapping[int, int],
    *,
    device: torch.device,
    precision: torch.dtype,
    frozen: FrozenFeatures | None = None,
) -> dict[str, float]:
    """The `val_` fields of an EpochReport that `data` allows: none without query and holdout images.

    `label_of` is the classifier's output of each training identity, `frozen` what a frozen backbone makes of the
    images, where that is known. Leaves the model in evaluation mode.
    """
    report: dict[str, float] = {}
    with torch.inference_mode():
        if data.query:
            features, metrics = _retrieve(model, data, pixels, device, precision, frozen)
            ranks = {f"val_rank{rank}": float(metrics.cmc[min(rank, len(metrics.cmc)) - 1]) for rank in (1, 5, 10)}
            report |= {"val_mAP": metrics.mAP, "val_mINP": metrics.mINP, **ranks}
            identities = [sample.identity for sample in (*data.query, *data.gallery)]
            report["val_metric_loss"] = _metric_loss(features, identities, config)
        if data.holdout:
            features = extract_features(model, pixels, data.holdout, device=device, precision=precision, frozen=frozen)
            logits_PBI = model.classifier(model.neck(features))
            labels = torch.tensor([label_of[sample.identity] for sample in data.holdout], device=device)
            report["val_ce_loss"] = cross_entropy(logits_PBI, labels, config.label_smoothing).item()
            report["val_accuracy"] = (logits_PBI.mean(dim=0).argmax(dim=1) == labels).float().mean().item()
    return report


def validation_metrics(folder: str | Path, data: TrainingData, pixels: Pixels) -> RetrievalMetrics:
    """Each validation query's figures, by the checkpoint in `folder`, computed as its configuration says."""
    model, kept = load_network(folder)
    device = choose_device(kept.config.device)
    pixels = pixels.at(kept.config.image_height, kept.config.image_width)
    with torch.inference_mode():
        precision = choose_precision(kept.config.precision, device)
        return _retrieve(model.to(device), data, pixels, device, precision)[1]


def _retrieve(
    model: ReIDModel,
    data: TrainingData,
    pixels: Pixels,
    device: torch.device,
    precision: torch.dtype,
    frozen: FrozenFeatures | None = None,
) -> tuple[torch.Tensor, RetrievalMetrics]:
    """Features of query and gallery, and how well queries find theirs."""
    samples = [*data.query, *data.gallery]
    features = extract_features(model, pixels, samples, device=device, precision=precision, frozen=frozen)
    embeddings = model.neck(features)
    if not torch.isfinite(torch.linalg.vector_norm(embeddings, dim=1)).all():
        raise NonFiniteLoss("embeddings of the validation images are not finite: the weights have diverged")
    return features, score(embeddings, data.query, data.gallery)


def _metric_loss(features: torch.Tensor, identities: list[int], config: TrainConfig) -> float:
    """Mean metric loss over P x K batches of validation images, drawn once for all epochs."""
    k = config.images_per_identity or 4
    size = min(max(config.batch_size // k, 2), len(set(identities))) * k
    batches = epoch_batches(identities, batch_size=size, images_per_identity=k, seed=0, epoch=0)
    labels = torch.tensor(identities, device=features.device)
    hardest = config.changed(mining="batch_hard")
    losses = [feature_loss(features[batch], labels[batch], hardest)[0] for batch in batches]
    return torch.stack(losses).mean().item()
