"""Says what a data set holds and what is wrong with it: a table, a plot of images per identity, and findings.

    python -m data.doctor DIR [--dataset NAME] [--images-per-identity K] [--on-bad-image skip]
        [--outside-images] [--plot FILE]

Exit code 0: training can start (there may be warnings). 1: training or the final evaluation would fail. 2: there
is no data set there.
"""

import argparse
from pathlib import Path

from data.sets.readers import READERS
from data.system.answers import add_json_option, answering
from data.system.errors import exit_on_user_error
from data.system.options import CommandParser, add_image_options, image_options


@exit_on_user_error
def main() -> int:
    options = parse_arguments()
    from data.checks.plots import plot_distribution
    from data.checks.printing import print_findings, print_table, report_answer
    from data.checks.report import examine
    from data.system.wording import open_console

    with answering(options.json) as answer:
        console = open_console()
        with console.status("reading every image"):
            report = examine(options.data_dir, options.dataset, options.images_per_identity, **image_options(options))
        answer |= report_answer(report)
        if any(split.images for split in report.splits):
            print_table(console, report)
            plot = options.plot or Path("results/doctor") / f"{report.title}_distribution.png"
            plot_distribution(report, plot)
            answer["plot"] = plot
            console.print(f"images per identity drawn in {plot}", soft_wrap=True)
        print_findings(console, report)
    return 1 if report.breaks_training else 0


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m data.doctor",
        description="Says what a data set holds and what is wrong with it.",
    )
    parser.add_argument("data_dir", metavar="DIR", help="the data set, its parent folder, or a manifest's CSV file")
    parser.add_argument("--dataset", choices=list(READERS), help="its kind (default: detected)")
    parser.add_argument(
        "--images-per-identity", type=int, default=4, metavar="K", help="K of the batches (%(default)s)"
    )
    add_image_options(parser)
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="default: results/doctor/<name of the set>_distribution.png"
    )
    add_json_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
