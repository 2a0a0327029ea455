"""The sandbox's process: its settings and its end."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection, RemoteDisconnected

import pytest

from receiver.sandbox.scripts import (
    CallbackKind,
)
from tests.support.processes import wait_for
from tests.support.sandbox import (
    API_KEY,
    CallbackServer,
    assert_stops_cleanly,
    find_reference,
    match_callback,
    match_response,
    running_sandbox,
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_stops_with_requests_and_callbacks_pending(
    callback_server: CallbackServer, number: signal.Signals
) -> None:
    with running_sandbox() as sandbox, closing(HTTPConnection(sandbox.host)) as hanging:
        sandbox.send(find_reference("stop", match_callback(CallbackKind.LATE)), callback_server.url)
        message = {
            "client_reference": find_reference("stop", match_response("hung then 202")),
            "to": ["1"],
            "text": "x",
        }
        body = json.dumps(message | {"callback_url": callback_server.url})
        hanging.request("POST", "/v1/messages", body, {"authorization": f"Bearer {API_KEY}"})
        wait_for(lambda: len(sandbox.ledger()["requests"]) == 2)
        started = time.monotonic()
        assert_stops_cleanly(sandbox, number)
        assert time.monotonic() - started < 2
        with pytest.raises(RemoteDisconnected):
            hanging.getresponse()


def test_invalid_secret_is_a_usage_error_and_hidden() -> None:
    environ = os.environ | {"SANDBOX_API_KEY": API_KEY, "SANDBOX_SECRET": "whsec_?secret?"}
    command = [sys.executable, "-m", "receiver.sandbox"]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "--secret" in result.stderr
    assert "?secret?" not in result.stderr
