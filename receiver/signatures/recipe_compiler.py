"""The compilation of signature recipes: their validation, and what is computed from them once, before any callback.

A recipe is compiled when it is constructed. All its errors are collected and raised together.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from receiver.domain.errors import ReceiverError
from receiver.domain.suggestions import format_list_suggestion
from receiver.domain.times import UNITS
from receiver.signatures.checks import (
    HASHES,
    KEY_ENCODINGS,
    MAX_PUBLIC_KEY_VERIFICATIONS,
    SIGNATURE_BYTES,
    NumberedCheck,
    build_check,
    build_digest_check,
    parse_secret_key,
)
from receiver.signatures.coverage import CallbackDocument, Coverage
from receiver.signatures.encodings import ENCODINGS
from receiver.signatures.formats import FORMATS, SignatureFormat, SignatureReader
from receiver.signatures.parameters import PARAMETER_SOURCES
from receiver.signatures.sources import Search, ValueSource, compile_path, parse_source
from receiver.signatures.templates import (
    BODY_TOKENS,
    ROLES,
    Reader,
    Template,
    TemplateValues,
    build_raw_reader,
    parse_template,
)

if TYPE_CHECKING:
    from receiver.signatures.recipe import Recipe

ALGORITHMS = (*SIGNATURE_BYTES, "rsa", "ecdsa", "jws", "equals", "basic")
BEARER_ALGORITHMS = frozenset({"equals", "basic"})
"""The algorithms whose signature is the secret itself."""
UNENCODED_ALGORITHMS = BEARER_ALGORITHMS | {"jws"}
"""The algorithms whose signature is a text, and not bytes in an encoding."""

# Whoever knows the digest of a secret and a content can compute that of the secret, the content and further bytes. The
# other hashes leave out a part of their state.
_EXTENDABLE_HASHES = frozenset({"md5", "sha1", "sha256", "sha512"})
_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization"})


class InvalidRecipe(ReceiverError):
    """A recipe is inconsistent; `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {message}" for name, message in errors.items()))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class CompiledRecipe:
    """A recipe ready to verify.

    Args:
        reader: reads the signatures; its first location is that of `Recipe.source`.
        sources: the locations of the signature and of the values in `ROLES` that are configured.
        content: the template of the signed content.
        keys: the secrets as bytes.
        checks: one check per secret or fixed public key, with its index, by algorithm.
        items: the search of the items, if each has its own signature.
        signed_id: the location of the message id.
        coverage: what the signature covers.
        body_parts: the functions that read the signed parts of the body, if the body as a whole is not signed.
    """

    reader: SignatureReader
    sources: Mapping[str, ValueSource]
    content: Template
    keys: Sequence[bytes] = field(repr=False)
    checks: Mapping[str, Sequence[NumberedCheck]] = field(repr=False)
    items: Search | None
    signed_id: ValueSource | None
    coverage: Coverage
    body_parts: Sequence[Reader]


def compile_recipe(recipe: "Recipe") -> CompiledRecipe:
    """Validate and compile a recipe.

    Raises:
        InvalidRecipe: the recipe is inconsistent; the exception has all errors.
        InvalidSecret: a secret does not have the format that the algorithm and `key_encoding` require.
    """
    errors = _check_choices(recipe)
    sources = _parse_sources(recipe, errors)
    content, items = None, None
    # An invalid source gets a placeholder, so that the token that uses it is not reported as a second error.
    role_sources = {
        role: sources.get(role, ValueSource("field", role, lambda _: b"")) for role in ROLES if getattr(recipe, role)
    }
    try:
        content = _parse_content(recipe, TemplateValues(role_sources, recipe.parameters, sources.get("source")))
    except ValueError as error:
        errors["signed"] = str(error)
    try:
        items = compile_path(recipe.items) if recipe.items else None
    except ValueError:
        errors["items"] = "Must be a JMESPath."
    errors |= _check_combinations(recipe, sources)
    coverage = _build_coverage(recipe, content, role_sources) if content else Coverage()
    errors |= _check_coverage(sources, content, coverage) if content else {}
    if errors or content is None:
        raise InvalidRecipe(errors)
    keys = [parse_secret_key(secret, recipe.algorithm, recipe.key_encoding) for secret in recipe.secrets]
    algorithms = {recipe.algorithm, *recipe.algorithm_names.values()}
    return CompiledRecipe(
        _build_reader(recipe, sources["source"]),
        sources,
        content,
        keys,
        {algorithm: _build_checks(recipe, keys, algorithm) for algorithm in algorithms},
        items,
        None if recipe.items else sources.get("id"),
        coverage,
        _list_body_parts(recipe, content),
    )


def _parse_sources(recipe: "Recipe", errors: dict[str, str]) -> dict[str, ValueSource]:
    """Return the configured sources by role, with that of `algorithm_header`; add what is wrong with them to errors."""
    texts = {"source": recipe.source} | {role: text for role in ROLES if (text := getattr(recipe, role))}
    if recipe.algorithm_header:
        texts["algorithm_header"] = f"header:{recipe.algorithm_header}"
    sources = {}
    for name, text in texts.items():
        try:
            sources[name] = parse_source(text, with_pairs=recipe.format == "pairs" and name != "source")
        except ValueError as error:
            errors[name] = str(error)
    try:
        _parse_headers(recipe.other_headers)
    except ValueError as error:
        errors["other_headers"] = str(error)
    return sources


def _parse_headers(names: Sequence[str]) -> list[ValueSource]:
    return [parse_source(f"header:{name}") for name in names]


def _list_body_parts(recipe: "Recipe", content: Template) -> Sequence[Reader]:
    parts = [parse_source(f"field:{path}").read for path in content.find_names("field", {})]
    parts += [build_raw_reader(name) for name in content.find_names("raw", {})]
    has_parameters = "sorted_params" in content.tokens and recipe.parameters.source != "query"
    return [*parts, recipe.parameters.join] if has_parameters else parts


def _build_reader(recipe: "Recipe", source: ValueSource) -> SignatureReader:
    locations = [source, *_parse_headers(recipe.other_headers)]
    # The scheme of credentials, such as Bearer, is case-insensitive (RFC 9110, section 11.1).
    is_credential = any(source.kind == "header" and source.name in _CREDENTIAL_HEADERS for source in locations)
    # Public keys decode the signature, instead of comparing its text.
    is_text = recipe.algorithm in UNENCODED_ALGORITHMS or recipe.public_keys is not None
    encoding = "" if is_text else recipe.encoding
    signature_format = SignatureFormat(
        recipe.format, recipe.prefix, recipe.separator, recipe.set_separator, recipe.pair, encoding, is_credential
    )
    return SignatureReader(locations, signature_format, recipe.algorithm == "basic")


def _build_checks(recipe: "Recipe", keys: Sequence[bytes], algorithm: str) -> Sequence[NumberedCheck]:
    if recipe.public_keys is not None:
        return recipe.public_keys.build_fixed_checks(recipe.encoding)
    if recipe.is_digest:
        return list(enumerate([build_digest_check(algorithm, recipe.encoding)] * len(keys)))
    max_signatures = MAX_PUBLIC_KEY_VERIFICATIONS // max(len(keys), 1)
    return list(enumerate(build_check(key, algorithm, recipe.encoding, max_signatures) for key in keys))


def _parse_content(recipe: "Recipe", values: TemplateValues) -> Template:
    """Compile the template of the signed content.

    Raises:
        ValueError: the template is invalid, or lacks the secret of a digest.
    """
    if recipe.algorithm in BEARER_ALGORITHMS:
        return Template(frozenset(), lambda _: b"")
    content = parse_template(recipe.signed, values)
    has_secret = not content.tokens.isdisjoint({"secret", "body_with_secret"})
    if has_secret and not recipe.is_digest:
        raise ValueError("The secret is not a part of the content: it is the key. Only a digest has it in its content.")
    if recipe.is_digest and not has_secret:
        raise ValueError("Must contain {secret}: without it, anybody could compute the digest.")
    if recipe.is_digest and not _is_end_protected(recipe, content):
        raise ValueError(
            "Must end with {secret} or {body}: with the digest of one callback, anybody could extend what follows the "
            "secret."
        )
    return content


def _is_end_protected(recipe: "Recipe", content: Template) -> bool:
    """Return whether nothing can be appended to the content of a digest, or only to the body."""
    return content.last_token in {"secret", "body", "body_with_secret"} or not _is_extendable(recipe)


def _is_extendable(recipe: "Recipe") -> bool:
    algorithms = {recipe.algorithm, *recipe.algorithm_names.values()}
    return recipe.is_digest and not algorithms.isdisjoint(_EXTENDABLE_HASHES)


def _build_coverage(recipe: "Recipe", content: Template, sources: Mapping[str, ValueSource]) -> Coverage:
    separated = replace(content, tokens=content.tokens - content.unseparated)
    headers = set(separated.find_names("header", sources)) | (
        {"content-type"} if "content_type" in separated.tokens else set()
    )
    parameters = recipe.parameters if "sorted_params" in content.tokens else None
    is_whole = parameters is not None and not parameters.exclude and parameters.source in {"form", "query"}
    return Coverage(
        body=not BODY_TOKENS.isdisjoint(content.tokens),
        form=parameters is not None and is_whole and parameters.source == "form",
        query="url" in content.tokens or (parameters is not None and is_whole and parameters.source == "query"),
        fields=separated.find_names("field", sources),
        items=recipe.items,
        headers=frozenset(headers),
        parameters=frozenset(separated.find_names("query", sources)),
        members=parameters.source if parameters is not None and not is_whole else "",
        excluded=frozenset(parameters.exclude) if parameters is not None else frozenset(),
        raw_members=separated.find_names("raw", {}),
        is_extendable=(_is_extendable(recipe) and content.last_token != "secret")  # noqa: S105  # a token
        or not BODY_TOKENS.isdisjoint(content.unseparated),
        unseparated=tuple(sorted(content.unseparated)),
    )


def _check_choices(recipe: "Recipe") -> dict[str, str]:
    choices = {
        "algorithm": HASHES if recipe.is_digest else ALGORITHMS,
        "format": FORMATS,
        "encoding": ENCODINGS,
        "key_encoding": ("", *KEY_ENCODINGS),
        "unit": ("", *UNITS),
    }
    errors = {
        name: _format_choices(getattr(recipe, name), allowed)
        for name, allowed in choices.items()
        if getattr(recipe, name) not in allowed
    }
    hashes = set(recipe.algorithm_names.values())
    if not hashes <= set(HASHES):
        errors["algorithm_names"] = _format_choices(min(hashes - set(HASHES)), HASHES)
    if recipe.parameters.source not in PARAMETER_SOURCES:
        errors["parameters"] = _format_choices(recipe.parameters.source, PARAMETER_SOURCES)
    return errors


def _format_choices(value: str, allowed: Sequence[str]) -> str:
    return f"Must be one of: {', '.join(filter(None, allowed))}.{format_list_suggestion(value, allowed)}"


def _check_combinations(recipe: "Recipe", sources: Mapping[str, ValueSource]) -> dict[str, str]:
    """Return the errors of fields that contradict each other."""
    errors = {
        name: "pair:KEY requires format = pairs and cannot be the location of the signature itself."
        for name, source in sources.items()
        if source.kind == "pair" and (recipe.format != "pairs" or name == "source")
    }
    errors |= _check_format(recipe)
    if recipe.algorithm == "ed25519" and recipe.key_encoding == "utf-8":
        errors["key_encoding"] = "Must be hex or base64 for ed25519."
    if recipe.public_keys is not None and recipe.set_separator:
        errors["set_separator"] = "Not supported with public keys."
    if recipe.public_keys is not None and recipe.format == "pairs" and recipe.other_headers:
        errors["other_headers"] = "Must be one header: pairs in several are not supported with public keys."
    if recipe.algorithm_header and not recipe.algorithm_names:
        errors["algorithm_names"] = "Required with algorithm_header: the names in that header, and their algorithms."
    if recipe.algorithm_names and not recipe.algorithm_header:
        errors["algorithm_header"] = "Required with algorithm_names: the header that has one of them."
    if recipe.tolerance != math.inf and not recipe.timestamp:
        errors["tolerance"] = "Requires timestamp."
    elif recipe.tolerance != math.inf and not recipe.unit:
        errors["unit"] = f"Required to compare the timestamp. Must be one of: {', '.join(UNITS)}."
    return errors


def _check_format(recipe: "Recipe") -> dict[str, str]:
    """Return the errors of fields that do not fit the format."""
    errors = {}
    if recipe.format == "pairs" and not recipe.pair:
        errors["pair"] = "Required for format = pairs."
    if recipe.format != "pairs" and recipe.pair:
        errors["pair"] = "Requires format = pairs."
    if recipe.format == "raw" and recipe.separator:
        errors["separator"] = "Requires format = pairs or list."
    if recipe.format != "pairs" and recipe.set_separator:
        errors["set_separator"] = "Requires format = pairs."
    elif recipe.set_separator and recipe.set_separator == (recipe.separator or ","):
        errors["set_separator"] = "Must differ from separator, which is a comma unless set."
    if recipe.format == "pairs" and recipe.prefix:
        errors["prefix"] = "Not supported with format = pairs."
    return errors


def _check_coverage(sources: Mapping[str, ValueSource], content: Template, coverage: Coverage) -> dict[str, str]:
    return {
        role: "Not covered by any token of signed, so anyone could change it."
        for role, source in sources.items()
        if role in ROLES and role not in content.tokens and not _covers(coverage, source)
    }


def _covers(coverage: Coverage, source: ValueSource) -> bool:
    """Return whether a change of the value at a location would be detected."""
    if source.kind != "field":
        return coverage.covers_location((), f"{source.kind}:{source.name}") if source.kind != "pair" else False
    documents = [CallbackDocument(kind, "", coverage.items) for kind in ("json", "form")]
    return any(coverage.covers_path(document, source.name) for document in documents)
