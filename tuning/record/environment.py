"""environment.json: the versions, commit, machine and data that a study began with, recorded once."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from data.system.files import write_json, write_text
from data.system.limits import usable_cpus
from data.system.passwords import all_without_passwords
from reid_train.settings.config import PLACES
from reid_train.settings.file import SettingsFile
from tuning.record.folders import ENVIRONMENT, SPACE
from tuning.record.study import Study
from tuning.record.unchanged import NAMES
from tuning.space.given import GivenSettings

PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "pillow", "pydantic", "safetensors")
ROOT = Path(__file__).resolve().parents[2]


def describe(study: Study, source: SettingsFile, gpus: list[str]) -> None:
    """Writes environment.json and the space into the study's folder, unless they are there: a copy of the file that
    `source` was read from or, where options gave some of it, what they and the file make together.

    `gpus` are the names of this machine's GPUs.
    """
    if not (study.folder / ENVIRONMENT).is_file():
        write_json(study.folder / ENVIRONMENT, all_without_passwords(_environment(study, gpus)))
    if not (study.folder / SPACE).is_file():
        if isinstance(source, GivenSettings):
            text = source.as_yaml()
        else:
            text = Path(source.where).read_text(encoding="utf-8")
        write_text(study.folder / SPACE, text)


def _environment(study: Study, gpus: list[str]) -> dict[str, Any]:
    config, facts = study.space.base_config(), dict(study.facts)
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "commit": _commit(),
        "machine": platform.platform(),
        "processor": _processor(),
        "cpus": usable_cpus(),
        "gpus": gpus,
        "sampler_seed": study.space.study.sampler_seed,
        "seed": config.seed,
        "split_seed": config.split_seed,
        **{name: getattr(config, name) for name in PLACES},
        **{name: facts.get(name) for name in NAMES},
        "images_left_out": facts.get("images_left_out", []),
        "settings": study.space.identity(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of this project's checkout, with + when files differ from it; None outside of a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:  # installed inside somebody's own checkout
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
