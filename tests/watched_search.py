"""A real search on this machine, interrupted once, with all that it opened and started meanwhile.

watch_search(folder, space, data_dir, umask=0o077)  # takes half a minute
seen_in(folder).sessions[0].returncode  # 130: after Ctrl-C; sessions[1] is the same command again, to the end
"""

import ipaddress
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.commands import LONGEST_S, ROOT, USUAL, Done, command_line
from tuning.record.folders import DATABASE, ENVIRONMENT
from tuning.record.study import Study

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "aws-geheim-1",
    "PGPASSWORD": "pg-geheim-2",
    "HF_TOKEN": "hf-geheim-3",
    "DATABASE_URL": "postgresql://ann:url-geheim-4@db/x",
}
"""What the search finds in its environment."""
PRIVATE = 0o077
"""The umask of the search that all tests share."""
LISTENS = "0A"
"""The state of a socket that listens, in /proc/net/tcp."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Watched(NamedTuple):
    """What a search left, and what was seen while it ran."""

    out: Path
    """All that it made is in here."""
    folder: Path
    """The study's."""
    interrupted: Path
    """The study's record as it was after Ctrl-C."""
    arguments: list[str]
    """The command's."""
    sessions: list[Done]
    """What the command gave when it was interrupted, and then."""
    listening: set[Address]
    """Where its processes listened."""
    connected_to: set[Address]
    """What they were connected to."""
    programs: dict[str, bool]
    """The command line of each process, and whether Ray's usage statistics were off there."""


def watch_search(place: Path, space: Path, data_dir: Path, *, umask: int, polite: int = signal.SIGINT) -> None:
    """Runs the search in the folder `place`; `seen_in` gives what was seen."""
    out = place / "out"
    out.mkdir()
    out.chmod(0o777 & ~umask)
    folder = out / "results" / space.stem
    arguments = ["--space", str(space), "--data-dir", str(data_dir), "--cpus-per-trial", "1", "--set", "optimizer=sgd"]
    arguments += ["--results", str(out / "results"), "--cache-dir", str(out / "cache")]
    mark = secrets.token_hex(8)
    sockets, programs = set[tuple[str, str, str]](), dict[str, bool]()

    def session(signalled: int | None) -> Done:
        """One start of the command; it is sent the signal as soon as an epoch is on record."""
        command = command_line("tuning.search", *arguments)
        environment = {**os.environ, **SECRETS, **USUAL, "WATCHED": mark}
        with (place / "stdout").open("w") as stdout, (place / "stderr").open("w") as stderr:
            search = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=stdout, stderr=stderr, umask=umask, start_new_session=True
            )
            ends = time.monotonic() + LONGEST_S
            while search.poll() is None:
                found = processes_with(f"WATCHED={mark}")
                sockets.update(sockets_of(found))
                for program, silent in found.values():
                    programs[program] = programs.get(program, True) and silent
                if signalled is not None and has_reports(folder):
                    search.send_signal(signalled)
                    signalled = None
                if time.monotonic() > ends:
                    os.killpg(search.pid, signal.SIGKILL)
                time.sleep(0.1)
        return Done(command, search.returncode, *((place / name).read_text() for name in ("stdout", "stderr")))

    sessions = [session(polite)]
    (place / "interrupted").mkdir()
    for name in (DATABASE, ENVIRONMENT):
        shutil.copy(folder / name, place / "interrupted")
    sessions.append(session(None))
    said = [[done.args, done.returncode, done.stdout, done.stderr] for done in sessions]
    seen = {"arguments": arguments, "sessions": said, "sockets": sorted(sockets), "programs": programs}
    (place / "seen.json").write_text(json.dumps({"folder": str(folder), **seen}))


def seen_in(place: Path) -> Watched:
    """What `watch_search` saw."""
    seen = json.loads((place / "seen.json").read_text())
    ends = [(state, ipaddress.ip_address(here), ipaddress.ip_address(there)) for state, here, there in seen["sockets"]]
    return Watched(
        out=place / "out",
        folder=Path(seen["folder"]),
        interrupted=place / "interrupted",
        arguments=seen["arguments"],
        sessions=[Done(*said) for said in seen["sessions"]],
        listening={here for state, here, _ in ends if state == LISTENS},
        connected_to={there for state, _, there in ends if state != LISTENS and not there.is_unspecified},
        programs=seen["programs"],
    )


def has_reports(folder: Path) -> bool:
    """Whether a study has an epoch on record. Before environment.json is there its data base is being made, which
    opening it would disturb."""
    return (folder / ENVIRONMENT).is_file() and any(trial.reports for trial in Study(folder).trials())


def processes_with(variable: str) -> dict[Path, tuple[str, bool]]:
    """The processes that have a variable in their environment, and so are of the search: the command line of each, and
    whether Ray's usage statistics are off there."""
    found = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                environment = (process / "environ").read_bytes().split(b"\0")
                if variable.encode() in environment:
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[process] = command, b"RAY_USAGE_STATS_ENABLED=0" in environment
            except OSError:
                continue
    return found


def sockets_of(processes: dict[Path, tuple[str, bool]]) -> set[tuple[str, str, str]]:
    """(state, local address, remote address) of each TCP socket that one of the processes has open."""
    inodes = set()
    for process in processes:
        with suppress(OSError):  # it ended meanwhile
            for link in (process / "fd").iterdir():
                with suppress(OSError):
                    inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        file = Path("/proc/net") / table
        for line in file.read_text().splitlines()[1:] if file.exists() else ():
            fields = line.split()
            if fields[9] in inodes:
                found.add((fields[3], str(address(fields[1])), str(address(fields[2]))))
    return found


def address(text: str) -> Address:
    """An address of /proc/net/tcp: 32-bit words, each in this machine's byte order."""
    host = bytes.fromhex(text.split(":")[0])
    words = [host[place : place + 4][::-1] for place in range(0, len(host), 4)]
    found = ipaddress.ip_address(b"".join(words))
    return getattr(found, "ipv4_mapped", None) or found
