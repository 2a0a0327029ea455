"""The tables of the kinds of Cecula in `receiver.toml`: defaults, and the places of errors."""

import pytest

from receiver.domain.jobs import JobStatus
from receiver.providers.cecula.provider import Cecula, CeculaSync
from tests.support.settings_files import fault_places, faults, load

pytestmark = pytest.mark.usefixtures("directory")  # settings are loaded from it
CECULA = """
[providers.cecula]
kind = "cecula"
auth = { scheme = "bearer", secret = "key" }
signature = { scheme = "token", secrets = ["an-unguessable-token"] }
"""


def test_cecula_defaults_match_its_documentation() -> None:
    settings = load(CECULA)
    provider = settings.providers["cecula"]
    assert isinstance(provider, Cecula)
    assert (provider.origin, provider.base_path) == ("https://app.cecula.com", "/api")
    assert (provider.report_fields.reference, provider.can_poll) == ("id", False)
    assert settings.callback_url("cecula").endswith("/callbacks/cecula/an-unguessable-token")


def test_cecula_tables_are_loaded() -> None:
    more = """
time_zone = "Africa/Lagos"
poll = { path = "/reports/{reference}", first_after = 5 }
callback = { reference = "messageId", status = "state", statuses = { LANDED = "succeeded" } }
"""
    provider = load(CECULA + more).providers["cecula"]
    assert isinstance(provider, Cecula)
    assert (provider.report_fields.reference, provider.report_fields.status) == ("messageId", "state")
    assert provider.statuses["landed"] is JobStatus.SUCCEEDED
    assert provider.statuses["delivrd"] is JobStatus.SUCCEEDED
    assert (provider.poll_path, str(provider.time_zone)) == ("/reports/{reference}", "Africa/Lagos")
    sync = load(CECULA.replace('"cecula"', '"cecula-sync"')).providers["cecula"]
    assert isinstance(sync, CeculaSync)
    assert (sync.report_fields.reference, sync.can_poll) == ("trackingId", True)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ('time_zone = "Atlantis"', "time_zone"),
        ('callback = { reference = "a[" }', "callback.reference"),
        ('callback = { statuses = { X = "gone" } }', "callback.statuses.X"),
        ('poll = { path = "no-slash" }', "poll.path"),
    ],
)
def test_cecula_faults_name_their_places(line: str, place: str) -> None:
    assert fault_places(faults(f"{CECULA}{line}\n")) == {f"providers.cecula.{place}"}


def test_trust_confirm_requires_a_poll() -> None:
    confirm = CECULA.replace('"token", ', '"token", trust = "confirm", ')
    assert fault_places(faults(confirm)) == {"providers.cecula.poll.path"}


def test_cecula_without_signature_suggests_a_url_token() -> None:
    [fault] = faults(CECULA.replace("signature", "#"))
    assert "URL token" in fault
