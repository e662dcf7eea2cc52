"""Trains a study's best configuration on the whole training folder, with several seeds, and evaluates each.

python -m tuning.retrain results/NAME [--epochs N] [--seeds K]

With --ablation instead: what each of its settings is worth, on the validation identities.
"""

import argparse
import json
from pathlib import Path

from data.system.commands import command
from data.system.errors import UserError, exit_on_user_error
from data.system.options import (
    CommandParser,
    add_cache_options,
    add_image_options,
    add_study_argument,
    cache_options,
    image_options,
)


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m tuning.retrain",
        description="Trains the best configuration on all training identities, those of validation included; an image "
        "of each is kept out for the accuracy curve. Every seed's model is evaluated on query and gallery and none is "
        "selected. The same command goes on where an interrupted one stopped.",
    )
    add_study_argument(parser)
    parser.add_argument("--epochs", type=int, metavar="N", help="length of the schedule; default: the best trial's")
    parser.add_argument("--seeds", type=int, default=1, metavar="K", help="runs, with seeds 0 to K - 1; default: 1")
    parser.add_argument(
        "--ablation",
        action="store_true",
        help="trains from the default to the best configuration instead, one parameter at a time, validated as the "
        "trials were; query and gallery are not read",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="default: the study's")
    parser.add_argument(
        "--teacher", metavar="DIR", help="one that was trained on all training images, too; default: the study's"
    )
    parser.add_argument(
        "--pretrained", metavar="FILE", help="the weights to start from, where they lie now; default: the study's"
    )
    add_image_options(parser, "default: the study's")
    add_cache_options(parser)
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    study = check_arguments(arguments)
    from reid_train.settings.config import read_config
    from tuning.record.lock import lock_folder

    changes = changed_settings(arguments)
    lock = lock_folder(study / ("ablation" if arguments.ablation else "retrain"), "retraining")
    try:
        if arguments.ablation:
            from tuning.result.ablation import ablate

            winner = read_config(str(study / "best_config.yaml"), changes)
            check_weights(winner.pretrained)
            ablate(study, winner, arguments.seeds, cache_options(arguments))
        else:
            from tuning.result.retraining import retrain

            config = read_config(str(study / "best_config.yaml"), [*changes, "holdout_images_per_identity=1"])
            check_weights(config.pretrained)
            retrain(study, config, arguments.seeds, cache_options(arguments))
        from tuning.record.study import Study
        from tuning.result.page import write_page
        from tuning.result.summary import write_summary

        # They tell of the ablation, and how often the test images were evaluated.
        write_summary(Study(study))
        write_page(Study(study))
    finally:
        lock.release()


def check_weights(pretrained: str) -> None:
    """Raises UserError where the weights to start from are not there: the study may come from another machine."""
    from reid_train.training.learned_from import weights_digest_at

    if weights_digest_at(pretrained) is None:
        raise UserError(
            f"pretrained={pretrained}: no such file; give these weights where they lie now: --pretrained FILE"
        )


def check_arguments(arguments: argparse.Namespace) -> Path:
    """The study's folder. Raises UserError for what cannot be retrained."""
    from tuning.record.folders import BEST_CONFIG, check_study

    study = Path(arguments.study)
    check_study(study)
    if not (study / BEST_CONFIG).is_file():
        named = command("tuning.report", str(study))
        raise UserError(f"{study}: holds no {BEST_CONFIG}; finish its search first: `{named}` names the command")
    if arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds}: at least 1")
    if arguments.epochs is not None and arguments.epochs < 1:
        raise UserError(f"--epochs {arguments.epochs}: at least 1")
    return study


def changed_settings(arguments: argparse.Namespace) -> list[str]:
    """The settings that the command line gives in place of the study's, as name=value."""
    changes = [f"num_epochs={arguments.epochs}"] if arguments.epochs is not None else []
    changes += [f"data_dir={json.dumps(arguments.data_dir)}"] if arguments.data_dir is not None else []
    changes += [f"teacher={json.dumps(arguments.teacher)}"] if arguments.teacher is not None else []
    changes += [f"pretrained={json.dumps(arguments.pretrained)}"] if arguments.pretrained is not None else []
    return changes + [f"{name}={json.dumps(value)}" for name, value in image_options(arguments).items()]


if __name__ == "__main__":
    main()
