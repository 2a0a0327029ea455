"""The sender of a declared provider: it composes the requests of its operations and parses the responses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from receiver.domain.sending import Attempt, ParsedResponse, Response
from receiver.providers.base import Provider
from receiver.providers.capabilities import OutgoingRequest, Sender
from receiver.providers.declared.operations import DeclaredOperation
from receiver.providers.declared.requests import RequestAuth
from receiver.providers.declared.responses import ResponseParser


@dataclass(frozen=True, slots=True)
class DeclaredSender(Sender):
    """Sends requests as the tables `operations`, `auth`, `headers` and `response` declare.

    Args:
        operations: the operations by name.
        auth: what authenticates every request.
        base_path: the path that all targets begin with.
        responses: parses the responses.
    """

    operations: Mapping[str, DeclaredOperation]
    auth: RequestAuth
    base_path: str
    responses: ResponseParser

    @classmethod
    def from_tables(cls, provider: Provider, tables: Mapping[str, Any]) -> Self:
        """Build the sender from the loaded tables of `DeclaredSettingsSchema`."""
        return cls(
            operations={name: DeclaredOperation(**table) for name, table in tables["operations"].items()},
            auth=RequestAuth.from_tables(tables),
            base_path=provider.base_path,
            responses=ResponseParser.from_table(tables["response"], tables["operations"]),
        )

    def compose(self, attempt: Attempt, callback_url: str) -> OutgoingRequest:
        return self.operations[attempt.operation].compose(attempt, callback_url, self.auth, self.base_path)

    def interpret(self, response: Response) -> ParsedResponse:
        return self.responses.parse(response)
