"""What the schemes share that sign a URL and a form with an account's auth token, as Twilio and Plivo do."""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.signatures.base import Scheme, SignatureRefused
from receiver.signatures.standard_webhooks import encode_key

MAX_PARAMETERS = 10_000


@dataclass(frozen=True, slots=True)
class AccountScheme(Scheme, ABC):
    """A scheme with several live auth tokens.

    Args:
        auth_tokens: of the account, as text.
        public_url: the part of the URL before the request's target, where it is not that of the delivery.

    Raises:
        BadSecret: an auth token is empty or no valid Unicode.
    """

    auth_tokens: Sequence[str] = field(repr=False)
    public_url: str | None = None
    _keys: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", tuple(map(encode_key, self.auth_tokens)))

    @property
    def covers_query(self) -> bool:
        return True


def with_public_url(public_url: str | None, callback: IncomingCallback) -> IncomingCallback:
    """Give the delivery as it was sent to `public_url`, or unchanged where that is None."""
    return callback if public_url is None else replace(callback, public_url=public_url)


def parse_form(callback: IncomingCallback) -> list[tuple[str, str]]:
    """Give the names and values of a delivery's form, in their order; none for an empty body.

    Every parameter must have a value, be it empty: ``a&b`` would sign as ``a=b`` does, for names and values are joined
    with nothing between them.

    Raises:
        SignatureRefused: the body is no form, so that nothing signs it, or is malformed.
    """
    if not callback.body:
        return []
    if callback.media_type != FORM_MEDIA_TYPE or callback.method == "GET":
        raise SignatureRefused("body", "the body is not a form, and nothing else signs it")
    try:
        return parse_qsl(
            callback.body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError:
        raise SignatureRefused("body", "the body is not a well-formed form") from None
