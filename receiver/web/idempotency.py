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
from flask import Response, request, url_for

from receiver.outbound.submission_batcher import SubmittedCall
from receiver.outbound.submit import InvalidSubmission
from receiver.store.connections import Connection, ensure_durability
from receiver.store.keys import (
    IdempotentResponse,
    find_idempotent_response,
    reserve_idempotency_key,
    save_response,
)
from receiver.store.requests import NewRequest, find_requests
from receiver.web.bodies import json_response
from receiver.web.context import current_context
from receiver.web.operations import current_caller
from receiver.web.problems import ProblemError, ProblemType

IDEMPOTENCY_KEY, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
HEADERS = {IDEMPOTENCY_KEY: "Any text that identifies this call; the same call with the same key is executed once."}
KEY_REUSED = f"The `{IDEMPOTENCY_KEY}` was used for another call. Send a new key with a new call."
_COMMIT_TIMEOUT_S = 10.0
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
    key = _parse_key()
    database = current_context().database
    if key is None:
        return database.run_repeatably(execute)
    client, fingerprint = current_caller().client, _compute_fingerprint(body)

    def execute_once(connection: Connection) -> Response:
        stored = reserve_idempotency_key(connection, client, key, fingerprint)
        if stored is None:
            response = execute(connection)
            location, status = response.headers.get("Location"), response.status_code
            save_response(connection, client, key, _strip_requests(response.get_data()), location, status=status)
            return response
        return _repeat_response(connection, stored, fingerprint)

    return database.run_repeatably(execute_once)


def submit_idempotently(
    body: Any, prepare: Callable[[str | None], Sequence[NewRequest]], *, is_batch: bool = False
) -> Response:
    """Submit requests, together with those of other calls, and only once per idempotency key.

    Args:
        body: the body of the call, parsed from JSON.
        prepare: builds the requests, with the idempotency key if there is one.
        is_batch: whether the response is a list.

    Raises:
        InvalidSubmission: the header is malformed, or `prepare` raises it.
        ProblemError: the key was used for another call.
        QueueFull, StoreUnavailable: the requests were not committed, or not in time.
    """
    key = _parse_key()
    context, client = current_context(), current_caller().client
    fingerprint = b"" if key is None else _compute_fingerprint(body)
    try:
        requests = prepare(key)
    except InvalidSubmission:
        # A submission that was accepted once must not be refused when it is repeated.
        with context.database.connection() as connection:
            stored = None if key is None else find_idempotent_response(connection, client, key)
            if stored is None:
                raise
            return _repeat_response(connection, stored, fingerprint)
    location = None if is_batch else url_for("v1.show_request", request_id=requests[0].id)
    call = SubmittedCall(requests, is_batch, request.content_length or 0, fingerprint, location)
    result = context.submissions.commit(call, timeout=_COMMIT_TIMEOUT_S)
    if isinstance(result, IdempotentResponse):
        with context.database.connection() as connection:
            return _repeat_response(connection, result, fingerprint)
    headers = {"Location": location} if location else None
    return Response(result, 202, headers, content_type="application/json")


def _repeat_response(connection: Connection, stored: IdempotentResponse, fingerprint: bytes) -> Response:
    if stored.fingerprint != fingerprint:
        raise ProblemError(ProblemType.IDEMPOTENCY_KEY_REUSED, KEY_REUSED)
    ensure_durability(connection)
    headers = {REPLAYED: "true", **({"Location": stored.location} if stored.location else {})}
    return json_response(_complete_requests(connection, stored.response), stored.status, headers)


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


def _parse_key() -> str | None:
    """Parse the header: a string of RFC 8941, or the bare text that most clients send."""
    value = request.headers.get(IDEMPOTENCY_KEY)
    if value is None:
        return None
    match = _KEY.fullmatch(value.strip())
    if match is None:
        error = 'Must be 1 to 255 visible ASCII characters, without " and \\.'
        raise InvalidSubmission({IDEMPOTENCY_KEY: [error]})
    return match[1] or match[2]


def _compute_fingerprint(body: Any) -> bytes:
    call = f"{request.method} {request.path}\n".encode()
    return sha256(call + orjson.dumps(body, option=orjson.OPT_SORT_KEYS, default=str)).digest()
