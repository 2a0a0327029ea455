"""The kinds of provider that `receiver.toml` may name, and how each is built from its table.

Besides the built-in kinds, a package may register its own by an entry point of the group `receiver.providers`: the name
of the kind, and a `ProviderKind` (see `receiver.plugin`).
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError

from receiver.domain.egress import Egress
from receiver.domain.sending import RetryRules
from receiver.providers.base import Provider, SendPolicy, canonical_origin
from receiver.providers.catalog.entries import CatalogEntry, list_entries, load_entry
from receiver.providers.catalog.samples import CatalogSamples
from receiver.providers.catalog.suggestions import format_entry_suggestion
from receiver.providers.cecula.provider import build_cecula, build_cecula_legacy, build_cecula_sync
from receiver.providers.declared.provider import build_declared
from receiver.providers.sandbox import build_sandbox
from receiver.schemas import cecula_settings
from receiver.schemas.declared import DeclaredSettingsSchema
from receiver.schemas.settings import SandboxSettingsSchema

ENTRY_POINT_GROUP = "receiver.providers"


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """A kind of provider.

    Args:
        settings: the schema of its table, a `receiver.schemas.settings.ProviderSettingsSchema`.
        build: adds the capabilities to a provider that has none yet, from the loaded table.
    """

    settings: type[Schema]
    build: Callable[[Provider, Mapping[str, Any]], Provider]


def build_provider(name: str, table: Mapping[str, Any]) -> Provider:
    """Build a provider from its table in `receiver.toml`.

    Raises:
        ValidationError: with all errors of the table.
    """
    kinds = _load_kinds(tuple(sys.path))
    kind = table.get("kind")
    entries = () if isinstance(kind, str) and kind in kinds else list_entries()
    if kind in entries:
        return _build_from_catalog(name, load_entry(str(kind)), table)
    if not isinstance(kind, str) or kind not in kinds:
        suggestion = format_entry_suggestion(str(kind), kinds)
        message = f"Must be one of: {', '.join(kinds)}, or a provider of `receiver provider catalog`.{suggestion}"
        raise ValidationError({"kind": [message]})
    return _build_from_kind(name, kinds[kind], table)


def _build_from_catalog(name: str, entry: CatalogEntry, table: Mapping[str, Any]) -> Provider:
    own = {key: value for key, value in table.items() if key != "kind"}
    expanded = entry.expand(own)
    try:
        provider = _build_from_kind(name, _BUILT_IN["declared"], expanded)
    except ValidationError as error:
        raise ValidationError(entry.assign_errors(error.messages_dict, own)) from None
    statuses = provider.samples.statuses if provider.samples else ()
    # Some requests tell the provider the secret of its callbacks, which its response may repeat.
    secrets = [*provider.secrets, *entry.find_secrets(own)]
    return replace(provider, samples=CatalogSamples(statuses, entry.examples), secrets=secrets)


def _build_from_kind(name: str, kind: ProviderKind, table: Mapping[str, Any]) -> Provider:
    loaded = _build_schema(kind.settings).load(table)
    return kind.build(_build_base(name, loaded), loaded)


@cache
def _build_schema(settings: type[Schema]) -> Schema:
    return settings()


@lru_cache(maxsize=1)
def _load_kinds(path: tuple[str, ...]) -> Mapping[str, ProviderKind]:  # noqa: ARG001  # the key of the cache
    """Return the kinds of provider; those of entry points depend on `path`, where Python looks for packages."""
    return {point.name: point.load() for point in entry_points(group=ENTRY_POINT_GROUP)} | _BUILT_IN


def _build_base(name: str, table: Mapping[str, Any]) -> Provider:
    """Build a provider without capabilities, from what the tables of all kinds have in common."""
    url = urlsplit(table["base_url"])
    return Provider(
        name=name,
        origin=canonical_origin(url),
        base_path=url.path.rstrip("/"),
        retry_rules=RetryRules(table["retry"], table["on_ambiguous"], table["status_codes"]),
        send_policy=SendPolicy(
            max_concurrency=table["max_concurrency"],
            connect_timeout=table["connect_timeout"],
            timeout=table["timeout"],
            max_per_second=table["max_per_second"],
            circuit=table["circuit"],
            idle_timeout=table["idle_timeout"],
        ),
        deadline=table["deadline"],
        retention=table["retention"],
        egress=Egress(proxy=table["proxy"] or None, proxy_from_environment=table["proxy"] is None, tls=table["tls"]),
        reference_reuse_after=table["reference_reuse_after"],
    )


_BUILT_IN = {
    "cecula": ProviderKind(cecula_settings.CeculaSettingsSchema, build_cecula),
    "cecula-legacy": ProviderKind(cecula_settings.CeculaLegacySettingsSchema, build_cecula_legacy),
    "cecula-sync": ProviderKind(cecula_settings.CeculaSyncSettingsSchema, build_cecula_sync),
    "declared": ProviderKind(DeclaredSettingsSchema, build_declared),
    "sandbox": ProviderKind(SandboxSettingsSchema, build_sandbox),
}
