"""The HTTP client of all commands: `/v1` of the service that the environment or a profile names.

It turns every problem into a message that names the remedy.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ssl import PROTOCOL_TLS_CLIENT, SSLCertVerificationError, SSLContext, SSLError
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, urlencode, urlsplit
from uuid import UUID

import orjson

from receiver.cli.formats import Json, format_literal
from receiver.cli.messages import CommandError, print_message
from receiver.cli.service_selection import select_service
from receiver.domain.egress import PRODUCT
from receiver.domain.nested_errors import flatten_errors

_CONNECT_TIMEOUT_S, _RESPONSE_TIMEOUT_S = 10.0, 30.0
_MIN_PAUSE_S, _MAX_TOTAL_PAUSE_S = 1.0, 60.0
_VISIBLE = re.compile(r"[!-~]*")
_PROXY_STATUSES = frozenset({502, 503, 504})
"""Statuses with which a proxy reports that the service behind it cannot be reached."""


class ApiError(CommandError):
    """The service refused a call or cannot be reached; `errors` are those of fields."""

    def __init__(self, message: str, errors: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or {}


class Unavailable(ApiError):
    """No response came, or one that asks to try again later."""


class InvalidKey(ApiError):
    """The service does not accept the key."""


class InvalidServiceSetting(ApiError):
    """The URL or the key is malformed."""

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


def parse_url(url: str) -> SplitResult | None:
    """Return the parts of the URL of a service; None if it is malformed, or has a user."""
    try:
        parsed = urlsplit(url)
        is_valid = parsed.scheme in {"http", "https"} and bool(parsed.hostname) and parsed.port != 0
    except ValueError:
        return None
    return parsed if is_valid and "@" not in parsed.netloc and _VISIBLE.fullmatch(url) else None


def open_connection(url: SplitResult, timeout_s: float, remedy: str) -> HTTPConnection:
    """Return a connection to the host of a URL.

    Args:
        url: the URL.
        timeout_s: how long to wait for it, at most.
        remedy: what to do about a wrong URL, for messages.

    Raises:
        ApiError: the host cannot be reached, or not by TLS.
    """
    host, port, origin = url.hostname or "", url.port, f"{url.scheme}://{url.netloc}"
    timeout_s = min(_CONNECT_TIMEOUT_S, timeout_s)
    connection = (
        HTTPSConnection(host, port, timeout=timeout_s, context=_create_tls_context())
        if url.scheme == "https"
        else HTTPConnection(host, port, timeout=timeout_s)
    )
    try:
        connection.connect()
    except SSLCertVerificationError as error:
        raise ApiError(
            f"The certificate of {origin} is not accepted: {error.verify_message}. If a CA of your own issued it, set "
            "SSL_CERT_FILE to the CA's certificate."
        ) from None
    except SSLError as error:
        raise ApiError(
            f"{origin} does not speak TLS: {error.reason}. If it has no TLS, begin the URL with http://."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded
        connection.close()
        raise Unavailable(f"Cannot connect to {origin}: {error}. {remedy}, or start the service.") from None
    return connection


class Service:
    """The API at one URL, called with one key."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        profile: str | None = None,
        timeout_s: float = _RESPONSE_TIMEOUT_S,
        max_pause_s: float = _MAX_TOTAL_PAUSE_S,
    ) -> None:
        """Check the URL and the key.

        Args:
            url: the URL of the service, with or without `/v1`.
            key: an API key.
            profile: the name of the profile that the key is from, if any, for messages.
            timeout_s: how long to wait for a connection, and then for each part of a response.
            max_pause_s: how long to pause in all, for one call, where the key's rate limit is exceeded.

        Raises:
            InvalidServiceSetting: the URL or the key is malformed.
        """
        parsed = parse_url(url)
        if parsed is None:
            place = "RECEIVER_URL" if profile is None else f"The URL of the profile {profile}"
            raise InvalidServiceSetting(f"{place}: Not a valid URL of a service, such as https://receiver.example.")
        if not _VISIBLE.fullmatch(key):
            place = "RECEIVER_KEY" if profile is None else f"The key of the profile {profile}"
            raise InvalidServiceSetting(f"{place}: Not a valid key: use what `receiver key create` printed.")
        self._parsed_url, self._profile, self._timeout_s = parsed, profile, timeout_s
        self._max_pause_s = max_pause_s
        self._url_remedy = (
            "Set RECEIVER_URL" if profile is None else f"Set another URL with `receiver login {profile} --url URL`"
        )
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
            if response.status != 429 or paused + pause > self._max_pause_s:
                return self._parse_document(response)
            print_message(f"rate limit of the key exceeded; continuing in {pause:g} s")
            time.sleep(pause)
            paused += pause

    def _exchange(self, method: str, target: str, body: bytes, headers: Mapping[str, str], wait: float) -> _Response:
        with closing(open_connection(self._parsed_url, self._timeout_s, self._url_remedy)) as connection:
            connection.sock.settimeout(self._timeout_s + wait)
            try:
                connection.request(method, target, body or None, {**self._headers, **headers})
                response = connection.getresponse()
                received = {name.lower(): value for name, value in response.getheaders()}
                return _Response(response.status, received, response.read())
            except (OSError, HTTPException) as error:
                # The service may have carried out a POST whose response was lost.
                repeatable = method == "GET" or "idempotency-key" in headers
                warning = "" if repeatable else " The action may have been carried out, so check before you repeat it."
                reason = str(error) or type(error).__name__
                raise Unavailable(f"No response from {self._origin}: {reason}.{warning}") from None

    def _parse_document(self, response: _Response) -> Any:
        try:
            document = orjson.loads(response.body)
        except orjson.JSONDecodeError:
            raise self._build_no_json_error(response) from None
        if response.status < 300:
            return document
        raise _build_error(response, document if isinstance(document, dict) else {}, self._profile)

    def _build_no_json_error(self, response: _Response) -> ApiError:
        problem = f"{self._origin} responded with {response.status} and no JSON"
        if response.status in _PROXY_STATUSES:
            return Unavailable(f"{problem}: the service behind it is down or unreachable.")
        if 300 <= response.status < 400:
            return ApiError(f"{problem}: it redirects to {response.headers.get('location')}. {self._url_remedy}.")
        return ApiError(f"{problem}: it is not a receiver service. {self._url_remedy}.")


def connect_service(**limits: float) -> Service:
    """Return the service that the environment or a profile names, with the `limits` that `Service` takes.

    Raises:
        InvalidServiceSetting: the URL or the key is malformed.
        ProfileError: the profile does not exist, or the file cannot be read.
    """
    selection = select_service()
    return Service(selection.url, selection.key, profile=selection.profile, **limits)


def _create_tls_context() -> SSLContext:
    # Imported late: only calls over TLS need it.
    from receiver.certificate_authorities import load_system_authorities  # noqa: PLC0415

    context = SSLContext(PROTOCOL_TLS_CLIENT)
    load_system_authorities(context)
    return context


def iterate_errors(errors: Any) -> Iterator[tuple[str, str]]:
    """Yield the path, such as `payload.to.1`, and the text of each message in a problem's `errors`."""
    for path, message in flatten_errors(errors):
        yield path, format_literal(message)


def _build_error(response: _Response, problem: Json, profile: str | None) -> ApiError:
    """Return the error for a problem document of the service."""
    detail = (
        str(problem.get("detail") or problem.get("title") or response.status).partition("; see `errors`")[0].rstrip(".")
    )
    retry_time = f"in {response.retry_after:g} s" if response.retry_after else "later"
    match response.status:
        case 401:
            if profile is not None:
                return InvalidKey(
                    f"The key of the profile {profile} was revoked or has expired. Run `receiver login {profile}`."
                )
            return InvalidKey(
                "Missing or invalid API key. Set RECEIVER_KEY to one that is neither revoked nor expired, or run "
                "`receiver login`."
            )
        case 403:
            remedy = f"Run `receiver login {profile}` with" if profile is not None else "Set RECEIVER_KEY to"
            return ApiError(f"The key is not allowed to do this: {detail}. {remedy} one that is.")
        case 404:
            what, _, suggestion = detail.partition(". ")
            return ApiError(f"{what}, or the key has no access to its provider.{suggestion and f' {suggestion}.'}")
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
    lines = [f"{place}: {message}" for place, message in iterate_errors(errors)]
    return ApiError("\n".join([f"{detail}.", *lines]), errors)


def _encode_query(query: Mapping[str, object]) -> str:
    params = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
    return urlencode({name: value for name, value in params.items() if value is not None})
