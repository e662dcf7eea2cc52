"""Searches a space within a budget, keeps the winner's weights, and evaluates them once on the test images.

python -m tuning.search [--space FILE] [--data-dir DIR] [--set name=value ...] [--time-budget 2h]
python -m tuning.search --config FILE --search learning_rate=1e-4..1e-2:log [--search margin=0.1,0.3,soft]
"""

import argparse
import time
from typing import TYPE_CHECKING

from data.system.answers import add_json_option, answering
from data.system.commands import program
from data.system.errors import UserError, exit_on_user_error
from data.system.options import CommandParser, add_cache_options, add_images_option
from tuning.prepare.request import DEFAULT_SPACE, SearchRequest

if TYPE_CHECKING:
    from tuning.prepare.begin import Prepared
    from tuning.record.study import Study
    from tuning.result.live_page import LivePage

BEGAN = time.monotonic()
"""When the command was given: its time counts."""


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m tuning.search",
        description="Searches a space of training settings. The same command goes on where an interrupted search "
        "stopped, and prints the result when it is finished.",
    )
    parser.add_argument("--space", metavar="FILE", help=f"default: {DEFAULT_SPACE}")
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="the settings of one training, in place of a space; --search says what is searched",
    )
    parser.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="NAME=RANGE",
        help="searches a setting: learning_rate=1e-4..1e-2:log, margin=0.1,0.3,soft, fc_width=64..512:step=64; "
        "may be repeated",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="the data set, its parent folder, or a manifest's CSV file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fixes a training setting (it is then not searched); may be repeated",
    )
    parser.add_argument(
        "--time-budget",
        metavar="TIME",
        help="for the whole command, e.g. 45m or 2h; it always hands over a model. Default: the space's",
    )
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="to train in all, repeats included; default: the space's"
    )
    parser.add_argument("--trials", type=int, metavar="N", help="configurations to try, at most; default: the space's")
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        help="what proposes configurations: model, tpe, gp, cmaes, random, qmc or nsga2; default: the space's",
    )
    parser.add_argument(
        "--study",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a study setting, in place of the space's: rungs=[4,12], stop=auto; may be repeated",
    )
    parser.add_argument(
        "--no-test",
        action="store_true",
        help="leaves the test images alone: the winner is not evaluated on them, also when the search goes on later",
    )
    parser.add_argument("--plan", action="store_true", help="says what the budget would buy, and ends; leaves nothing")
    parser.add_argument(
        "--warm-start",
        nargs="+",
        default=[],
        metavar="results/OTHER",
        help="earlier studies: their three best configurations are tried first, and the model learns from their scores",
    )
    parser.add_argument("--cpus-per-trial", type=int, metavar="N", help="default: follows the machine")
    parser.add_argument(
        "--gpus-per-trial", type=float, metavar="X", help="may be a fraction; default: 1 where there is a GPU"
    )
    parser.add_argument("--name", metavar="NAME", help="the study's folder below results/; default: the space's name")
    parser.add_argument("--results", default="results", metavar="DIR", help="where studies are kept; default: results")
    add_cache_options(parser)
    add_images_option(parser)
    parser.add_argument(
        "--open", action="store_true", help="opens report.html in the browser, and keeps it up to date meanwhile"
    )
    parser.add_argument(
        "--publish",
        choices=("tensorboard", "wandb", "mlflow"),
        help="writes the search there while it runs, as tuning.publish does; default: the space's",
    )
    parser.add_argument("--address", metavar="ADDRESS", help="an existing Ray cluster; default: this machine alone")
    parser.add_argument(
        "--storage",
        metavar="FOLDER|URL",
        help="where trials keep their states and weights when machines or drivers share no disk: a folder that all of "
        "them see, or a URL such as s3://bucket/reid; default: the study's folder",
    )
    parser.add_argument(
        "--study-storage",
        metavar="URL",
        help="keeps the study in a PostgreSQL server, postgresql://USER@HOST/DATABASE (password: PGPASSWORD), where "
        "several drivers share it; default: the study's folder",
    )
    add_json_option(parser)
    arguments = parser.parse_args()
    if arguments.json and not arguments.plan:
        raise UserError(f"--json: goes with --plan; a result: {program('tuning.report')} results/NAME --json")
    return arguments


@exit_on_user_error
def main() -> None:
    search(SearchRequest.of(parse_arguments()), BEGAN)


def search(arguments: SearchRequest, began: float) -> None:
    """Runs or goes on with the study that is asked for; `began` is when, of time.monotonic. Raises UserError."""
    if arguments.study_storage is None:
        search_folder(arguments, began)
        return
    from tuning.record.drivers import server_errors

    with server_errors(arguments.study_storage):
        search_folder(arguments, began)


def search_folder(arguments: SearchRequest, began: float) -> None:
    """`search`, but for what a server of several drivers may answer.

    Imports what each part needs when that part begins: mistakes are told before anything large is loaded, and Ray
    starts while the rest is.
    """
    from tuning.prepare.begin import prepare
    from tuning.prepare.finished import finished_study
    from tuning.run.ray_process import stop_ray

    if arguments.plan:
        from tuning.prepare.rehearsal import rehearse

        with answering(arguments.json) as answer:
            answer |= rehearse(arguments)
        return
    if (study := finished_study(arguments)) is not None:
        from data.system.wording import open_console
        from tuning.result.live_page import page_of_finished
        from tuning.result.summary import print_results

        page_of_finished(study, images=arguments.images, opens=arguments.open)
        print(f"{study.folder}: finished; with a larger budget it goes on", flush=True)
        print_results(study, open_console())
        return
    try:
        ready = prepare(arguments)
        try:
            search_prepared(arguments, ready, began)
        finally:
            ready.lock.release()
    finally:
        stop_ray()


def search_prepared(arguments: SearchRequest, ready: "Prepared", began: float) -> None:
    """Trains what there is to train, and writes the results."""
    from tuning.prepare.finished import is_finished
    from tuning.prepare.records import open_records
    from tuning.run.publishing import publishing
    from tuning.run.ray_process import stop_ray

    try:
        study, record = open_records(arguments, ready, began)
    except UserError:
        ready.undo()
        raise
    if arguments.images is not None:
        study.note(report_images=arguments.images)
    page = None
    if arguments.open:
        from tuning.result.live_page import LivePage

        page = LivePage(study)
        page.begin()
    with publishing(study.folder, study.space.study.publish):
        if not is_finished(study):
            train_all(study, record, ready, arguments.address, page)
            print("choosing the winner ...", flush=True)
        stop_ray()

        from tuning.result.best import bring_back
        from tuning.result.conclude import conclude

        with study.exclusive():
            bring_back(study, record)
            conclude(study, record, ready.data, ready.pixels, arguments.cache)
        study.write_copy()


def train_all(
    study: "Study", record: "Study", ready: "Prepared", address: str | None, page: "LivePage | None" = None
) -> None:
    """The two stages: the trials, and repeats of the best. `page` is kept up to date."""
    from tuning.confirm.repeats import Repeats
    from tuning.decide.budget import Purse
    from tuning.decide.policy import Policy
    from tuning.decide.stopping import early_end
    from tuning.prepare.finished import budget_of
    from tuning.run.trials import run_trials
    from tuning.run.work import Work

    def run(work: Work) -> None:
        told = None if page is None else page.refresh
        run_trials(work, ready.data, ready.pixels, ready.resources, address=address, told=told)

    purse = Purse(study, record, ready.resources.concurrency)
    try:
        run(Policy(study, purse))
        run(Repeats(record, study, purse))
        if (said := early_end(purse)) is not None:
            print(said, flush=True)
        if not study.shared:
            study.note(finished=budget_of(study.space.study))
    finally:
        study.save_elapsed()
        study.write_copy()


if __name__ == "__main__":
    main()
