"""The accounts of providers in `receiver.toml`."""

from pathlib import Path

import pytest

from receiver.configured_providers import load_providers
from tests.support.factories import SECRET
from tests.support.settings_files import MINIMAL, faults, load

pytestmark = pytest.mark.usefixtures("directory")  # settings are loaded from it
TEMPLATE = """
[providers.acme]
kind = "sandbox"
base_url = "https://api.acme.example"
signature = { scheme = "standard-webhooks" }
"""
ACCOUNT = """
[providers.acme.accounts.{name}]
auth = {{ scheme = "bearer", secret = "key-of-{name}" }}
signature = {{ secrets = ["{secret}"], token = "token-of-account-{name}" }}
"""


def build_account(name: str, more: str = "") -> str:
    return ACCOUNT.format(name=name, secret=SECRET) + more


def test_account_is_a_provider_beside_its_provider() -> None:
    settings = load(f"{MINIMAL}\n[providers.acme.accounts.north]\nmax_concurrency = 3\n")
    assert list(settings.providers) == ["acme", "acme/north"]
    north = settings.providers["acme/north"]
    assert (north.name, north.origin) == ("acme/north", "https://api.acme.example")
    assert (north.send_policy.max_concurrency, settings.providers["acme"].send_policy.max_concurrency) == (3, 16)


def test_incomplete_table_is_a_template_of_its_accounts() -> None:
    settings = load(TEMPLATE + build_account("north") + build_account("south"))
    assert list(settings.providers) == ["acme/north", "acme/south"]
    north, south = settings.providers.values()
    assert north.credentials != south.credentials


def test_callback_url_names_the_account() -> None:
    settings = load(TEMPLATE + build_account("north"), RECEIVER_PUBLIC_URL="https://r.example")
    assert settings.callback_url("acme/north") == "https://r.example/callbacks/acme/a/north/token-of-account-north"


def test_public_url_is_not_inherited_by_accounts() -> None:
    public_url = 'public_url = "https://hooks.example/acme"\n'
    own = build_account("south", 'public_url = "https://hooks.example/south"\n')
    settings = load(TEMPLATE + public_url + build_account("north") + own, RECEIVER_PUBLIC_URL="https://r.example")
    assert settings.callback_url("acme/north").startswith("https://r.example/callbacks/acme/a/north/")
    assert settings.callback_url("acme/south") == "https://hooks.example/south"


def test_fault_of_the_provider_is_reported_once() -> None:
    toml = TEMPLATE + "max_concurrency = 0\n" + build_account("north") + build_account("south")
    [fault] = faults(toml)
    assert fault.startswith("receiver.toml: providers.acme.max_concurrency: Must be greater")


def test_unset_reference_of_the_provider_is_reported_once() -> None:
    toml = TEMPLATE + 'headers = "env:MISSING"\n' + build_account("north") + build_account("south")
    assert [fault.partition(": ")[2] for fault in faults(toml)] == [
        "providers.acme.headers: The environment variable MISSING is not set."
    ]


def test_fault_of_one_account_names_it() -> None:
    toml = TEMPLATE + build_account("north") + build_account("south", "max_concurrency = 0\n")
    [fault] = faults(toml)
    assert fault.startswith("receiver.toml: providers.acme.accounts.south.max_concurrency: Must be greater")
    assert fault.endswith("Got 0.")


@pytest.mark.parametrize("name", ["North", "a.b", "a/b", "-a", "a" * 64])
def test_account_name_must_fit_a_url(name: str) -> None:
    [fault] = faults(f'{MINIMAL}\n[providers.acme.accounts."{name}"]\n')
    assert fault.startswith(f"receiver.toml: providers.acme.accounts.{name}: Not a valid account name: ")


@pytest.mark.parametrize(("line", "place"), [("accounts = 3", "accounts"), ("accounts = { a = 3 }", "accounts.a")])
def test_accounts_must_be_tables(line: str, place: str) -> None:
    [fault] = faults(f"{MINIMAL}{line}\n")
    assert fault.startswith(f"receiver.toml: providers.acme.{place}: Not a valid table")


def test_faults_of_accounts_hide_secrets() -> None:
    toml = MINIMAL + '[providers.acme.accounts.north]\nauth = { secret = "pass word" }\n'
    [fault] = faults(toml)
    assert "pass word" not in fault


def test_unchanged_provider_stays_the_same_object() -> None:
    first = load(TEMPLATE + build_account("north") + build_account("south"))
    Path("receiver.toml").write_text(TEMPLATE + build_account("north", "timeout = 3\n") + build_account("south"))
    second = load_providers({}, first.configured)
    assert second.providers["acme/south"] is first.providers["acme/south"]
    assert second.providers["acme/north"] is not first.providers["acme/north"]
    assert second.providers["acme/north"].send_policy.timeout == 3


def test_changed_secret_file_makes_another_provider() -> None:
    Path("secret").write_text(SECRET)
    toml = TEMPLATE + build_account("north").replace(SECRET, "file:secret")
    first = load(toml)
    assert load_providers({}, first.configured).providers == first.providers
    Path("secret").write_text("whsec_bm90IHNvIHNlY3JldCBhZnRlciBhbGw=")
    assert load_providers({}, first.configured).providers["acme/north"] is not first.providers["acme/north"]
