"""Callbacks as whole HTTP requests, signed ahead: each with its own webhook-id and its own job."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import orjson

from receiver.signatures.standard_webhooks import decode_key, sign
from tests.benchmarks.stage import PROVIDER, SECRET, BenchmarkFailed

_REASON = "the handset acknowledged the message at the first try, no roaming"
_HEAD = b"""\
POST /callbacks/%b HTTP/1.1\r
Host: 127.0.0.1\r
User-Agent: sandbox/1.0\r
Accept: */*\r
Content-Type: application/json\r
Content-Length: %d\r
webhook-id: %b\r
webhook-timestamp: %d\r
webhook-signature: %b\r
\r
"""


@dataclass(frozen=True, slots=True)
class SignedCallbacks:
    """A file of `count` requests of `length` bytes each, back to back."""

    path: Path
    length: int
    count: int


def write_callbacks(path: Path, count: int) -> SignedCallbacks:
    """Write `count` callbacks, signed now, that were never sent before."""
    key, run, now = decode_key(SECRET), token_hex(6), int(time.time())
    lengths = set()
    with path.open("wb") as file:
        for request in _requests(key, run, now, count):
            lengths.add(file.write(request))
    if len(lengths) != 1:
        raise BenchmarkFailed(f"the callbacks differ in length: {sorted(lengths)}")
    return SignedCallbacks(path, lengths.pop(), count)


def _requests(key: bytes, run: str, now: int, count: int) -> Iterator[bytes]:
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for number in range(count):
        said = {"id": f"sbx-{run}-{number:08d}", "state": "DELIVERED", "reason": _REASON, "at": at}
        body = orjson.dumps({"results": [said]})
        webhook_id = f"msg_{run}{number:020d}"
        signature = sign(key, webhook_id, now, body)
        head = _HEAD % (PROVIDER.encode(), len(body), webhook_id.encode(), now, signature.encode())
        yield head + body
