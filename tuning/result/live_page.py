"""report.html in the browser, and up to date while the search runs: `tuning.search --open`.

page = LivePage(study)
page.begin()    # writes the page and opens it
page.refresh()  # writes it again, if that is due; the browser reads it again by itself
"""

import logging
import os
import time
import webbrowser
from pathlib import Path

from tuning.record.folders import REPORT
from tuning.record.study import Study
from tuning.result.page import RELOAD_S, write_page

logger = logging.getLogger(__name__)

SHARE = 0.05
"""Of the driver's time, at most, that goes into the page of a running search."""


class LivePage:
    """The page of a search that runs."""

    def __init__(self, study: Study):
        self.study = study
        self.due = 0.0

    def begin(self) -> None:
        """Writes the page and opens it."""
        self.refresh()
        open_in_browser(self.study.folder / REPORT)

    def refresh(self) -> None:
        """Writes the page, unless that was done a moment ago."""
        began = time.monotonic()
        if began < self.due:
            return
        try:
            write_page(self.study, running=True)
        except Exception as error:  # no search ends for its page
            logger.warning("%s cannot be written: %s", self.study.folder / REPORT, error)
        ended = time.monotonic()
        self.due = ended + max(RELOAD_S, (ended - began) / SHARE)


def page_of_finished(study: Study, *, images: bool | None, opens: bool) -> None:
    """Writes the page of a finished study where it is missing or pictures are asked for or not, and opens it where that
    is asked for."""
    file = study.folder / REPORT
    if images is not None:
        study.note(report_images=images)
    if images is not None or not file.is_file():
        write_page(study)
    if opens:
        open_in_browser(file)


def open_in_browser(file: Path) -> None:
    """Opens the file in the system's browser, or says that there is none. A browser for terminals would hide what the
    search prints; it is taken only where $BROWSER names it."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        browser = None
    of_terminal = type(browser) is webbrowser.GenericBrowser and "BROWSER" not in os.environ
    if browser is None or of_terminal or not browser.open(file.absolute().as_uri()):
        print(f"no browser opens here; open {file}", flush=True)
