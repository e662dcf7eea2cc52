"""What a local search opens and leaves: loopback alone, files by the user's umask, no secrets."""

import subprocess
import sys

import pytest

from tests.watched_search import LISTENS, PRIVATE, SECRETS, address, processes_with, seen_in, sockets_of, watch_search


@pytest.fixture(scope="module", params=[PRIVATE, pytest.param(0o002, marks=pytest.mark.reliability)], ids=oct)
def watched(request, tmp_path_factory, tiny_space, tiny_data):
    """A small local search under a umask, and that umask."""
    if request.param == PRIVATE:
        return request.getfixturevalue("watched_search"), PRIVATE
    folder = tmp_path_factory.mktemp("doors")
    watch_search(folder, tiny_space, tiny_data, umask=request.param)
    return seen_in(folder), request.param


def test_addresses_are_read_as_the_kernel_writes_them():
    assert str(address("0100007F:1F90")) == "127.0.0.1"
    assert str(address("00000000000000000000000001000000:1F90")) == "::1"
    assert str(address("0000000000000000FFFF00000100007F:1F90")) == "127.0.0.1"
    assert str(address("08080808:0035")) == "8.8.8.8"


def test_an_open_door_would_be_seen():
    program = "import socket; s = socket.create_server(('0.0.0.0', 0)); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], env={"WATCHED": "open"}, **pipes) as door:
        door.stdout.readline()
        seen = sockets_of(processes_with("WATCHED=open"))
        door.communicate("\n")
    assert [local for state, local, _ in seen if state == LISTENS] == ["0.0.0.0"]


def test_a_local_search_listens_on_loopback_only_and_connects_to_nothing_else(watched):
    search, _ = watched
    assert search.listening and all(here.is_loopback for here in search.listening), search.listening
    assert search.connected_to and all(there.is_loopback for there in search.connected_to), search.connected_to


def test_a_local_search_starts_no_dashboard_and_reports_no_usage(watched):
    search, _ = watched
    assert any("raylet" in program for program in search.programs), "Ray was seen"
    # Ray has a process of that name in any case; it serves nothing, and what it could report is switched off.
    assert all("--disable-frontend" in program for program in search.programs if "dashboard/dashboard.py" in program)
    rays = [silent for program, silent in search.programs.items() if "/ray/" in program]
    assert rays and all(rays), "RAY_USAGE_STATS_ENABLED=0 in each of Ray's processes"


def test_results_and_caches_are_created_with_the_users_umask(watched):
    search, umask = watched
    made = [path for path in search.out.rglob("*") if not path.is_symlink()]
    wrong = {
        str(path.relative_to(search.out)): oct(path.stat().st_mode & 0o777)
        for path in made
        if path.stat().st_mode & 0o777 != ((0o777 if path.is_dir() else 0o666) & ~umask)
    }
    assert any(path.suffix == ".pixels" for path in made) and any(path.name == "study.db" for path in made)
    assert not wrong


def test_no_command_line_that_others_can_read_holds_a_secret(watched):
    search, _ = watched
    assert not [program for program in search.programs if any(value in program for value in SECRETS.values())]


def test_nothing_that_a_search_leaves_holds_a_secret_of_its_environment(watched):
    search, _ = watched
    assert (search.folder / "environment.json").is_file()
    for file in [*search.out.rglob("*"), *search.interrupted.iterdir()]:
        if file.is_file():
            held = [name for name, value in SECRETS.items() if value.encode() in file.read_bytes()]
            assert not held, f"{file} holds {held}"
    said = "".join(done.stdout + done.stderr for done in search.sessions)
    assert not [name for name, value in SECRETS.items() if value in said]
