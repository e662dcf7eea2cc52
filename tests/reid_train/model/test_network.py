"""The model's shapes, where features are taken, and what is trained."""

import pytest
import torch
from torch import nn

from data.pixels.augmentation import IMAGENET_MEAN, IMAGENET_STD
from reid_train.model.network import AveragePooling, GeMPooling, ModelOutput, ReIDModel
from reid_train.model.settings import ModelSettings


def images(count: int = 4, height: int = 32, width: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("backbone", "width"), [("resnet18", 512), ("resnet50", 2048)])
def test_shapes_in_training_and_in_evaluation(backbone, width):
    model = ReIDModel(ModelSettings(backbone=backbone), identities=5)
    output = model(images())
    assert isinstance(output, ModelOutput)
    assert output.feature_BD.shape == (4, width) and output.logits_PBI.shape == (1, 4, 5)
    assert model.eval()(images()).shape == (4, width)


@pytest.mark.parametrize("layers", [1, 3])
def test_fully_connected_layers_give_the_embedding_its_width_and_both_signs(layers):
    model = ReIDModel(ModelSettings(backbone="resnet18", fc_layers=layers, fc_width=24, dropout=0.2), identities=5)
    feature = model(images()).feature_BD
    assert feature.shape == (4, 24) and (feature < 0).any() and (feature > 0).any()
    assert sum(isinstance(layer, nn.Linear) for layer in model.fc) == layers
    assert sum(isinstance(layer, nn.ReLU) for layer in model.fc) == layers - 1


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_last_stride_1_doubles_the_feature_map(backbone):
    sizes = {}
    for stride in (1, 2):
        model = ReIDModel(ModelSettings(backbone=backbone, last_stride=stride), identities=2).eval()
        with torch.no_grad():
            sizes[stride] = tuple(model.backbone(images(1, 64, 32).float()).shape[2:])
    assert sizes == {2: (2, 1), 1: (4, 2)}


def test_gem_with_p_1_is_the_average_and_with_a_large_p_the_maximum():
    feature_map = torch.rand(3, 8, 4, 2, generator=torch.Generator().manual_seed(0)) + 0.01
    torch.testing.assert_close(GeMPooling(p=1.0)(feature_map), AveragePooling()(feature_map))
    torch.testing.assert_close(GeMPooling(p=60.0)(feature_map), feature_map.amax(dim=(2, 3)), rtol=0.05, atol=0)
    torch.testing.assert_close(GeMPooling()(feature_map), feature_map.pow(3).mean(dim=(2, 3)).pow(1 / 3))


def test_gem_of_an_empty_map_and_of_half_precision_is_finite_with_finite_gradients():
    pooling = GeMPooling()
    zeros = torch.zeros(1, 2, 2, 2, requires_grad=True)
    large = torch.full((1, 2, 2, 2), 3e4, dtype=torch.float16)  # its cube overflows float16
    (pooling(zeros).sum() + pooling(large).sum()).backward()
    assert pooling(large).isfinite().all()
    assert zeros.grad is not None and zeros.grad.isfinite().all()
    assert pooling.p.grad is not None and pooling.p.grad.isfinite()


def test_the_necks_bias_is_zero_and_not_trained_and_the_classifier_has_none():
    model = ReIDModel(ModelSettings(backbone="resnet18"), identities=5)
    model(images()).logits_PBI.logsumexp(dim=2).sum().backward()
    assert model.neck.bias.grad is None and not model.neck.bias.any()
    assert model.neck.weight.grad is not None
    assert [name for name, _ in model.classifier.named_parameters()] == ["weight"]


def test_triplets_see_the_feature_before_the_neck_and_retrieval_the_one_after():
    model = ReIDModel(ModelSettings(backbone="resnet18"), identities=5)
    output = model(images())
    # In training the neck normalises over the batch.
    centred = output.feature_BD - output.feature_BD.mean(dim=0)
    after = centred / (output.feature_BD.var(dim=0, unbiased=False) + model.neck.eps).sqrt()
    torch.testing.assert_close(output.logits_PBI[0], after @ model.classifier.weight.T, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(output.feature_BD, after, atol=0.1)

    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(images()), model.neck(model.features(images())))


def test_pictures_are_normalised_inside_the_model():
    model = ReIDModel(ModelSettings(backbone="resnet18"), identities=2).eval()
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(images())
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    torch.testing.assert_close(seen[0], (images() / 255 - mean) / std, atol=1e-5, rtol=1e-5)
    assert not {"mean", "std"} & set(model.state_dict())


def test_dropout_before_the_classifier_leaves_the_triplet_feature_alone():
    model = ReIDModel(ModelSettings(backbone="resnet18", dropout=0.9), identities=5)
    nn.init.ones_(model.classifier.weight)
    first, second = model(images()), model(images())
    torch.testing.assert_close(first.feature_BD, second.feature_BD)
    assert not torch.allclose(first.logits_PBI, second.logits_PBI)
