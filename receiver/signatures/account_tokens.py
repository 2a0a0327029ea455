"""Shared parts of the schemes that sign a URL and a form with the account's auth token: Twilio and Plivo."""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, urlencode

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.base import InvalidSignature, Scheme
from receiver.signatures.standard_webhooks import encode_key

MAX_PARAMETERS = 10_000
_LEADING = b" \t\r\n\0"
"""What may precede the first character of JSON and XML, also in UTF-16."""


@dataclass(frozen=True, slots=True)
class AccountScheme(Scheme, ABC):
    """A scheme whose secrets are the auth tokens of an account; any of them may match.

    Args:
        auth_tokens: the account's auth tokens as text.
        public_url: the URL up to the path, if it differs from the callback's own.

    Raises:
        InvalidSecret: an auth token is empty or not valid Unicode.
    """

    auth_tokens: Sequence[str] = field(repr=False)
    public_url: str | None = None
    _keys: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", tuple(map(encode_key, self.auth_tokens)))

    def normalize_body(self, callback: IncomingCallback) -> bytes:
        # The parameters of a form are signed in alphabetical order, decoded and with duplicates left out.
        if callback.media_type != FORM_MEDIA_TYPE:
            return callback.body
        return urlencode(sorted(set(parse_form(callback)))).encode()


def with_public_url(public_url: str | None, callback: IncomingCallback) -> IncomingCallback:
    """Return the callback as sent to `public_url`, or unchanged if that is None."""
    return callback if public_url is None else replace(callback, public_url=public_url)


def parse_form(callback: IncomingCallback) -> list[tuple[str, str]]:
    """Return the names and values of a callback's form in their order; none for an empty body.

    Every parameter must have a ``=``. Names and values are signed without a separator, so that ``a&b`` would have the
    same signature as ``a=b``.

    Raises:
        InvalidSignature: the body is not a form and therefore unsigned, or it is malformed.
    """
    if not callback.body:
        return []
    if callback.media_type != FORM_MEDIA_TYPE or callback.method == "GET":
        raise InvalidSignature("body", "The body is not a form, and the signature does not cover other bodies.")
    # Only a form's parameters are signed, not their order: read as JSON or XML, the body could say something else.
    if callback.body.lstrip(_LEADING).startswith((b"{", b"[", b"<")):
        raise InvalidSignature("body", "The body is not a well-formed form.")
    try:
        return parse_qsl(
            callback.body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError:
        raise InvalidSignature("body", "The body is not a well-formed form.") from None
