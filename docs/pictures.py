"""Makes the pages' pictures from a study of the drawn sample: search.png, history.png, ranks.png.

make search && python -m docs.pictures results/sample

The terminal's picture is taken by chromium, headless. Those of report.html are tests/benchmarks/screenshots.py's.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from data.sets.readers import read_test
from data.system.errors import UserError, exit_on_user_error
from data.system.options import CommandParser
from reid_train.settings.config import read_config

DOCS = Path(__file__).parent
COLUMNS = 118
MOST_BYTES = 200_000
"""Largest picture; a larger one is made narrower."""


@exit_on_user_error
def main() -> None:
    parser = CommandParser(prog="python -m docs.pictures", description="Makes the pictures of README and docs.")
    parser.add_argument("study", metavar="results/NAME", type=Path, help="a finished study of the drawn sample")
    parser.add_argument("--out", metavar="DIR", type=Path, default=DOCS, help="default: docs")
    arguments = parser.parse_args()
    for file in make_pictures(arguments.study, arguments.out):
        print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def make_pictures(study: Path, out: Path) -> list[Path]:
    """The files that were made."""
    if not (study / "best_config.yaml").is_file():
        raise UserError(f"{study}: holds no finished study; give: make search")
    made = [
        picture_of_terminal(reported(study), f"reid report {study}", out / "search.png"),
        Path(shutil.copy(study / "plots" / "best_training_history.png", out / "history.png")),
        picture_of_ranks(study, out / "ranks.png"),
    ]
    for file in made:
        make_small(file)
    return made


def reported(study: Path) -> str:
    """What the report of a study prints in a terminal, with its colours."""
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    done = subprocess.run(
        [sys.executable, "-m", "reid", "report", str(study)], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise UserError(f"{study}: its report ends with exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def picture_of_terminal(text: str, title: str, file: Path) -> Path:
    """A PNG of what a terminal of COLUMNS shows."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123
    console.print(Text.from_ansi(text), soft_wrap=False)
    with tempfile.TemporaryDirectory() as folder:
        svg = console.export_svg(title=title, theme=MONOKAI)
        page = Path(folder) / "terminal.html"
        page.write_text(f"<style>body {{ margin: 0 }} svg {{ display: block; width: 1230px }}</style>{svg}")
        # The picture's own height, which SVG gives for its own width.
        width, height = (float(number) for number in svg.split('viewBox="0 0 ')[1].split('"')[0].split())
        return screenshot(page, (1230, round(1230 * height / width)), file)


def picture_of_ranks(study: Path, file: Path) -> Path:
    """The gallery's images that look most like the first query, by a copy of the model: the study counts no look."""
    config = read_config(str(study / "best_config.yaml"))
    query, _ = read_test(config.data_dir, config.dataset)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = shutil.copytree(study / "best", Path(folder) / "best")
        command = [sys.executable, "-m", "reid_train.query", "--checkpoint", str(checkpoint), "--top", "10"]
        subprocess.run(
            [*command, "--gallery", config.data_dir, "--image", query[0].path, "--out", str(file)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return file


def screenshot(page: Path, size: tuple[int, int], file: Path) -> Path:
    """A PNG of what chromium shows of a page, in a window of this size."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise UserError("chromium is needed, and not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb"),
                f"--user-data-dir={profile}",
                f"--window-size={size[0]},{size[1]}",
                f"--screenshot={file.resolve()}",
                page.resolve().as_uri(),
            ],
            check=True,
            timeout=120,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return file


def make_small(file: Path) -> None:
    """Writes a picture in 128 colours and, while it is too large, narrower."""
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    while True:
        picture.quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)
        if file.stat().st_size < MOST_BYTES:
            return
        picture = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
