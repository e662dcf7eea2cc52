"""Shows how a search stands, from another terminal. It only reads, and never keeps the search waiting.

python -m tuning.watch results/NAME [--once]
"""

import argparse
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from data.system.errors import exit_on_user_error
from data.system.options import CommandParser, add_study_argument

if TYPE_CHECKING:
    from rich.console import Console
    from rich.panel import Panel

    from tuning.record.copied import Copy
    from tuning.record.study import Study

EVERY_S = 2.0
"""Between two looks at the record."""


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m tuning.watch",
        description="Shows how a search stands: what trains, the five best, the scores so far, when it ends. "
        "Ends with the search; of one that is over it prints the result.",
    )
    add_study_argument(parser)
    parser.add_argument("--once", action="store_true", help="prints how it stands now, and ends")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    from tuning.record.folders import check_study

    folder = Path(arguments.study)
    check_study(folder)
    from data.system.wording import open_console
    from tuning.record.copied import copied_study

    console = open_console()
    with copied_study(folder) as copy:
        view = View(folder, copy, console)
        if arguments.once and view.searching():
            console.print(view.panel())
        elif not arguments.once:
            with suppress(KeyboardInterrupt):  # who looks on leaves as he likes
                follow(view)
        if not view.searching():
            copy.renew()
            say_end(view)


class View:
    """What is seen of a search."""

    def __init__(self, folder: Path, copy: "Copy", console: "Console"):
        self.folder, self.copy, self.console = folder, copy, console
        self.study = self._open()
        """The record as it was seen last."""
        self._saved = self.study.facts.get("elapsed_s", 0.0)
        self._saved_at = time.monotonic()
        self._at_once = 1

    def _open(self) -> "Study":
        from tuning.record.study import Study

        return Study(self.copy.folder)

    def searching(self) -> bool:
        """Whether a process searches there."""
        from tuning.record.lock import process_in

        return process_in(self.folder) is not None

    def look(self) -> bool:
        """Reads the record again; False where nothing is new."""
        if not self.copy.renew():
            return False
        self.study = self._open()
        saved = self.study.facts.get("elapsed_s", 0.0)
        if saved != self._saved:
            self._saved, self._saved_at = saved, time.monotonic()
        return True

    def panel(self) -> "Panel":
        """The panel that the search itself shows."""
        from tuning.decide.budget import Purse
        from tuning.record.trial import TrialState
        from tuning.result.summary import repeats_of
        from tuning.run.panel import panel

        study, record = self.study, repeats_of(self.study)
        study.count_from(self._saved_at)  # the record has the time as of its last save
        running = [*study.in_state(TrialState.RUNNING), *(record.in_state(TrialState.RUNNING) if record else [])]
        self._at_once = max(self._at_once, len(running))
        plain = not self.console.encoding.lower().startswith("utf")
        return panel(Purse(study, record, self._at_once), width=self.console.width, plain=plain)


def follow(view: View) -> None:
    """Shows the search until it ends: a live panel on a terminal; elsewhere a panel whenever trials ended."""
    if not view.console.is_terminal:
        shown = None
        while view.searching():
            view.look()
            states = [(trial.state, trial.rung) for trial in view.study.trials()]
            if states != shown:
                view.console.print(view.panel())
                shown = states
            time.sleep(EVERY_S)
        return
    from rich.live import Live

    with Live(get_renderable=view.panel, console=view.console, auto_refresh=False, transient=True) as live:
        while view.searching():
            view.look()
            live.refresh()
            time.sleep(EVERY_S)


def say_end(view: View) -> None:
    """How the search ended, and its result."""
    from tuning.result.summary import headline

    view.look()
    study = view.study
    over = study.facts.get("finished") is not None
    view.console.print(f"{view.folder}: " + ("the search is over" if over else "no process searches here now"))
    for line in headline(study):
        view.console.print(line, soft_wrap=True)
    if not over and (command := study.facts.get("command")):
        view.console.print(f"to go on: {command}", soft_wrap=True)


if __name__ == "__main__":
    main()
