"""The kinds of provider that `receiver.toml` may name, and how each is built from its settings.

Besides those that stand here, a package may bring its own by an entry point of the group `receiver.providers`: the
kind's name, and a `ProviderKind`.
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
from receiver.providers.cecula import Cecula, CeculaApi, CeculaLegacy, CeculaSync
from receiver.providers.cecula_reports import STATUSES, ReportFields
from receiver.providers.declared import DeclaredProvider, build_callback_settings, compile_tables
from receiver.providers.sandbox import SandboxProvider
from receiver.schemas import cecula_settings
from receiver.schemas.declared import DeclaredSettingsSchema
from receiver.schemas.settings import PollSchema, SandboxSettingsSchema

ENTRY_POINTS = "receiver.providers"


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """A kind of provider.

    Args:
        settings: the schema of its table, a `receiver.schemas.settings.ProviderSettingsSchema`.
        build: makes the provider of the fields that all have, as `Provider` names them, and the loaded table.
    """

    settings: type[Schema]
    build: Callable[[Mapping[str, Any], Mapping[str, Any]], Provider]


def build_provider(name: str, given: Mapping[str, Any]) -> Provider:
    """Build the provider that a table of `receiver.toml` describes.

    Raises:
        ValidationError: with every fault of the table.
    """
    kinds = _kinds()
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise ValidationError({"kind": [f"must be one of: {', '.join(kinds)}"]})
    table = kinds[kind].settings().load(given)
    return kinds[kind].build(_common(name, table), table)


def _kinds() -> Mapping[str, ProviderKind]:
    return {point.name: point.load() for point in entry_points(group=ENTRY_POINTS)} | _BUILT_IN


def _common(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    url = urlsplit(given["base_url"])
    poll = given.get("poll") or PollSchema().load({})
    waits = {key: poll[key] for key in ("first_after", "max_interval", "give_up_after")}
    return {
        "name": name,
        "origin": canonical_origin(url),
        "base_path": url.path.rstrip("/"),
        "retry_rules": RetryRules(given["retry"], given["on_ambiguous"]),
        "send_policy": SendPolicy(
            given["max_concurrency"],
            given["connect_timeout"],
            given["timeout"],
            given["max_per_second"],
            given["circuit"],
        ),
        "poll_policy": PollPolicy(deadline=given["deadline"], **waits),
        "callback_settings": CallbackSettings(given["signature"]),
    }


def _sandbox(common: Mapping[str, Any], given: Mapping[str, Any]) -> Provider:
    callback_settings = replace(common["callback_settings"], by_token=given["callback_token"])
    return SandboxProvider(
        **{**common, "callback_settings": callback_settings},
        api_key=given["auth"]["secret"],
        idempotent=given["idempotent"],
    )


def _declared(common: Mapping[str, Any], given: Mapping[str, Any]) -> Provider:
    parts = compile_tables(given)
    return DeclaredProvider(
        **{**common, "callback_settings": build_callback_settings(common["callback_settings"].auth, given)}, **parts
    )


def _cecula(make: type[CeculaApi], common: Mapping[str, Any], given: Mapping[str, Any]) -> Provider:
    said = dict(given["callback"])
    options: dict[str, Any] = {"statuses": {**STATUSES, **said.pop("statuses")}}
    options["report_fields"] = ReportFields(**make.DEFAULT_FIELDS | said)
    if given["poll"]["path"]:
        options["poll_path"] = given["poll"]["path"]
    if "time_zone" in given:
        options["time_zone"] = given["time_zone"]
    return make(**common, api_key=given["auth"]["secret"], **options)


_BUILT_IN = {
    "cecula": ProviderKind(cecula_settings.CeculaSettingsSchema, partial(_cecula, Cecula)),
    "cecula-legacy": ProviderKind(cecula_settings.CeculaLegacySettingsSchema, partial(_cecula, CeculaLegacy)),
    "cecula-sync": ProviderKind(cecula_settings.CeculaSyncSettingsSchema, partial(_cecula, CeculaSync)),
    "declared": ProviderKind(DeclaredSettingsSchema, _declared),
    "sandbox": ProviderKind(SandboxSettingsSchema, _sandbox),
}
