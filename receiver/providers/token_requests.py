"""Requests for access tokens: client credentials of OAuth 2.0 (RFC 6749 section 4.4), and what resembles them.

The request never changes, so that it is built once, from the provider's table; see
`receiver.schemas.oauth2.OAuth2Schema`. Who sends it, and when, is in `receiver.exchange.access_tokens`.
"""

import re
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson
from marshmallow import ValidationError

from receiver.domain.access_tokens import IssuedToken, TokenFailure, parse_expires_in
from receiver.domain.backoff import parse_retry_after
from receiver.domain.callbacks import FORM_MEDIA_TYPE
from receiver.domain.responses import ResponseClass, find_status_rule
from receiver.domain.sending import Response
from receiver.providers.capabilities import OutgoingRequest
from receiver.providers.json_paths import JsonPath, as_text, compile_paths, find_first_text, parse_json

_ERRORS = compile_paths(["error_description", "error.message", "error", "errorMessage", "message", "detail", "title"])
_REFUSALS = frozenset({ResponseClass.REJECTED, ResponseClass.PAUSE})
_TOKEN = re.compile(r"[!-~]{1,16384}")
_MAX_ERROR_CHARS = 300
_REDACTED = "[redacted]"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The request for an access token, and how the token authenticates other requests.

    Args:
        origin: scheme, host and port of the token endpoint.
        outgoing: the request; its target is relative to `origin`.
        secrets: what an error must not show of the request.
        token_path: where the response has the token.
        expires_path: where the response has the seconds until the token expires.
        header: the lower-case name of the header that carries the token, in requests to the provider.
        prefix: what precedes the token in that header.
    """

    origin: str
    outgoing: OutgoingRequest
    secrets: Collection[str] = field(repr=False)
    token_path: JsonPath
    expires_path: JsonPath
    header: str
    prefix: str

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Build it from a loaded table of `OAuth2Schema`."""
        basic = b64encode(f"{table['client_id']}:{table['client_secret']}".encode()).decode()
        url = urlsplit(table["token_url"])
        prefix = table["prefix"]
        return cls(
            origin=f"{url.scheme}://{url.netloc}",
            outgoing=_build_request(table, basic),
            secrets=(table["client_secret"], basic),
            token_path=JsonPath(table["token_path"]),
            expires_path=JsonPath(table["expires_path"]),
            header=table["name"].lower(),
            prefix=f"{prefix} " if prefix[-1:].isalnum() else prefix,
        )

    def credentials(self) -> bytes:
        """Return everything that decides which token is issued, as one value."""
        outgoing = self.outgoing
        parts = (self.origin, outgoing.method, outgoing.target, sorted(outgoing.headers.items()), outgoing.body)
        return repr(parts).encode()

    def authorize(self, outgoing: OutgoingRequest, token: str) -> OutgoingRequest:
        """Return a request to the provider with the token."""
        return replace(outgoing, headers={**outgoing.headers, self.header: f"{self.prefix}{token}"})

    def parse(self, response: Response, now: datetime) -> IssuedToken | TokenFailure:
        """Parse the response of the token endpoint, which arrived at `now` (UTC)."""
        try:
            document = parse_json(response.body)
        except ValidationError:
            document = None
        error = self._find_error(document)
        if not 200 <= response.status < 300:
            is_refusal = find_status_rule(response.status).response_class in _REFUSALS
            reason = ": ".join(filter(None, [f"the token endpoint responded with {response.status}", error]))
            return TokenFailure(reason, is_refusal, parse_retry_after(response.headers, now) or 0.0)
        if response.problem:
            return TokenFailure(f"the response of the token endpoint cannot be read: {response.problem}")
        token = as_text(self.token_path(document, document))
        if token and _TOKEN.fullmatch(token):
            return IssuedToken(token, parse_expires_in(as_text(self.expires_path(document, document))))
        if token:
            return TokenFailure("the access token in the response cannot be sent in a header", is_refusal=True)
        return TokenFailure(error or f"no access token at `{self.token_path.path}` in the response", bool(error))

    def _find_error(self, document: Any) -> str | None:
        text = find_first_text(_ERRORS, document, document)
        for secret in self.secrets:
            text = text and text.replace(secret, _REDACTED)
        return " ".join(text.split())[:_MAX_ERROR_CHARS] if text else None


def _build_request(table: Mapping[str, Any], basic: str) -> OutgoingRequest:
    url = urlsplit(table["token_url"])
    fields = {
        "grant_type": table["grant_type"],
        "scope": table["scope"],
        "audience": table["audience"],
        **table["params"],
    }
    headers = {"accept": "application/json", **{name.lower(): value for name, value in table["headers"].items()}}
    if table["client_auth"] == "basic":
        # Neither part is form-encoded before, which RFC 6749 demands and hardly any provider undoes.
        headers["authorization"] = f"Basic {basic}"
    else:
        fields |= {"client_id": table["client_id"], "client_secret": table["client_secret"]}
    fields = {name: value for name, value in fields.items() if value}
    query, body, target = url.query, b"", url.path or "/"
    if table["method"] == "GET":
        names = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
        more = urlencode({name: value for name, value in fields.items() if name not in names})
        query = "&".join(filter(None, [query, more]))
    elif table["body"] == "json":
        body, headers["content-type"] = orjson.dumps(fields), "application/json"
    else:
        body, headers["content-type"] = urlencode(fields).encode(), FORM_MEDIA_TYPE
    return OutgoingRequest(table["method"], f"{target}?{query}" if query else target, headers, body)
