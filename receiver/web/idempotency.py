"""`Idempotency-Key`, as the IETF draft of that name describes it: a repeated call gets the first response again.

The key is stored with a fingerprint of the call in the transaction that does the work, and belongs to the client of the
API key, so that it outlives a rotation of the API key. A concurrent call with the same key waits for the first one.
Another body under the same key is a 409, as our own contract defines it (the draft says 422).

A response is stored without the payloads and metadata of its requests, and completed with those of the stored requests
when it is repeated: what is erased from a request is then not in the responses either.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
from flask import Response, request

from receiver.outbound.submit import InvalidSubmission
from receiver.store.connections import Connection, ensure_durability
from receiver.store.keys import IdempotentResponse, reserve_idempotency_key, save_response
from receiver.store.requests import find_requests
from receiver.web.context import current_context
from receiver.web.operations import current_caller
from receiver.web.problems import ProblemError, ProblemType
from receiver.web.server.messages import HttpResponse

IDEMPOTENCY_KEY, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
HEADERS = {IDEMPOTENCY_KEY: "Any text that identifies this call; the same call with the same key is executed once."}
KEY_REUSED = f"The `{IDEMPOTENCY_KEY}` was used for another call. Send a new key with a new call."
_KEY = re.compile(r'"([ !#-\[\]-~]{1,255})"|([!#-\[\]-~][ !#-\[\]-~]{0,254})')


def run_idempotently(body: Any, execute: Callable[[Connection], Response]) -> Response:
    """Execute a call in a transaction, and only once per idempotency key.

    Args:
        body: the body of the call, parsed from JSON.
        execute: does the work and returns the response. It is called again if the connection is lost, and must do no
            harm then if its work was committed.

    Raises:
        InvalidSubmission: the header is malformed.
        ProblemError: the key was used for another call.
    """
    key = parse_idempotency_key(request.headers.get(IDEMPOTENCY_KEY))
    database = current_context().database
    if key is None:
        return database.run_repeatably(execute)
    client, fingerprint = current_caller().client, compute_fingerprint(request.method, request.path, body)

    def execute_once(connection: Connection) -> Response:
        stored = reserve_idempotency_key(connection, client, key, fingerprint)
        if stored is None:
            response = execute(connection)
            location, status = response.headers.get("Location"), response.status_code
            save_response(connection, client, key, _strip_requests(response.get_data()), location, status=status)
            return response
        repeated = repeat_response(connection, stored, fingerprint)
        return Response(repeated.body, repeated.status, list(repeated.headers))

    return database.run_repeatably(execute_once)


def repeat_response(connection: Connection, stored: IdempotentResponse, fingerprint: bytes) -> HttpResponse:
    """Return the response to the call that used the idempotency key of this call first.

    Raises:
        ProblemError: that was another call.
    """
    if stored.fingerprint != fingerprint:
        raise ProblemError(ProblemType.IDEMPOTENCY_KEY_REUSED, KEY_REUSED)
    ensure_durability(connection)
    body = orjson.dumps(_complete_requests(connection, stored.response))
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), (REPLAYED, "true")]
    return HttpResponse(stored.status, [*headers, ("Location", stored.location)] if stored.location else headers, body)


def _strip_requests(response: bytes) -> bytes:
    """Return a response without the payloads and metadata of its requests."""
    document = orjson.loads(response)
    for request_document in _list_requests(document):
        request_document |= {"payload": None, "metadata": None}
    return orjson.dumps(document)


def _complete_requests(connection: Connection, response: bytes) -> Mapping[str, Any]:
    """Return the document of a stored response, with the payloads and metadata of its requests as they are now."""
    document: Mapping[str, Any] = orjson.loads(response)
    documents = {UUID(each["id"]): each for each in _list_requests(document) if each["metadata"] is None}
    for stored in find_requests(connection, list(documents)) if documents else ():
        documents[stored.id] |= {"payload": stored.payload, "metadata": stored.metadata}
    return document


def _list_requests(document: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """Return the documents of requests in a response."""
    return [each for each in document.get("items", [document]) if "payload" in each]


def parse_idempotency_key(value: str | None) -> str | None:
    """Parse the value of the header: a string of RFC 8941, or the bare text that most clients send.

    Raises:
        InvalidSubmission: it is malformed.
    """
    if value is None:
        return None
    match = _KEY.fullmatch(value.strip())
    if match is None:
        error = 'Must be 1 to 255 visible ASCII characters, without " and \\.'
        raise InvalidSubmission({IDEMPOTENCY_KEY: [error]})
    return match[1] or match[2]


def compute_fingerprint(method: str, path: str, body: Any) -> bytes:
    """Return what identifies a call among those with the same idempotency key."""
    call = f"{method} {path}\n".encode()
    return sha256(call + orjson.dumps(body, option=orjson.OPT_SORT_KEYS, default=str)).digest()
