"""A provider that accepts everything at once: 202 with a new reference, as fast as plain Python can.

It runs in a process of its own, see `tests.support.asyncio_server`, and may be killed at any time. It counts requests
and idempotency keys: `GET /seen` returns both counts and resets them. Any other GET polls the job whose reference the
path ends with: one with an odd last digit is delivered, any other one is queued.
"""

from tests.support.asyncio_server import find_header, format_response, serve_inherited

_REPORT = b'{"id":"%b","state":"%b"}'
_ITEM = b'{"items":[{"id":"fast-%012d","to":"2348000000001","status":"ACK","code":1801}]}'


class RequestCounter:
    """Requests and idempotency keys since the counts were last read; references are never reset."""

    def __init__(self) -> None:
        self.references = 0
        self.requests = 0
        self.keys: set[bytes] = set()

    def respond(self, head: bytes, _: bytes) -> tuple[float, bytes]:
        """Count a request, or read the counts, and return the response, which has no delay."""
        if head.startswith(b"GET /seen "):
            return 0.0, self._report_counts()
        if head.startswith(b"GET "):
            return 0.0, format_response(b"200 OK", _build_report(head))
        self.references += 1
        self.requests += 1
        self.keys.add(find_header(head, b"idempotency-key"))
        return 0.0, format_response(b"202 Accepted", _ITEM % self.references)

    def _report_counts(self) -> bytes:
        counts = b'{"requests":%d,"keys":%d}' % (self.requests, len(self.keys))
        self.requests = 0
        self.keys.clear()
        return format_response(b"200 OK", counts)


def _build_report(head: bytes) -> bytes:
    reference = head.split(b" ", 2)[1].rpartition(b"/")[2]
    return _REPORT % (reference, b"DELIVERED" if reference[-1:] in b"13579" else b"QUEUED")


if __name__ == "__main__":
    serve_inherited(RequestCounter().respond)
