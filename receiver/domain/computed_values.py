"""Values of a request that are computed from others, such as a timestamp, a password or a digest.

A value is a template: its placeholders are replaced, the text may be hashed, and the result may be encoded.
"""

import hashlib
import hmac
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

HASHES = ("md5", "sha1", "sha256", "sha384", "sha512")
"""The hash functions that a value may use; which one, and whether it is secure, is the provider's choice."""
ENCODINGS = ("hex", "base64", "base64url")
OWN_PLACEHOLDERS = ("callback_url", "request_id")
"""The placeholders of values that we send, besides `secret` and `now`."""

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")
_SECRET, _NOW = "secret", "now"
_TIME_FORMATS = {"s": 1, "ms": 1_000}
_DIRECTIVES = re.compile(r"(?:[^%]|%[YmdHMSfzyjbaBAp%])+")


@dataclass(frozen=True, slots=True)
class ComputedValue:
    """A template, and what is done with its text.

    Args:
        text: the template. `{NAME}` is a field of the request, `{now:FORMAT}` the time of the attempt in `zone` (a
            format of `strftime`, or `s`, `ms` or `iso`), `{secret}` the secret; `{{` and `}}` are braces.
        secret: the secret, also the key of an HMAC.
        hash_name, hmac_name: the hash function by which the text is replaced by its digest or its HMAC; "" for none.
        encoding: of a digest (hexadecimal by default), or of the text; "" for the text itself.
        upper: whether the result is in capitals.
        prefix: what precedes the result.
    """

    text: str
    secret: str = field(default="", repr=False)
    hash_name: str = ""
    hmac_name: str = ""
    encoding: str = ""
    upper: bool = False
    prefix: str = ""
    zone: tzinfo = UTC

    @property
    def is_text(self) -> bool:
        """Whether the result contains the texts of fields as they are."""
        return not (self.hash_name or self.hmac_name or self.encoding)

    @property
    def names(self) -> frozenset[str]:
        """The names of the fields that the template needs, and those of `OWN_PLACEHOLDERS`."""
        names = {match[1] for match in _PLACEHOLDER.finditer(self.text) if match[1]}
        return frozenset(name for name in names if name != _SECRET and not name.startswith(f"{_NOW}:"))

    def find_error(self) -> str | None:
        """Return what is wrong with the template; None for a valid one."""
        rest = _PLACEHOLDER.sub("", self.text)
        if "{" in rest or "}" in rest:
            return "Unmatched brace. Write {{ and }} for braces."
        names = [match[1] for match in _PLACEHOLDER.finditer(self.text) if match[1]]
        if _SECRET in names and not self.secret:
            return "{secret} requires secret to be set."
        if _NOW in names:
            return "{now} requires a format, such as {now:%Y%m%d%H%M%S}, {now:s} or {now:iso}."
        formats = [name.partition(":")[2] for name in names if name.startswith(f"{_NOW}:")]
        if not all(_DIRECTIVES.fullmatch(time_format) for time_format in formats):
            return "Not a format of times: use %Y %m %d %H %M %S %f %z, or s, ms or iso."
        return None

    def compute(self, fields: Mapping[str, str], now: datetime) -> str:
        """Return the value; `fields` are the texts of the `names`, of which an absent one is empty; `now` is in UTC."""

        def replace(match: re.Match[str]) -> str:
            if match[1] is None:
                return match[0][0]
            if match[1] == _SECRET:
                return self.secret
            kind, _, time_format = match[1].partition(":")
            return _format_time(now, time_format, self.zone) if kind == _NOW else fields.get(match[1], "")

        result = self._encode(_PLACEHOLDER.sub(replace, self.text).encode())
        return self.prefix + (result.upper() if self.upper else result)

    def _encode(self, content: bytes) -> str:
        if self.hmac_name:
            content = hmac.digest(self.secret.encode(), content, self.hmac_name)
        elif self.hash_name:
            content = hashlib.new(self.hash_name, content, usedforsecurity=False).digest()
        match self.encoding:
            case "base64":
                return b64encode(content).decode()
            case "base64url":
                return urlsafe_b64encode(content).decode().rstrip("=")
        return content.decode() if self.is_text else content.hex()


def find_header_sources(values: Mapping[str, ComputedValue]) -> frozenset[str]:
    """Return the names of fields whose texts are sent in headers as they are; `values` are by their location."""
    values_in_headers = [value for location, value in values.items() if location.startswith("header:")]
    names: set[str] = set()
    while values_in_headers:
        value = values_in_headers.pop()
        new_names = value.names - names if value.is_text else frozenset()
        names |= new_names
        values_in_headers += [values[name] for name in new_names if name in values]
    return frozenset(names)


def _format_time(now: datetime, time_format: str, zone: tzinfo) -> str:
    if time_format in _TIME_FORMATS:
        return str(int(now.timestamp() * _TIME_FORMATS[time_format]))
    local = now.astimezone(zone)
    if time_format == "iso":
        return local.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return local.strftime(time_format)
