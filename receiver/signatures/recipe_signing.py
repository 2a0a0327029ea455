"""The signing of callbacks by a recipe, the inverse of `receiver.signatures.recipe`.

The signed content may depend on what stands beside the signature, and on the place of the signature itself. Therefore
the callback is first completed with a placeholder for each signature, which the signatures then replace.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable, Sequence

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents.places import EVERY_ITEM
from receiver.domain.times import format_time
from receiver.signatures.encodings import ENCODERS
from receiver.signatures.key_checks import DetachedSignatures, PlainSignatures
from receiver.signatures.public_keys import VerificationKey
from receiver.signatures.recipe import Recipe
from receiver.signatures.signers import Signer, parse_place, set_fields, set_value
from receiver.signatures.sources import ValueSource, VerificationContext
from receiver.signatures.templates import ROLES
from receiver.signatures.token_signing import sign_detached

SignContext = Callable[[VerificationContext], bytes]
"""Returns the signature of a callback or of one item, as the callback has it."""


def sign_recipe(recipe: Recipe, callback: IncomingCallback, signer: Signer) -> IncomingCallback:
    """Return a callback with its signature, and with the time, the nonce and the id that are signed.

    Raises:
        CannotSign: a private key is missing or of another key pair, or the place of a value cannot be written.
        InvalidSignature: the callback lacks a value that is signed.
    """
    key = signer.find_public_key(recipe.public_keys.key_source) if recipe.public_keys else None
    callback = _set_signed_values(recipe, _describe_signature(recipe, callback, key), signer)
    sign = _build_sign(recipe, signer, key)
    count = len(recipe.split_items(callback))
    prepared = _set_signatures(recipe, callback, signer, [f"{signer.unique_id}{n}".encode() for n in range(count)])
    contexts = recipe.split_items(prepared)
    for context in contexts:
        context.pairs = recipe.compiled.reader.read(context)[0].pairs
    return _set_signatures(recipe, callback, signer, [sign(context) for context in contexts])


def _build_sign(recipe: Recipe, signer: Signer, public_key: VerificationKey | None) -> SignContext:
    """Return the function that signs; `public_key` is the one in the settings that verifies."""
    compiled, encode = recipe.compiled, ENCODERS[recipe.encoding]
    render, key = compiled.content.render, next(iter(compiled.keys), b"")
    checks, algorithm = recipe.public_keys, next(iter(recipe.algorithm_names.values()), recipe.algorithm)
    if isinstance(checks, DetachedSignatures) and public_key:
        return lambda context: sign_detached(render(context), checks.algorithms, public_key, signer)
    if isinstance(checks, PlainSignatures):
        options, private_key = (checks.hash_name, checks.padding, checks.signature_format), signer.require_private_key()
        return lambda context: encode(private_key.sign(render(context), *options))
    if recipe.is_bearer:
        return lambda _: key
    if algorithm == "ed25519":
        return lambda context: encode(signer.sign_ed25519(render(context), compiled.keys))
    if recipe.is_digest:
        return lambda context: encode(_compute_digest(render, context, key, algorithm))
    if algorithm == "md5":
        return lambda context: encode(hashlib.md5(render(context) + key, usedforsecurity=False).digest())
    return lambda context: encode(hmac.digest(key, render(context), algorithm))


def _compute_digest(render: SignContext, context: VerificationContext, secret: bytes, algorithm: str) -> bytes:
    context.secret = secret
    return hashlib.new(algorithm, render(context), usedforsecurity=False).digest()


def _describe_signature(recipe: Recipe, callback: IncomingCallback, key: VerificationKey | None) -> IncomingCallback:
    """Return a callback that names the algorithm and the public key, where the provider's callbacks do."""
    if recipe.algorithm_header:
        name = next(iter(recipe.algorithm_names)).encode()
        callback = _set_value(recipe, callback, recipe.compiled.sources["algorithm_header"], name)
    key_id = recipe.public_keys.key_source.key_id if recipe.public_keys else None
    return _set_value(recipe, callback, key_id, key.key_id.encode()) if key_id and key else callback


def _set_signed_values(recipe: Recipe, callback: IncomingCallback, signer: Signer) -> IncomingCallback:
    """Return a callback with the time, the nonce and, unless it has one, the id that are signed, except for pairs."""
    for role, source in recipe.compiled.sources.items():
        if role not in ROLES or source.kind == "pair":
            continue
        if role != "id" or not all(source.read(context) for context in recipe.split_items(callback)):
            callback = _set_value(recipe, callback, source, _build_value(recipe, role, signer))
    return callback


def _build_value(recipe: Recipe, role: str, signer: Signer) -> bytes:
    return (format_time(signer.now, recipe.unit or "s") if role == "timestamp" else signer.unique_id).encode()


def _set_signatures(
    recipe: Recipe, callback: IncomingCallback, signer: Signer, signatures: Sequence[bytes]
) -> IncomingCallback:
    """Return a callback with its signature, or with one in each item."""
    values = [_format_signature(recipe, signature, signer) for signature in signatures]
    return _set_value(recipe, callback, recipe.compiled.sources["source"], *values)


def _format_signature(recipe: Recipe, signature: bytes, signer: Signer) -> bytes:
    """Return the text at the place of a signature, see `receiver.signatures.formats`."""
    if recipe.algorithm == "basic":
        return b"Basic " + b64encode(signature)
    if recipe.format != "pairs":
        return recipe.prefix.encode() + signature
    pairs = [
        (source.name.encode(), _build_value(recipe, role, signer))
        for role, source in recipe.compiled.sources.items()
        if source.kind == "pair"
    ]
    separator = (recipe.separator or ",").encode()
    return separator.join([b"%b=%b" % pair for pair in [*pairs, (recipe.pair.encode(), signature)]])


def _set_value(recipe: Recipe, callback: IncomingCallback, source: ValueSource, *values: bytes) -> IncomingCallback:
    """Return a callback with a value at its source; within items with one for each item, or the same for all."""
    if source.kind != "field" or not recipe.items:
        return set_value(callback, source, values[0], recipe.body_kind)
    items, steps = parse_place(recipe.items), parse_place(source.name)
    if EVERY_ITEM not in items:
        items = (*items, EVERY_ITEM)
    count = len(recipe.split_items(callback))
    places = [tuple(number if step == EVERY_ITEM else step for step in items) for number in range(count)]
    texts = values if len(values) == count else values * count
    fields = {(*place, *steps): text for place, text in zip(places, texts, strict=True)}
    return set_fields(callback, fields, recipe.body_kind)
