"""What callbacks are signed with, and how a signed value is put into a callback."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote, quote_plus, unquote_plus

from receiver.domain.callbacks import FORM_MEDIA_TYPE, IncomingCallback
from receiver.domain.documents.errors import UnreadableDocument
from receiver.domain.documents.places import Step, parse_plain_path, set_at
from receiver.domain.documents.reader import parse_document
from receiver.domain.documents.writer import write_document
from receiver.domain.documents.xml_documents import XmlDocument
from receiver.domain.errors import ReceiverError
from receiver.signatures.key_sources import ConfiguredKeys, KeyDocument, KeySource
from receiver.signatures.private_keys import PrivateKey
from receiver.signatures.public_keys import VerificationKey
from receiver.signatures.sources import ValueSource

REPLACE_KEYS = "To test with a key of your own, configure a provider with its public key in `keys` instead."
_FOREIGN_KEY = "The signing key belongs to none of the public keys that are configured for the provider."


class CannotSign(ReceiverError):
    """A callback cannot be signed; the message says what to do instead."""


@dataclass(frozen=True, slots=True)
class Signer:
    """What a callback is signed with, besides the secrets of its scheme.

    Args:
        now: the time of the signature.
        unique_id: the nonce, and the id of a callback without one: letters and digits, never used before.
        private_key: the private key, for schemes with public keys.
    """

    now: datetime
    unique_id: str
    private_key: PrivateKey | None = None

    @property
    def unix_seconds(self) -> int:
        """The time of the signature in whole Unix seconds."""
        return int(self.now.timestamp())

    def require_private_key(self) -> PrivateKey:
        """Return the private key.

        Raises:
            CannotSign: there is none.
        """
        if self.private_key is None:
            raise CannotSign(
                "The provider is configured with public keys, so that only the holder of a private key can sign: pass "
                "the private key of one of them in PEM with --signing-key FILE."
            )
        return self.private_key

    def find_public_key(self, source: KeySource) -> VerificationKey:
        """Return the public key of a source that belongs to the private key.

        Raises:
            CannotSign: there is none, or only the vendor has the private keys.
        """
        if not isinstance(source, ConfiguredKeys):
            place = source.url if isinstance(source, KeyDocument) else "a URL in each callback"
            raise CannotSign(f"Only the vendor can sign: the public keys are fetched from {place}. {REPLACE_KEYS}")
        public_key = self.require_private_key().find_public_key(source.keys)
        if public_key is None:
            raise CannotSign(_FOREIGN_KEY)
        return public_key

    def sign_ed25519(self, content: bytes, public_keys: Collection[bytes]) -> bytes:
        """Return the ed25519 signature of a content.

        Args:
            content: the content.
            public_keys: the 32 bytes of each public key that is configured.

        Raises:
            CannotSign: there is no private key of any of them.
        """
        private_key = self.require_private_key()
        if private_key.public_bytes not in public_keys:
            raise CannotSign(_FOREIGN_KEY)
        return private_key.sign(content)


def set_parameter(callback: IncomingCallback, name: str, value: bytes) -> IncomingCallback:
    """Return a callback with a parameter in its query, in place of those of the same name."""
    others = [pair for pair in callback.query.split("&") if pair and unquote_plus(pair.partition("=")[0]) != name]
    query = "&".join([*others, f"{quote_plus(name)}={quote(value, safe='')}"])
    return replace(callback, target=f"{callback.target.partition('?')[0]}?{query}")


def set_fields(
    callback: IncomingCallback, fields: Mapping[tuple[Step, ...], bytes], body_kind: str = ""
) -> IncomingCallback:
    """Return a callback with values in its body, which is written anew.

    Args:
        callback: the callback.
        fields: the values by their places.
        body_kind: how the body is read; by default as JSON or a form, by its media type.

    Raises:
        CannotSign: the body cannot be read, or cannot be written again.
    """
    kind = body_kind or ("form" if callback.media_type == FORM_MEDIA_TYPE else "json")
    content_type, prefix = callback.headers.get("content-type", ""), ""
    try:
        document = parse_document(kind, callback.body, content_type, allows_lines=False)
        if isinstance(document, XmlDocument):  # paths may begin at the root element or at its members
            prefix = next(iter(document))
            document = {prefix: document.root}
        for steps, value in fields.items():
            place = steps if not prefix or steps[:1] == (prefix,) else (prefix, *steps)
            document = set_at(document, place, value.decode("utf-8", "surrogateescape"))
        return replace(callback, body=write_document(kind, document, content_type))
    except UnreadableDocument as error:
        raise CannotSign(f"The signature is a part of the body, which cannot be written: {error}") from None


def parse_place(path: str) -> tuple[Step, ...]:
    """Return the steps of a path to a value that is a part of the signature.

    Raises:
        CannotSign: the path is not plain, so that nothing can be written there.
    """
    steps = parse_plain_path(path)
    if steps is None:
        raise CannotSign(f"The signature is a part of the body, where nothing can be written at {path}.")
    return tuple(steps)


def set_value(callback: IncomingCallback, source: ValueSource, value: bytes, body_kind: str = "") -> IncomingCallback:
    """Return a callback with a value at its source; raises what `set_fields` raises."""
    if source.kind == "header":
        return replace(callback, headers={**callback.headers, source.name: value.decode("latin-1")})
    if source.kind == "query":
        return set_parameter(callback, source.name, value)
    return set_fields(callback, {parse_place(source.name): value}, body_kind)
