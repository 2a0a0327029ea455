"""What users need to know of an entry of the catalog: the same for the command, the guide and the admin pages.

Texts are prose in which code stands between backticks.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from receiver.domain.accounts import build_callback_path
from receiver.providers.base import Provider
from receiver.providers.catalog.configuration import build_toml, build_variable_name, find_url_token
from receiver.providers.catalog.entries import CatalogEntry, list_entries, load_entry
from receiver.providers.catalog.facts import format_template, list_facts
from receiver.providers.registry import build_provider
from receiver.schemas.paths import ANY_STATUS

FIELD_TITLES: Mapping[str, str] = {
    "sms": "SMS and messages",
    "voice": "Voice",
    "ai": "AI",
    "payments": "Payments and payouts",
    "documents": "Documents",
    "identity": "Identity",
    "media": "Media",
    "runs": "Runs and CI",
    "shipping": "Shipping and print",
    "email": "Email",
    "carriers": "Carriers of events",
}
"""What the providers are for, see `receiver.schemas.catalog.FIELDS`."""


@dataclass(frozen=True, slots=True)
class EntrySummary:
    """An entry in a list.

    Attributes:
        name: the kind in `receiver.toml`.
        title: the provider's name for people.
        field: what the provider is for.
        capabilities: those of `submit`, `callbacks` and `poll` that it has.
        signature: the scheme of the signature of its callbacks; `token` if only the end of the URL is secret.
        verified: what each part was verified by, `vendor` or `secondary`.
    """

    name: str
    title: str
    field: str
    capabilities: Sequence[str]
    signature: str
    verified: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ParameterDescription:
    """A parameter of an entry; `variable` is the environment variable that its value has in `toml`."""

    name: str
    title: str
    secret: bool
    required: bool
    default: str | None
    example: str
    variable: str


@dataclass(frozen=True, slots=True)
class OperationDescription:
    """An operation of an entry.

    Attributes:
        name: its name.
        method: the HTTP method.
        path: the path, with the names of parameters and of fields of the payload in braces.
        required: the fields that a payload must have.
        callback_url: where the callback URL is put; empty if it is not sent.
        idempotency: where the request's id is put; empty if it is not sent.
        example: a payload.
        command: the command that submits it.
    """

    name: str
    method: str
    path: str
    required: Sequence[str]
    callback_url: Sequence[str]
    idempotency: Sequence[str]
    example: Mapping[str, Any]
    command: str


@dataclass(frozen=True, slots=True)
class StatusDescription:
    """A status of the provider.

    Attributes:
        status: the provider's word.
        meaning: the status of a job, or what becomes of a request.
        places: the messages that contain it: `response`, `callback`, `poll`.
        note: what is special about it; "" for nothing.
    """

    status: str
    meaning: str
    places: Sequence[str]
    note: str = ""


@dataclass(frozen=True, slots=True)
class EntryDescription(EntrySummary):
    """An entry with all that its users need.

    Attributes:
        callback_url: the callback URL, which ends with the name of a parameter in capitals if its value is secret.
        trust: why a status in a callback is believed, see `receiver.signatures.base.Trust`.
        facts: what else there is to know, by short titles.
        parameters: what users set.
        operations: what clients may submit.
        statuses: the statuses of the provider, in its order.
        notes: what users must know.
        left_out: what could not be verified.
        documentation: URLs of the vendor's pages.
        toml: the table for `receiver.toml`.
        test_command: the command that posts a signed sample of a callback; "" if only the vendor can sign one.
    """

    callback_url: str
    trust: str
    facts: Mapping[str, str]
    parameters: Sequence[ParameterDescription]
    operations: Sequence[OperationDescription]
    statuses: Sequence[StatusDescription]
    notes: Sequence[str]
    left_out: Sequence[str]
    documentation: Sequence[str]
    toml: str
    test_command: str


def find_entries(field: str = "", text: str = "") -> Sequence[EntrySummary]:
    """Return the entries of a field, or of all, whose name, title, field or notes contain a text in any case."""
    return [
        summarize_entry(entry)
        for entry in map(load_entry, list_entries())
        if field in {"", entry.field} and text.strip().lower() in _join_text(entry)
    ]


def summarize_entry(entry: CatalogEntry) -> EntrySummary:
    """Return an entry as lists show it."""
    parts = {"submit": "operations", "callbacks": "callback", "poll": "poll"}
    return EntrySummary(
        entry.name,
        entry.title,
        entry.field,
        [capability for capability, part in parts.items() if entry.table.get(part)],
        entry.table["signature"]["scheme"],
        entry.verified,
    )


def describe_entry(entry: CatalogEntry, public_url: str, provider: str = "") -> EntryDescription:
    """Return what users need to know of an entry.

    Args:
        entry: the entry.
        public_url: the base URL that providers call.
        provider: the name of the provider in `receiver.toml`, by default that of the entry.
    """
    provider = provider or entry.name
    summary, example = summarize_entry(entry), _build_example(entry)
    operations = [
        _describe_operation(entry, provider, name, table) for name, table in entry.table.get("operations", {}).items()
    ]
    token = next(iter(find_url_token(entry)), "")
    callback_url = f"{public_url}{build_callback_path(provider)}{f'/{token.upper()}' if token else ''}"
    return EntryDescription(
        **{name: getattr(summary, name) for name in EntrySummary.__slots__},
        callback_url=callback_url,
        trust=str(example.require_callbacks().settings.auth.trust),
        facts=list_facts(entry, example, callback_url, [each.name for each in operations if each.callback_url]),
        parameters=[
            ParameterDescription(
                name,
                parameter.title,
                parameter.is_secret,
                parameter.is_required,
                parameter.default,
                parameter.example,
                build_variable_name(provider, name),
            )
            for name, parameter in entry.parameters.items()
        ],
        operations=operations,
        statuses=_list_statuses(entry),
        notes=entry.notes,
        left_out=entry.left_out,
        documentation=entry.documentation,
        toml=build_toml(entry, provider, with_comments=False),
        test_command=_build_test_command(entry, provider),
    )


def group_entries(entries: Iterable[EntrySummary]) -> Mapping[str, Sequence[EntrySummary]]:
    """Return entries by the title of their field, and those of a field by their title."""
    by_title = sorted(entries, key=lambda entry: entry.title.lower())
    groups = {title: [entry for entry in by_title if entry.field == field] for field, title in FIELD_TITLES.items()}
    return {title: group for title, group in groups.items() if group}


def _join_text(entry: CatalogEntry) -> str:
    return "\n".join([entry.name, entry.title, entry.field, FIELD_TITLES[entry.field], *entry.notes]).lower()


def _describe_operation(
    entry: CatalogEntry, provider: str, name: str, table: Mapping[str, Any]
) -> OperationDescription:
    computed = table.get("computed", {})
    payload = entry.examples.payloads[name]
    return OperationDescription(
        name,
        table.get("method", "POST"),
        format_template(table["path"]),
        table.get("required", []),
        [*_list_texts(table.get("callback_url")), *_find_computed(computed, "{callback_url}")],
        [
            *(f"header:{header}" for header in _list_texts(table.get("idempotency_header"))),
            *_list_texts(table.get("request_id")),
            *_find_computed(computed, "{request_id}"),
        ],
        payload,
        f"receiver request submit {provider} {name} --payload {shlex.quote(orjson.dumps(payload).decode())}",
    )


def _find_computed(computed: Mapping[str, Any], placeholder: str) -> Sequence[str]:
    """Return the places whose value contains a placeholder of ours."""
    texts = {place: value if isinstance(value, str) else value["text"] for place, value in computed.items()}
    return [place for place, text in texts.items() if placeholder in text]


def _build_example(entry: CatalogEntry) -> Provider:
    """Return a provider of the entry with nothing but the required parameters, which are examples."""
    values = {name: parameter.example for name, parameter in entry.parameters.items() if parameter.is_required}
    return build_provider(entry.name, entry.expand(values))


def _list_statuses(entry: CatalogEntry) -> Sequence[StatusDescription]:
    """Return the statuses of responses, callbacks and polls; one with the same meaning in several of them is one."""
    callback, response = entry.table.get("callback", {}), entry.table.get("response", {})
    statuses = callback.get("statuses", {})
    poll = entry.table.get("poll")
    places: dict[tuple[str, str], list[str]] = {}
    for place, meanings in (
        ("response", response.get("codes", {})),
        ("callback", statuses),
        ("poll", poll.get("statuses", statuses) if poll else {}),
    ):
        for status, meaning in meanings.items():
            places.setdefault((str(status), meaning), []).append(place)
    superseding = callback.get("superseding", ())
    return [
        StatusDescription(
            "any other" if status == ANY_STATUS else status,
            meaning,
            own,
            "overrules an earlier status" if status in superseding else "",
        )
        for (status, meaning), own in places.items()
    ]


def _build_test_command(entry: CatalogEntry, provider: str) -> str:
    """Return the command that posts a sample of a callback; "" if only the vendor can sign one."""
    signature = entry.table["signature"]
    if not {"keys", "secrets", "token"} & signature.keys():  # the vendor's public keys are fetched
        return ""
    statuses = entry.examples.callback_statuses
    final = [status for status, meaning in statuses.items() if meaning == "succeeded"]
    status = next(iter([*final, *statuses]), "")
    command = ["receiver", "callback", "send", provider, "--reference", entry.examples.reference]
    command += ["--status", status] if status else []
    has_public_key = "keys" in signature or signature["scheme"] == "ed25519"
    return shlex.join([*command, "--signing-key", "FILE"] if has_public_key else command)


def _list_texts(value: str | Iterable[str] | None) -> Sequence[str]:
    return [value] if isinstance(value, str) else list(value or ())
