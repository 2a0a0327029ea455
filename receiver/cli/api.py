"""The HTTP client of all commands: `/v1` of the service at `RECEIVER_URL`, with the key `RECEIVER_KEY`.

It turns every problem into a message that names the remedy.
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
from receiver.domain.egress import PRODUCT
from receiver.domain.errors import ReceiverError

_DEFAULT_URL = "http://127.0.0.1:8000"
_CONNECT_TIMEOUT_S, _RESPONSE_TIMEOUT_S = 10.0, 30.0
_MIN_PAUSE_S, _MAX_TOTAL_PAUSE_S = 1.0, 60.0
_VISIBLE = re.compile(r"[!-~]*")
_NOT_SENT_ERRORS = (ConnectionRefusedError, gaierror, SSLError)
_PROXY_STATUSES = frozenset({502, 503, 504})
"""Statuses with which a proxy reports that the service behind it cannot be reached."""


class ApiError(ReceiverError, click.ClickException):
    """The service refused a call or cannot be reached. The message names the remedy; `errors` are those of fields."""

    def __init__(self, message: str, errors: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or {}

    def show(self, file: IO[Any] | None = None) -> None:
        print_message(f"error: {self.message}")


class Unavailable(ApiError):
    """No response came, or one that asks to try again later."""


class InvalidServiceSetting(ApiError):
    """`RECEIVER_URL` or `RECEIVER_KEY` is malformed."""

    exit_code = 2


class _Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float:
        """The seconds of `Retry-After`; 0 without one."""
        seconds = self.headers.get("retry-after", "")
        return float(seconds) if seconds.isdecimal() else 0.0


class Service:
    """The API at one URL, called with one key."""

    def __init__(self, url: str, key: str) -> None:
        try:
            parsed = urlsplit(url)
            valid = (
                parsed.scheme in {"http", "https"}
                and bool(parsed.hostname)
                and parsed.port != 0
                and "@" not in parsed.netloc
            )
        except ValueError:
            valid = False
        if not valid or not _VISIBLE.fullmatch(url):
            raise InvalidServiceSetting("RECEIVER_URL: Not a valid URL of a service, such as https://receiver.example.")
        if not _VISIBLE.fullmatch(key):
            raise InvalidServiceSetting("RECEIVER_KEY: Not a valid key: set what `receiver key create` printed.")
        self._origin = f"{parsed.scheme}://{parsed.netloc}"
        self._base_path = f"{parsed.path.rstrip('/').removesuffix('/v1')}/v1"
        self._headers = {"authorization": f"Bearer {key}", "accept": "application/json", "user-agent": PRODUCT}

    def get(self, *path: str | UUID, query: Mapping[str, object] | None = None, wait: int = 0) -> Any:
        """Return the document at a path.

        Args:
            path: the segments below `/v1`, unescaped.
            query: the parameters; those that are None are left out.
            wait: how many seconds the service may hold the response.

        Raises:
            ApiError: the service does not return one.
        """
        headers = {"prefer": f"wait={wait}"} if wait else {}
        target = self._build_target(path)
        return self._call("GET", f"{target}?{_encode_query(query)}" if query else target, b"", headers, wait)

    def post(self, *path: str | UUID, body: bytes, headers: Mapping[str, str] | None = None) -> Any:
        """Post a JSON document to a path and return the document of the response; raises what `get` raises."""
        return self._call(
            "POST", self._build_target(path), body, {"content-type": "application/json", **(headers or {})}
        )

    def act(self, *path: str | UUID, reason: str | None, **params: str | list[str]) -> Any:
        """Post an action to a path, with its reason if there is one; raises what `get` raises."""
        return self.post(*path, body=orjson.dumps(params if reason is None else {**params, "reason": reason}))

    def pages(self, *path: str | UUID, query: Mapping[str, object]) -> Iterator[Json]:
        """Yield the pages of a list up to its end; raises what `get` raises."""
        page = self.get(*path, query=query)
        yield page
        while page["next_cursor"]:
            page = self.get(*path, query={**query, "cursor": page["next_cursor"]})
            yield page

    def _build_target(self, path: tuple[str | UUID, ...]) -> str:
        return "/".join((self._base_path, *[quote(str(segment), safe="") for segment in path]))

    def _call(self, method: str, target: str, body: bytes, headers: Mapping[str, str], wait: float = 0.0) -> Any:
        """Call the service, and again after a pause as long as the key's rate limit is exceeded."""
        paused = 0.0
        while True:
            response = self._exchange(method, target, body, headers, wait)
            pause = max(response.retry_after, _MIN_PAUSE_S)
            if response.status != 429 or paused + pause > _MAX_TOTAL_PAUSE_S:
                return self._parse_document(response)
            print_message(f"rate limit of the key exceeded; continuing in {pause:g} s")
            time.sleep(pause)
            paused += pause

    def _exchange(self, method: str, target: str, body: bytes, headers: Mapping[str, str], wait: float) -> _Response:
        client = HTTPClient.from_url(
            self._origin, connection_timeout=_CONNECT_TIMEOUT_S, network_timeout=_RESPONSE_TIMEOUT_S + wait
        )
        try:
            with closing(client):
                response = client.request(method, target, body, {**self._headers, **headers})
                received = {name.lower(): value for name, value in response.items()}
                return _Response(response.status_code, received, bytes(response.read()))
        except _NOT_SENT_ERRORS as error:
            raise Unavailable(
                f"Cannot connect to {self._origin}: {error}. Start the service or set RECEIVER_URL."
            ) from None
        except (OSError, HTTPException) as error:
            # The service may have carried out a POST whose response was lost.
            repeatable = method == "GET" or "idempotency-key" in headers
            warning = "" if repeatable else " The action may have been carried out, so check before you repeat it."
            raise Unavailable(f"No response from {self._origin}: {error or type(error).__name__}.{warning}") from None

    def _parse_document(self, response: _Response) -> Any:
        try:
            document = orjson.loads(response.body)
        except orjson.JSONDecodeError:
            raise self._build_no_json_error(response) from None
        if response.status < 300:
            return document
        raise _build_error(response, document if isinstance(document, dict) else {})

    def _build_no_json_error(self, response: _Response) -> ApiError:
        problem = f"{self._origin} responded with {response.status} and no JSON"
        if response.status in _PROXY_STATUSES:
            return Unavailable(f"{problem}: the service behind it is down or unreachable.")
        if 300 <= response.status < 400:
            return ApiError(f"{problem}: it redirects to {response.headers.get('location')}. Set RECEIVER_URL.")
        return ApiError(f"{problem}: it is not a receiver service. Set RECEIVER_URL.")


def connect_service() -> Service:
    """Return the service that the environment names.

    Raises:
        InvalidServiceSetting: `RECEIVER_URL` or `RECEIVER_KEY` is malformed.
    """
    key = os.environ.get("RECEIVER_KEY") or os.environ.get("RECEIVER_ADMIN_KEY") or ""
    return Service(os.environ.get("RECEIVER_URL") or _DEFAULT_URL, key)


def flatten_errors(errors: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the place, such as `payload.to.1`, and the text of each message in a problem's `errors`."""
    if isinstance(errors, Mapping):
        for name, inner in errors.items():
            yield from flatten_errors(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(errors, list):
        for inner in errors:
            yield from flatten_errors(inner, place)
    else:
        yield place, format_literal(errors)


def _build_error(response: _Response, problem: Json) -> ApiError:
    """Return the error for a problem document of the service."""
    detail = (
        str(problem.get("detail") or problem.get("title") or response.status).partition("; see `errors`")[0].rstrip(".")
    )
    retry_time = f"in {response.retry_after:g} s" if response.retry_after else "later"
    match response.status:
        case 401:
            return ApiError("Missing or invalid API key. Set RECEIVER_KEY to one that is neither revoked nor expired.")
        case 403:
            return ApiError(f"The key is not allowed to do this: {detail}. Set RECEIVER_KEY to one that is.")
        case 404:
            return ApiError(f"{detail}, or the key has no access to its provider.")
        case 429:
            return Unavailable(
                f"Rate limit of the key exceeded. Try again {retry_time}, or use a key with a higher limit."
            )
        case 503:
            # The service's own advice names a header, which a person does not see.
            cause = detail.partition(". Try again ")[0]
            return Unavailable(f"The service is temporarily unavailable: {cause}. Try again {retry_time}.")
        case status if status >= 500:
            return ApiError(f"The service failed with {status}: {detail}.")
    errors = problem.get("errors") or {}
    lines = [f"{place}: {message}" for place, message in flatten_errors(errors)]
    return ApiError("\n".join([f"{detail}.", *lines]), errors)


def _encode_query(query: Mapping[str, object]) -> str:
    params = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
    return urlencode({name: value for name, value in params.items() if value is not None})
