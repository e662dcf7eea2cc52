"""Debian's chromium, headless, for tests of report.html and its screenshots.

with open_browser() as browser:
    page = open_page(browser, Path("results/sample/report.html"), width=400, color_scheme="dark")
    page.seen.requests, page.seen.errors
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Opened(NamedTuple):
    """A page in the browser, and what it did."""

    page: Any
    """Playwright's."""
    requests: list[str]
    """What was asked of the network or the disk, the page itself left out."""
    errors: list[str]
    """What the scripts and the policy complained of."""


def missing() -> str | None:
    """Why there is no browser here; None where there is one."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed (pip install -e '.[dev]')"
    return None if CHROMIUM else "chromium is not installed (apt-get install chromium)"


@contextmanager
def open_browser() -> Iterator[Any]:
    """A headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Any, file: Path, *, width: int = 1280, height: int = 900, **options: Any) -> Opened:
    """Opens a file; `options` are those of a browser's context, color_scheme="dark" say."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page, requests, errors = context.new_page(), list[str](), list[str]()
    address = file.absolute().as_uri()

    def request(asked: Any) -> None:
        if asked.url not in (address, *_inside(asked.url)):
            requests.append(asked.url)

    def console(said: Any) -> None:
        if said.type == "error":
            errors.append(said.text)

    page.on("request", request)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", console)
    page.goto(address)
    return Opened(page, requests, errors)


def _inside(url: str) -> list[str]:
    """The address itself, where it is a picture within the page."""
    return [url] if url.startswith("data:image/webp;") else []
