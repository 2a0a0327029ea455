"""Callbacks as complete HTTP requests, signed in advance: each with its own webhook-id and its own job."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import orjson

from receiver.signatures.standard_webhooks import decode_key, sign
from tests.benchmarks.environment import PROVIDER, SECRET, BenchmarkFailed
from tests.benchmarks.wrk import RequestFile, choose_directory

_MAX_CALLBACK_BYTES = 1_024
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


@contextmanager
def sign_callbacks(count: int) -> Iterator[RequestFile]:
    """Sign callbacks into a temporary file."""
    with tempfile.NamedTemporaryFile(dir=choose_directory(count * _MAX_CALLBACK_BYTES)) as file:
        yield write_callbacks(Path(file.name), count)


def write_callbacks(path: Path, count: int) -> RequestFile:
    """Write `count` new callbacks, signed now."""
    key, run, now = decode_key(SECRET), token_hex(6), int(time.time())
    lengths = set()
    with path.open("wb") as file:
        for request in _build_requests(key, run, now, count):
            lengths.add(file.write(request))
    if len(lengths) != 1:
        raise BenchmarkFailed(f"the callbacks differ in length: {sorted(lengths)}")
    return RequestFile(path, lengths.pop(), count)


def _build_requests(key: bytes, run: str, now: int, count: int) -> Iterator[bytes]:
    timestamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for number in range(count):
        item = {"id": f"sbx-{run}-{number:08d}", "state": "DELIVERED", "reason": _REASON, "at": timestamp}
        body = orjson.dumps({"results": [item]})
        webhook_id = f"msg_{run}{number:020d}"
        signature = sign(key, webhook_id, now, body)
        head = _HEAD % (PROVIDER.encode(), len(body), webhook_id.encode(), now, signature.encode())
        yield head + body
