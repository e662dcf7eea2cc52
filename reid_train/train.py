"""Trains one model and keeps what it leaves: history, log, plot, checkpoint.

python -m reid_train.train --config FILE [--set name=value ...] [--out DIR]
"""

import argparse
import logging
from pathlib import Path

from data.system.commands import command, program
from data.system.errors import UserError, exit_on_user_error
from data.system.options import CommandParser, add_cache_options, cache_options


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m reid_train.train",
        description="Trains one model. The same command goes on where an interrupted one stopped.",
        epilog=f"A setting is a line `name: value` of the file; `{program('reid.settings')}` explains them all.",
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="YAML file of settings")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting; may be repeated")
    add_cache_options(parser)
    parser.add_argument("--out", metavar="DIR", help="default: results/train-<name of the config file>")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    from reid_train.inference.checkpoint_errors import keep_threshold
    from reid_train.inference.evaluation_count import DATABASE
    from reid_train.settings.config import fit_defaults, read_config
    from reid_train.settings.file import read_settings
    from reid_train.settings.kinds import check_no_space
    from reid_train.training.images import read_training

    check_no_space(read_settings(arguments.config))
    config = read_config(arguments.config, arguments.set)
    out = Path(arguments.out or f"results/train-{Path(arguments.config).stem}")
    if (out / DATABASE).exists():
        raise UserError(f"{out}: holds a study; choose another --out")
    samples, data, left_out = read_training(config, arguments.cache_dir)
    config, adapted = fit_defaults(config, data)

    from data.pixels.bad_images import describe_left_out
    from data.pixels.cache import open_pixels
    from data.sets.readers import describe_dataset
    from reid_train.training.check import check_start
    from reid_train.training.folder import log_to, train_into

    log_to(out / "train.log")
    check_start(config, data, [out])
    for line in filter(None, [describe_dataset(config.data_dir, config.dataset, config.name_pattern), *adapted]):
        logging.getLogger("reid_train.train").warning(line)
    pixels = open_pixels(samples, height=config.image_height, width=config.image_width, **cache_options(arguments))
    if left_out:
        logging.getLogger("reid_train.train").warning(describe_left_out(left_out, "training"))
    train_into(config, data, pixels, out)
    print(keep_threshold(out, data, pixels))
    print(f"checkpoint, history.csv, history.png and train.log are in {out}")
    test = command("reid_train.evaluate", "--checkpoint", str(out), "--data-dir", config.data_dir)
    print(f"next, a test on its query and gallery: {test}")


if __name__ == "__main__":
    main()
