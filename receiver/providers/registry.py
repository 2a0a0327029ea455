"""The kinds of provider that `receiver.toml` may name, and how each is built from its table.

Besides the built-in kinds, a package may register its own by an entry point of the group `receiver.providers`: the name
of the kind, and a `ProviderKind` (see `receiver.plugin`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError

from receiver.domain.sending import RetryRules
from receiver.providers.base import CallbackSettings, PollPolicy, Provider, SendPolicy, canonical_origin
from receiver.providers.cecula.provider import Cecula, CeculaApi, CeculaLegacy, CeculaSync
from receiver.providers.cecula.reports import STATUSES, ReportFields
from receiver.providers.declared.provider import DeclaredProvider
from receiver.providers.sandbox import SandboxProvider
from receiver.schemas import cecula_settings
from receiver.schemas.declared import DeclaredSettingsSchema
from receiver.schemas.settings import PollSchema, SandboxSettingsSchema

ENTRY_POINT_GROUP = "receiver.providers"


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """A kind of provider.

    Args:
        settings: the schema of its table, a `receiver.schemas.settings.ProviderSettingsSchema`.
        build: builds the provider. Its arguments are the fields that all providers have, by their names in `Provider`,
            and the loaded table.
    """

    settings: type[Schema]
    build: Callable[[Mapping[str, Any], Mapping[str, Any]], Provider]


def build_provider(name: str, table: Mapping[str, Any]) -> Provider:
    """Build a provider from its table in `receiver.toml`.

    Raises:
        ValidationError: with all errors of the table.
    """
    kinds = _load_kinds()
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise ValidationError({"kind": [f"Must be one of: {', '.join(kinds)}."]})
    loaded = kinds[kind].settings().load(table)
    return kinds[kind].build(_build_common_fields(name, loaded), loaded)


def _load_kinds() -> Mapping[str, ProviderKind]:
    return {point.name: point.load() for point in entry_points(group=ENTRY_POINT_GROUP)} | _BUILT_IN


def _build_common_fields(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    url = urlsplit(table["base_url"])
    poll = table.get("poll") or PollSchema().load({})
    return {
        "name": name,
        "origin": canonical_origin(url),
        "base_path": url.path.rstrip("/"),
        "retry_rules": RetryRules(table["retry"], table["on_ambiguous"]),
        "send_policy": SendPolicy(
            max_concurrency=table["max_concurrency"],
            connect_timeout=table["connect_timeout"],
            timeout=table["timeout"],
            max_per_second=table["max_per_second"],
            circuit=table["circuit"],
        ),
        "poll_policy": PollPolicy(
            deadline=table["deadline"],
            first_after=poll["first_after"],
            max_interval=poll["max_interval"],
            give_up_after=poll["give_up_after"],
        ),
        "callback_settings": CallbackSettings(table["signature"]),
    }


def _build_sandbox(common: Mapping[str, Any], table: Mapping[str, Any]) -> Provider:
    callback_settings = replace(common["callback_settings"], uses_attempt_token=table["callback_token"])
    return SandboxProvider(
        **{**common, "callback_settings": callback_settings},
        api_key=table["auth"]["secret"],
        idempotent=table["idempotent"],
    )


def _build_cecula(provider_class: type[CeculaApi], common: Mapping[str, Any], table: Mapping[str, Any]) -> Provider:
    paths = dict(table["callback"])
    options: dict[str, Any] = {"statuses": {**STATUSES, **paths.pop("statuses")}}
    options["report_fields"] = ReportFields(**provider_class.DEFAULT_FIELDS | paths)
    if table["poll"]["path"]:
        options["poll_path"] = table["poll"]["path"]
    if "time_zone" in table:
        options["time_zone"] = table["time_zone"]
    return provider_class(**common, api_key=table["auth"]["secret"], **options)


_BUILT_IN = {
    "cecula": ProviderKind(cecula_settings.CeculaSettingsSchema, partial(_build_cecula, Cecula)),
    "cecula-legacy": ProviderKind(cecula_settings.CeculaLegacySettingsSchema, partial(_build_cecula, CeculaLegacy)),
    "cecula-sync": ProviderKind(cecula_settings.CeculaSyncSettingsSchema, partial(_build_cecula, CeculaSync)),
    "declared": ProviderKind(DeclaredSettingsSchema, DeclaredProvider.from_tables),
    "sandbox": ProviderKind(SandboxSettingsSchema, _build_sandbox),
}
