"""Messages as a vendor documents them, with a reference and a status of our own.

`${reference}`, `${status}` and `${now}` stand for values, which are escaped as the kind of body requires; `${status.0}`
is the part of a status before its first dot, `${status.1}` the next one, and so are the parts of a reference before and
after its slashes. `${now}` is the time in ISO 8601, `${now_s}` and `${now_ms}` are Unix times.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents.writer import CONTENT_TYPES
from receiver.domain.sending import Response
from receiver.schemas.paths import ANY_STATUS

_PLACEHOLDER = re.compile(r"\$\{([a-z_]+)(?:\.(\d))?\}")


def _escape_json(text: str) -> str:
    return json.dumps(text)[1:-1]


_ESCAPES: Mapping[str, Callable[[str], str]] = {
    "json": _escape_json,
    "form": quote_plus,
    "query": quote_plus,
    "multipart": str,
    "xml": escape,
}


@dataclass(frozen=True, slots=True)
class ExampleMessage:
    """A message with placeholders.

    Attributes:
        statuses: the provider's statuses that it may have; none for those of no other message.
        headers: its headers.
        body: its body.
        method: the method of a callback.
        query: the query of a callback.
        status: the HTTP status of a response.
    """

    statuses: Sequence[str]
    headers: Mapping[str, str]
    body: str
    method: str = "POST"
    query: str = ""
    status: int = 200


@dataclass(frozen=True, slots=True)
class Examples:
    """The messages of a provider.

    Attributes:
        reference: a reference of the form that the provider's references have.
        payloads: a payload of each operation.
        responses: responses to a request.
        callbacks: callbacks.
        polls: responses to a poll.
        body_kind: how the bodies of callbacks are read.
        callback_statuses: the provider's statuses in callbacks, as the entry spells them.
        poll_statuses: those in polls.
    """

    reference: str
    payloads: Mapping[str, Mapping[str, Any]]
    responses: Sequence[ExampleMessage]
    callbacks: Sequence[ExampleMessage]
    polls: Sequence[ExampleMessage]
    body_kind: str
    callback_statuses: Mapping[str, str]
    poll_statuses: Mapping[str, str]

    def build_callback(
        self, target: str, status: str, now: datetime, reference: str | None = None
    ) -> IncomingCallback | None:
        """Return an unsigned callback.

        Args:
            target: the path of the callback URL.
            status: the provider's status.
            now: the current time.
            reference: the job's reference, by default an example.

        Returns:
            None if no message has this status.
        """
        message = _find_message(self.callbacks, status)
        if message is None:
            return None
        values = _Values(self.reference if reference is None else reference, status, now)
        query = values.fill(message.query, "query")
        media_type = {} if message.method == "GET" else {"content-type": CONTENT_TYPES.get(self.body_kind, "")}
        headers = {name.lower(): values.fill(value, "") for name, value in message.headers.items()}
        return IncomingCallback(
            method=message.method,
            target=f"{target}?{query}" if query else target,
            headers={**media_type, **headers},
            body=values.fill(message.body, self.body_kind).encode(),
            received_at=now,
        )

    def build_poll(self, status: str, now: datetime, reference: str | None = None) -> Response | None:
        """Return the response to a poll; see `build_callback`."""
        message = _find_message(self.polls, status)
        values = _Values(self.reference if reference is None else reference, status, now)
        return values.build_response(message) if message else None

    def build_response(self, now: datetime, reference: str | None = None) -> Response:
        """Return the first response to a request; see `build_callback`."""
        values = _Values(self.reference if reference is None else reference, "", now)
        return values.build_response(self.responses[0])


@dataclass(frozen=True, slots=True)
class _Values:
    reference: str
    status: str
    now: datetime

    def fill(self, text: str, body_kind: str) -> str:
        """Return a text with the values, each escaped as the kind of body requires."""
        escape_value = _ESCAPES.get(body_kind, str)
        return _PLACEHOLDER.sub(lambda match: escape_value(self._get(match[1], match[2])), text)

    def build_response(self, message: ExampleMessage) -> Response:
        headers = {name.lower(): self.fill(value, "") for name, value in message.headers.items()}
        return Response(message.status, headers, self.fill(message.body, "json").encode())

    def _get(self, name: str, part: str | None) -> str:
        now = self.now.astimezone(UTC)
        values = {
            "reference": self.reference,
            "status": self.status,
            "now": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "now_s": str(int(now.timestamp())),
            "now_ms": str(int(now.timestamp() * 1_000)),
        }
        if part is None:
            return values[name]
        parts = values[name].split("/" if name == "reference" else ".")
        return parts[int(part)] if int(part) < len(parts) else ""


def build_examples(loaded: Mapping[str, Any], table: Mapping[str, Any]) -> Examples:
    """Return the examples of an entry.

    Args:
        loaded: loaded by `receiver.schemas.catalog.ExamplesSchema`.
        table: the entry's table.
    """
    callback = table.get("callback", {})
    statuses = callback.get("statuses", {})
    return Examples(
        reference=loaded["reference"],
        payloads=loaded["payloads"],
        responses=[ExampleMessage(**message) for message in loaded["responses"]],
        callbacks=[ExampleMessage(**message) for message in loaded["callbacks"]],
        polls=[ExampleMessage(**message) for message in loaded["polls"]],
        body_kind=callback.get("body", "json"),
        callback_statuses=_drop_any(statuses),
        poll_statuses=_drop_any(table.get("poll", {}).get("statuses", statuses)),
    )


def _drop_any(statuses: Mapping[str, str]) -> Mapping[str, str]:
    return {status: meaning for status, meaning in statuses.items() if status != ANY_STATUS}


def _find_message(messages: Sequence[ExampleMessage], status: str) -> ExampleMessage | None:
    """Return the message that may have a status: one that lists it, else the first that lists none."""
    for message in messages:
        if status in message.statuses:
            return message
    return next((message for message in messages if not message.statuses), None)
