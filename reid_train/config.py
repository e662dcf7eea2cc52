"""TrainConfig: every setting of a training run, with its unit, range and meaning, checked once, here."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from data.pixels.bad_images import OnBadImage
from data.pixels.sampler import check_batch, steps_per_epoch
from data.sets.readers import DatasetName
from data.sets.splits import TrainingData
from data.system.errors import UserError, printable
from reid_train.settings_file import SettingsFile, parse_assignments, read_settings, suggestion

Fraction = Annotated[float, Field(ge=0, le=1)]
TORCHVISION_BACKBONES = ("resnet50", "resnet50_ibn", "resnet18")
TIMM = "timm/"
"""What the names of timm's models begin with."""


class TrainConfig(BaseModel):
    """One training run. Frozen: derive a changed copy with `changed(name=value)`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    # Data
    data_dir: str = "data"
    """The data set's folder or its parent, or a manifest's CSV file."""
    dataset: DatasetName | None = None
    """Which reader is meant; null detects it."""
    outside_images: bool = False
    """Whether images may lie outside of the data folder, led to by links or a manifest's paths."""
    on_bad_image: OnBadImage = "stop"
    """Images that cannot be decoded: stop before training, or skip, which leaves them out, counted and named."""
    image_height: int = Field(256, ge=16, le=2048)
    """Height that images are resized to, in pixels."""
    image_width: int = Field(256, ge=16, le=2048)
    """Width that images are resized to, in pixels."""
    validation_fraction: float = Field(0.2, gt=0, lt=1)
    """Share of the training identities held out for validation; at least 8 are."""
    holdout_images_per_identity: int = Field(1, ge=0, le=10)
    """Images of each training identity (of those with 4 or more) kept out for the classifier's validation curves."""
    batch_size: int = Field(32, ge=2, le=4096)
    """Images a step."""
    images_per_identity: int | None = Field(4, ge=1, le=64)
    """K of the P x K batches; P = batch_size / K. null draws plain shuffled batches."""
    num_workers: int | None = Field(None, ge=0, le=64)
    """Processes that prepare batches; 0 prepares them in the training process, on a GPU if there is one and the pixels
    fit beside the training; null follows the machine."""

    # Augmentation
    crop_scale: float = Field(0.8, gt=0, le=1)
    """Smallest share of the picture's area that a random resized crop keeps; 1 crops nothing."""
    flip_probability: Fraction = 0.5
    """Chance of a horizontal flip."""
    randaugment_operations: int = Field(2, ge=0, le=8)
    """RandAugment operations applied to each picture, one after the other; 0 switches RandAugment off."""
    randaugment_magnitude: int = Field(9, ge=0, le=30)
    """Strength of RandAugment's operations, of 31 steps; 0 switches RandAugment off."""
    erasing_probability: Fraction = 0.0
    """Chance that a random rectangle is filled with the mean colour."""

    # Model
    backbone: str = "resnet50"
    """resnet50, resnet50_ibn (with IBN-a layers) or resnet18, from torchvision, or timm/NAME, any model of timm."""
    pretrained: str = "imagenet"
    """imagenet (of a timm model: the weights that timm has of that name), none, or the path of a checkpoint folder of
    this project, of a .pth state dict or, of a timm model, of a .safetensors, .pth or .bin file."""
    freeze: str = Field("none", pattern=r"^(none|backbone|first_[1-9]\d{0,3})$")
    """What stays as it starts: none, the backbone, or its N first layers (first_N; of a ResNet stem and stages)."""
    last_stride: Literal[1, 2] = 1
    """Stride of a ResNet's last stage; 1 doubles the height and width of the final feature map."""
    pooling: Literal["avg", "gem"] = "avg"
    """Average or generalised-mean pooling (exponent learned, from 3); of no effect where the backbone has pooled."""
    parts: int = Field(1, ge=1, le=16)
    """Horizontal stripes of the feature map, each with features and a classifier of its own (PCB); 1: the whole map."""
    part_width: int = Field(256, ge=8, le=2048)
    """Numbers that each stripe contributes to the embedding."""
    fc_layers: int = Field(0, ge=0, le=4)
    """Additional fully connected layers between pooling and the BNNeck; the last one gives the embedding."""
    fc_width: int = Field(512, ge=8, le=8192)
    """Width of the additional fully connected layers."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before each additional fully connected layer and before the classifier."""
    moe_experts: int = Field(1, ge=1, le=64)
    """Copies of the additional layers, between which a router chooses for each image; 1: those layers alone."""
    moe_top_k: int = Field(1, ge=1, le=64)
    """Experts whose outputs make an image's embedding, weighted by the router; at most moe_experts."""
    moe_noise: bool = True
    """Whether the router's scores get learned noise in training, so that all experts are tried."""

    # Loss
    identity_loss: Literal["cross_entropy", "arcface", "cosface"] = "cross_entropy"
    """How the classifier learns: plainly, or with an angular margin (ArcFace) or a cosine margin (CosFace)."""
    angular_margin: float = Field(0.3, gt=0, le=1.5)
    """ArcFace's margin in radians, CosFace's in cosine; the papers' 0.5 and 0.35 are for millions of faces."""
    angular_scale: float = Field(30.0, gt=0, le=1000)
    """Factor on the cosines of ArcFace and CosFace."""
    ce_weight: float = Field(1.0, ge=0, le=100)
    """Weight of the identity loss in the total loss."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread evenly over all identities."""
    metric_loss: Literal["triplet", "circle", "supcon", "multi_similarity"] = "triplet"
    """What pulls the features of an identity together: triplets, or one of pytorch-metric-learning's losses."""
    metric_weight: float = Field(1.0, ge=0, le=100)
    """Weight of the metric loss in the total loss."""
    metric_scale: float | None = Field(None, gt=0, le=1000)
    """Sharpness of a loss that is no triplet loss: circle's gamma, multi-similarity's beta, 1 / supcon's temperature;
    null takes the paper's, 80, 50 and 10."""
    margin: Annotated[float, Field(gt=0, le=100)] | Literal["soft"] = 0.3
    """Gap between hardest positive and hardest negative, in embedding distance; soft: log(1 + exp(difference))."""
    normalize_features: bool = False
    """Whether the triplet loss sees unit-length features: distances are then 0 to 2, and margins mean another thing."""
    moe_balance_weight: float = Field(0.01, ge=0, le=100)
    """Weight of the loss that has the router use all experts alike."""
    moe_z_weight: float = Field(0.001, ge=0, le=100)
    """Weight of the loss that keeps the router's scores small."""
    mining: Literal["batch_hard", "random"] = "batch_hard"
    """Which triplets: each anchor's hardest of the batch, or one at random for each anchor (TripletMarginLoss)."""

    # Distillation
    teacher: str | None = None
    """A checkpoint folder of this project, or timm/NAME for a foundation backbone, that the model learns from; null:
    from nobody. It must not have been trained on the validation identities."""
    kd_logits_weight: float = Field(1.0, ge=0, le=1000)
    """Weight of the loss that has the classifier score as the teacher's; timm/NAME has none, and needs 0 here."""
    kd_temperature: float = Field(4.0, gt=0, le=100)
    """What both classifiers' scores are divided by for that loss; above 1 tells more of the less likely identities."""
    kd_embedding_weight: float = Field(0.0, ge=0, le=1000)
    """Weight of the loss that turns embeddings in the direction of the teacher's, 1 - cosine."""
    kd_relation_weight: float = Field(0.0, ge=0, le=1000)
    """Weight of the loss that has images lie as near to each other as the teacher's embeddings do."""

    # Optimisation
    num_epochs: int = Field(50, ge=1, le=10_000)
    """Epochs of one complete OneCycle schedule."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with Nesterov momentum."""
    learning_rate: float = Field(1e-3, gt=0, le=10)
    """Peak of the OneCycle schedule."""
    backbone_lr_factor: float = Field(1.0, ge=0, le=10)
    """Factor on the backbone's learning rate; below 1 spares pretrained weights."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor on the learning rate from each layer of the backbone to the one before it; 1: the same for all."""
    weight_decay: float = Field(1e-4, ge=0, le=1)
    """Decoupled weight decay (AdamW) or L2 penalty (SGD), on weights but not on biases and normalisation."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """SGD's momentum."""
    pct_start: float = Field(0.1, gt=0, lt=1)
    """Share of the steps in which the learning rate rises to its peak; at least 2 steps."""
    max_grad_norm: float | None = Field(1.0, gt=0)
    """Global norm that gradients are clipped to; null does not clip."""
    ema_rate: float = Field(0.0, ge=0, lt=1)
    """1 - decay of the moving average of weights that is validated and kept; 0 keeps the weights themselves."""

    # Machine
    seed: int = Field(0, ge=0, le=2**31 - 1)
    """Seed of weights, batches and augmentation."""
    split_seed: int = Field(0, ge=0, le=2**31 - 1)
    """Seed of the validation split: the same for all runs that are compared."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes CUDA, then MPS, then the CPU."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Autocast type; auto takes bfloat16 where the device computes in it, else float32."""
    compile: bool | Literal["auto"] = "auto"
    """Whether torch.compile makes the model's code; auto does where that is known to pay."""
    num_threads: int | None = Field(None, ge=1, le=1024)
    """Threads that torch computes with on a CPU; null takes all of the machine's."""

    @field_validator("*", mode="before")
    @classmethod
    def _check_truth(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML's yes, no, on and off are true and false, which pydantic would take for 1 and 0.
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and annotation is not bool and bool not in get_args(annotation):
            raise ValueError("should be a number or a name, not true or false")
        return value

    @field_validator("backbone")
    @classmethod
    def _check_backbone(cls, name: str) -> str:
        # Whether timm has it is seen where timm is loaded: the process that steers a search must not.
        if name not in TORCHVISION_BACKBONES and not re.fullmatch(rf"{TIMM}[\w.-]+", name):
            near = suggestion(name, TORCHVISION_BACKBONES)
            raise ValueError(f"should be {', '.join(TORCHVISION_BACKBONES)} or {TIMM}NAME{near}")
        return name

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        check_batch(self.batch_size, self.images_per_identity)
        if self.ce_weight == 0 and self.metric_weight == 0:
            raise ValueError("ce_weight=0 and metric_weight=0 leave nothing to learn; raise one of them")
        return self

    @model_validator(mode="after")
    def _check_head(self) -> Self:
        if self.moe_experts > 1 and self.fc_layers == 0:
            raise ValueError(f"moe_experts={self.moe_experts} are copies of the additional layers; set fc_layers to 1")
        if self.moe_top_k > self.moe_experts:
            raise ValueError(f"moe_top_k={self.moe_top_k} is more than moe_experts={self.moe_experts}; lower it")
        rows = -(-self.image_height // (16 * self.last_stride))
        if self.parts > rows and self.backbone.startswith("resnet"):
            raise ValueError(
                f"parts={self.parts} of a feature map of {rows} rows (image_height={self.image_height}, "
                f"last_stride={self.last_stride}); lower parts, or raise image_height"
            )
        if self.parts > 1 and self.fc_layers > 0:
            raise ValueError(f"parts={self.parts} has layers of its own; set fc_layers to 0")
        if self.parts > 1 and self.identity_loss != "cross_entropy":
            raise ValueError(f"parts={self.parts} has a classifier a part; set identity_loss to cross_entropy")
        return self

    @model_validator(mode="after")
    def _check_teacher(self) -> Self:
        if self.teacher is not None and self.teacher.startswith(TIMM) and self.kd_logits_weight > 0:
            raise ValueError(
                f"teacher={self.teacher} is a backbone without logits; "
                "set kd_logits_weight to 0, and kd_embedding_weight or kd_relation_weight above 0"
            )
        return self

    @property
    def distills(self) -> bool:
        """Whether a teacher has any weight."""
        return self.teacher is not None and any(getattr(self, name) > 0 for name in KD_WEIGHTS)

    @property
    def images(self) -> dict[str, Any]:
        """Which images are meant, as `usable_train` and `usable_test` take it."""
        return {name: getattr(self, name) for name in ("data_dir", "dataset", *IMAGE_RULES)}

    def changed(self, **changes: Any) -> "TrainConfig":
        """A checked copy with some settings changed."""
        return make_config({**self.model_dump(), **changes}, "settings")


KD_WEIGHTS = ("kd_logits_weight", "kd_embedding_weight", "kd_relation_weight")
"""The weights of distillation's losses; with all of them 0 a teacher teaches nothing."""
IMAGE_RULES = ("outside_images", "on_bad_image")
"""The settings that decide which images are used, beside where they lie."""
FIELD_NAMES = tuple(TrainConfig.model_fields)
MODEL_SETTINGS = (
    *("backbone", "last_stride", "pooling", "parts", "part_width", "fc_layers", "fc_width", "dropout"),
    *("moe_experts", "moe_top_k", "moe_noise", "identity_loss", "angular_margin", "angular_scale"),
)
"""Those of the model."""
TRAINED_WITH = ("dropout", "moe_noise", "identity_loss", "angular_margin", "angular_scale")
"""Settings of the model that change nothing where it is used."""
ARCHITECTURE = (
    *(name for name in MODEL_SETTINGS if name not in TRAINED_WITH),
    *("image_height", "image_width", "precision"),
)
"""Those on which it depends what a trained model costs where it is used."""


def make_config(values: Mapping[str, Any], where: str | SettingsFile) -> TrainConfig:
    """TrainConfig from plain values. Raises UserError with one line for each thing wrong."""
    source = where if isinstance(where, SettingsFile) else SettingsFile(where, {})
    try:
        return TrainConfig(**{str(name): value for name, value in values.items()})
    except ValidationError as error:
        lines = dict.fromkeys(_explain(dict(problem), source, values) for problem in error.errors())
        raise UserError("\n".join(lines)) from None


def _explain(problem: dict[str, Any], source: SettingsFile, values: Mapping[str, Any]) -> str:
    """One line: where, which setting, its value, the rule that it breaks."""
    if not problem["loc"]:
        return f"{source.at()}: {problem['msg'].removeprefix('Value error, ')}"
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"{source.at(name)}: unknown setting {printable(name[:80])}{suggestion(name, FIELD_NAMES)}"
    rule = problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
    if name == "margin":
        rule = "should be a number above 0 and at most 100, or soft"
    if name == "freeze":
        rule = "should be none, backbone or first_N, e.g. first_4"
    if name == "compile":
        rule = "should be true, false or auto"
    return f"{source.at(name)}: {name}={values.get(name)!r:.200} {rule}"


def difference(there: Mapping[str, Any], here: TrainConfig) -> str | None:
    """The first setting that makes `here` another run than the one with the settings `there`, None for the same run.

    Threads and worker processes do not count: results do not depend on them. Nor does what is done about bad images:
    which images are left is compared apart.
    """
    for name, value in here.model_dump(mode="json").items():
        if there.get(name) != value and name not in ("num_threads", "num_workers", *IMAGE_RULES):
            return f"{name}={there.get(name)!r} there, {value!r} here"
    return None


def read_config(file: str, assignments: list[str] | None = None) -> TrainConfig:
    """TrainConfig from a YAML file and `name=value` changes to it. Raises UserError."""
    settings = read_settings(file)
    assigned = parse_assignments(assignments or [])
    source = replace(settings, assigned=frozenset(assigned))
    return make_config({**settings.values, **assigned}, source)


def check_training(config: TrainConfig, data: TrainingData) -> None:
    """Raises UserError when this configuration cannot train on this data: P x K, or a schedule that is too short."""
    check_fit(config, len(data.train), len({sample.identity for sample in data.train}))


def check_fit(config: TrainConfig, images: int, identities: int) -> None:
    """`check_training` for so many training images of so many identities."""
    check_batch(config.batch_size, config.images_per_identity, identities)
    steps = config.num_epochs * steps_per_epoch(images, config.batch_size)
    if config.pct_start * steps < 2:  # with 1, OneCycleLR divides by zero
        share = math.ceil(2000 / steps) / 1000
        way_out = f"pct_start to {share:.3f} or more, or num_epochs" if share < 1 else "num_epochs"
        raise UserError(
            f"pct_start={config.pct_start:g} of {steps} steps is {config.pct_start * steps:.4g} warm-up steps, "
            f"at least 2 are needed; raise {way_out}"
        )
