"""`hwnas dashboard`: optuna-dashboard on the archive of a run."""

import importlib
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from nas.archive.storage import open_storage, translate_errors, without_password
from nas.report.console import terminal
from search_spaces.errors import InvalidInputError, NotReadyError

LOOPBACK = "127.0.0.1"


class _Server(ThreadingMixIn, WSGIServer):
    """Answers several requests at once: a browser may open a connection ahead of use."""

    daemon_threads = True


class _Local(WSGIRequestHandler):
    """Answers only those who ask for this machine by its own name, and says nothing of each request."""

    def parse_request(self) -> bool:
        """Refuse a page elsewhere whose name was made to point here."""
        if not super().parse_request():
            return False
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        if host not in (LOOPBACK, "localhost"):
            self.send_error(403, "only this machine may ask")
            return False
        return True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serve(url: str, port: int) -> None:
    """Serve the studies of a database until interrupted, on the loopback address only.

    Args:
        url: Of the database.
        port: Free, 1024 or more; 0 takes any.

    Raises:
        InvalidInputError: If optuna-dashboard is not installed, the port cannot be taken, or the database not be opened.
    """
    if port and not 1024 <= port <= 65_535:
        raise InvalidInputError(f"--port must be in 1024..65535, got {port}")
    try:
        dashboard: Any = importlib.import_module("optuna_dashboard")
    except ImportError as error:
        way_out = "install it with `pip install 'hwnas[dashboard]'`"
        raise NotReadyError(f"optuna-dashboard is not installed; {way_out}") from error
    try:
        with translate_errors(without_password(url)):
            application = dashboard.wsgi(open_storage(url))
        server = make_server(LOOPBACK, port, application, server_class=_Server, handler_class=_Local)
    except OSError as error:
        raise InvalidInputError(f"port {port} cannot be taken: {error.strerror}; choose another with --port") from error
    with server, suppress(KeyboardInterrupt):
        terminal(stderr=True).print(f"http://{LOOPBACK}:{server.server_port}/ (Ctrl-C ends it)", highlight=False)
        server.serve_forever()
