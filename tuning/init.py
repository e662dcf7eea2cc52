"""Looks at a data set and writes a search space that fits it, with a comment on each line.

python -m tuning.init DIR [--out space.yaml]
"""

import argparse
from pathlib import Path

from data.sets.readers import READERS
from data.system.commands import command, program
from data.system.errors import UserError, exit_on_user_error
from data.system.options import CommandParser, add_image_options, check_out, image_options


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m tuning.init",
        description="Looks at every image of a data set, and writes a search space with sizes, batches, epochs and a "
        "budget that fit it and this machine. No file is overwritten.",
    )
    parser.add_argument("data_dir", metavar="DIR", help="the data set, its parent folder, or a manifest's CSV file")
    parser.add_argument("--dataset", choices=list(READERS), help="its kind; default: detected")
    add_image_options(parser)
    parser.add_argument("--out", default="space.yaml", metavar="FILE", help="the space to write; default: space.yaml")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    out = check_out(Path(arguments.out), ".yaml")
    if out.exists():
        raise UserError(f"{out}: is there already, and nothing is overwritten; choose another --out")
    from data.checks.printing import print_findings
    from data.checks.report import examine
    from data.system.files import write_text
    from data.system.wording import open_console
    from tuning.prepare.draft import draft, look_at
    from tuning.run.resources import gpus

    console, given = open_console(), image_options(arguments)
    with console.status("reading every image"):
        report = examine(arguments.data_dir, arguments.dataset, **given)
    print_findings(console, report)
    if report.breaks_training:
        examined = command("data.doctor", arguments.data_dir)
        raise UserError(f"{arguments.data_dir}: cannot be trained and tested on as it is; mend that; more: {examined}")
    dataset = None if "name_pattern" in given else report.dataset
    facts = look_at(arguments.data_dir, dataset, given, gpu=bool(gpus()))
    with console.status("looking for ImageNet's weights"):
        pretrained = starting_weights(facts.gpu)
    write_text(out, draft(facts, pretrained, f"A search for {report.title}, as {program('tuning.init')} wrote it."))
    name = ["--name", report.title] if out.stem == "space" else []
    search = command("tuning.search", "--space", str(out), *name)
    print(f"{out} is written: read it, and change what you know better. What it would take here, and then the search:")
    print(f"  {search} --plan\n  {search}")


def starting_weights(gpu: bool) -> str:
    """imagenet where its weights are there or can be fetched, else none."""
    from data.system.processes import in_processes
    from reid_train.settings.config import TrainConfig
    from tuning.prepare.draft import BACKBONES

    try:
        in_processes("tuning.prepare.probes:starts", [TrainConfig(backbone=BACKBONES[gpu], pretrained="imagenet")], 2)
    except UserError:
        return "none"
    return "imagenet"


if __name__ == "__main__":
    main()
