"""The running service as the command line sees it: `/v1` at `RECEIVER_URL`, with the key `RECEIVER_KEY`.

The one HTTP client of the commands. It tells every problem in words, with what to do about it.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPException
from socket import gaierror
from ssl import SSLError
from typing import IO, Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID

import click
import orjson
from geventhttpclient import HTTPClient

from receiver.cli.output import Json, format_literal, print_message
from receiver.domain.errors import ReceiverError

_HERE = "http://127.0.0.1:8000"
_CONNECT_WITHIN, _ANSWER_WITHIN = 10.0, 30.0
_LONGEST_PAUSE = 60.0
_VISIBLE = re.compile(r"[!-~]*")
_CERTAINLY_NOT_SENT = (ConnectionRefusedError, gaierror, SSLError)
_IN_FRONT = frozenset({502, 503, 504})


class ApiError(ReceiverError, click.ClickException):
    """The service refused, or cannot be asked; the message tells what to do about it. `errors` are those of fields."""

    def __init__(self, message: str, errors: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or {}

    def show(self, file: IO[Any] | None = None) -> None:
        print_message(f"error: {self.message}")


class Unavailable(ApiError):
    """No answer came, or one that says that it may go well later."""


class WrongSetting(ApiError):
    """`RECEIVER_URL` or `RECEIVER_KEY` cannot be right."""

    exit_code = 2


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float:
        """Seconds, 0 when nothing is said of it."""
        said = self.headers.get("retry-after", "")
        return float(said) if said.isdecimal() else 0.0


class Service:
    """The API at one URL with one key."""

    def __init__(self, url: str, key: str) -> None:
        try:
            parsed = urlsplit(url)
            sound = (
                parsed.scheme in {"http", "https"}
                and bool(parsed.hostname)
                and parsed.port != 0
                and "@" not in parsed.netloc
            )
        except ValueError:
            sound = False
        if not sound or not _VISIBLE.fullmatch(url):
            raise WrongSetting("RECEIVER_URL: must be the service's URL, such as https://receiver.example")
        if not _VISIBLE.fullmatch(key):
            raise WrongSetting("RECEIVER_KEY: must be a key as `receiver key create` printed it, without spaces")
        self._origin = f"{parsed.scheme}://{parsed.netloc}"
        self._base = f"{parsed.path.rstrip('/').removesuffix('/v1')}/v1"
        self._headers = {"authorization": f"Bearer {key}", "accept": "application/json"}

    def get(self, *path: str | UUID, query: Mapping[str, object] | None = None, wait: int = 0) -> Any:
        """Give the document at a path; with `wait` the answer may be held for so many seconds.

        Raises:
            ApiError: there is none.
        """
        headers = {"prefer": f"wait={wait}"} if wait else {}
        target = "/".join((self._base, *[quote(str(part), safe="") for part in path]))
        return self._call("GET", f"{target}?{_encoded(query)}" if query else target, b"", headers, wait)

    def post(self, *path: str | UUID, body: bytes, headers: Mapping[str, str] | None = None) -> Any:
        """Post a JSON document to a path and give the answer's; errors are those of `get`."""
        target = "/".join((self._base, *[quote(str(part), safe="") for part in path]))
        return self._call("POST", target, body, {"content-type": "application/json", **(headers or {})})

    def act(self, *path: str | UUID, reason: str | None, **given: str | list[str]) -> Any:
        """Do something to what a path leads to, for a reason if there is one; errors are those of `get`."""
        return self.post(*path, body=orjson.dumps(given if reason is None else {**given, "reason": reason}))

    def pages(self, *path: str | UUID, query: Mapping[str, object]) -> Iterator[Json]:
        """Give a list's pages to its end; errors are those of `get`."""
        page = self.get(*path, query=query)
        yield page
        while page["next_cursor"]:
            page = self.get(*path, query={**query, "cursor": page["next_cursor"]})
            yield page

    def _call(self, method: str, target: str, body: bytes, headers: Mapping[str, str], wait: float = 0.0) -> Any:
        paused = 0.0
        while True:
            response = self._exchange(method, target, body, headers, wait)
            pause = max(response.retry_after, 1.0)
            if response.status != 429 or paused + pause > _LONGEST_PAUSE:
                return self._document(response)
            print_message(f"the key's allowance is used up; going on in {pause:g} s")
            time.sleep(pause)
            paused += pause

    def _exchange(self, method: str, target: str, body: bytes, headers: Mapping[str, str], wait: float) -> _Answer:
        client = HTTPClient.from_url(
            self._origin, connection_timeout=_CONNECT_WITHIN, network_timeout=_ANSWER_WITHIN + wait
        )
        try:
            with closing(client):
                response = client.request(method, target, body, {**self._headers, **headers})
                told = {name.lower(): value for name, value in response.items()}
                return _Answer(response.status_code, told, bytes(response.read()))
        except _CERTAINLY_NOT_SENT as error:
            raise Unavailable(f"{self._origin} does not answer: {error}; is it up? else set RECEIVER_URL") from None
        except (OSError, HTTPException) as error:
            safe = method == "GET" or "idempotency-key" in headers
            unknown_request = "" if safe else "; it may have been done all the same, so look before you repeat it"
            raise Unavailable(
                f"{self._origin} gave no answer: {error or type(error).__name__}{unknown_request}"
            ) from None

    def _document(self, response: _Answer) -> Any:
        try:
            document = orjson.loads(response.body)
        except orjson.JSONDecodeError:
            told = f"{self._origin} answered {response.status} without JSON"
            if response.status in _IN_FRONT:
                raise Unavailable(f"{told}: the service behind it is not up, or not in reach") from None
            if 300 <= response.status < 400:
                raise ApiError(
                    f"{told}: it redirects to {response.headers.get('location')}; set RECEIVER_URL"
                ) from None
            raise ApiError(f"{told}: it is no receiver; set RECEIVER_URL") from None
        if response.status < 300:
            return document
        problem = document if isinstance(document, dict) else {}
        raise _error_of(response, str(problem.get("detail") or problem.get("title") or response.status), problem)


def connect_service() -> Service:
    """Give the service that the environment names.

    Raises:
        WrongSetting: what it names cannot be one.
    """
    key = os.environ.get("RECEIVER_KEY") or os.environ.get("RECEIVER_ADMIN_KEY") or ""
    return Service(os.environ.get("RECEIVER_URL") or _HERE, key)


def flatten_errors(errors: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Give each message of a problem's `errors` with its place, such as `payload.to.1`."""
    if isinstance(errors, Mapping):
        for name, inner in errors.items():
            yield from flatten_errors(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(errors, list):
        for inner in errors:
            yield from flatten_errors(inner, place)
    else:
        yield place, format_literal(errors)


def _error_of(response: _Answer, detail: str, problem: Json) -> ApiError:
    reason = detail.removesuffix(".")
    later = f" in {response.retry_after:g} s" if response.retry_after else " after a while"
    match response.status:
        case 401:
            return ApiError("no key is set, or it was refused; set RECEIVER_KEY to one that is not revoked or expired")
        case 403:
            return ApiError(f"the key may not do this: {reason}; set RECEIVER_KEY to one that may")
        case 404:
            return ApiError(f"{reason}, or the key may not see its provider")
        case 429:
            return Unavailable(f"the key's allowance is used up; try again{later}, or use a key with more per minute")
        case 503:
            return Unavailable(f"the service cannot do it now: {reason}; try again{later}")
        case status if status >= 500:
            return ApiError(f"the service failed ({status}): {detail}")
    errors = problem.get("errors") or {}
    told = [f"{place}: {message}" for place, message in flatten_errors(errors)]
    return ApiError("\n".join([detail, *told]), errors)


def _encoded(query: Mapping[str, object]) -> str:
    given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
    return urlencode({name: value for name, value in given.items() if value is not None})
