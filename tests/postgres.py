"""A PostgreSQL server of a test's own on loopback, in a temporary folder."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def programs() -> Path | None:
    """The folder of initdb and postgres; None where no server is installed. Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "postgres").exists()), None)


@contextmanager
def server(password: str) -> Iterator[str]:
    """A running server's URL, with its password. Skips the test where PostgreSQL is not installed or cannot run."""
    place = programs()
    if place is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    user: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="reid-postgres-", dir="/tmp"))
    try:
        if os.getuid() == 0:  # the server refuses to run as root
            try:
                owner = pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            user = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        secret = folder / "password"
        secret.write_text(password)
        secret.chmod(0o644)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        run: dict[str, Any] = {"check": True, "capture_output": True, "text": True, "cwd": folder}
        made = [place / "initdb", "-D", folder / "data", "-U", "ann", "-A", "scram-sha-256", "--pwfile", secret, "-N"]
        subprocess.run([*user, *map(str, made)], **run)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        control = [*user, str(place / "pg_ctl"), "-D", str(folder / "data"), "-w", "-l", str(folder / "log")]
        subprocess.run([*control, "-o", options, "start"], **run)
        try:
            yield f"postgresql://ann:{password}@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
