"""The compilation of signature recipes: their validation, and what is computed from them once, before any callback.

A recipe is compiled when it is constructed. All its errors are collected and raised together.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from receiver.domain.errors import ReceiverError
from receiver.signatures.checks import (
    ENCODINGS,
    KEY_ENCODINGS,
    SIGNATURE_BYTES,
    SignatureCheck,
    build_check,
    parse_secret_key,
)
from receiver.signatures.coverage import Coverage
from receiver.signatures.sources import (
    BODY_TOKENS,
    ROLES,
    Search,
    Template,
    ValueSource,
    compile_path,
    parse_source,
    parse_template,
)

if TYPE_CHECKING:
    from receiver.signatures.recipe import Recipe

ALGORITHMS = (*SIGNATURE_BYTES, "equals", "basic")
FORMATS = ("raw", "pairs", "list")
UNITS = ("s", "ms", "iso")
BEARER_ALGORITHMS = frozenset({"equals", "basic"})
"""The algorithms whose signature is the secret itself."""


class InvalidRecipe(ReceiverError):
    """A recipe is inconsistent; `errors` maps its fields to messages."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {message}" for name, message in errors.items()))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class CompiledRecipe:
    """A recipe ready to verify, with one check per secret."""

    source: ValueSource
    sources: Mapping[str, ValueSource]
    content: Template
    checks: Sequence[SignatureCheck] = field(repr=False)
    items: Search | None
    signed_id: ValueSource | None
    coverage: Coverage
    fields: Sequence[ValueSource]


def compile_recipe(recipe: "Recipe") -> CompiledRecipe:
    """Validate and compile a recipe.

    Raises:
        InvalidRecipe: the recipe is inconsistent; the exception has all errors.
        InvalidSecret: a secret does not have the format that the algorithm and `key_encoding` require.
    """
    errors = _check_choices(recipe)
    sources: dict[str, ValueSource] = {}
    for name in ("source", *ROLES):
        text = getattr(recipe, name)
        try:
            if text or name == "source":
                sources[name] = parse_source(text)
        except ValueError as error:
            errors[name] = str(error)
    content, items = None, None
    computes_signature = recipe.algorithm in SIGNATURE_BYTES
    # An invalid source gets a placeholder, so that the token that uses it is not reported as a second error.
    role_sources = {
        role: sources.get(role, ValueSource("field", role, lambda _: b"")) for role in ROLES if getattr(recipe, role)
    }
    try:
        content = (
            parse_template(recipe.signed, role_sources) if computes_signature else Template(frozenset(), lambda _: b"")
        )
    except ValueError as error:
        errors["signed"] = str(error)
    try:
        items = compile_path(recipe.items) if recipe.items else None
    except ValueError:
        errors["items"] = "Must be a JMESPath."
    errors |= _check_combinations(recipe, sources) | (_check_coverage(sources, content) if content else {})
    if errors or content is None:
        raise InvalidRecipe(errors)
    keys = [parse_secret_key(secret, recipe.algorithm, recipe.key_encoding) for secret in recipe.secrets]
    checks = [build_check(key, recipe.algorithm, recipe.encoding) for key in keys]
    signed_id = None if recipe.items else sources.get("id")
    coverage = _build_coverage(recipe, content, role_sources)
    fields = [parse_source(f"field:{path}") for path in content.find_names("field", {})]
    return CompiledRecipe(sources["source"], sources, content, checks, items, signed_id, coverage, fields)


def _build_coverage(recipe: "Recipe", content: Template, sources: Mapping[str, ValueSource]) -> Coverage:
    headers = set(content.find_names("header", sources)) | (
        {"content-type"} if "content_type" in content.tokens else set()
    )
    return Coverage(
        body=not BODY_TOKENS.isdisjoint(content.tokens),
        form="sorted_params" in content.tokens,
        query="url" in content.tokens,
        fields=content.find_names("field", sources),
        items=recipe.items,
        headers=frozenset(headers),
        parameters=frozenset(content.find_names("query", sources)),
    )


def _check_choices(recipe: "Recipe") -> dict[str, str]:
    choices = {
        "algorithm": ALGORITHMS,
        "format": FORMATS,
        "encoding": ENCODINGS,
        "key_encoding": ("", *KEY_ENCODINGS),
        "unit": ("", *UNITS),
    }
    return {
        name: f"Must be one of: {', '.join(filter(None, allowed))}."
        for name, allowed in choices.items()
        if getattr(recipe, name) not in allowed
    }


def _check_combinations(recipe: "Recipe", sources: Mapping[str, ValueSource]) -> dict[str, str]:
    """Return the errors of fields that contradict each other."""
    errors = {
        name: "pair:KEY requires format = pairs and cannot be the location of the signature itself."
        for name, source in sources.items()
        if source.kind == "pair" and (recipe.format != "pairs" or name == "source")
    }
    if recipe.format == "pairs" and not recipe.pair:
        errors["pair"] = "Required for format = pairs."
    if recipe.format != "pairs" and recipe.pair:
        errors["pair"] = "Requires format = pairs."
    if recipe.format == "raw" and recipe.separator:
        errors["separator"] = "Requires format = pairs or list."
    if recipe.algorithm == "ed25519" and recipe.key_encoding == "utf-8":
        errors["key_encoding"] = "Must be hex or base64 for ed25519."
    if recipe.format == "pairs" and recipe.prefix:
        errors["prefix"] = "Not supported with format = pairs."
    if recipe.tolerance != math.inf and not recipe.timestamp:
        errors["tolerance"] = "Requires timestamp."
    elif recipe.tolerance != math.inf and not recipe.unit:
        errors["unit"] = f"Required to compare the timestamp. Must be one of: {', '.join(UNITS)}."
    return errors


def _check_coverage(sources: Mapping[str, ValueSource], content: Template) -> dict[str, str]:
    return {
        role: "Not covered by any token of signed, so anyone could change it."
        for role, source in sources.items()
        if role != "source" and not content.covers(role, source)
    }
