"""What this process may use of its machine: a container, a batch system or a control group may give it a part alone.

usable_cpus()  # 2 in `docker run --cpus 2` on 64 CPUs
usable_memory_bytes()
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from data.system.errors import UserError

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
MEMORY_INFO = Path("/proc/meminfo")
SHARED_MEMORY = Path("/dev/shm")
MIB = 2**20
LEAST_ADDRESSES_BYTES = 4_000_000 * 1024
"""PyTorch 2.14 for the CPU was loaded with so many, and with 3,000,000 KiB it was not."""


def usable_cpus() -> int:
    """How many CPUs this process may use, at least 1; of a quota of 2.5 CPUs 2 are whole."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [_quota(*text.partition(" ")[::2]) for text in _of_groups("cpu.max", "")]
    times = zip(_of_groups("cpu.cfs_quota_us", "cpu"), _of_groups("cpu.cfs_period_us", "cpu"), strict=False)
    quotas += [_quota(quota, period) for quota, period in times]
    slurm = _of_slurm("SLURM_CPUS_ON_NODE")
    return max(1, int(min([there, *quotas, *([slurm] if slurm else [])])))


def usable_memory_bytes() -> int:
    """Memory that this process and those that it starts may take: what the machine has free, or the least limit."""
    limits = [_free_bytes()]
    for text in (*_of_groups("memory.max", ""), *_of_groups("memory.limit_in_bytes", "memory")):
        limits += [int(text)] if text.isdigit() else []  # "max" is none
    if per_node := _of_slurm("SLURM_MEM_PER_NODE"):
        limits.append(per_node * MIB)
    elif per_cpu := _of_slurm("SLURM_MEM_PER_CPU"):
        limits.append(per_cpu * MIB * (_of_slurm("SLURM_CPUS_ON_NODE") or usable_cpus()))
    return min(limits)


def check_addresses() -> None:
    """Raises UserError where `ulimit -v` leaves less than PyTorch needs to be loaded: it would end without a word."""
    limit = _address_limit_bytes()
    if limit is not None and limit < LEAST_ADDRESSES_BYTES:
        raise UserError(
            f"ulimit -v {limit // 1024}: PyTorch cannot be loaded in so few addresses, most of which take no memory; "
            f"give ulimit -v unlimited, or at least {LEAST_ADDRESSES_BYTES // 1024}"
        )


def _address_limit_bytes() -> int | None:
    """What `ulimit -v` says; None where it sets no limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def free_shared_memory_bytes() -> int | None:
    """Room for what processes hand to each other in memory; None where the system keeps that in no file system. Docker
    gives a container 64 MB."""
    if not SHARED_MEMORY.is_dir():
        return None
    status = os.statvfs(SHARED_MEMORY)
    return status.f_bavail * status.f_frsize


def _free_bytes() -> int:
    """What Linux says is available; elsewhere the machine's whole memory."""
    try:
        lines = dict(line.split(":", 1) for line in MEMORY_INFO.read_text().splitlines() if ":" in line)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _quota(quota: str, period: str) -> float:
    """CPUs; infinite for "max" and -1."""
    try:
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else math.inf
    except ValueError:
        return math.inf


def _of_groups(name: str, controller: str) -> list[str]:
    """The contents of a file in this process's control group and all above it: each of them limits. `controller` names
    that of version 1, and is empty for version 2."""
    found = []
    for folder in _folders(controller):
        try:
            text = (folder / name).read_text().strip()
        except OSError:
            continue
        if text:
            found.append(text)
    return found


def _folders(controller: str) -> Iterator[Path]:
    """The control group's folder and those above it. In a container only the root may be mounted, as its own."""
    root = CGROUPS / controller
    try:
        lines = [line.split(":", 2) for line in OWN_GROUPS.read_text().splitlines()]
    except OSError:
        lines = []
    for line in lines:
        if len(line) == 3 and controller in line[1].split(","):
            own = root / line[2].strip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root) and folder != root)
    yield root


def _of_slurm(name: str) -> int | None:
    """A number that SLURM sets in a job; None where it sets none."""
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() and int(text) > 0 else None
