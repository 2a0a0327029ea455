"""The ceiling of `dispatch`: the HTTP client alone, under as many greenlets, with the same requests.

Reads them from a file before the clock starts, sends each once, and prints one JSON object.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import gevent
import orjson
from geventhttpclient import HTTPClient

from receiver.providers.base import OutgoingRequest


def write_requests(path: Path, requests: Sequence[OutgoingRequest]) -> None:
    """Write requests, whose bodies are text, for the process to read."""
    path.write_bytes(b"\n".join(orjson.dumps([r.method, r.target, r.headers, r.body.decode()]) for r in requests))


def _read_requests(path: Path) -> list[OutgoingRequest]:
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return [OutgoingRequest(method, target, headers, body.encode()) for method, target, headers, body in rows]


def _send_all(client: HTTPClient, requests: Sequence[OutgoingRequest], concurrency: int) -> Counter[int]:
    statuses: Counter[int] = Counter()
    left = iter(requests)

    def send() -> None:
        for each in left:
            response = client.request(each.method, each.target, each.body, each.headers)
            response.read()
            statuses[response.status_code] += 1

    gevent.joinall([gevent.spawn(send) for _ in range(concurrency)], raise_error=True)
    return statuses


def _main(origin: str, concurrency: int, path: Path) -> None:
    requests = _read_requests(path)
    client = HTTPClient.from_url(origin, concurrency=concurrency, connection_timeout=5.0, network_timeout=15.0)
    begun, cpu = time.monotonic(), time.process_time()
    statuses = _send_all(client, requests, concurrency)
    told = {"seconds": time.monotonic() - begun, "cpu": time.process_time() - cpu, "accepted": statuses[202]}
    client.close()
    sys.stdout.buffer.write(orjson.dumps(told))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
