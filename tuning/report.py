"""Prints a study's results table and makes its tables, plots and report.html again, from the study alone.

python -m tuning.report results/NAME [--top 10]
"""

import argparse
import sys
from pathlib import Path

from data.system.answers import add_json_option, answering
from data.system.errors import FORBIDDEN, UserError, exit_on_user_error, printable
from data.system.options import CommandParser, add_images_option, add_study_argument


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m tuning.report",
        description="Prints a study's results and rebuilds its tables, plots and report.html.",
    )
    add_study_argument(parser)
    parser.add_argument("--top", type=int, default=10, metavar="N", help="trials in the table; default: 10")
    add_images_option(parser)
    add_json_option(parser)
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    if arguments.top < 1:
        raise UserError(f"--top {arguments.top}: at least 1")
    from tuning.record.folders import check_study

    check_study(Path(arguments.study))
    from data.system.wording import open_console
    from tuning.record.study import Study
    from tuning.result.answer import study_answer
    from tuning.result.summary import print_results, write_results

    study = Study(arguments.study)
    with answering(arguments.json) as answer:
        refused = None
        try:
            write_results(study, images=arguments.images)
        except OSError as error:
            refused = error
        if arguments.json:
            answer |= study_answer(study, arguments.top)
        else:
            print_results(study, open_console(), arguments.top, brief=False)
    if refused is not None:
        if refused.errno not in FORBIDDEN:
            raise refused
        file = printable(str(refused.filename))
        print(f"note: the files there stay as they were: {file}: {refused.strerror}", file=sys.stderr)


if __name__ == "__main__":
    main()
