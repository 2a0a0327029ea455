"""The configuration of catalog entries: tables that are valid, variables, and which values users make up."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from receiver.configured_providers import load_providers
from receiver.domain.accounts import is_valid_name
from receiver.providers.catalog.configuration import build_toml, build_variable_name, find_url_token, list_variables
from receiver.providers.catalog.entries import CatalogEntry
from tests.contract.catalog import ENTRIES
from tests.support.catalog import parse_acme

each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


def build_environment(entry: CatalogEntry, provider: str, path: Path) -> Mapping[str, str]:
    """Return an environment with the file and an example of each parameter."""
    values = {
        build_variable_name(provider, name): parameter.example or str(parameter.default)
        for name, parameter in entry.parameters.items()
    }
    return {"RECEIVER_CONFIG": str(path), **values}


@each_entry
def test_table_needs_its_variables_only(entry: CatalogEntry, tmp_path: Path) -> None:
    path = tmp_path / "receiver.toml"
    assert is_valid_name(entry.name)
    text = build_toml(entry, entry.name, with_comments=True)
    for table in (text, re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)):
        path.write_text(table)
        configured = load_providers(build_environment(entry, entry.name, path))
        assert configured.providers.keys() == {entry.name}
    assert set(re.findall(r"env:(\w+)", build_toml(entry, entry.name, with_comments=False))) == {
        variable.name for variable in list_variables(entry, entry.name)
    }


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("twilio", "TWILIO_AUTH_TOKEN"),
        ("north-sms", "NORTH_SMS_AUTH_TOKEN"),
        ("46elks", "_46ELKS_AUTH_TOKEN"),
        ("receiver", "PROVIDER_RECEIVER_AUTH_TOKEN"),
    ],
)
def test_variable_is_named_after_provider_and_parameter(provider: str, name: str) -> None:
    assert build_variable_name(provider, "auth_token") == name


def test_table_explains_parameters() -> None:
    entry = parse_acme(('default = "eu"', "default = 'e\"u'"), ("secret = true", "secret = true\noptional = true"))
    assert build_toml(entry, "sms", with_comments=True).splitlines() == [
        "# Acme Messages: receiver provider catalog acme",
        "[providers.sms]",
        'kind = "acme"',
        "# Account, from the console",
        'account = "env:SMS_ACCOUNT"',
        "# Region (optional)",
        '# region = "e\\"u"',
        "# Auth token; it signs callbacks too (optional)",
        '# token = "env:SMS_TOKEN"',
    ]
    assert [variable.name for variable in list_variables(entry, "sms")] == ["SMS_ACCOUNT"]


def test_table_without_comments_has_required_parameters() -> None:
    table = build_toml(parse_acme(), "acme", with_comments=False)
    assert table == '[providers.acme]\nkind = "acme"\naccount = "env:ACME_ACCOUNT"\ntoken = "env:ACME_TOKEN"\n'


SIGNATURE = 'scheme = "github"\nsecrets = ["${token}"]'
CALLBACK = '[provider.callback]\nreference = "id"'
HANDSHAKE = 'handshake = { kind = "get-echo", token_at = "query:t", token = "${token}", echo = "query:c" }'


@pytest.mark.parametrize(
    ("old", "new", "is_random", "ends_url"),
    [
        (SIGNATURE, SIGNATURE, False, False),
        (SIGNATURE, 'scheme = "token"\nsecrets = ["${token}"]', True, True),
        (SIGNATURE, 'scheme = "github"\nsecrets = ["x"]\ntoken = "${token}"', True, True),
        (CALLBACK, f"{CALLBACK}\n{HANDSHAKE}", True, False),
        (CALLBACK, f"{CALLBACK}\n{HANDSHAKE.replace('{ kind', '[{ kind')}]", True, False),
        ("secret = true", "secret = true\nrandom = true", True, False),
    ],
)
def test_secret_that_users_make_up_is_known(old: str, new: str, is_random: bool, ends_url: bool) -> None:
    entry = parse_acme((old, new))
    random = [variable.parameter.name for variable in list_variables(entry, "sms") if variable.is_random]
    assert random == (["token"] if is_random else [])
    assert find_url_token(entry) == ({"token"} if ends_url else set())
