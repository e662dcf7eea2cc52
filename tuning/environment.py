"""What a study ran on and with: recorded once, and compared when the study is gone on with."""

import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from data.atomic import write_json
from data.cache import usable_cpus
from data.errors import UserError
from tuning.study import Study

PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "pillow", "pydantic", "safetensors")


def check_same_data(study: Study, fingerprint: str) -> None:
    """Records the training images' fingerprint; raises UserError when the study began on other images."""
    recorded = study.attributes.get("data_fingerprint")
    if recorded is None:
        study.set_attribute("data_fingerprint", fingerprint)
    elif recorded != fingerprint:
        raise UserError(
            f"{study.folder}: began on other training images (fingerprint {recorded[:12]}, now {fingerprint[:12]}); "
            "restore them, or choose another --name"
        )


def describe(study: Study, space_file: str | Path) -> None:
    """Writes environment.json and a copy of the space, once."""
    if not (study.folder / "environment.json").is_file():
        write_json(study.folder / "environment.json", _environment(study))
    if not (study.folder / "space.yaml").is_file():
        shutil.copyfile(space_file, study.folder / "space.yaml")


def _environment(study: Study) -> dict[str, Any]:
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "commit": _commit(),
        "machine": platform.platform(),
        "processor": _processor(),
        "cpus": usable_cpus(),
        "gpus": gpus(),
        "sampler_seed": study.space.study.sampler_seed,
        "seed": study.space.base_config().seed,
        "split_seed": study.space.base_config().split_seed,
        "data_dir": study.space.base_config().data_dir,
        "data_fingerprint": study.attributes.get("data_fingerprint"),
        "settings": study.space.description(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checkout's commit, with + when files differ from it; None outside a checkout."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        status = subprocess.run(
            ["git", "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def gpus() -> list[str]:
    """The names of the GPUs that torch sees."""
    if sys.platform == "linux" and not any(Path(file).exists() for file in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")):
        return []  # no driver (NVIDIA, AMD, Windows' own), so no need to load torch, which takes seconds
    import torch

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
