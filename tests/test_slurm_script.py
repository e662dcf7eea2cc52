"""docs/cluster.md's script for SLURM, run with programs that note how they are called."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
(SCRIPT,) = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", (ROOT / "docs" / "cluster.md").read_text(), flags=re.DOTALL)
NOTING = """#!/bin/sh
echo "{name} $SRUN_CPUS_PER_TASK $*" >> "$CALLS"
case "$*" in status*) seq "$NODES" | sed 's/^/ 1 node_/';; esac
"""


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_script_starts_a_head_and_the_other_nodes_and_then_searches(tmp_path, nodes):
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for place in (".venv/bin/ray", ".venv/bin/python", "srun"):
        file = tmp_path / place
        file.write_text(NOTING.format(name=file.name))
        file.chmod(0o755)
    (tmp_path / "job.sh").write_text(SCRIPT)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls"), "HOME": "/home/ann",
        "NODES": str(nodes), "SLURM_JOB_NUM_NODES": str(nodes), "SLURM_CPUS_PER_TASK": "16", "SLURM_JOB_ID": "1234567",
        "SLURMD_NODENAME": "n07", "SCRATCH": "/scratch/ann",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-eu", "job.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    calls = [shlex.split(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert {call[1] for call in calls} == {"16"}, "srun has the task's CPUs from its own variable"
    (head,) = [call for call in calls if "--head" in call]
    port = head[head.index("--port") + 1]
    assert 1024 < int(port) < 32768 and head[head.index("--num-cpus") + 1] == "16"
    started = [call for call in calls if call[0] == "srun"]
    assert len(started) == (nodes > 1)
    for call in started:
        assert {f"--nodes={nodes - 1}", f"--ntasks={nodes - 1}", "--exclude=n07", ".venv/bin/ray"} <= set(call)
        assert call[call.index("--address") + 1] == f"n07:{port}"
    searches = [call for call in calls if call[0] == "python"]
    assert len(searches) == 1 and f"n07:{port}" in searches[0] and "tuning.search" in searches[0]
    assert "sleep 15" not in SCRIPT and not re.search(r"(?<!bin/)\bray start", SCRIPT)
