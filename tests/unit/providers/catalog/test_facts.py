"""The facts of catalog entries."""

from collections.abc import Mapping

import pytest

from receiver.providers.catalog.description import describe_entry
from receiver.providers.catalog.facts import format_verified
from tests.support.catalog import parse_acme

OPERATION = 'callback_url = "callback"\nidempotency_header = "Idempotency-Key"'


def list_facts(*changes: tuple[str, str]) -> Mapping[str, str]:
    """Return the facts of the entry `acme` with changes."""
    return describe_entry(parse_acme(*changes), "https://receiver.example").facts


def test_limits_acknowledgement_and_callers_are_facts() -> None:
    facts = list_facts(
        ("[provider]\n", '[provider]\non_ambiguous = "retry"\nmax_per_second = 2.5\nmax_concurrency = 4\n'),
        ("[provider.callback]\n", '[provider.callback]\nack = { body = "OK" }\n'),
        ('scheme = "github"\n', 'scheme = "github"\nallow_from = ["192.0.2.0/24", "198.51.100.7"]\n'),
    )
    assert facts["Limits"] == "2.5 exchanges per second, 4 exchanges at once"
    assert facts["Acknowledgement"] == "200 `OK`"
    assert facts["Callers"] == "`192.0.2.0/24`, `198.51.100.7/32`"
    assert facts["Without a response"] == "The request is sent again."


@pytest.mark.parametrize(
    ("poll", "fact"),
    [
        ('reference = "id"', "at the URL that the response to the request names"),
        ('method = "POST"\npath = "/x?id={reference}"', "`POST /x?id={reference}`"),
    ],
)
def test_polling_names_where(poll: str, fact: str) -> None:
    assert list_facts(('path = "/messages/{reference}"', poll))["Polling"] == fact


@pytest.mark.parametrize(
    ("operation", "registration"),
    [
        ("", "Register the URL at the provider."),
        ('computed.callback = { text = "{callback_url}?from=us" }', "The URL is sent with each request."),
        (
            f'{OPERATION}\n\n[provider.operations.other]\npath = "/other"',
            "The URL is sent with `send`. For all else, register it at the provider.",
        ),
    ],
)
def test_registration_says_how_the_provider_learns_the_url(operation: str, registration: str) -> None:
    payloads = (
        "payloads.send =",
        "payloads.other = {}\npayloads.send =" if "other" in operation else "payloads.send =",
    )
    assert list_facts((OPERATION, operation), payloads)["Registration"] == registration


@pytest.mark.parametrize(
    ("verified", "text"),
    [
        ({"callback": "secondary"}, "other sources"),
        ({"callback": "vendor", "poll": "vendor"}, "vendor's documents"),
        (
            {"callback": "vendor", "signature": "secondary", "poll": "secondary"},
            "vendor's documents, except signature and poll",
        ),
    ],
)
def test_sources_are_named_by_part(verified: dict[str, str], text: str) -> None:
    assert format_verified(verified) == text


def test_callback_that_only_causes_a_poll_is_a_fact() -> None:
    facts = list_facts(("[provider.callback]\n", "[provider.callback]\nfetch = true\n"))
    assert facts["Callbacks"] == "POST with JSON; each only causes a poll"
