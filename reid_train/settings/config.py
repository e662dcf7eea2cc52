"""TrainConfig: every setting of a training run, with its unit, range and meaning, checked once, here.

    config = read_config("tiny.yaml", ["num_epochs=4"])
    config.changed(batch_size=64)

The settings are in groups that lie beside what they are about (reid_train/model/settings.py, for instance), and
TrainConfig is all groups in one: a YAML file names the settings without their group. Imports no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from data.pixels.bad_images import OnBadImage
from data.pixels.sampler import check_batch, images_per_identity_for, steps_per_epoch
from data.sets.listing import MAX_LEFT_OUT
from data.sets.names import name_reader
from data.sets.readers import DatasetName
from data.sets.splits import TrainingData
from data.system.errors import UserError, printable, suggestion
from data.system.settings import Settings
from reid_train.model.settings import ArchitectureSettings, ModelSettings
from reid_train.objective.settings import DistillationSettings, LossSettings
from reid_train.settings.file import SettingsFile, parse_assignments, read_settings
from reid_train.settings.optim import OptimSettings

Fraction = Annotated[float, Field(ge=0, le=1)]


class DataSettings(Settings):
    """Which images, and how they are put into batches."""

    data_dir: str = "data"
    """The data set's folder or its parent, or a manifest's CSV file."""
    dataset: DatasetName | None = None
    """Which reader is meant; null detects it."""
    name_pattern: str | None = None
    """How the images of a flat folder are named, in place of `dataset`: a regular expression with the groups identity
    and, where cameras are known, camera. Identities are then held out for the test."""
    outside_images: bool = False
    """Whether images may lie outside of the data folder, led to by links or a manifest's paths."""
    max_left_out: Fraction = MAX_LEFT_OUT
    """Largest share of a split's images that may be left out as no name tells who is on them, and of the queries as
    they have no match; more are an error, a single one is not."""
    on_bad_image: OnBadImage = "stop"
    """Images that cannot be decoded: stop before training, or skip, which leaves them out, counted and named."""
    validation_fraction: float = Field(0.2, gt=0, lt=1)
    """Share of the training identities held out for validation; at least 8 are."""
    holdout_images_per_identity: int = Field(1, ge=0, le=10)
    """Images of each training identity (with 4 or more) kept out for the classifier's validation curves."""
    batch_size: int = Field(32, ge=2, le=4096)
    """Images a step."""
    images_per_identity: int | None = Field(4, ge=1, le=64)
    """K of the P x K batches; P = batch_size / K. null draws plain shuffled batches."""
    num_workers: int | None = Field(None, ge=0, le=64)
    """Processes that prepare batches; 0 prepares them in the training process, on a GPU if there is one and the pixels
    fit beside the training; null follows the machine."""

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        check_batch(self.batch_size, self.images_per_identity)
        return self

    @field_validator("name_pattern")
    @classmethod
    def _check_pattern(cls, name_pattern: str | None) -> str | None:
        if name_pattern is not None:
            name_reader(name_pattern)
        return name_pattern

    @property
    def images(self) -> dict[str, Any]:
        """Which images are meant, as `usable_train` and `usable_test_sets` take it."""
        return {name: getattr(self, name) for name in ("data_dir", "dataset", "name_pattern", *IMAGE_RULES)}


class AugmentationSettings(Settings):
    """How training pictures are changed at random."""

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


class MachineSettings(Settings):
    """Seeds, and where and how to compute."""

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


class TrainConfig(  # fields are in the order from the last base to the first
    MachineSettings,
    OptimSettings,
    DistillationSettings,
    LossSettings,
    ModelSettings,
    AugmentationSettings,
    DataSettings,
):
    """One training run. Frozen: derive a changed copy with `changed(name=value)`."""

    def changed(self, **changes: Any) -> "TrainConfig":
        """A checked copy with some settings changed. What nobody has set stays so: `fit_defaults` may adapt it."""
        return make_config({**self.model_dump(exclude_unset=True), **changes}, "settings")


IMAGE_RULES = ("outside_images", "max_left_out", "on_bad_image")
"""The settings that decide which images are used, beside where they lie."""
PLACES = ("data_dir", "pretrained", "teacher")
"""The settings that say where something lies."""
FIELD_NAMES = tuple(TrainConfig.model_fields)
ARCHITECTURE = (*ArchitectureSettings.model_fields, "precision")
"""The settings that decide what a trained model costs where it is used."""


def make_config(values: Mapping[str, Any], where: str | SettingsFile) -> TrainConfig:
    """TrainConfig from plain values. Raises UserError with one line for each thing wrong."""
    source = where if isinstance(where, SettingsFile) else SettingsFile(where, {})
    try:
        return TrainConfig(**{str(name): value for name, value in values.items()})
    except ValidationError as error:
        lines = dict.fromkeys(_explain(dict(problem), source, values) for problem in error.errors())
        raise UserError("\n".join(lines)) from None


def _explain(problem: dict[str, Any], source: SettingsFile, values: Mapping[str, Any]) -> str:
    """One line: where, which setting, its value, and the rule that it breaks."""
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


def difference(there: Mapping[str, Any], here: TrainConfig, *, places: bool = False) -> str | None:
    """The first setting that makes `here` another run than the settings `there` do; None for the same run.

    Threads and processes do not count: results do not depend on them. Neither do IMAGE_RULES and, without `places`,
    PLACES: the images and weights that are used are compared themselves (reid_train/training/learned_from.py).
    """
    left_out = ("num_threads", "num_workers", *IMAGE_RULES, *(() if places else PLACES))
    for name, value in here.model_dump(mode="json").items():
        if there.get(name) != value and name not in left_out:
            return f"{name}={there.get(name)!r} there, {value!r} here"
    return None


def read_config(file: str, assignments: list[str] | None = None) -> TrainConfig:
    """TrainConfig from a YAML file and `name=value` changes to it. Raises UserError."""
    settings = read_settings(file)
    assigned = parse_assignments(assignments or [])
    source = replace(settings, assigned=frozenset(assigned))
    return make_config({**settings.values, **assigned}, source)


def fit_defaults(config: TrainConfig, data: TrainingData) -> tuple[TrainConfig, list[str]]:
    """The configuration with defaults that fit the data, and a line about each that had to change.

    Only `images_per_identity` and `pct_start` change, and only where nobody has set them: `check_training` refuses what
    somebody did set. Without any data, and where nothing fits, everything stays.
    """
    images, identities = len(data.train), len({sample.identity for sample in data.train})
    changes: dict[str, tuple[Any, str]] = {}
    batch_size, k = config.batch_size, config.images_per_identity
    fitting = [] if k is None else images_per_identity_for(batch_size, k, identities)
    if k is not None and k not in fitting and fitting:
        changes["images_per_identity"] = fitting[0], f"batches of {batch_size} images of {identities} identities"
    steps = config.num_epochs * steps_per_epoch(images, batch_size)
    if config.pct_start * steps < 2 < steps:
        changes["pct_start"] = least_pct_start(steps), f"2 warm-up steps of {steps}"
    changes = {name: change for name, change in changes.items() if name not in config.model_fields_set}
    lines = [
        f"{name}: {value:g} in place of the default {getattr(config, name):g}, for {why}"
        for name, (value, why) in changes.items()
    ]
    return config.changed(**{name: value for name, (value, _) in changes.items()}) if changes else config, lines


def least_pct_start(steps: int) -> float:
    """The least share of so many steps that holds 2 of them, in thousandths."""
    return math.ceil(2000 / steps) / 1000


def check_training(config: TrainConfig, data: TrainingData) -> None:
    """Raises UserError when this configuration cannot train on this data: P x K, or a schedule that is too short."""
    check_fit(config, len(data.train), len({sample.identity for sample in data.train}))


def check_fit(config: TrainConfig, images: int, identities: int) -> None:
    """`check_training` for so many training images of so many identities."""
    check_batch(config.batch_size, config.images_per_identity, identities)
    steps = config.num_epochs * steps_per_epoch(images, config.batch_size)
    if steps < 3 and "pct_start" not in config.model_fields_set:
        raise UserError(
            f"num_epochs={config.num_epochs} makes {steps} steps of this data, at least 3 are needed; raise num_epochs",
            setting="num_epochs",
        )
    if config.pct_start * steps < 2:  # with 1, OneCycleLR divides by zero
        share = least_pct_start(steps)
        way_out = f"pct_start to {share:.3f} or more, or num_epochs" if share < 1 else "num_epochs"
        raise UserError(
            f"pct_start={config.pct_start:g} of {steps} steps is {config.pct_start * steps:.4g} warm-up steps, "
            f"at least 2 are needed; raise {way_out}",
            setting="pct_start",
        )
