"""A network that is quick to train, for tests of what is around it."""

from typing import Any

from torchvision.models.resnet import BasicBlock, ResNet


class NarrowResNet(ResNet):
    """ResNet with an eighth of the channels and one block a stage: a run of it takes a second."""

    def __init__(self, weights: None, **options: Any) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1], **options)

    def _make_layer(self, block: Any, planes: int, *arguments: Any, **options: Any) -> Any:
        return super()._make_layer(block, planes // 8, *arguments, **options)
