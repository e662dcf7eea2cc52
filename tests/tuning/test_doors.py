"""What a local search opens and leaves: loopback alone, files by the user's umask, no secrets."""

import ipaddress
import os
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.clusters import ROOT, search_command

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "aws-geheim-1",
    "PGPASSWORD": "pg-geheim-2",
    "HF_TOKEN": "hf-geheim-3",
    "DATABASE_URL": "postgresql://ann:url-geheim-4@db/x",
}


@pytest.fixture(scope="module", params=[0o077, pytest.param(0o002, marks=pytest.mark.reliability)], ids=oct)
def watched(request, tmp_path_factory, tiny_space, tiny_data):
    """A small local search under a umask: its folder, that umask, and the sockets and programs seen while it ran."""
    folder, mark = tmp_path_factory.mktemp("doors"), secrets.token_hex(8)
    (folder / "space.yaml").write_text(tiny_space.read_text().replace("trials: 5", "trials: 1"))
    command = search_command("--space", folder / "space.yaml", "--data-dir", tiny_data, "--cpus-per-trial", 1)
    command += ["--results", str(folder / "out/results"), "--cache-dir", str(folder / "out/cache"), "--name", "doors"]
    environment = {**os.environ, **SECRETS, "OMP_NUM_THREADS": "1", "DOORS": mark}
    (folder / "out").mkdir()
    (folder / "out").chmod(0o777 & ~request.param)
    sockets, programs = set(), set()
    with (folder / "said").open("w") as said:
        search = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=said, stderr=said, umask=request.param, start_new_session=True
        )
        while search.poll() is None:
            found = processes_with(f"DOORS={mark}")
            programs |= set(found.values())
            sockets |= sockets_of(found)
            time.sleep(0.1)
    assert search.returncode == 0, (folder / "said").read_text()
    return folder, request.param, sockets, programs


def processes_with(variable):
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


def sockets_of(processes):
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
                found.add((fields[3], address(fields[1]), address(fields[2])))
    return found


def address(text):
    """An address of /proc/net/tcp: 32-bit words, each in this machine's byte order."""
    host = bytes.fromhex(text.split(":")[0])
    words = [host[place : place + 4][::-1] for place in range(0, len(host), 4)]
    found = ipaddress.ip_address(b"".join(words))
    return getattr(found, "ipv4_mapped", None) or found


def test_addresses_are_read_as_the_kernel_writes_them():
    assert str(address("0100007F:1F90")) == "127.0.0.1"
    assert str(address("00000000000000000000000001000000:1F90")) == "::1"
    assert str(address("0000000000000000FFFF00000100007F:1F90")) == "127.0.0.1"
    assert str(address("08080808:0035")) == "8.8.8.8"


def test_an_open_door_would_be_seen():
    program = "import socket; s = socket.create_server(('0.0.0.0', 0)); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], env={"DOORS": "open"}, **pipes) as door:
        door.stdout.readline()
        seen = sockets_of(processes_with("DOORS=open"))
        door.communicate("\n")
    assert [local.is_loopback for state, local, _ in seen if state == "0A"] == [False]


def test_a_local_search_listens_on_loopback_only_and_connects_to_nothing_else(watched):
    _, _, sockets, _ = watched
    listening = {local for state, local, _ in sockets if state == "0A"}
    assert listening and all(local.is_loopback for local in listening), listening
    peers = {remote for state, _, remote in sockets if state != "0A" and not remote.is_unspecified}
    assert peers and all(remote.is_loopback for remote in peers), peers


def test_a_local_search_starts_no_dashboard_and_reports_no_usage(watched):
    _, _, _, programs = watched
    assert any("raylet" in program for program, _ in programs), "Ray was seen"
    # Ray has a process of that name in any case; it serves nothing, and what it could report is switched off.
    assert all("--disable-frontend" in program for program, _ in programs if "dashboard/dashboard.py" in program)
    rays = [silent for program, silent in programs if "/ray/" in program]
    assert rays and all(rays), "RAY_USAGE_STATS_ENABLED=0 in each of Ray's processes"


def test_results_and_caches_are_created_with_the_users_umask(watched):
    folder, umask, _, _ = watched
    made = [path for path in (folder / "out").rglob("*") if not path.is_symlink()]
    wrong = {
        str(path.relative_to(folder)): oct(path.stat().st_mode & 0o777)
        for path in made
        if path.stat().st_mode & 0o777 != ((0o777 if path.is_dir() else 0o666) & ~umask)
    }
    assert any(path.suffix == ".pixels" for path in made) and any(path.name == "study.db" for path in made)
    assert not wrong


def test_nothing_that_a_search_leaves_holds_a_secret_of_its_environment(watched):
    folder, _, _, _ = watched
    assert (folder / "out/results/doors/environment.json").is_file()
    for file in folder.rglob("*"):
        if file.is_file():
            held = [name for name, value in SECRETS.items() if value.encode() in file.read_bytes()]
            assert not held, f"{file} holds {held}"
