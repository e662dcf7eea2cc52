"""Compares studies of the same data: their winners, what they took, where they differ, and whether that may be chance.

python -m tuning.compare results/A results/B ... [--json]
"""

import argparse
from pathlib import Path

from data.system.answers import add_json_option, answering
from data.system.errors import UserError, exit_on_user_error
from data.system.options import CommandParser


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m tuning.compare",
        description="Compares the winners of two or more studies on the same images and validation identities, what "
        "each search took, and the settings in which they differ. Says whether the difference can be told from chance.",
    )
    parser.add_argument("studies", nargs="+", metavar="results/NAME", help="the studies' folders; two or more")
    add_json_option(parser)
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    folders = [Path(name) for name in arguments.studies]
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise UserError("give two studies or more, each once: results/A results/B")
    from tuning.record.folders import check_study

    for folder in folders:
        check_study(folder)
    from data.system.wording import open_console
    from tuning.result.comparison import compare, print_comparison

    with answering(arguments.json) as answer:
        answer |= compare(folders)
        print_comparison(answer, open_console())


if __name__ == "__main__":
    main()
