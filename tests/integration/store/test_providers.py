"""Pauses of providers in the database, and the credentials that providers refused."""

from receiver.domain.sending import PauseCause
from receiver.store.connections import Connection
from receiver.store.providers import (
    CredentialRefusal,
    ProviderCredentials,
    find_pauses,
    forget_refusals,
    lift_refusals,
    pause_providers,
    refuse_credentials,
    resume_providers,
)

OLD, NEW = ProviderCredentials("acme", "old"), ProviderCredentials("acme", "new")
REFUSAL = CredentialRefusal("acme", "old", "401: no")


def list_pauses(connection: Connection) -> list[tuple[str, PauseCause, str]]:
    return [(pause.name, pause.pause_cause, pause.pause_reason) for pause in find_pauses(connection)]


def test_first_reason_of_a_pause_is_kept(connection: Connection) -> None:
    for reason in ("an outage", "another reason"):
        pause_providers(connection, ["acme"], reason)
    assert list_pauses(connection) == [("acme", PauseCause.OPERATOR, "an outage")]


def test_resumed_provider_is_not_paused(connection: Connection) -> None:
    pause_providers(connection, ["acme"], "an outage")
    pause_providers(connection, ["other"], "an outage")
    resume_providers(connection, ["acme"])
    assert [name for name, _, _ in list_pauses(connection)] == ["other"]


def test_refusal_pauses_and_is_new_only_once(connection: Connection) -> None:
    assert refuse_credentials(connection, [REFUSAL]) == [REFUSAL]
    assert refuse_credentials(connection, [REFUSAL]) == []
    assert list_pauses(connection) == [("acme", PauseCause.CREDENTIALS, "401: no")]


def test_other_credentials_lift_the_pause(connection: Connection) -> None:
    refuse_credentials(connection, [REFUSAL])
    assert lift_refusals(connection, [OLD]) == []
    assert lift_refusals(connection, [NEW]) == ["acme"]
    assert list_pauses(connection) == []


def test_pause_by_operator_is_not_lifted(connection: Connection) -> None:
    pause_providers(connection, ["acme"], "an outage")
    refuse_credentials(connection, [REFUSAL])
    assert lift_refusals(connection, [NEW]) == []
    assert list_pauses(connection) == [("acme", PauseCause.OPERATOR, "an outage")]


def test_lifted_refusal_is_forgotten_after_a_while_or_at_start(connection: Connection) -> None:
    for starting in (False, True):
        refuse_credentials(connection, [REFUSAL])
        lift_refusals(connection, [NEW])
        forget_refusals(connection, [OLD], 3_600.0, starting=False)
        assert refuse_credentials(connection, [REFUSAL]) == []
        if not starting:
            connection.execute("UPDATE refused_credentials SET lifted_at = lifted_at - interval '2 hours'")
        forget_refusals(connection, [OLD], 3_600.0, starting=starting)
        assert refuse_credentials(connection, [REFUSAL]) == [REFUSAL]
        resume_providers(connection, ["acme"])


def test_resume_by_operator_forgets_all_refusals(connection: Connection) -> None:
    refuse_credentials(connection, [REFUSAL])
    resume_providers(connection, ["acme"])
    assert list_pauses(connection) == []
    assert refuse_credentials(connection, [REFUSAL]) == [REFUSAL]
