"""A service that a test restarts with other configurations, and the commands that work on its database."""

import hmac
import json
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from receiver.cli.main import commands
from receiver.store.connections import Connection
from tests.support.command_line import CommandLine
from tests.support.processes import Web, running_web

SECRET = "a-secret-of-acme"
ACME = f"""
[providers.acme]
kind = "declared"
base_url = "http://127.0.0.1:9"
callback = {{ reference = "id", status = "state", statuses = {{ DONE = "succeeded" }} }}
signature = {{ scheme = "hmac", header = "X-Acme-Signature", secrets = ["{SECRET}"] }}
"""


@dataclass
class OperatedService:
    """A web process that can be restarted with another configuration, and its database."""

    directory: Path
    dsn: str
    connection: Connection
    running: ExitStack
    config: str = ""
    web: Web | None = None

    def serve(self, config: str) -> CommandLine:
        """Serve with a configuration; return a command line for the service."""
        if self.web is None or config != self.config:
            self.running.close()
            listener = self.running.enter_context(socket.create_server(("127.0.0.1", 0)))
            self.web = self.running.enter_context(running_web(self.directory, self.dsn, config, listener))
            self.config = config
        return CommandLine(f"http://127.0.0.1:{self.web.port}")

    def call_back(self, reference: str, status: str, secret: str = SECRET) -> int:
        assert self.web
        body = json.dumps({"id": reference, "state": status}).encode()
        proof = hmac.new(secret.encode(), body, "sha256").hexdigest()
        headers = {"content-type": "application/json", "x-acme-signature": proof}
        return self.web.call("POST", "/callbacks/acme", body, headers).status

    def run_locally(self, *arguments: str, config: str = ACME, environ: dict[str, str] | None = None) -> Result:
        """Run a command that works directly on the database."""
        path = self.directory / "local.toml"
        path.write_text(config)
        environment = {"DATABASE_URL": self.dsn, "RECEIVER_CONFIG": str(path), **(environ or {})}
        return CliRunner(env=environment).invoke(commands, arguments, catch_exceptions=False)

    def jobs(self) -> Sequence[Any]:
        return self.connection.execute("SELECT reference, status, request_id FROM jobs ORDER BY reference").fetchall()
