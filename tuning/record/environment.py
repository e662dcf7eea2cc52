"""What a study ran on and with: recorded once, and compared when the study is gone on with."""

import ast
import hashlib
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from data.system.errors import UserError
from data.system.files import write_json, write_text
from data.system.passwords import all_without_passwords
from data.system.threads import usable_cpus
from tuning.record.study import Study

PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "pillow", "pydantic", "safetensors")
ROOT = Path(__file__).resolve().parents[2]
NAMES = {
    "data_fingerprint": "the training images' fingerprint",
    "validation_split": "the validation split",
    "code": "the code that trains",
    "teachers": "the teacher's weights",
}
"""What belongs to a study beside its space, by its attribute."""


def check_unchanged(study: Study, data_fingerprint: str, validation_split: str, teachers: str | None = None) -> None:
    """Records what a study's scores depend on beside its space; raises UserError that names what has changed since.

    These are the training images, the validation split, the code that trains, and the teachers of a study that
    distils. The study itself compares its space, which holds the schedule.
    """
    now = {"data_fingerprint": data_fingerprint, "validation_split": validation_split, "code": code_digest()}
    now |= {} if teachers is None else {"teachers": teachers}
    begun = bool(study.trials())
    changes = []
    for name, value in now.items():
        recorded = study.attributes.get(name, "not recorded" if begun else value)
        if recorded != value:
            changes.append(f"{NAMES[name]} was {_short(recorded)}, is now {_short(value)}")
    commit = " (environment.json has the commit)" if any(NAMES["code"] in change for change in changes) else ""
    if changes:
        raise UserError(
            f"{study.folder}: its trials would not compare with new ones: {'; '.join(changes)}; "
            f"restore that{commit}, choose another --name, or remove the folder"
        )
    for name, value in now.items():
        if name not in study.attributes:
            study.set_attribute(name, value)


def code_digest() -> str:
    """The SHA-256 of the source files that a trial is trained and scored with, in hex."""
    lines = [f"{name} {hashlib.sha256(source).hexdigest()}" for name, source in sorted(training_sources().items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def training_sources() -> dict[str, bytes]:
    """tuning.run.climb and every module of this project that it imports, directly or not, by name; runs none."""
    sources, left = dict[str, bytes](), ["tuning.run.climb"]
    while left:
        name = left.pop()
        file = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if name in sources or not file.is_file():
            continue
        sources[name] = file.read_bytes()
        for node in ast.walk(ast.parse(sources[name])):
            if isinstance(node, ast.ImportFrom) and node.module:
                left += [node.module, *(f"{node.module}.{imported.name}" for imported in node.names)]
            elif isinstance(node, ast.Import):
                left += [imported.name for imported in node.names]
    return sources


def _short(value: str) -> str:
    """A digest's first digits; other texts as they are."""
    return value[:12] if len(value) == 64 else value


def describe(study: Study, space_file: str | Path) -> None:
    """Writes environment.json and a copy of the space, once."""
    if not (study.folder / "environment.json").is_file():
        write_json(study.folder / "environment.json", all_without_passwords(_environment(study)))
    if not (study.folder / "space.yaml").is_file():
        write_text(study.folder / "space.yaml", Path(space_file).read_text(encoding="utf-8"))


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
        **{name: study.attributes.get(name) for name in NAMES},
        "images_left_out": study.attributes.get("images_left_out", []),
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
