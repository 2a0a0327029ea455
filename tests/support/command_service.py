"""A service with a provider for commands that call the API, and helpers for their arguments and output."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.domain.jobs import derive_job_id
from tests.support.command_line import CommandLine
from tests.support.http import build_report
from tests.support.processes import Web, wait_for
from tests.support.provider import accept_request
from tests.support.scene import Scene

FAR_FUTURE = "2126-01-01T00:00:00Z"


@dataclass(frozen=True)
class Service(CommandLine):
    """A command line for a service with a provider."""

    scene: Scene = field(kw_only=True)
    web: Web = field(kw_only=True)

    def submit(self, name: str, *options: object, via: str = "acme") -> str:
        """Submit a request; return its id."""
        return str(self.json("request", "submit", via, "send", "--payload", build_payload(name), *options)["id"])

    def create_accepted_job(self, name: str) -> str:
        """Submit a request that the provider accepts; return the id of its only job."""
        self.scene.script(name, accept_request())
        request = self.submit(name)
        wait_for(lambda: self.json("request", "show", request)["jobs"])
        return str(derive_job_id("acme", f"{name}-0"))

    def call_back(self, name: str, reported: str = "DELIVERED") -> None:
        assert self.web.call_back(build_report(f"{name}-0", reported), "acme").status == 200


def build_payload(name: str, **more: Any) -> str:
    return json.dumps({"client_reference": name, "to": ["2348030000000"], "text": "hello", **more})


def build_submission_line(name: str, **more: Any) -> str:
    """Return a line of a file of requests, which are not sent during the test."""
    submission = {"provider": "acme", "operation": "send", "payload": json.loads(build_payload(name))}
    return json.dumps({**submission, "send_after": FAR_FUTURE, **more})


def parse_rows(table: str) -> list[list[str]]:
    """Return the cells of a table's rows, which are separated by two spaces or more."""
    return [re.split(r"\s{2,}", line) for line in table.splitlines()]


def list_requests(service: Service, name: str, *options: object) -> Sequence[Any]:
    items: Sequence[Any] = service.json("request", "list", "--metadata", f"list={name}", *options)["items"]
    return items
