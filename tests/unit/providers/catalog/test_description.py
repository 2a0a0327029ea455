"""What users read about catalog entries."""

import shlex

import pytest

from receiver.providers.catalog.description import (
    FIELD_TITLES,
    EntryDescription,
    ParameterDescription,
    StatusDescription,
    describe_entry,
    find_entries,
    group_entries,
)
from receiver.providers.catalog.entries import CatalogEntry, list_entries, parse_entry
from receiver.schemas.catalog import FIELDS
from tests.contract.catalog import ENTRIES
from tests.support.catalog import parse_acme

URL = "https://receiver.example"
CALLBACKS_ONLY = """
title = "Quiet"
field = "media"
documentation = ["https://quiet.example/docs"]
parameters.secret = { title = "Secret", secret = true, example = "a-secret" }
verified = { callback = "secondary", signature = "vendor" }
[provider]
base_url = "https://quiet.example"
callback = { reference = "id", status = "state", statuses = { done = "succeeded" } }
signature = { scheme = "github", secrets = ["${secret}"] }
[[examples.callbacks]]
body = '{"id": "${reference}", "state": "${status}"}'
"""
OPERATION = 'callback_url = "callback"\nidempotency_header = "Idempotency-Key"'


def describe(*changes: tuple[str, str]) -> EntryDescription:
    return describe_entry(parse_acme(*changes), URL, "sms")


def test_fields_have_titles() -> None:
    assert tuple(FIELD_TITLES) == FIELDS


def test_entries_are_found_by_field_and_text() -> None:
    assert [entry.name for entry in find_entries()] == list_entries()
    assert {entry.field for entry in find_entries("sms")} == {"sms"}
    assert "twilio" in [entry.name for entry in find_entries("sms", " mediaURL ")]
    assert find_entries("ai", "twilio messages") == []


def test_entries_are_grouped_by_field() -> None:
    groups = group_entries(find_entries())
    assert list(groups) == [title for field, title in FIELD_TITLES.items() if find_entries(field)]
    titles = [entry.title for entry in groups["SMS and messages"]]
    assert titles == sorted(titles, key=str.lower)
    assert sum(map(len, groups.values())) == len(list_entries())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_entry_is_described_for_its_provider(entry: CatalogEntry) -> None:
    description = describe_entry(entry, URL, "another")
    assert description.callback_url.startswith(f"{URL}/callbacks/another")
    assert f'[providers.another]\nkind = "{entry.name}"\n' in description.toml
    assert {operation.name for operation in description.operations} == set(entry.table.get("operations", {}))
    assert len(description.statuses) >= len(entry.examples.callback_statuses)
    assert [parameter.name for parameter in description.parameters] == list(entry.parameters)
    assert all(description.facts.values())


def test_description_has_what_the_entry_says() -> None:
    description = describe()
    assert (description.name, description.title, description.field) == ("acme", "Acme Messages", "sms")
    assert description.capabilities == ["submit", "callbacks", "poll"]
    assert (description.signature, description.trust) == ("github", "signature")
    assert (description.notes, description.left_out) == (["Register a sender first."], ["Prices."])
    assert description.parameters[1:] == [
        ParameterDescription("region", "Region", False, False, "eu", "", "SMS_REGION"),
        ParameterDescription(
            "token", "Auth token; it signs callbacks too", True, True, None, "an-example-token", "SMS_TOKEN"
        ),
    ]
    assert description.facts == {
        "Callback URL": "`https://receiver.example/callbacks/sms`",
        "Registration": "The URL is sent with each request.",
        "Callbacks": "POST with JSON",
        "Acknowledgement": "200",
        "Signature": "`github`",
        "Trust": "`signature`: The signature covers everything that decides about a job.",
        "Polling": "`GET /messages/{reference}`",
        "Base URL": "`https://{region}.acme.example/v1/{account}`",
        "Without a response": "The request is `unknown` until a callback, a late response or an operator settles it.",
        "Verified by": "vendor's documents, except poll",
    }


def test_entry_without_requests_and_polls_only_calls_back() -> None:
    description = describe_entry(parse_entry("quiet", CALLBACKS_ONLY), URL)
    assert description.capabilities == ["callbacks"]
    assert description.callback_url == "https://receiver.example/callbacks/quiet"
    assert description.facts["Registration"] == "Register the URL at the provider."
    assert description.facts["Polling"] == "none: without a callback, a job stays open until its deadline"
    assert description.facts.keys().isdisjoint({"Base URL", "Without a response", "Limits"})


def test_url_token_stands_at_the_end_of_the_url() -> None:
    description = describe(('scheme = "github"', 'scheme = "token"'))
    assert description.callback_url == "https://receiver.example/callbacks/sms/TOKEN"
    assert description.facts["End of the URL"] == "TOKEN is the value of `token`."
    assert description.facts["Signature"] == "none, only the token in the URL"
    assert description.trust == "sender"


def test_statuses_name_where_they_stand() -> None:
    statuses = describe(
        ('lost = "failed"', 'lost = "failed"\n"*" = "in_progress"'),
        ('path = "/messages/{reference}"', 'path = "/m/{reference}"\nstatuses = { delivered = "succeeded" }'),
        ('status = "state"', 'status = "state"\nsuperseding = ["lost"]'),
    ).statuses
    assert statuses == [
        StatusDescription("queued", "accepted", ["response"]),
        StatusDescription("queued", "in_progress", ["callback"]),
        StatusDescription("delivered", "succeeded", ["callback", "poll"]),
        StatusDescription("lost", "failed", ["callback"], "overrules an earlier status"),
        StatusDescription("any other", "in_progress", ["callback"]),
    ]


def test_operation_has_a_command_that_submits_its_example() -> None:
    description = describe()
    [operation] = description.operations
    assert (operation.method, operation.path, operation.required) == ("POST", "/messages", ["to"])
    assert (operation.callback_url, operation.idempotency) == (["callback"], ["header:Idempotency-Key"])
    words = shlex.split(operation.command)
    assert words[:6] == ["receiver", "request", "submit", "sms", "send", "--payload"]
    assert words[6] == '{"to":"+2348030000001","text":"It\'s 1234"}'
    assert description.test_command == "receiver callback send sms --reference M1 --status delivered"


@pytest.mark.parametrize(
    ("signature", "options"),
    [
        ('scheme = "ed25519"\nheader = "S"\nsigned = "{body}"\nkeys = ["${token}"]', ["--signing-key", "FILE"]),
        ('scheme = "fal"\nuser_id = "${token}"', None),
        ('scheme = "token"\nsecrets = ["${token}"]', []),
    ],
)
def test_sample_needs_a_key_or_the_vendor(signature: str, options: list[str] | None) -> None:
    key = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="
    changes = ('scheme = "github"\nsecrets = ["${token}"]', signature), ("an-example-token", key)
    command = describe(*changes if "keys" in signature else changes[:1]).test_command
    assert (shlex.split(command)[8:] if command else None) == options


def test_sample_of_a_callback_without_status_has_none() -> None:
    status = """status = "state"

[provider.callback.statuses]
queued = "in_progress"
delivered = "succeeded"
lost = "failed"
"""
    poll = 'path = "/messages/{reference}"\n'
    polled = f'{poll}status = "state"\nstatuses = {{ delivered = "succeeded" }}\n'
    description = describe((status, "fetch = true\n"), (poll, polled))
    assert description.test_command == "receiver callback send sms --reference M1"
