"""Makes the pictures of report.html in docs/ anew, headless, from a made-up study.

python -m tests.benchmarks.screenshots [results/NAME]
"""

import json
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests import browser as browsers
from tests.reported_study import draw_pictures, made_up_errors, made_up_study
from tuning.record.study import Study
from tuning.result.page import write_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
MOST_BYTES = 300_000
SHOTS = {"report-first": "#verdict", "report-explorer": "#search", "report-errors": "#errors"}
"""Names of the pictures, and the sections at whose top they begin."""


def main() -> None:
    if (why := browsers.missing()) is not None:
        sys.exit(f"no screenshots: {why}")
    with tempfile.TemporaryDirectory() as folder:
        study = Study(sys.argv[1]) if len(sys.argv) > 1 else make(Path(folder))
        file = write_page(study, images=True)
        with browsers.open_browser() as browser:
            for name, section in SHOTS.items():
                page = browsers.open_page(browser, file, height=980).page
                if section == "#verdict":
                    page.evaluate("scrollTo(0, 0)")
                else:
                    page.locator(section).evaluate("(element) => scrollTo(0, element.offsetTop - 12)")
                if section == "#search":
                    page.evaluate("Explorer.light(TRIALS.find((trial) => trial.number === DATA.best))")
                save(page.screenshot(), DOCS / f"{name}.png", Path(folder))


def make(folder: Path) -> Study:
    """A study to look at."""
    data_dir = draw_pictures(folder)
    study = made_up_study(folder / "sample", trials=40, data_dir=data_dir)
    (study.folder / "errors.json").write_text(json.dumps(made_up_errors(data_dir, points=600)))
    return study


def save(png: bytes, file: Path, folder: Path) -> None:
    """Writes the picture with 256 colours, which are enough for it."""
    (folder / "shot.png").write_bytes(png)
    with Image.open(folder / "shot.png") as shot:
        shot.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            file, optimize=True
        )
    size = file.stat().st_size
    print(f"{file}: {size / 1000:.0f} kB")
    assert size < MOST_BYTES, f"{file}: more than {MOST_BYTES} bytes"


if __name__ == "__main__":
    main()
