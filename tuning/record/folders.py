"""Where things lie in a study's folder. Every other module asks here.

results/NAME/study.db                the record
results/NAME/trials/7/9-epochs/      a trial's schedule that ends at 9 epochs: its state, then its weights
results/NAME/repeats/2/9-epochs/     the schedule of a repeat
results/NAME/best/                   the winner's checkpoint; trial.json beside it says whose it is
"""

from pathlib import Path

from data.system.errors import UserError

DATABASE = "study.db"
ENVIRONMENT = "environment.json"
SPACE = "space.yaml"
REPORT = "report.html"
BEST = "best"
BEST_LABEL = "trial.json"
BEST_CONFIG = "best_config.yaml"
WEIGHTS = "model.safetensors"
"""reid_train.checkpoints.checkpoint.WEIGHTS, here without loading torch; a test compares the two."""


def check_study(folder: Path) -> None:
    """Raises UserError where a folder holds no study."""
    if not (folder / DATABASE).is_file():
        raise UserError(f"{folder}: holds no study ({DATABASE} is missing); give a search's folder, results/NAME")


def trial_folder(study: Path, number: int) -> Path:
    """Where a trial keeps its schedules."""
    return study / "trials" / str(number)


def repeat_folder(study: Path, number: int) -> Path:
    """Where a repeat keeps its schedule."""
    return study / "repeats" / str(number)


def rung_folder(trial: str | Path, rung: int) -> Path:
    """Where, in a trial's folder, the schedule that ends at `rung` epochs keeps its state and weights."""
    return Path(trial) / f"{rung}-epochs"


def weights_folder(trial: Path) -> Path | None:
    """The folder of the trial's longest schedule that has weights; None where none has."""
    found = sorted(trial.glob(f"*-epochs/{WEIGHTS}"), key=lambda file: int(file.parent.name.split("-")[0]))
    return found[-1].parent if found else None
