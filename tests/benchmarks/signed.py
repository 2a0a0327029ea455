"""Callbacks as complete HTTP requests, signed in advance: each with its own webhook-id and its own jobs."""

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

_MAX_HEAD_BYTES, _MAX_ITEM_BYTES = 512, 256
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
def sign_callbacks(count: int, *, provider: str = PROVIDER, items: int = 1) -> Iterator[RequestFile]:
    """Sign callbacks with some items each into a temporary file."""
    max_bytes = count * (_MAX_HEAD_BYTES + items * _MAX_ITEM_BYTES)
    with tempfile.NamedTemporaryFile(dir=choose_directory(max_bytes)) as file:
        yield write_callbacks(Path(file.name), count, provider=provider, items=items)


def write_callbacks(path: Path, count: int, *, provider: str = PROVIDER, items: int = 1) -> RequestFile:
    """Write `count` new callbacks of a provider, with `items` items each, signed now."""
    lengths = set()
    with path.open("wb") as file:
        for request in _build_requests(provider, count, items):
            lengths.add(file.write(request))
    if len(lengths) != 1:
        raise BenchmarkFailed(f"the callbacks differ in length: {sorted(lengths)}")
    return RequestFile(path, lengths.pop(), count)


def _build_requests(provider: str, count: int, items: int) -> Iterator[bytes]:
    key, run, now = decode_key(SECRET), token_hex(6), int(time.time())
    timestamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for number in range(count):
        references = (f"sbx-{run}-{item:08d}" for item in range(number * items, (number + 1) * items))
        results = [
            {"id": reference, "state": "DELIVERED", "reason": _REASON, "at": timestamp} for reference in references
        ]
        body = orjson.dumps({"results": results})
        webhook_id = f"msg_{run}{number:020d}"
        signature = sign(key, webhook_id, now, body)
        head = _HEAD % (provider.encode(), len(body), webhook_id.encode(), now, signature.encode())
        yield head + body
