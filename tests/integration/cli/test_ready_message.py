"""What `serve` prints once the web process answers."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from receiver.cli.process_group import ChildEnded, ProcessGroup
from receiver.cli.ready_message import print_ready, wait_until_web_answers
from tests.support.ports import find_free_port


class StartingWeb(BaseHTTPRequestHandler):
    """Fails twice, and is healthy from then on."""

    statuses: Iterator[int]

    def do_GET(self) -> None:
        self.send_response(next(self.statuses) if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing to stderr."""


def test_wait_ends_when_web_answers() -> None:
    StartingWeb.statuses = iter([503, 503, 200])
    with HTTPServer(("127.0.0.1", 0), StartingWeb) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            wait_until_web_answers("127.0.0.1", server.server_port, ProcessGroup())
        finally:
            server.shutdown()
            thread.join()
    assert list(StartingWeb.statuses) == []


def test_wait_ends_when_a_process_ends() -> None:
    with ProcessGroup() as processes:
        processes.start("web", ["-c", "raise SystemExit(3)"], os.environ)
        with pytest.raises(ChildEnded, match="The web process ended with code 3"):
            wait_until_web_answers("127.0.0.1", find_free_port(), processes)


@pytest.mark.parametrize("err", [False, True])
def test_message_names_each_url_and_how_to_sign_in(err: bool, capsys: pytest.CaptureFixture[str]) -> None:
    print_ready("http://127.0.0.1:8000", "this key", err=err)
    assert capsys.readouterr()[err].splitlines() == [
        "API: http://127.0.0.1:8000/v1  (its documentation: http://127.0.0.1:8000/docs)",
        "admin pages: http://127.0.0.1:8000/admin/  (sign in with this key)",
        "Press Ctrl-C to stop.",
    ]
