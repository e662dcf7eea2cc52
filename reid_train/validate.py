"""What is measured after an epoch: retrieval on held-out identities, the classifier on held-out images."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch.nn import functional as F

from data.cache import Pixels
from data.sampler import epoch_batches
from data.splits import TrainingData
from reid_train.checkpoint import load_model
from reid_train.config import TrainConfig
from reid_train.device import choose_device, choose_precision
from reid_train.evaluate import extract_features, score
from reid_train.losses import NonFiniteLoss, batch_hard_triplet_loss
from reid_train.metrics import RetrievalMetrics
from reid_train.model import ReIDModel


def validate(
    model: ReIDModel,
    config: TrainConfig,
    data: TrainingData,
    pixels: Pixels,
    label_of: Mapping[int, int],
    *,
    device: torch.device,
    precision: torch.dtype,
) -> dict[str, float]:
    """The `val_` fields of an EpochReport that `data` allows: none without query and holdout images.

    `label_of` is the classifier's output of each training identity. Leaves the model in evaluation mode.
    """
    report: dict[str, float] = {}
    with torch.inference_mode():
        if data.query:
            features, metrics = _retrieve(model, data, pixels, device, precision)
            ranks = {f"val_rank{rank}": float(metrics.cmc[min(rank, len(metrics.cmc)) - 1]) for rank in (1, 5, 10)}
            report |= {"val_mAP": metrics.mAP, "val_mINP": metrics.mINP, **ranks}
            identities = [sample.identity for sample in (*data.query, *data.gallery)]
            report["val_triplet_loss"] = _triplet_loss(features, identities, config)
        if data.holdout:
            features = extract_features(model, pixels, data.holdout, device=device, precision=precision)
            logits = model.classifier(model.neck(features))
            labels = torch.tensor([label_of[sample.identity] for sample in data.holdout], device=device)
            report["val_ce_loss"] = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing).item()
            report["val_accuracy"] = (logits.argmax(dim=1) == labels).float().mean().item()
    return report


def validation_metrics(folder: str | Path, data: TrainingData, pixels: Pixels) -> RetrievalMetrics:
    """Each validation query's figures, by the checkpoint in `folder`, computed as its configuration says."""
    model, kept = load_model(folder)
    device = choose_device(kept.config.device)
    pixels = pixels.at(kept.config.image_height, kept.config.image_width)
    with torch.inference_mode():
        precision = choose_precision(kept.config.precision, device)
        return _retrieve(model.to(device), data, pixels, device, precision)[1]


def _retrieve(
    model: ReIDModel, data: TrainingData, pixels: Pixels, device: torch.device, precision: torch.dtype
) -> tuple[torch.Tensor, RetrievalMetrics]:
    """Features of query and gallery, and how well queries find theirs."""
    features = extract_features(model, pixels, [*data.query, *data.gallery], device=device, precision=precision)
    embeddings = model.neck(features)
    if not torch.isfinite(torch.linalg.vector_norm(embeddings, dim=1)).all():
        raise NonFiniteLoss("embeddings of the validation images are not finite: the weights have diverged")
    return features, score(embeddings, data.query, data.gallery)


def _triplet_loss(features: torch.Tensor, identities: list[int], config: TrainConfig) -> float:
    """Mean batch-hard triplet loss over P x K batches of validation images, drawn once for all epochs."""
    k = config.images_per_identity or 4
    size = min(max(config.batch_size // k, 2), len(set(identities))) * k
    batches = epoch_batches(identities, batch_size=size, images_per_identity=k, seed=0, epoch=0)
    labels = torch.tensor(identities, device=features.device)
    seen = F.normalize(features) if config.normalize_features else features
    losses = [batch_hard_triplet_loss(seen[batch], labels[batch], config.margin) for batch in batches]
    return torch.stack(losses).mean().item()
