"""What a process may use of its machine: written by hand as containers, control groups and SLURM show it."""

import os
import subprocess

import pytest

from data.system import limits
from tests.commands import ROOT, command_line

GIB = 2**30


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Says what the files and variables of a machine with 16 CPUs and 64 GiB free hold."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    for name, place in (("CGROUPS", "cgroup"), ("OWN_GROUPS", "own"), ("MEMORY_INFO", "meminfo")):
        monkeypatch.setattr(limits, name, tmp_path / place)
    for name in ("SLURM_CPUS_ON_NODE", "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "meminfo").write_text(f"MemTotal: {2**30} kB\nMemAvailable:  {64 * 2**20} kB\nHugePages_Total: 0\n")

    def there(files, **variables):
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for name, text in variables.items():
            monkeypatch.setenv(name, text)
        return limits.usable_cpus(), limits.usable_memory_bytes()

    return there


DOCKER_2 = {"own": "0::/\n", "cgroup/cpu.max": "250000 100000\n", "cgroup/memory.max": f"{4 * GIB}\n"}
NO_LIMIT_2 = {"own": "0::/\n", "cgroup/cpu.max": "max 100000\n", "cgroup/memory.max": "max\n"}
JOB_2 = {  # the job's limits are those of a group above the process's own
    "own": "0::/slurm/job_7/step_0\n",
    "cgroup/slurm/job_7/cpu.max": "300000 100000",
    "cgroup/slurm/job_7/memory.max": f"{6 * GIB}",
    "cgroup/slurm/job_7/step_0/cpu.max": "max 100000",
    "cgroup/slurm/job_7/step_0/memory.max": "max",
}
DOCKER_1 = {  # the path is the host's, of which the container sees nothing
    "own": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
    "cgroup/cpu/cpu.cfs_quota_us": "200000\n",
    "cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "cgroup/memory/memory.limit_in_bytes": f"{3 * GIB}\n",
}
NO_LIMIT_1 = {
    "own": "4:memory:/\n3:cpu,cpuacct:/\n",
    "cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
}


@pytest.mark.parametrize(
    ("files", "variables", "cpus", "gib"),
    [
        ({}, {}, 16, 64),
        (DOCKER_2, {}, 2, 4),
        (NO_LIMIT_2, {}, 16, 64),
        (JOB_2, {}, 3, 6),
        (DOCKER_1, {}, 2, 3),
        (NO_LIMIT_1, {}, 16, 64),
        ({"cgroup/cpu.max": "50000 100000"}, {}, 1, 64),
        ({"cgroup/cpu.max": "rubbish", "cgroup/memory.max": ""}, {}, 16, 64),
        ({}, {"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_NODE": "8192"}, 4, 8),
        ({}, {"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_CPU": "1024"}, 4, 4),
        ({}, {"SLURM_CPUS_ON_NODE": "many", "SLURM_MEM_PER_NODE": "0"}, 16, 64),  # 0: all of the node's
        (DOCKER_2, {"SLURM_CPUS_ON_NODE": "8", "SLURM_MEM_PER_NODE": "8192"}, 2, 4),
    ],
)
def test_the_least_limit_counts(machine, files, variables, cpus, gib):
    assert machine(files, **variables) == (cpus, gib * GIB)


def test_a_machine_without_these_files_has_its_own_cpus_and_memory(machine, monkeypatch, tmp_path):
    """macOS, say."""
    (tmp_path / "meminfo").unlink()
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert machine({}) == (12, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def test_shared_memory_is_that_of_its_file_system(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "SHARED_MEMORY", tmp_path)
    told = os.popen(f"df --block-size=1 --output=avail {tmp_path}").read().split()[-1]
    assert abs(limits.free_shared_memory_bytes() - int(told)) < 2**28
    monkeypatch.setattr(limits, "SHARED_MEMORY", tmp_path / "none")
    assert limits.free_shared_memory_bytes() is None


def test_an_address_space_in_which_pytorch_cannot_be_loaded_is_one_line_before_it_is(tmp_path):
    command = command_line("reid_train.evaluate", "--checkpoint", tmp_path, "--data-dir", tmp_path)
    shell = ["bash", "-c", 'ulimit -v 2000000 && exec "$@"', "bash", *command]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.startswith("error: ulimit -v 2000000: PyTorch cannot be loaded")
    assert done.stderr.count("\n") == 1


def test_without_a_limit_nothing_is_said(monkeypatch):
    monkeypatch.setattr(limits, "_address_limit_bytes", lambda: None)
    limits.check_addresses()
    monkeypatch.setattr(limits, "_address_limit_bytes", lambda: 8 * GIB)
    limits.check_addresses()
