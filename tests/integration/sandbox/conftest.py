"""A sandbox process, and a server for its callbacks."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from uuid import uuid4

import pytest

from tests.support.sandbox import CallbackServer, Sandbox, assert_stops_cleanly, running_sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A running sandbox process, which must stop cleanly."""
    with running_sandbox() as running:
        yield running
        assert_stops_cleanly(running)


@pytest.fixture
def callback_server() -> Iterator[CallbackServer]:
    """A server for the callbacks of this test only, with a URL of its own."""
    callbacks = CallbackServer()
    path = f"/callbacks/{uuid4()}"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(callbacks.receive(headers, body) if self.path == path else 404)
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        callbacks.url = f"http://127.0.0.1:{http.server_port}{path}"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield callbacks
        http.shutdown()
        thread.join()
