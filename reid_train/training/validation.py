"""What is measured after an epoch: retrieval on held-out identities, the classifier on held-out images.

validate(model, config, data, inputs, label_of)  # {"val_mAP": 0.7, "val_rank1": 0.8, ...}
"""

# N images, D embedding width, P parts, I identities

from collections.abc import Mapping

import torch

from data.pixels.sampler import epoch_batches
from data.sets.splits import TrainingData
from reid_train.measure.metrics import RetrievalMetrics
from reid_train.measure.scores import score
from reid_train.model.classifiers import cross_entropy
from reid_train.model.network import ReIDModel
from reid_train.objective.losses import NonFiniteLoss, feature_loss
from reid_train.settings.config import TrainConfig
from reid_train.training.inputs import Inputs


def validate(
    model: ReIDModel, config: TrainConfig, data: TrainingData, inputs: Inputs, label_of: Mapping[int, int]
) -> dict[str, float]:
    """The `val_` fields of an EpochReport that `data` allows: none without query and holdout images.

    `label_of` is the classifier's output of each training identity. Leaves the model in evaluation mode.
    """
    report: dict[str, float] = {}
    with torch.inference_mode():
        if data.query:
            feature_ND, metrics = retrieve(model, data, inputs)
            ranks = {f"val_rank{rank}": float(metrics.cmc[min(rank, len(metrics.cmc)) - 1]) for rank in (1, 5, 10)}
            report |= {"val_mAP": metrics.mAP, "val_mINP": metrics.mINP, **ranks}
            identities = [sample.identity for sample in (*data.query, *data.gallery)]
            report["val_metric_loss"] = _metric_loss(feature_ND, identities, config)
        if data.holdout:
            logits_PNI = model.classifier(model.neck(inputs.features(model, data.holdout)))
            labels = torch.tensor([label_of[sample.identity] for sample in data.holdout], device=logits_PNI.device)
            report["val_ce_loss"] = cross_entropy(logits_PNI, labels, config.label_smoothing).item()
            report["val_accuracy"] = (logits_PNI.mean(dim=0).argmax(dim=1) == labels).float().mean().item()
    return report


def retrieve(model: ReIDModel, data: TrainingData, inputs: Inputs) -> tuple[torch.Tensor, RetrievalMetrics]:
    """Features of query and gallery (N x D, before the BNNeck), and how well queries find theirs."""
    feature_ND = inputs.features(model, [*data.query, *data.gallery])
    embedding_ND = model.neck(feature_ND)
    if not torch.isfinite(torch.linalg.vector_norm(embedding_ND, dim=1)).all():
        raise NonFiniteLoss("embeddings of the validation images are not finite: the weights have diverged")
    return feature_ND, score(embedding_ND, data.query, data.gallery)


def _metric_loss(feature_ND: torch.Tensor, identities: list[int], config: TrainConfig) -> float:
    """Mean metric loss over P x K batches of validation images, drawn once for all epochs."""
    k = config.images_per_identity or 4
    size = min(max(config.batch_size // k, 2), len(set(identities))) * k
    batches = epoch_batches(identities, batch_size=size, images_per_identity=k, seed=0, epoch=0)
    labels = torch.tensor(identities, device=feature_ND.device)
    hardest = config.changed(mining="batch_hard")
    losses = [feature_loss(feature_ND[batch], labels[batch], hardest)[0] for batch in batches]
    return torch.stack(losses).mean().item()
