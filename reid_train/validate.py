"""What is measured after an epoch: retrieval on held-out identities, the classifier on held-out images."""

from collections.abc import Mapping

import torch
from torch.nn import functional as F

from data.cache import Pixels
from data.sampler import epoch_batches
from data.splits import TrainingData
from reid_train.config import TrainConfig
from reid_train.evaluate import extract_features, score
from reid_train.losses import NonFiniteLoss, batch_hard_triplet_loss
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
            samples = [*data.query, *data.gallery]
            features = extract_features(model, pixels, samples, device=device, precision=precision)
            embeddings = model.neck(features)
            if not torch.isfinite(torch.linalg.vector_norm(embeddings, dim=1)).all():
                raise NonFiniteLoss("embeddings of the validation images are not finite: the weights have diverged")
            metrics = score(embeddings, data.query, data.gallery)
            ranks = {f"val_rank{rank}": float(metrics.cmc[min(rank, len(metrics.cmc)) - 1]) for rank in (1, 5, 10)}
            report |= {"val_mAP": metrics.mAP, "val_mINP": metrics.mINP, **ranks}
            report["val_triplet_loss"] = _triplet_loss(features, [sample.identity for sample in samples], config)
        if data.holdout:
            features = extract_features(model, pixels, data.holdout, device=device, precision=precision)
            logits = model.classifier(model.neck(features))
            labels = torch.tensor([label_of[sample.identity] for sample in data.holdout], device=device)
            report["val_ce_loss"] = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing).item()
            report["val_accuracy"] = (logits.argmax(dim=1) == labels).float().mean().item()
    return report


def _triplet_loss(features: torch.Tensor, identities: list[int], config: TrainConfig) -> float:
    """Mean batch-hard triplet loss over P x K batches of validation images, drawn once for all epochs."""
    k = config.images_per_identity or 4
    size = min(max(config.batch_size // k, 2), len(set(identities))) * k
    batches = epoch_batches(identities, batch_size=size, images_per_identity=k, seed=0, epoch=0)
    labels = torch.tensor(identities, device=features.device)
    seen = F.normalize(features) if config.normalize_features else features
    losses = [batch_hard_triplet_loss(seen[batch], labels[batch], config.margin) for batch in batches]
    return torch.stack(losses).mean().item()
