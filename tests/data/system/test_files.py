"""What a process that was killed while it wrote leaves, and who removes it."""

import os
import subprocess
import sys
import time
from pathlib import Path

from data.system.files import write_text

WRITES = """\
from data.system.files import replacing
with replacing("table.csv") as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    input()
"""


def test_the_next_that_writes_there_removes_what_a_killed_process_left_and_leaves_what_others_write(tmp_path):
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": {**os.environ, "PYTHONPATH": os.getcwd()}}  # noqa: PTH109
    living, killed = (subprocess.Popen([sys.executable, "-c", WRITES], cwd=tmp_path, **options) for _ in range(2))
    writes, left = (Path(process.stdout.readline().decode().strip()).name for process in (living, killed))
    assert {file.name for file in tmp_path.iterdir()} == {writes, left}
    killed.kill()
    killed.wait()
    (tmp_path / ".another-programs.tmp").touch()
    write_text(tmp_path / "summary.md", "")
    assert {file.name for file in tmp_path.iterdir()} == {"summary.md", writes, ".another-programs.tmp"}
    living.communicate(b"\n")
    assert (tmp_path / "table.csv").read_text() == "half"


def test_of_another_machine_it_goes_when_nobody_has_written_to_it_for_long(tmp_path):
    """Each run of a container has a name of its own, and process ids that say nothing here."""
    old, young = (tmp_path / f".model.safetensors.0badcafe-{number}-k1ll3d__.tmp" for number in (1, 2))
    for file in (old, young):
        file.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    write_text(tmp_path / "model.json", "{}")
    assert sorted(file.name for file in tmp_path.iterdir()) == [young.name, "model.json"]
