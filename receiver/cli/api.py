"""The running service as the command line sees it: `/v1` at `RECEIVER_URL`, with the key `RECEIVER_KEY`."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import orjson
from geventhttpclient import HTTPClient

from receiver.domain.errors import ReceiverError

_TIMEOUT = 30.0
_HERE = "http://127.0.0.1:8000"


class ApiError(ReceiverError):
    """The service did not answer, or answered with a problem; the message tells its detail."""


def get(environ: Mapping[str, str], path: str) -> Any:
    """Give the JSON document at a path of the API.

    Raises:
        ApiError: there is none.
    """
    url = urlsplit(environ.get("RECEIVER_URL") or _HERE)
    key = environ.get("RECEIVER_KEY") or environ.get("RECEIVER_ADMIN_KEY") or ""
    if url.scheme not in {"http", "https"} or not url.netloc:
        raise ApiError("RECEIVER_URL: must be the service's URL, such as https://receiver.example")
    try:
        client = HTTPClient.from_url(f"{url.scheme}://{url.netloc}", network_timeout=_TIMEOUT)
        with closing(client):
            answer = client.get(f"{url.path.rstrip('/')}{path}", headers={"authorization": f"Bearer {key}"})
            status, body = answer.status_code, bytes(answer.read())
    except OSError as error:
        raise ApiError(f"{url.scheme}://{url.netloc} does not answer: {error}; set RECEIVER_URL") from None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError(f"{url.scheme}://{url.netloc} answered {status} without JSON; set RECEIVER_URL") from None
    if status == 401:
        raise ApiError("the key was refused; set RECEIVER_KEY")
    if status != 200:
        raise ApiError(str(document.get("detail", status)))
    return document
