"""Submissions as complete HTTP requests: each with its own payload, metadata and idempotency key."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
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

_MAX_SUBMISSION_BYTES = 512
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
def write_submissions(key: str, path: str, count: int, provider: str = "acme") -> Iterator[RequestFile]:
    """Write `count` calls of the API into a temporary file, of one submission each or of `BATCH_SIZE`."""
    run, size = token_hex(6), 1 if path == SINGLE_PATH else BATCH_SIZE
    build = partial(build_submission, run, provider=provider)
    with tempfile.NamedTemporaryFile(dir=choose_directory(count * (size + 1) * _MAX_SUBMISSION_BYTES)) as file:
        numbers = (range(start, start + size) for start in range(0, count * size, size))
        lengths = {file.write(_build_call(key, path, build, run, each)) for each in numbers}
        file.flush()
        (length,) = lengths
        yield RequestFile(Path(file.name), length, count)


def _build_call(key: str, path: str, build: Callable[[int], dict[str, object]], run: str, numbers: range) -> bytes:
    submissions = [build(number) for number in numbers]
    body = orjson.dumps(submissions[0] if path == SINGLE_PATH else {"requests": submissions})
    idempotency_key = f"{run}-{numbers.start:010d}"
    return _HEAD % (path.encode(), key.encode(), idempotency_key.encode(), len(body)) + body


def build_submission(run: str, number: int, provider: str = "acme") -> dict[str, object]:
    """Build a submission that no other `run` and `number` has."""
    return {
        "provider": provider,
        "operation": "send",
        "payload": {"client_reference": f"{run}-{number:010d}", "to": ["2348000000001"], "text": _TEXT},
        "metadata": {"order": f"{run}-{number:010d}", "shop": f"shop-{number % 100:02d}"},
    }
