"""The ceiling of `dispatch`: the HTTP client alone, with the same requests and as many greenlets.

Reads the requests from a file before the clock starts, sends each once, and prints one JSON object.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import gevent
import orjson
from geventhttpclient import HTTPClient

from receiver.providers.capabilities import OutgoingRequest


def write_requests(path: Path, requests: Sequence[OutgoingRequest]) -> None:
    """Write requests with text bodies to the file that this program reads."""
    path.write_bytes(b"\n".join(orjson.dumps([r.method, r.target, r.headers, r.body.decode()]) for r in requests))


def _read_requests(path: Path) -> list[OutgoingRequest]:
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return [OutgoingRequest(method, target, headers, body.encode()) for method, target, headers, body in rows]


def _send_all(client: HTTPClient, requests: Sequence[OutgoingRequest], concurrency: int) -> Counter[int]:
    """Send all requests and return how many responses had each status."""
    statuses: Counter[int] = Counter()
    queue = iter(requests)

    def send() -> None:
        for request in queue:
            response = client.request(request.method, request.target, request.body, request.headers)
            response.read()
            statuses[response.status_code] += 1

    gevent.joinall([gevent.spawn(send) for _ in range(concurrency)], raise_error=True)
    return statuses


def _main(origin: str, concurrency: int, path: Path) -> None:
    requests = _read_requests(path)
    client = HTTPClient.from_url(origin, concurrency=concurrency, connection_timeout=5.0, network_timeout=15.0)
    started_at, cpu = time.monotonic(), time.process_time()
    statuses = _send_all(client, requests, concurrency)
    result = {"seconds": time.monotonic() - started_at, "cpu": time.process_time() - cpu, "accepted": statuses[202]}
    client.close()
    sys.stdout.buffer.write(orjson.dumps(result))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
