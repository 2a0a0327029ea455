"""Submissions as complete HTTP requests: each with its own payload, metadata and idempotency key."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import orjson

from tests.benchmarks.environment import SECRET
from tests.benchmarks.wrk import RequestFile, choose_directory

CONFIG = f"""
[providers.acme]
kind = "declared"
base_url = "http://127.0.0.1:9"
signature = {{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}
callback = {{ reference = "id", status = "state", statuses = {{ done = "succeeded" }} }}

[providers.acme.operations.send]
path = "/v1/messages"
idempotency_header = "Idempotency-Key"
"""
BATCH_SIZE = 1_000
SINGLE_PATH, BATCH_PATH = "/v1/requests", "/v1/requests/batch"
METADATA_COUNT = 2
"""The number of metadata values of each request, by which it can be found."""

_TEXT = "Your code is 184 205. It is valid for ten minutes; do not give it to anybody."
_HEAD = b"""\
POST %b HTTP/1.1\r
Host: 127.0.0.1\r
User-Agent: shop/1.0\r
Accept: */*\r
Authorization: Bearer %b\r
Idempotency-Key: %b\r
Content-Type: application/json\r
Content-Length: %d\r
\r
"""


@contextmanager
def write_submissions(key: str, path: str, count: int, batch_size: int | None = None) -> Iterator[RequestFile]:
    """Write `count` calls of the API into a temporary file, of one submission each or of `batch_size`."""
    run = token_hex(6)
    with tempfile.NamedTemporaryFile(dir=choose_directory(count * (batch_size or 2) * 512)) as file:
        lengths = set()
        for number in range(count):
            lengths.add(file.write(_build_call(key, path, run, number, batch_size)))
        file.flush()
        (length,) = lengths
        yield RequestFile(Path(file.name), length, count)


def _build_call(key: str, path: str, run: str, number: int, batch_size: int | None) -> bytes:
    if batch_size is None:
        body = orjson.dumps(_build_submission(run, number))
    else:
        numbers = range(number * batch_size, (number + 1) * batch_size)
        body = orjson.dumps({"requests": [_build_submission(run, item) for item in numbers]})
    idempotency_key = f"{run}-{number:010d}"
    return _HEAD % (path.encode(), key.encode(), idempotency_key.encode(), len(body)) + body


def _build_submission(run: str, number: int) -> dict[str, object]:
    return {
        "provider": "acme",
        "operation": "send",
        "payload": {"client_reference": f"{run}-{number:010d}", "to": ["2348000000001"], "text": _TEXT},
        "metadata": {"order": f"{run}-{number:010d}", "shop": f"shop-{number % 100:02d}"},
    }
