"""How large report.html is and how long it takes, at 40, 200 and 1,000 made-up trials.

python -m tests.benchmarks.report_page [40 200 1000]
"""

import json
import platform
import sys
import tempfile
import time
from pathlib import Path

from tests import browser as browsers
from tests.reported_study import draw_pictures, made_up_errors, made_up_study
from tuning.record.study import Study
from tuning.result.page import write_page

TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
STEPS = (
    "TRIALS.slice(0, 40).forEach((trial) => Explorer.light(trial))",
    "Explorer.brushes.set(0, [0.2, 0.8]), Explorer.filter(), Explorer.draw()",
    "Explorer.rows = Infinity, Explorer.fill()",
)
"""What is timed in the browser: pointing at 40 trials, filtering, and all rows of the table."""
HEADER = (
    "| trials | MB running | MB | MB with pictures | s running (CPU) | s (CPU) | s with pictures (CPU) | s to open | "
    "ms to point at 40 | ms to filter | ms for all rows |"
)


def measure(folder: Path, data_dir: Path, trials: int) -> str:
    """A line of the table."""
    study: Study = made_up_study(folder / str(trials), trials=trials, data_dir=data_dir, in_memory=True)
    (study.folder / "errors.json").write_text(json.dumps(made_up_errors(data_dir, points=2000)))
    sizes, times = [], []
    for images, running in ((False, True), (False, False), (True, False)):
        began, cpu = time.monotonic(), time.process_time()
        sizes.append(write_page(study, images=images, running=running).stat().st_size / 1e6)
        times.append(f"{time.monotonic() - began:.1f} ({time.process_time() - cpu:.1f})")
    row = [f"{trials:,}", *(f"{size:.2f}" for size in sizes), *times]
    if browsers.missing() is None:
        with browsers.open_browser() as browser:
            began = time.monotonic()
            page = browsers.open_page(browser, study.folder / "report.html").page
            page.evaluate(TWO_FRAMES)
            row.append(f"{time.monotonic() - began:.1f}")
            for step in STEPS:
                timed = f"(() => {{ const t = performance.now(); {step}; return performance.now() - t; }})()"
                row.append(f"{page.evaluate(timed):.0f}")
    return "| " + " | ".join(row) + " |"


def main() -> None:
    counts = [int(word) for word in sys.argv[1:]] or [40, 200, 1000]
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, one run each")
    print(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        data_dir = draw_pictures(Path(folder))
        for trials in counts:
            print(measure(Path(folder), data_dir, trials), flush=True)


if __name__ == "__main__":
    main()
