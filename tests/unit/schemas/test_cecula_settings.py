"""The tables of the kinds of Cecula in `receiver.toml`: defaults, and the places of errors."""

import pytest

from receiver.domain.jobs import JobStatus
from receiver.providers.cecula.reports import CeculaCallbacks, CeculaPoller
from receiver.providers.cecula.sender import BroadcastOperation
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
    assert (provider.origin, provider.base_path) == ("https://app.cecula.com", "/api")
    assert isinstance(provider.callbacks, CeculaCallbacks)
    assert (provider.callbacks.fields.reference, provider.poller) == ("id", None)
    assert settings.callback_url("cecula").endswith("/callbacks/cecula/an-unguessable-token")


def test_cecula_tables_are_loaded() -> None:
    more = """
time_zone = "Africa/Lagos"
poll = { path = "/reports/{reference}", first_after = 5 }
callback = { reference = "messageId", status = "state", statuses = { LANDED = "succeeded" } }
"""
    provider = load(CECULA + more).providers["cecula"]
    callbacks, poller, operation = provider.callbacks, provider.poller, provider.operations["send"]
    assert isinstance(callbacks, CeculaCallbacks)
    assert (callbacks.fields.reference, callbacks.fields.status) == ("messageId", "state")
    assert callbacks.statuses["landed"] is JobStatus.SUCCEEDED
    assert callbacks.statuses["delivrd"] is JobStatus.SUCCEEDED
    assert isinstance(poller, CeculaPoller)
    assert isinstance(operation, BroadcastOperation)
    assert (poller.path, str(operation.time_zone)) == ("/api/reports/{reference}", "Africa/Lagos")
    sync = load(CECULA.replace('"cecula"', '"cecula-sync"')).providers["cecula"]
    assert isinstance(sync.callbacks, CeculaCallbacks)
    assert (sync.callbacks.fields.reference, sync.poller is not None) == ("trackingId", True)


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
