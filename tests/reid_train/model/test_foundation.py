"""timm's models as backbones: what they give, the weights they take, what is frozen and how fast layers learn.

All with random weights, most of them timm's own models for tests; the others' shapes are made without memory.
"""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import build_model, load_network, save_checkpoint
from reid_train.checkpoints.pretrained import load_pretrained
from reid_train.model.network import AveragePooling, ReIDModel, build_backbone
from reid_train.model.settings import ArchitectureSettings
from reid_train.settings.optim import OptimSettings
from reid_train.training.optim import build_optimizer
from tests.reid_train.conftest import HEIGHT, WIDTH, tiny_config

VIT, ATTENTION_POOLED, CONVNEXT, SWIN = "test_vit", "test_vit3", "test_convnext", "swin_tiny_patch4_window7_224"
DINOV2 = "vit_tiny_of_dinov2s_shape"


def vit_tiny_of_dinov2s_shape(pretrained: bool = False, **options):
    """A ViT as DINOv2's are: patches of 14 pixels, scaled layers, a class token that is the feature."""
    options.pop("pretrained_cfg", None), options.pop("pretrained_cfg_overlay", None), options.pop("cache_dir", None)
    shape = {"patch_size": 14, "embed_dim": 24, "depth": 2, "num_heads": 2, "init_values": 1e-5}
    model = timm.models.VisionTransformer(**{**shape, **options})
    model.pretrained_cfg = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    return model


@pytest.fixture(autouse=True)
def _with_dinov2(monkeypatch):
    """Makes timm know DINOV2."""
    from timm.models import _registry

    monkeypatch.setitem(_registry._model_entrypoints, DINOV2, vit_tiny_of_dinov2s_shape)


def images(height: int = HEIGHT, width: int = WIDTH, count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def model_of(name: str, size: tuple[int, int] = (HEIGHT, WIDTH), **changes) -> ReIDModel:
    height, width = size
    config = tiny_config(backbone=f"timm/{name}", image_height=height, image_width=width, **changes)
    torch.manual_seed(0)
    return build_model(config, 5)


def timms_own(model: ReIDModel, name: str, size: tuple[int, int], **options) -> nn.Module:
    """timm's model with the weights of `model`, and nothing of this project around it."""
    try:
        own = timm.create_model(name, num_classes=0, img_size=size, **options)
    except TypeError:
        own = timm.create_model(name, num_classes=0, **options)
    weights = {key.removeprefix("backbone.net."): tensor for key, tensor in model.state_dict().items()}
    own.load_state_dict({key: tensor for key, tensor in weights.items() if key in own.state_dict()})
    return own.eval()


def normalised(pictures: torch.Tensor, mean, std) -> torch.Tensor:
    return (pictures / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


@pytest.mark.parametrize(
    ("name", "size"),
    [(VIT, (32, 16)), (ATTENTION_POOLED, (48, 32)), (DINOV2, (42, 28)), ("eva02_tiny_patch14_224", (28, 28))],
)
def test_a_transformer_gives_the_vector_that_timm_gives(name, size):
    model = model_of(name, size, pooling="gem").eval()
    own = timms_own(model, name, size)
    about = own.pretrained_cfg
    with torch.no_grad():
        expected = own(normalised(images(*size), about["mean"], about["std"]))
        torch.testing.assert_close(model.pooled(images(*size)), expected, atol=1e-4, rtol=1e-4)
    assert expected.ndim == 2 and not list(model.pooling.parameters())


@pytest.mark.parametrize(("name", "layout"), [(CONVNEXT, (0, 1, 2, 3)), (SWIN, (0, 3, 1, 2))])
def test_a_hierarchical_model_gives_a_map_with_channels_first_whatever_timms_layout(name, layout):
    size = (64, 96)
    model = model_of(name, size).eval()
    own = timms_own(model, name, size, global_pool="")
    about = own.pretrained_cfg
    with torch.no_grad():
        expected = own(normalised(images(*size), about["mean"], about["std"])).permute(layout)
        found = model.backbone((images(*size).float() - model.mean) / model.std)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model.pooled(images(*size)), expected.mean(dim=(2, 3)), atol=1e-4, rtol=1e-4)
    assert found.shape == (3, own.num_features, 2, 3) and isinstance(model.pooling, AveragePooling)


def test_images_that_are_no_multiple_of_the_patches_are_scaled_to_the_nearest_that_are():
    model = model_of(DINOV2, (32, 16)).eval()
    own = timms_own(model, DINOV2, (28, 14))
    about = own.pretrained_cfg
    scaled = nn.functional.interpolate(normalised(images(), about["mean"], about["std"]), (28, 14), mode="bilinear")
    with torch.no_grad():
        torch.testing.assert_close(model.pooled(images()), own(scaled), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "width", "is_vector"),
    [
        ("vit_small_patch14_reg4_dinov2.lvd142m", 384, True),
        ("vit_small_patch16_dinov3", 384, True),
        ("vit_base_patch16_clip_224", 768, True),
        ("vit_base_patch16_siglip_224", 768, True),
        ("eva02_base_patch16_clip_224", 768, True),
        ("convnext_tiny", 768, False),
        ("swinv2_tiny_window8_256", 768, False),
    ],
)
def test_the_published_families_can_be_made_for_pedestrians(name, width, is_vector):
    with torch.device("meta"):
        built = build_backbone(ArchitectureSettings(backbone=f"timm/{name}", image_height=256, image_width=128))
        output = built.eval()(torch.zeros(2, 3, 256, 128))
    assert built.width == width and (built.rows is None) == is_vector
    assert is_vector or output.shape[2] == built.rows
    assert tuple(output.shape) == ((2, width) if is_vector else (2, width, 8, 4))


def test_each_model_normalises_as_it_was_trained():
    with torch.device("cpu"):
        assert (model_of(VIT).mean / 255).flatten().tolist() == pytest.approx([0.5] * 3)
        assert (model_of(DINOV2).std / 255).flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vit_tiny_patch16_225", "did you mean timm/vit_tiny_patch16_224"),
        ("test_vit.r161", "did you mean timm/test_vit.r160_in1k"),
        ("zzzz", "see timm.list_models()"),
    ],
)
def test_a_name_that_timm_does_not_have_is_refused_with_a_suggestion(name, said):
    with pytest.raises(UserError) as caught:
        build_backbone(ArchitectureSettings(backbone=f"timm/{name}", image_height=32, image_width=16))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_parts_of_a_vector_are_refused_and_of_a_map_taken():
    with pytest.raises(UserError, match=r"parts=2: backbone=timm/test_vit gives one vector"):
        model_of(VIT, parts=2)
    assert model_of(CONVNEXT, (64, 32), parts=2, part_width=8)(images(64, 32)).logits_PBI.shape == (2, 3, 5)


# --- weights ---


def same(model: nn.Module, other: nn.Module) -> bool:
    there = other.state_dict()
    return all(torch.equal(tensor, there[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("ending", ["safetensors", "pth", "bin"])
def test_timms_file_is_taken_with_its_position_embeddings_resized_as_timm_does(tmp_path, ending):
    size, file = (64, 32), tmp_path / f"weights.{ending}"
    published = timm.create_model(VIT, num_classes=7, img_size=(160, 160))
    nn.init.normal_(published.pos_embed)
    if ending == "safetensors":
        save_file(published.state_dict(), file)
    else:
        torch.save({"state_dict": published.state_dict()}, file)
    # timm's own way from a file to a model of another size.
    overlay = {"file": str(file), "num_classes": 7}
    own = timm.create_model(VIT, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, img_size=size)
    model = model_of(VIT, size)
    said = load_pretrained(model, str(file))
    assert own.pos_embed.shape[1] == 1 + 4 * 2 and same(model.backbone.net, own)
    count = len(own.state_dict())
    assert f"{count} of {count} tensors matched" in said


def test_a_checkpoint_of_this_project_is_taken_whole_also_at_another_size(tmp_path):
    config = tiny_config(backbone=f"timm/{VIT}", image_height=64, image_width=64)
    trained = build_model(config, 5)
    save_checkpoint(tmp_path, trained.state_dict(), config=config, epoch=1, metrics={}, identities=list(range(5)))
    again, smaller = build_model(config, 5), model_of(VIT, (64, 32))
    load_pretrained(again, str(tmp_path))
    assert same(again, trained) and same(load_network(tmp_path)[0], trained)
    said = load_pretrained(smaller, str(tmp_path))
    assert "another shape" not in said and torch.equal(smaller.classifier.weight, trained.classifier.weight)


@pytest.mark.parametrize("state", [{"conv1.weight": torch.zeros(2)}, {"pos_embed": torch.zeros(1, 3, 5, 7)}])
def test_a_file_of_another_model_is_refused_in_one_line(tmp_path, state):
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(UserError) as caught:
        load_pretrained(model_of(VIT), str(tmp_path / "x.safetensors"))
    assert str(tmp_path / "x.safetensors") in str(caught.value) and "\n" not in str(caught.value)


def test_imagenet_without_network_and_cache_says_where_the_weights_belong(empty_hub):
    with pytest.raises(UserError) as caught:
        load_pretrained(model_of(VIT), "imagenet")
    message = str(caught.value)
    assert "https://huggingface.co/timm/test_vit.r160_in1k" in message and str(empty_hub) in message
    assert "pretrained=PATH" in message and "\n" not in message


def test_imagenet_takes_what_timms_cache_holds_without_a_network(published_vit):
    model = model_of(VIT, (64, 32))
    load_pretrained(model, "imagenet")
    assert torch.equal(model.backbone.net.blocks[0].attn.qkv.weight, published_vit.blocks[0].attn.qkv.weight)


def test_imagenet_of_a_model_that_has_no_weights_says_so(empty_hub):
    with pytest.raises(UserError, match=r"no weights of timm/test_vit4 to be had"):
        load_pretrained(model_of("test_vit4"), "imagenet")


# --- layers ---


def optimizer_of(model: ReIDModel, layer_decay: float) -> torch.optim.Optimizer:
    settings = OptimSettings(learning_rate=0.1, backbone_lr_factor=0.5, layer_decay=layer_decay, weight_decay=0.05)
    return build_optimizer(model, settings)


def rate_of(model: ReIDModel, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[p]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


def test_a_transformers_layers_learn_more_slowly_towards_the_images():
    model = model_of(DINOV2)  # patches and tokens, two blocks (the last with the norm after it), then the head
    optimizer = optimizer_of(model, 0.6)
    rates = rate_of(model, optimizer)
    by_hand = {"patch_embed": 0.6**3, "pos_embed": 0.6**3, "cls_token": 0.6**3, "blocks.0.": 0.6**2, "blocks.1.": 0.6}
    by_hand["norm"] = 0.6
    for begin, factor in by_hand.items():
        found = {rate for name, rate in rates.items() if name.startswith(f"backbone.net.{begin}")}
        assert len(found) == 1 and found.pop() == pytest.approx(0.1 * 0.5 * factor), begin
    assert {rate for name, rate in rates.items() if not name.startswith("backbone.")} == {0.1}
    assert set(rates) == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    spared = {id(p) for group in optimizer.param_groups if group["weight_decay"] == 0 for p in group["params"]}
    assert id(model.backbone.net.pos_embed) in spared and id(model.backbone.net.patch_embed.proj.weight) not in spared
    assert optimizer.param_groups[-1]["lr"] == 0.1  # the rate that reports tell


@pytest.mark.usefixtures("narrow")
def test_a_resnets_stages_learn_more_slowly_towards_the_images():
    model = build_model(tiny_config(), 5)
    rates = rate_of(model, optimizer_of(model, 0.5))
    by_hand = {"conv1": 1 / 32, "bn1": 1 / 32, "layer1": 1 / 16, "layer2": 1 / 8, "layer3": 1 / 4, "layer4": 1 / 2}
    for name, rate in rates.items():
        if name.startswith("backbone."):
            assert rate == pytest.approx(0.05 * by_hand[name.split(".")[1]]), name


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("freeze", "still"), [("first_2", ("conv1", "bn1", "layer1")), ("backbone", ("",))])
def test_frozen_layers_stay_as_they_are_with_their_batchnorm_statistics(freeze, still):
    model = build_model(tiny_config(), 5)
    model.freeze(freeze)
    model.train()
    optimizer = optimizer_of(model, 1.0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for _ in range(2):  # a block that begins as the identity gives its inside no gradients in the first
        model(images(64, 64)).logits_PBI.square().sum().backward()
        optimizer.step()
    begins = tuple(f"backbone.{name}" for name in still)
    for name, tensor in model.state_dict().items():
        is_still = name.startswith(begins) or name == "neck.bias"
        assert torch.equal(tensor, before[name]) == is_still, name
    with_state = {id(parameter) for parameter in optimizer.state}
    for name, parameter in model.named_parameters():
        is_still = name.startswith(begins) or name == "neck.bias"
        assert (parameter.grad is None) == is_still and (id(parameter) in with_state) != is_still, name


def test_first_layers_of_a_transformer_are_frozen_by_the_numbers_that_learning_rates_have():
    model = model_of(DINOV2)
    model.freeze("first_2")
    layers = model.backbone.layers()
    for name, parameter in model.backbone.named_parameters():
        assert parameter.requires_grad == (layers[name] >= 2), name
    assert layers["net.blocks.0.norm1.weight"] == 1
    with pytest.raises(UserError, match=r"freeze=first_9: the backbone has 3 layers"):
        model_of(DINOV2).freeze("first_9")


def test_layers_that_learn_are_in_training_mode_beside_frozen_ones():
    model = model_of(VIT).train()
    model.freeze("first_1")  # the first holds tokens and position embeddings, which belong to the module around all
    assert model.backbone.net.blocks[-1].training and not model.backbone.net.patch_embed.training
    model.eval(), model.train()
    assert model.backbone.net.blocks[-1].training and not model.backbone.net.patch_embed.training
