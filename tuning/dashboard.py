"""Opens a study in optuna-dashboard, on a copy of its record: looking never keeps a search waiting.

python -m tuning.dashboard results/NAME [--port N]
"""

import argparse
import threading
import time
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from data.system.errors import UserError, exit_on_user_error
from data.system.options import CommandParser, add_study_argument
from data.system.packages import check_packages

if TYPE_CHECKING:
    from tuning.record.copied import Copy

HOST = "127.0.0.1"
EVERY_S = 15.0
"""Between two renewals of the copy."""


def parse_arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m tuning.dashboard",
        description="Opens a study in optuna-dashboard, for browsers of this machine alone. It shows a copy, which is "
        f"renewed every {EVERY_S:.0f} s; notes that are written there are not kept. Ctrl-C ends it.",
    )
    add_study_argument(parser)
    parser.add_argument("--port", type=int, default=0, metavar="N", help="default: one that is free")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    arguments = parse_arguments()
    from tuning.record.folders import DATABASE, check_study

    folder = Path(arguments.study)
    check_study(folder)
    check_packages("the dashboard", ["optuna_dashboard"], "dashboard")
    server = open_server(arguments.port)
    from optuna_dashboard import wsgi

    from tuning.record.copied import copied_study
    from tuning.record.place import sqlite_url

    with server, copied_study(folder) as copy, suppress(KeyboardInterrupt):
        server.set_app(wsgi(sqlite_url(copy.folder / DATABASE)))
        threading.Thread(target=keep_new, args=[copy], daemon=True).start()
        print(f"{folder}: http://{HOST}:{server.server_port}/dashboard/", flush=True)
        print(f"a copy of {time.strftime('%H:%M:%S')}, renewed every {EVERY_S:.0f} s; Ctrl-C ends it", flush=True)
        server.serve_forever()
    print("\nclosed; the copy is removed")


class Server(ThreadingMixIn, WSGIServer):
    """Answers several requests at once. One that hangs does not keep it from ending."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of browsers that leave before the answer."""


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing of each request."""


def open_server(port: int) -> Server:
    """A server on loopback. Raises UserError where the port is taken."""
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port}: from 1 to 65535, or leave it out")
    try:
        return make_server(HOST, port, lambda *_: [], server_class=Server, handler_class=_Silent)
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}; choose another, or leave it out") from error


def keep_new(copy: "Copy") -> None:
    """Renews the copy for ever; says once where that stops, and from when the copy is then."""
    renewed = time.strftime("%H:%M:%S")
    while True:
        time.sleep(EVERY_S)
        try:
            copy.renew()
        except (OSError, UserError) as error:
            print(f"the copy stays as of {renewed}: {error}", flush=True)
            return
        renewed = time.strftime("%H:%M:%S")


if __name__ == "__main__":
    main()
