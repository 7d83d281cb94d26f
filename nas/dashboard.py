"""`hwnas dashboard`: optuna-dashboard on the archive of a run."""

import importlib
from contextlib import suppress
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from nas.archive import open_storage
from nas.progress import console
from search_spaces.errors import InvalidInput

LOOPBACK = "127.0.0.1"


class _Silent(WSGIRequestHandler):
    """Says nothing of each request."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serve(url: str, port: int) -> None:
    """Serve the studies of a database until interrupted, on the loopback address only.

    Args:
        url: Of the database.
        port: Free, 1024 or more; 0 takes any.

    Raises:
        InvalidInput: If optuna-dashboard is not installed, the port cannot be taken, or the database not be opened.
    """
    if port and not 1024 <= port <= 65_535:
        raise InvalidInput(f"--port must be in 1024..65535, got {port}")
    try:
        dashboard: Any = importlib.import_module("optuna_dashboard")
    except ImportError as error:
        way_out = "install it with `pip install 'hwnas[dashboard]'`"
        raise InvalidInput(f"optuna-dashboard is not installed; {way_out}") from error
    try:
        server = make_server(LOOPBACK, port, dashboard.wsgi(open_storage(url)), handler_class=_Silent)
    except OSError as error:
        raise InvalidInput(f"port {port} cannot be taken: {error.strerror}; choose another with --port") from error
    with server, suppress(KeyboardInterrupt):
        console.print(f"http://{LOOPBACK}:{server.server_port}/ (Ctrl-C ends it)", highlight=False)
        server.serve_forever()
