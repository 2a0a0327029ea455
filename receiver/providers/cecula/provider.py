"""Cecula: SMS broadcasts on the current API (https://app.cecula.com/docs), the legacy API and Cecula Sync.

Cecula sends its delivery reports to one URL per account. Only Cecula Sync documents how to poll; the other APIs are
polled only at a configured path.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from receiver.domain.jobs import JobStatus
from receiver.domain.responses import find_status_rule
from receiver.domain.sending import Response
from receiver.providers.base import Provider
from receiver.providers.capabilities import AccountCheck, CallbackSettings, OutgoingRequest, PollPolicy, Sender
from receiver.providers.cecula.reports import (
    STATUSES,
    CeculaCallbacks,
    CeculaPoller,
    ReportFields,
    normalize_statuses,
)
from receiver.providers.cecula.sender import (
    BroadcastOperation,
    BroadcastSender,
    CeculaOperation,
    LegacySender,
    SyncSender,
    build_headers,
)
from receiver.providers.samples import LocatedSamples
from receiver.schemas import cecula as schemas

BALANCE, SENDER_NAMES = "balance", "sender names"
SYNC_POLL_PATH = "/sent-sms-status/{reference}"

_BALANCE = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class CeculaCheck(AccountCheck):
    """A check of the account: `name` is `BALANCE` or `SENDER_NAMES`."""

    name: str

    def format_result(self, response: Response) -> str:
        if response.status != 200:
            return f"{self.name}: {response.status}: {find_status_rule(response.status).advice}"
        try:
            document = orjson.loads(response.body)
        except orjson.JSONDecodeError:
            document = None
        result = _format_balance(document) if self.name == BALANCE else _format_sender_names(document)
        return f"{self.name}: {result or 'the response cannot be read'}"


def build_cecula(provider: Provider, table: Mapping[str, Any]) -> Provider:
    """Add the capabilities of the current API to a provider, from its loaded table `CeculaSettingsSchema`."""
    time_zone = table["time_zone"]
    operations = {
        "send": BroadcastOperation("/sms/a2p/send", schemas.BroadcastSchema(), time_zone),
        "send_template": BroadcastOperation("/sms/a2p/template/send", schemas.TemplateBroadcastSchema(), time_zone),
    }
    sender = BroadcastSender(operations, provider.base_path, table["auth"]["secret"])
    checks = {BALANCE: "/sms/check-balance", SENDER_NAMES: "/sms/identities"}
    return _build(provider, table, sender, checks, ReportFields(**_get_paths(table)))


def build_cecula_legacy(provider: Provider, table: Mapping[str, Any]) -> Provider:
    """Add the capabilities of the legacy API to a provider, from its loaded table `CeculaLegacySettingsSchema`."""
    operations = {
        "send_a2p": CeculaOperation("/send/a2p", schemas.LegacyBroadcastSchema()),
        "send_p2p": CeculaOperation("/send/p2p", schemas.LegacyPersonalSchema()),
    }
    sender = LegacySender(operations, provider.base_path, table["auth"]["secret"])
    return _build(provider, table, sender, {BALANCE: "/account/a2pbalance"}, ReportFields(**_get_paths(table)))


def build_cecula_sync(provider: Provider, table: Mapping[str, Any]) -> Provider:
    """Add the capabilities of Cecula Sync to a provider, from its loaded table `CeculaSyncSettingsSchema`."""
    operations = {"send_sms": CeculaOperation("/send-sms", schemas.SyncMessageSchema())}
    sender = SyncSender(operations, provider.base_path, table["auth"]["secret"], _get_statuses(table))
    fields = ReportFields(**{"reference": "trackingId"} | _get_paths(table))
    return _build(provider, table, sender, {BALANCE: "/cecula-balance"}, fields, default_poll_path=SYNC_POLL_PATH)


def _build(
    provider: Provider,
    table: Mapping[str, Any],
    sender: Sender,
    checks: Mapping[str, str],
    fields: ReportFields,
    *,
    default_poll_path: str | None = None,
) -> Provider:
    """Add the capabilities that the three APIs have in common.

    Args:
        provider: the provider.
        table: its loaded table.
        sender: its sender.
        checks: the paths of the account checks, by name.
        fields: where the fields of delivery reports are.
        default_poll_path: the path of polls that the API documents.
    """
    api_key, poll, statuses = table["auth"]["secret"], table["poll"], _get_statuses(table)
    poll_path = poll["path"] or default_poll_path
    poll_policy = PollPolicy(poll["first_after"], poll["max_interval"], poll["give_up_after"])
    headers = build_headers(api_key)
    return replace(
        provider,
        sender=sender,
        callbacks=CeculaCallbacks(CallbackSettings(table["signature"]), fields, statuses),
        samples=LocatedSamples(
            [*STATUSES, *table["callback"]["statuses"]],
            (fields.reference,),
            (fields.status,),
            items=fields.items,
            occurred_at=fields.occurred_at,
        ),
        poller=CeculaPoller(poll_policy, fields, statuses, f"{provider.base_path}{poll_path}", headers)
        if poll_path
        else None,
        account_checks={
            name: CeculaCheck(OutgoingRequest("GET", f"{provider.base_path}{path}", headers), name)
            for name, path in checks.items()
        },
        credentials=api_key.encode(),
        secrets=[api_key],
    )


def _get_paths(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: path for name, path in table["callback"].items() if name != "statuses"}


def _get_statuses(table: Mapping[str, Any]) -> Mapping[str, JobStatus]:
    return normalize_statuses({**STATUSES, **table["callback"]["statuses"]})


def _format_sender_names(document: Any) -> str | None:
    """Format the sender names, which Cecula returns as a bare array; None for any other document."""
    if not isinstance(document, list) or not all(isinstance(name, str) and name.isprintable() for name in document):
        return None
    return ", ".join(document) or "none"


def _format_balance(document: Any) -> str | None:
    """Format a balance: text such as "118.00" on the current API, a number on the others; None if there is none."""
    balance = str(document.get("balance")) if isinstance(document, dict) else ""
    return balance if _BALANCE.fullmatch(balance) else None
