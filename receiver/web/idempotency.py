"""`Idempotency-Key`, as the IETF draft of that name describes it: whoever repeats a call is given the first answer.

The key is stored with a fingerprint of the body in the transaction that does the work, and belongs to the API key that
used it. A twin that is under way at the same time is waited for. Another body under the same key is a 409, as our own
contract has it (the draft says 422).
"""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson
from flask import Response, request

from receiver.domain.errors import StateConflict
from receiver.outbound.submit import InvalidSubmission
from receiver.store.database import Connection
from receiver.store.keys import reserve_idempotency_key, save_response
from receiver.web.context import current_context
from receiver.web.operations import current_caller

IDEMPOTENCY_KEY, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
HEADERS = {IDEMPOTENCY_KEY: "Any text of yours for this call; whoever sends it again is given the first answer."}
_KEY = re.compile(r'"([ !#-\[\]-~]{1,255})"|([!#-\[\]-~][ !#-\[\]-~]{0,254})')


def run_idempotently(body: Any, act: Callable[[Connection], Response]) -> Response:
    """Do something within a transaction, and only once for each idempotency key.

    Args:
        body: the body of the call, read as JSON.
        act: does it, and gives the answer.

    Raises:
        InvalidSubmission: the header is malformed.
        StateConflict: the key was used for something else.
    """
    key = _key()
    with current_context().database.transaction() as connection:
        if key is None:
            return act(connection)
        fingerprint = _fingerprint(body)
        known = reserve_idempotency_key(connection, current_caller().client, key, fingerprint)
        if known is None:
            response = act(connection)
            save_response(
                connection, current_caller().client, key, response.get_data(), response.headers.get("Location")
            )
            return response
    if known.fingerprint != fingerprint:
        raise StateConflict(f"this {IDEMPOTENCY_KEY} was used for another call; send a new key with a new call")
    location = {"Location": known.location} if known.location else {}
    return Response(known.response, 202, {REPLAYED: "true", **location}, content_type="application/json")


def _key() -> str | None:
    """Read the header: a string of RFC 8941, or the bare text that most clients send."""
    given = request.headers.get(IDEMPOTENCY_KEY)
    if given is None:
        return None
    match = _KEY.fullmatch(given.strip())
    if match is None:
        raise InvalidSubmission({IDEMPOTENCY_KEY: ['must be 1 to 255 visible ASCII characters, without " and \\']})
    return match[1] or match[2]


def _fingerprint(body: Any) -> bytes:
    called = f"{request.method} {request.path}\n".encode()
    return sha256(called + orjson.dumps(body, option=orjson.OPT_SORT_KEYS, default=str)).digest()
