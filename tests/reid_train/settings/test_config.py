"""Settings: what is accepted, and that everything else is one clear line."""

import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from data.sets.samples import Sample
from data.sets.splits import TrainingData
from data.system.errors import UserError
from reid_train.settings.config import FIELD_NAMES, TrainConfig, check_training, fit_defaults, make_config, read_config
from reid_train.settings.file import parse_assignments

BRIEF = """\
data_dir: data/VeRi
batch_size: 32
learning_rate: 1e-3
weight_decay: 1e-4
num_epochs: 50
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def message_of(file: Path, *assignments: str) -> str:
    """The error that reading `file` gives; it must be a single line."""
    with pytest.raises(UserError) as caught:
        read_config(str(file), list(assignments))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    return message


def test_the_briefs_own_file_is_accepted_and_the_rest_has_its_defaults(config_file):
    config_file.write_text(BRIEF)
    config = read_config(str(config_file))
    assert (config.data_dir, config.batch_size, config.num_epochs) == ("data/VeRi", 32, 50)
    assert (config.learning_rate, config.weight_decay) == (1e-3, 1e-4)
    assert (config.margin, config.pct_start, config.max_grad_norm, config.images_per_identity) == (0.3, 0.1, 1.0, 4)
    assert (config.image_height, config.image_width, config.backbone, config.pretrained) == (
        256,
        256,
        "resnet50",
        "imagenet",
    )


def test_an_empty_file_gives_the_defaults(config_file):
    config_file.write_text("# nothing yet\n")
    assert read_config(str(config_file)) == TrainConfig()


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("1E5", 1e5), ("+.5e-1", 0.05), ("1_0e-1", 1.0), ("0.001", 0.001), ("-2e0", -2)]
)
def test_numbers_are_read_as_people_write_them(text, value):
    assert parse_assignments([f"a={text}"]) == {"a": value}


@pytest.mark.parametrize("text", ["e5", "1e", "1e-3x", "a1e3"])
def test_what_is_no_number_stays_text(text):
    assert parse_assignments([f"a={text}"]) == {"a": text}


def test_every_setting_has_a_meaning():
    assert [name for name in FIELD_NAMES if not TrainConfig.model_fields[name].description] == []


def test_an_unknown_key_names_its_line_and_the_nearest_setting(config_file):
    config_file.write_text("batch_size: 32\nlearning_rat: 0.1\n")
    assert message_of(config_file) == (f"{config_file}:2: unknown setting learning_rat; did you mean learning_rate?")


def test_several_mistakes_give_one_line_each(config_file):
    config_file.write_text("batch_size: 0\nfoo: 1\npct_start: 2\n")
    with pytest.raises(UserError) as caught:
        read_config(str(config_file))
    assert [line.rpartition("config.yaml:")[2][:12] for line in str(caught.value).split("\n")] == [
        "1: batch_siz",
        "3: pct_start",
        "2: unknown s",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("batch_size: many", "batch_size='many' should be a valid integer"),
        ("batch_size: 32.5", "batch_size=32.5 should be a valid integer"),
        ("batch_size: [1, 2]", "batch_size=[1, 2] should be a valid integer"),
        ("batch_size: true", "batch_size=True should be a"),
        ("erasing_probability: yes", "erasing_probability=True should be a"),
        ("learning_rate: true", "learning_rate=True should be a"),
        ("margin: true", "margin=True should be a"),
        ("learning_rate:", "learning_rate=None should be a valid number"),
        ("learning_rate: .nan", "learning_rate=nan should be a finite number"),
        ("learning_rate: .inf", "learning_rate=inf should be"),
        ("learning_rate: -1", "learning_rate=-1 should be greater than 0"),
        ("weight_decay: -1e-4", "weight_decay=-0.0001 should be greater than or equal to 0"),
        ("dataset: imagenet", "should be 'market1501', 'veri'"),
        ("backbone: resnet51", "timm/hf-hub:OWNER/NAME or timm/local-dir:/FOLDER; did you mean resnet50?"),
        ("last_stride: 3", "last_stride=3 should be 1 or 2"),
        ("backbone: timm/", "backbone='timm/' should be resnet50"),
        ("freeze: first_0", "freeze='first_0' should be none, backbone or first_N"),
        ("layer_decay: 0", "layer_decay=0 should be greater than 0"),
        ("margin: hard", "margin='hard' should be a number above 0 and at most 100, or soft"),
        ("margin: 0", "margin=0 should be a number above 0"),
        ("randaugment_magnitude: 31", "less than or equal to 30"),
        ("seed: 3000000000", "less than or equal to 2147483647"),
        ("data_dir: 5", "data_dir=5 should be a valid string"),
        ("normalize_features: perhaps", "normalize_features='perhaps' should be a valid boolean"),
    ],
)
def test_a_wrong_value_names_line_setting_value_and_rule(config_file, line, said):
    config_file.write_text(f"# settings\n{line}\n")
    message = message_of(config_file)
    assert message.startswith(f"{config_file}:2: ") and said in message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{batch_size: 30}", "batch_size=30 is not a multiple of images_per_identity=4; nearest: 28"),
        ("{batch_size: 4}", "batch_size=4 with images_per_identity=4 has no negatives; use 8"),
        ("{batch_size: 3}", "nearest: 8"),
        ("{ce_weight: 0, metric_weight: 0}", "leave nothing to learn"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(config_file, line, said):
    config_file.write_text(line)
    assert said in message_of(config_file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"batch_size: 32\nmargin: 1\nbatch_size: 64\n", ":3: batch_size is set twice, first on line 1"),
        (b"- batch_size\n", ":1: expected `name: value` lines"),
        (b"just text", ":1: expected `name: value` lines"),
        (b"a: [1, 2\nb: 3\n", ": not valid YAML"),
        (b"a: 1\n\tb: 2\n", ": not valid YAML"),
        (b"a: 1\n---\nb: 2\n", ": not valid YAML"),
        (b"a: &x [*x]\n", ": not valid YAML"),
        (b"a: 2024-13-45\n", ": not valid YAML"),
        (b"a: !!python/object/apply:os.system [touch /tmp/reid_pwned]\n", ": not valid YAML"),
        (b"? [a, b]\n: 1\n", ": "),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "not a text file"),
        (b"a: \x00\x01\n", ": not valid YAML"),
        ("a: ü".encode("utf-16"), "not a text file"),
        (b"a: " + b"9" * 5000, ":1: a number of 5,000 letters"),
        (b"a: 0x" + b"f" * 4000, ":1: a number of 4,002 letters"),
        (b"a: " + b"9" * 100_000 + b"z", ":1: a value of 100,001 letters"),
        (b"a: " + b"x" * 2**20, ": more than 1,048,576 bytes"),
        (
            b"a: &a [x, x]\n"
            + b"".join(b"%c: &%c [*%c, *%c, *%c]\n" % (c + 1, c + 1, c, c, c) for c in range(97, 120)),
            ": more than 20,000 values, those that aliases stand for included",
        ),
        (
            b"a: &a {x: 1}\n"
            + b"".join(b"%c: &%c {<<: [*%c, *%c, *%c]}\n" % (c + 1, c + 1, c, c, c) for c in range(97, 120)),
            ": more than 20,000 values",
        ),
        (b"? [a, b]\n: 1\n", ":1: expected a name before the colon"),
        (b"a: !!bool maybe\n", ": not valid YAML"),
        (b"a: !!int ''\n", ": not valid YAML"),
        (b"a: !!timestamp soon\n", ": not valid YAML"),
        (b"? " + b"[" * 700, ": not valid YAML"),
    ],
)
def test_a_file_that_is_no_list_of_settings_is_one_line(config_file, content, said):
    config_file.write_bytes(content)
    assert said in message_of(config_file)


def test_a_missing_file_and_a_folder_are_one_line(tmp_path):
    assert "cannot be read" in message_of(tmp_path / "none.yaml")
    assert "cannot be read" in message_of(tmp_path)


def test_assignments_change_the_file_and_name_themselves_when_wrong(config_file):
    config_file.write_text("batch_size: 32\n")
    config = read_config(str(config_file), ["batch_size=64", "margin=soft", "learning_rate=1e-4", "dataset=null"])
    assert (config.batch_size, config.margin, config.learning_rate, config.dataset) == (64, "soft", 1e-4, None)
    assert message_of(config_file, "batch_size=0") == (
        "--set batch_size: batch_size=0 should be greater than or equal to 2"
    )
    assert message_of(config_file, "bach_size=0").startswith("--set bach_size: unknown setting bach_size; did you")


@pytest.mark.parametrize("text", ["batch_size", "=3", "a=[1", "a=2024-13-45", "a=" + "[" * 700, "a=\x00"])
def test_an_assignment_that_cannot_be_read_is_one_line(config_file, text):
    config_file.write_text("")
    assert message_of(config_file, text).startswith("--set ")


def test_a_configuration_is_frozen_and_changed_copies_are_checked():
    config = TrainConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.batch_size = 64  # type: ignore[misc]
    assert config.changed(batch_size=64).batch_size == 64 and config.batch_size == 32
    with pytest.raises(UserError, match="batch_size=30"):
        config.changed(batch_size=30)


def test_a_configuration_survives_json():
    config = TrainConfig(margin="soft", learning_rate=1e-3 / 3, images_per_identity=None)
    assert make_config(config.model_dump(mode="json"), "json") == config


def training_data(identities: int, images: int) -> TrainingData:
    samples = [Sample(f"{i}_{n}.jpg", i, 1) for i in range(identities) for n in range(images)]
    return TrainingData(samples, [], [])


def test_too_few_identities_for_p_names_values_that_fit():
    with pytest.raises(UserError, match=r"needs 8 identities a batch, the training set has 4; use images_per_identity"):
        check_training(TrainConfig(), training_data(4, 20))
    check_training(TrainConfig(images_per_identity=8), training_data(4, 20))


def test_a_schedule_without_two_warm_up_steps_is_refused_with_a_value_that_fits():
    for images, num_epochs in [(2, 1), (5, 1), (7, 2), (16, 3), (37, 1), (125, 1), (50, 10)]:
        config = TrainConfig(batch_size=2, images_per_identity=1, num_epochs=num_epochs, pct_start=0.0001)
        data = training_data(2, images // 2 + 1)
        with pytest.raises(UserError, match="at least 2 are needed; raise") as caught:
            check_training(config, data)
        advised = str(caught.value).partition("pct_start to ")[2].split()
        steps = num_epochs * math.ceil(len(data.train) / 2)
        if steps <= 2:
            assert not advised and "num_epochs" in str(caught.value)
        else:
            check_training(config.changed(pct_start=float(advised[0])), data)


def test_exactly_two_warm_up_steps_are_enough():
    data = training_data(8, 4)  # one step an epoch
    check_training(TrainConfig(num_epochs=20, pct_start=0.1), data)
    with pytest.raises(UserError, match=r"pct_start=0\.1 of 19 steps is 1\.9 warm-up steps"):
        check_training(TrainConfig(num_epochs=19, pct_start=0.1), data)


def test_defaults_that_nobody_has_set_adapt_to_small_data_and_say_so(config_file):
    """The brief's five lines on few images: what they leave out must not be what refuses them."""
    for images, identities, num_epochs in [(10, 5, 19), (40, 3, 2), (200, 40, 1), (33, 2, 2)]:
        config_file.write_text(BRIEF.replace("num_epochs: 50", f"num_epochs: {num_epochs}"))
        data = TrainingData([Sample(f"{n}.jpg", n % identities, 1) for n in range(images)], [], [])
        config, said = fit_defaults(read_config(str(config_file)), data)
        check_training(config, data)
        steps = num_epochs * math.ceil(images / 32)
        assert config.pct_start * steps >= 2 and 32 // config.images_per_identity <= identities
        assert config.learning_rate == 1e-3 and config.batch_size == 32
        assert [line.split(":")[0] for line in said] == [
            name
            for name in ("images_per_identity", "pct_start")
            if getattr(config, name) != getattr(TrainConfig(), name)
        ]
        assert fit_defaults(config, data) == (config, [])
    plenty = training_data(40, 20)
    assert fit_defaults(TrainConfig(), plenty) == (TrainConfig(), [])


def test_what_was_set_stays_and_is_refused_also_in_a_changed_copy(config_file):
    config_file.write_text(BRIEF + "pct_start: 0.1\nimages_per_identity: 4\n")
    few = training_data(5, 2)
    for config in (read_config(str(config_file)), read_config(str(config_file)).changed(num_epochs=19)):
        assert fit_defaults(config, few) == (config, [])
        with pytest.raises(UserError, match="needs 8 identities a batch, the training set has 5"):
            check_training(config, few)
    config_file.write_text(BRIEF)
    assert fit_defaults(read_config(str(config_file)).changed(num_epochs=19), few)[1]
    assert not fit_defaults(read_config(str(config_file), ["pct_start=0.1", "images_per_identity=4"]), few)[1]


def test_too_few_steps_for_any_schedule_are_blamed_on_what_was_set(config_file):
    config_file.write_text(BRIEF.replace("num_epochs: 50", "num_epochs: 2"))
    config, _ = fit_defaults(read_config(str(config_file)), training_data(8, 4))
    with pytest.raises(
        UserError, match=r"^num_epochs=2 makes 2 steps of this data, at least 3 are needed; raise num_e"
    ):
        check_training(config, training_data(8, 4))
