"""Distillation: its losses against plain loops, what the teacher is and is not, and runs that learn from one."""

import math
from dataclasses import asdict

import pytest
import torch

import reid_train.training.run
from data.sets.splits import TrainingData
from data.system.errors import UserError
from reid_train.checkpoints.checkpoint import build_model, load_checkpoint, save_checkpoint
from reid_train.objective.distillation import Distillation, embedding_loss, logits_loss, relation_loss
from reid_train.settings.config import TrainConfig, make_config
from reid_train.training import teacher as teacher_module
from reid_train.training.loop import train_epochs
from reid_train.training.teacher import load_teacher, teacher_digest
from tests.reid_train.conftest import tiny_config

pytestmark = pytest.mark.usefixtures("narrow")
ALL = {"kd_logits_weight": 0.5, "kd_embedding_weight": 2.0, "kd_relation_weight": 3.0}


def identities_of(samples):
    return sorted({sample.identity for sample in samples})


@pytest.fixture
def teacher(tmp_path, data):
    """Writes a checkpoint with random weights: `teacher(identities, **settings)` gives its folder."""

    def write(identities=None, name="teacher", seed=5, **settings):
        identities = identities or identities_of(data.train)
        config = tiny_config(**{"fc_layers": 1, "fc_width": 48, **settings})
        torch.manual_seed(seed)
        model = build_model(config, len(identities))
        with torch.no_grad():
            model.neck.running_mean.uniform_(-0.1, 0.1)  # else training and evaluation look alike
            for parameter in model.classifier.parameters():
                parameter.normal_()
        folder = tmp_path / name
        save_checkpoint(folder, model.state_dict(), config=config, epoch=1, metrics={}, identities=identities)
        return str(folder)

    return write


def student(teacher=None, **changes):
    return tiny_config(**{"num_epochs": 1, "pct_start": 0.6, "teacher": teacher, **changes})


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- losses ---


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_logits_loss_is_that_of_a_plain_loop(temperature):
    student_PBI, teacher_BI = draw(2, 5, 4), draw(5, 4, seed=1)
    total = 0.0
    for part in student_PBI.tolist():
        for own, others in zip(part, teacher_BI.tolist(), strict=True):
            p = [math.exp(score / temperature) for score in others]
            q = [math.exp(score / temperature) for score in own]
            p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
            total += sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
    assert logits_loss(student_PBI, teacher_BI, temperature).item() == pytest.approx(
        temperature**2 * total / 10, rel=1e-5
    )
    assert logits_loss(teacher_BI[None], teacher_BI, temperature).item() == pytest.approx(0, abs=1e-6)


def test_at_a_high_temperature_the_logits_loss_matches_logits():
    """Hinton et al., equation 4: for zero-mean logits the gradient nears (student - teacher) / identities."""
    own, others = (logits - logits.mean(dim=1, keepdim=True) for logits in (draw(1, 6), draw(1, 6, seed=1)))
    own.requires_grad_()
    logits_loss(own[None], others, 1000.0).backward()
    torch.testing.assert_close(own.grad, (own.detach() - others) / 6, rtol=0.02, atol=1e-3)


def test_the_embedding_loss_is_one_minus_the_cosine_whatever_the_length():
    own = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    others = torch.tensor([[5.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert embedding_loss(own, others).item() == pytest.approx((0 + 1 + 2) / 3)


def test_the_relation_loss_is_that_of_a_plain_loop_and_ignores_width_scale_and_rotation():
    own, others = draw(5, 3), draw(5, 7, seed=1)

    def relations(rows):
        rows = [[x / math.hypot(*row) for x in row] for row in rows.tolist()]
        distances = [math.dist(rows[a], rows[b]) for a in range(5) for b in range(a)]
        return [distance / (sum(distances) / len(distances)) for distance in distances]

    gaps = [abs(one - other) for one, other in zip(relations(own), relations(others), strict=True)]
    huber = [gap**2 / 2 if gap < 1 else gap - 0.5 for gap in gaps]
    assert relation_loss(own, others).item() == pytest.approx(sum(huber) / len(huber), rel=1e-4)
    turned = 3 * others @ torch.linalg.qr(draw(7, 7, seed=2)).Q
    assert relation_loss(turned, others).item() == pytest.approx(0, abs=1e-6)


def test_embeddings_that_are_one_point_leave_finite_gradients():
    own = torch.ones(4, 3, requires_grad=True)
    relation_loss(own, draw(4, 3)).backward()
    assert torch.isfinite(own.grad).all()


# --- the teacher ---


def test_a_teacher_of_another_size_sees_resized_images_and_answers_as_its_model_does(teacher, data):
    folder = teacher(image_height=64, image_width=64, parts=2, part_width=16, fc_layers=0)
    found = load_teacher(student(folder), data)
    images = torch.randint(0, 256, (4, 3, 32, 16), dtype=torch.uint8)
    taught = found(images)
    resized = torch.nn.functional.interpolate(images.float(), (64, 64), mode="bilinear", antialias=True)
    assert torch.equal(taught.embedding_BD, found.model(resized)) and taught.embedding_BD.shape == (4, 32)
    own = found.model.classifier(taught.embedding_BD)
    assert torch.equal(taught.logits_BI, (own[0] + own[1]) / 2)
    same = load_teacher(student(teacher(name="same")), data)
    assert torch.equal(same(images).embedding_BD, same.model(images))


def test_its_scores_are_those_of_the_students_identities_in_their_order(teacher, data):
    wanted = identities_of(data.train)
    shuffled = [9001, *reversed(wanted), 9002]
    found = load_teacher(student(teacher(shuffled)), data)
    images = torch.randint(0, 256, (3, 3, 32, 16), dtype=torch.uint8)
    taught = found(images)
    every = found.model.classifier(taught.embedding_BD)[0]
    for place, identity in enumerate(wanted):
        assert torch.equal(taught.logits_BI[:, place], every[:, shuffled.index(identity)])


def test_a_teacher_has_no_gradients_and_training_leaves_it_as_it_was(teacher, data, pixels, monkeypatch):
    folder, made = teacher(dropout=0.5), []
    monkeypatch.setattr(
        reid_train.training.run, "load_teacher", lambda *given: made.append(load_teacher(*given)) or made[0]
    )
    list(train_epochs(student(folder, **ALL, ema_rate=0.1), data, pixels))
    assert not any(module.training for module in made[0].modules())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in made[0].parameters())
    kept = load_checkpoint(folder).weights
    assert all(torch.equal(kept[name], tensor) for name, tensor in made[0].model.state_dict().items())


def test_a_teacher_that_has_seen_the_validation_identities_is_refused_with_the_way_out(teacher, data):
    everybody = identities_of([*data.train, *data.query])
    folder = teacher(everybody)
    with pytest.raises(
        UserError, match=rf"teacher={folder}: was trained on 8 of 8 validation identities .*split_seed=0"
    ):
        load_teacher(student(folder), data)
    with pytest.raises(UserError, match="validation identities"):  # whatever it teaches
        load_teacher(student(folder, kd_logits_weight=0, kd_embedding_weight=1), data)
    retrained = TrainingData([*data.train, *data.query], [], [])  # nothing is validated: nothing leaks
    assert load_teacher(student(folder), retrained) is not None


def test_logits_need_a_teacher_that_knows_every_identity_and_the_other_losses_do_not(teacher, data):
    known = identities_of(data.train)[1:]
    folder = teacher(known)
    with pytest.raises(UserError, match=r"does not know 1 of 6 training identities .*set kd_logits_weight to 0"):
        load_teacher(student(folder), data)
    assert load_teacher(student(folder, kd_logits_weight=0, kd_relation_weight=1), data).outputs is None
    # Numbers of another data set are other identities: they neither match nor leak.
    elsewhere = teacher(identities_of([*data.train, *data.query]), name="elsewhere", dataset="veri")
    with pytest.raises(UserError, match="does not know 6 of 6"):
        load_teacher(student(elsewhere, dataset="market1501"), data)
    assert load_teacher(student(elsewhere, dataset="market1501", kd_logits_weight=0, kd_embedding_weight=1), data)


def test_a_missing_or_damaged_teacher_is_one_line(teacher, data, tmp_path):
    folder = teacher()
    (tmp_path / "teacher" / "model.safetensors").write_bytes(b"cut")
    for path, message in ((str(tmp_path / "none"), "no such checkpoint"), (folder, "damaged")):
        with pytest.raises(UserError, match=message) as caught:
            load_teacher(student(path), data)
        assert path in str(caught.value) and "\n" not in str(caught.value)


def test_without_any_weight_there_is_no_teacher_and_that_is_said(data, caplog):
    nothing = {"kd_logits_weight": 0, "kd_embedding_weight": 0, "kd_relation_weight": 0}
    assert load_teacher(student(**ALL), data) is None and not caplog.records
    assert load_teacher(student("/nowhere", **nothing), data) is None
    assert "teacher=/nowhere teaches nothing: kd_logits_weight, kd_embedding_weight" in caplog.text


def test_a_backbone_has_no_logits_and_that_is_refused_with_the_settings():
    with pytest.raises(
        UserError, match="teacher=timm/vit_tiny is a backbone without logits; set kd_logits_weight to 0"
    ):
        make_config({"teacher": "timm/vit_tiny"}, "file")
    assert TrainConfig(teacher="timm/vit_tiny", kd_logits_weight=0, kd_relation_weight=1).distills


def test_a_foundation_backbone_teaches_what_timm_makes_of_the_images_at_its_own_size(published_vit, data, pixels):
    config = student("timm/test_vit", kd_logits_weight=0, kd_embedding_weight=1, fc_layers=1, fc_width=16)
    found = load_teacher(config, data)
    images = torch.randint(0, 256, (4, 3, 48, 48), dtype=torch.uint8)
    resized = torch.nn.functional.interpolate(images.float(), (160, 160), mode="bilinear", antialias=True) / 255
    about = published_vit.pretrained_cfg
    normalised = (resized - torch.tensor(about["mean"]).view(3, 1, 1)) / torch.tensor(about["std"]).view(3, 1, 1)
    with torch.no_grad():
        expected = published_vit.forward_head(published_vit.forward_features(normalised), pre_logits=True)
    torch.testing.assert_close(found(images).embedding_BD, expected, rtol=1e-3, atol=1e-4)
    (report,) = train_epochs(config, data, pixels)
    assert 0 < report.kd_loss < 2


def test_a_foundation_backbone_without_weights_is_refused_as_a_teacher(empty_hub, data):
    config = student("timm/test_vit", kd_logits_weight=0, kd_embedding_weight=1)
    with pytest.raises(UserError) as caught:
        load_teacher(config, data)
    assert str(caught.value).startswith("teacher=timm/test_vit: https://huggingface.co/timm/test_vit.r160_in1k could")
    assert str(empty_hub) in str(caught.value) and "pretrained=" not in str(caught.value)


def test_foundation_settings_take_the_backbones_own_size_and_name_one_that_is_unknown(monkeypatch):
    monkeypatch.setattr(teacher_module, "make_config", lambda values, where: values)
    found = teacher_module.foundation_settings("timm/vit_tiny_patch16_384")
    assert (found["backbone"], found["image_height"]) == ("timm/vit_tiny_patch16_384", 384)
    with pytest.raises(UserError, match=r"teacher=timm/vit_huge_of_nobody: timm [\d.]+ has no such model"):
        teacher_module.foundation_settings("timm/vit_huge_of_nobody")


# --- runs ---


def test_a_run_reports_the_weighted_sum_of_its_losses(teacher, data, pixels):
    config = student(teacher(), **ALL)
    (report,) = train_epochs(config, data, pixels)
    assert report.kd_loss > 0
    assert report.loss == pytest.approx(report.ce_loss + report.metric_loss + report.kd_loss, rel=1e-5)
    (alone,) = train_epochs(student(**ALL), data, pixels)
    assert alone.kd_loss is None and alone.loss == pytest.approx(alone.ce_loss + alone.metric_loss)


@pytest.mark.parametrize("name", list(ALL))
def test_each_loss_teaches(teacher, data, pixels, name):
    """With a loss alone and strong, what it measures falls."""
    weights = dict.fromkeys(ALL, 0.0)
    config = student(
        teacher(), **{**weights, name: 10.0}, num_epochs=6, ce_weight=1e-6, metric_weight=0, learning_rate=0.01
    )
    reports = list(train_epochs(config, data, pixels))
    assert reports[-1].kd_loss < 0.7 * reports[0].kd_loss


def test_the_projection_is_trained_and_no_part_of_what_is_kept(teacher, data, pixels, tmp_path, monkeypatch):
    made, first = [], []

    class Watched(Distillation):
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            made.append(self)
            first.append(self.projection.weight.detach().clone())

    monkeypatch.setattr(reid_train.training.run, "Distillation", Watched)
    config = student(teacher(), kd_logits_weight=0, kd_embedding_weight=1.0)
    list(train_epochs(config, data, pixels, out_dir=tmp_path / "run"))
    assert made[0].projection.weight.shape == (48, 64)  # the teacher's and the narrow student's embeddings
    assert not torch.equal(first[0], made[0].projection.weight)
    alone = build_model(student(), 6).state_dict()
    assert load_checkpoint(tmp_path / "run").weights.keys() == alone.keys()
    same = Distillation(config, student_width=48, teacher_width=48)
    assert not list(same.parameters())


def test_a_student_begins_as_one_alone_does(teacher, data, pixels):
    """The first step's losses are of the same weights and pictures: a comparison is of the teacher alone."""
    one, other = (
        next(iter(train_epochs(student(path, **ALL, learning_rate=1e-9), data, pixels))) for path in (teacher(), None)
    )
    assert one.ce_loss == pytest.approx(other.ce_loss, rel=1e-6)


def test_a_stopped_run_goes_on_bit_for_bit_and_only_with_the_same_teacher(teacher, data, pixels, tmp_path):
    config = student(teacher(), **ALL, num_epochs=3, dropout=0.2)

    def run(name, stop_after=None):
        epochs = train_epochs(config, data, pixels, out_dir=tmp_path / name, state_interval_s=0)
        reports = [next(epochs) for _ in range(stop_after or 0)] or list(epochs)
        epochs.close()
        return [{k: v for k, v in asdict(r).items() if k not in ("images_per_s", "seconds")} for r in reports]

    whole = run("whole")
    run("halves", stop_after=1)
    assert run("halves")[1:] == whole[1:]
    one, other = (load_checkpoint(tmp_path / name).weights for name in ("whole", "halves"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    run("other", stop_after=1)
    digest = teacher_digest(config)
    teacher(seed=6)
    assert teacher_digest(config) != digest
    with pytest.raises(UserError, match="a run with other weights of its teacher"):
        run("other")


def test_a_student_in_half_precision_learns_from_a_teacher_of_any_head(teacher, data, wide_pixels):
    parts = {"parts": 2, "part_width": 8, "fc_layers": 0, "last_stride": 1}
    heads = ({"moe_experts": 2}, {"identity_loss": "arcface"}, parts)
    for place, head in enumerate(heads):
        config = student(teacher(name=str(place), **head), **ALL, precision="bfloat16", image_width=32)
        (report,) = train_epochs(config, data, wide_pixels)
        assert math.isfinite(report.kd_loss)
