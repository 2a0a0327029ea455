"""Catalog entries: mistakes in their files, and the tables of their users."""

from importlib.resources import files
from typing import Any

import pytest
from marshmallow import ValidationError

from receiver.configured_providers import flatten_messages
from receiver.domain.jobs import JobStatus
from receiver.providers import catalog
from receiver.providers.catalog.entries import list_entries, load_entry, parse_entry
from receiver.providers.registry import build_provider
from tests.contract.catalog import NAME, build_table, build_unsigned
from tests.support.capabilities import callbacks_of, parse_reports_of, poller_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ('title = "Replicate"\n', 'titel = "Replicate"\n', "titel", "Unknown field. Did you mean title?"),
        ("[parameters.webhook_secret]", "[parameters.webhook_secrets]", "parameters.webhook_secret", "uses it"),
        ('field = "ai"', 'field = "ay"', "field", "Must be one of: sms"),
        ('poll = "vendor"\n', "", "verified.poll", "Missing data for required field."),
        ("payloads.predict", "payloads.predicts", "examples.payloads", "Must have the payload of each operation."),
        ("[provider]", "[provider", "", "Not valid TOML"),
    ],
)
def test_mistake_in_an_entry_is_named(old: str, new: str, place: str, message: str) -> None:
    text = (files(catalog) / "replicate.toml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(ValidationError) as caught:
        parse_entry("replicate", text.replace(old, new))
    faults = dict(flatten_messages(caught.value.messages_dict if place else {"": caught.value.messages}))
    assert message in faults[place]


@pytest.mark.parametrize(
    ("own", "place", "message"),
    [
        ({"api_token": ""}, "api_token", "Must not be empty."),
        ({"webhook_secret": "whsec_not base64"}, "webhook_secret", "(signature.secrets.0)"),
        ({"signature": {"secrets": ["x"]}}, "signature.secrets.0", "base64"),
        ({"auth": {"scheme": "bearer"}}, "auth.secret", "Missing data for required field."),
        ({"poll": {"path": "no-slash"}}, "poll.path", "Must be a path"),
        ({"callback": {"reference": "a..b"}}, "callback.reference", "JMESPath"),
        ({"api_tokn": "x"}, "api_tokn", "Did you mean api_token?"),
    ],
)
def test_mistake_of_a_user_is_named(own: dict[str, Any], place: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        build_provider(NAME, build_table(load_entry("replicate"), **own))
    faults = dict(flatten_messages(caught.value.messages_dict))
    assert message in faults[place]


def test_secret_that_a_request_tells_the_provider_is_redacted() -> None:
    provider = build_provider(NAME, build_table(load_entry("assemblyai"), callback_secret="a-secret-of-callbacks"))
    assert provider.redactor.redact_text('{"auth": "a-secret-of-callbacks"}') == '{"auth": "[redacted]"}'


def test_keys_of_the_user_override_the_entry() -> None:
    own = {"deadline": 60.0, "poll": {"first_after": 1.0}, "callback": {"statuses": {"aborted": "failed"}}}
    provider = build_provider(NAME, build_table(load_entry("replicate"), **own))
    assert provider.deadline == 60.0
    assert poller_of(provider).policy.first_after == 1.0
    callback = build_unsigned(load_entry("replicate"), "aborted")
    assert [report.status for _, report in parse_reports_of(provider, callback).reports] == [JobStatus.FAILED]


def test_overridden_parameter_is_not_required() -> None:
    own = {
        "auth": {"scheme": "bearer", "secret": "another"},
        "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    assert build_provider(NAME, {"kind": "replicate", **own}).name == NAME


def test_table_with_a_scheme_replaces_that_of_the_entry() -> None:
    signature = {"scheme": "github", "secrets": ["another"]}
    provider = build_provider(NAME, {"kind": "telnyx", "api_key": "key", "signature": signature})
    assert callbacks_of(provider).settings.auth.scheme_name == "github"


def test_entries_are_listed_by_name() -> None:
    assert list_entries() == sorted(list_entries())
    assert load_entry("twilio").parameters["auth_token"].is_secret
