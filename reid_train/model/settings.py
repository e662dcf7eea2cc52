"""The model's settings. `ReIDModel(settings, identities=751)` builds what they describe. Imports no torch."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from data.system.errors import suggestion
from data.system.settings import Settings

TORCHVISION_BACKBONES = ("resnet50", "resnet50_ibn", "resnet18")
TIMM = "timm/"
"""What the names of timm's models begin with."""
TIMM_NAME = re.compile(rf"{TIMM}([\w.-]+|hf-hub:[\w.-]+/[\w.-]+(@[\w./-]+)?|local-dir:/.+)")
"""A model of timm's own list, of the Hugging Face hub (a revision may follow @), or of a folder: its whole path, since
the processes of a search work in folders of their own."""


class ArchitectureSettings(Settings):
    """The settings that decide what a trained model computes, and so what it costs where it is used."""

    image_height: int = Field(256, ge=16, le=2048)
    """Height that images are resized to, in pixels."""
    image_width: int = Field(256, ge=16, le=2048)
    """Width that images are resized to, in pixels."""
    backbone: str = "resnet50"
    """resnet50, resnet50_ibn (with IBN-a layers) or resnet18, from torchvision, or timm/NAME, any model of timm; of
    others' models for timm timm/hf-hub:OWNER/NAME, on the Hugging Face hub, and timm/local-dir:/FOLDER."""
    last_stride: Literal[1, 2] = 1
    """Stride of a ResNet's last stage; 1 doubles the height and width of the final feature map."""
    pooling: Literal["avg", "gem"] = "avg"
    """Average or generalised-mean pooling (exponent learned, from 3); has no effect where the backbone has pooled."""
    parts: int = Field(1, ge=1, le=16)
    """Horizontal stripes of the feature map, each with features and a classifier of its own (PCB); 1: the whole map."""
    part_width: int = Field(256, ge=8, le=2048)
    """Numbers that each stripe contributes to the embedding."""
    fc_layers: int = Field(0, ge=0, le=4)
    """Additional fully connected layers between pooling and the BNNeck; the last one gives the embedding."""
    fc_width: int = Field(512, ge=8, le=8192)
    """Width of the additional fully connected layers."""
    moe_experts: int = Field(1, ge=1, le=64)
    """Copies of the additional layers, between which a router chooses for each image; 1: those layers alone."""
    moe_top_k: int = Field(1, ge=1, le=64)
    """Experts whose outputs make an image's embedding, weighted by the router; at most moe_experts."""

    @field_validator("backbone")
    @classmethod
    def _check_backbone(cls, name: str) -> str:
        # Whether timm has it is seen where timm is loaded: it takes two seconds.
        if name not in TORCHVISION_BACKBONES and not TIMM_NAME.fullmatch(name):
            near = suggestion(name, TORCHVISION_BACKBONES)
            raise ValueError(
                f"should be {', '.join(TORCHVISION_BACKBONES)}, {TIMM}NAME, {TIMM}hf-hub:OWNER/NAME or "
                f"{TIMM}local-dir:/FOLDER{near}"
            )
        return name

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
        return self


class ModelSettings(ArchitectureSettings):
    """All settings of the model: its architecture, what it starts from, and what only its training sees."""

    pretrained: str = "imagenet"
    """imagenet (for a timm model: the weights that timm has by that name), none, or the path of a checkpoint folder of
    this project or of anybody's file of weights (.pth, .tar, .ckpt, .bin, .safetensors), or
    timm/hf-hub:OWNER/NAME: the weights of that repository."""
    freeze: str = Field("none", pattern=r"^(none|backbone|first_[1-9]\d{0,3})$")
    """What stays as it starts: none, the backbone, or its N first layers (first_N; a ResNet's are stem and stages)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before each additional fully connected layer and before the classifier."""
    moe_noise: bool = True
    """Whether the router's scores get learned noise in training, so that all experts are tried."""
    identity_loss: Literal["cross_entropy", "arcface", "cosface"] = "cross_entropy"
    """How the classifier learns: plainly, or with an angular margin (ArcFace) or a cosine margin (CosFace)."""
    angular_margin: float = Field(0.3, gt=0, le=1.5)
    """ArcFace's margin in radians, CosFace's in cosine; the papers' 0.5 and 0.35 are for millions of faces."""
    angular_scale: float = Field(30.0, gt=0, le=1000)
    """Factor on the cosines of ArcFace and CosFace."""

    @model_validator(mode="after")
    def _check_classifier(self) -> Self:
        if self.parts > 1 and self.identity_loss != "cross_entropy":
            raise ValueError(f"parts={self.parts} has a classifier a part; set identity_loss to cross_entropy")
        return self
