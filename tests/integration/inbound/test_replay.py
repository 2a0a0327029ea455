"""Replaying stored callbacks: what is verified again, and what a replay changes."""

import hmac
import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from receiver.domain.callbacks import IncomingCallback
from receiver.domain.errors import StateConflict
from receiver.exchange.key_documents import KeyDocuments
from receiver.inbound.authentication import AuthLog, CallbackAuthenticator, VerifiedCallback
from receiver.inbound.explain import explain
from receiver.inbound.receive import ParsedCallback, parse_callback, record_callbacks
from receiver.inbound.replay import parse_again, record_replay
from receiver.providers.capabilities import CallbackSettings
from receiver.signatures.base import CallbackAuth
from receiver.signatures.recipe import Recipe
from receiver.store.actions import find_actions
from receiver.store.callbacks import (
    Refusal,
    StoredCallback,
    Verdict,
    find_callback,
    list_refusals,
    save_refusals,
    save_refused,
    withdraw_refusal,
)
from receiver.store.connections import Connection
from receiver.store.database import Database
from tests.support.factories import PUBLIC_URL, SECRET, provider
from tests.support.http import build_report, sign_callback

WRONG_SECRET = "whsec_c29tZWJvZHkgZWxzZQ=="


def build_incoming(target: str = "/callbacks/sandbox", secret: str = SECRET) -> IncomingCallback:
    body, received_at = build_report("ref-1"), datetime.now(UTC)
    return IncomingCallback("POST", target, sign_callback(body, secret=secret), body, received_at, PUBLIC_URL)


def parse(incoming: IncomingCallback) -> ParsedCallback:
    return parse_callback(VerifiedCallback(provider(), incoming))


def refuse(incoming: IncomingCallback, part: str = "webhook-signature") -> StoredCallback:
    return replace(parse(incoming).stored, verdict=Verdict.REFUSED, errors={part: ["refused"]})


def replay(stored: StoredCallback) -> ParsedCallback:
    return parse_again(stored, provider(), KeyDocuments(), PUBLIC_URL)


def test_callback_of_unconfigured_provider_is_a_conflict() -> None:
    with pytest.raises(StateConflict, match="sandbox is not configured"):
        parse_again(parse(build_incoming()).stored, None, KeyDocuments(), PUBLIC_URL)


def test_verification_of_accepted_callback_stands() -> None:
    forged = parse(build_incoming(secret=WRONG_SECRET)).stored
    assert [event.reference for event in replay(forged).events] == ["ref-1"]


def test_refused_callback_is_verified_as_of_its_receive_time() -> None:
    incoming = build_incoming()
    hour_ago = incoming.received_at - timedelta(hours=1)
    assert len(replay(refuse(incoming)).events) == 1
    with pytest.raises(StateConflict, match="still refused: Signed"):
        replay(refuse(replace(incoming, received_at=hour_ago)))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (refuse(build_incoming(secret=WRONG_SECRET)), "still refused"),
        (refuse(build_incoming(target="/callbacks/sandbox/an-old-token")), "no longer a callback URL"),
        (refuse(build_incoming(), "address"), "The address was not stored"),
        (refuse(build_incoming(), "handshake"), "The handshake was not stored"),
    ],
)
def test_refusal_that_still_holds_is_a_conflict(stored: StoredCallback, message: str) -> None:
    with pytest.raises(StateConflict, match=message):
        replay(stored)


EQUALS = Recipe(source="auth.token", secrets=["the secret of theirs"], algorithm="equals")
EQUALS_PROVIDER = replace(
    provider(),
    callbacks=replace(
        provider().require_callbacks(), settings=CallbackSettings(CallbackAuth(EQUALS, fingerprints=("00112233",)))
    ),
)


def verify_equals(database: Database, key: str = "the secret of theirs") -> VerifiedCallback:
    body = json.dumps({**json.loads(build_report("ref-1")), "auth": {"token": key}}).encode()
    headers = {"content-type": "application/json"}
    incoming = IncomingCallback("POST", "/callbacks/sandbox", headers, body, datetime.now(UTC), PUBLIC_URL)
    with closing(CallbackAuthenticator(AuthLog(database), KeyDocuments())) as authenticator:
        return authenticator.authenticate(EQUALS_PROVIDER, incoming)


def test_replay_of_redacted_callback_adds_no_event(connection: Connection, dsn: str) -> None:
    with closing(Database(dsn)) as database:
        first, again = parse_callback(verify_equals(database)), parse_callback(verify_equals(database))
    record_callbacks(connection, first.events, [first.stored], ())
    stored = find_callback(connection, first.stored.id)
    assert stored
    assert b"the secret of theirs" not in stored.body
    assert (stored.verified, stored.secret_fingerprint) == (True, "00112233")
    with connection.transaction():
        record_replay(connection, parse_again(stored, EQUALS_PROVIDER, KeyDocuments(), PUBLIC_URL), "ops", None)
    record_callbacks(connection, again.events, [again.stored], ())
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)
    verdicts = connection.execute("SELECT verdict FROM callbacks ORDER BY verdict").fetchall()
    assert verdicts == [("accepted",), ("duplicate",)]


def test_refused_callback_of_a_signed_url_is_verified_with_its_token() -> None:
    recipe = Recipe(source="header:X-Sig", secrets=["s"], signed="{url}{body}")
    token, body = "an-unguessable-token", build_report("ref-1")
    auth = CallbackAuth(recipe, (token,), fingerprints=("00112233",))
    url_provider = replace(
        provider(), callbacks=replace(provider().require_callbacks(), settings=CallbackSettings(auth))
    )
    target = f"/callbacks/sandbox/{token}"
    signature = hmac.new(b"s", f"{PUBLIC_URL}{target}".encode() + body, "sha256").hexdigest()
    headers = {"content-type": "application/json", "x-sig": signature}
    incoming = auth.redactor.redact(IncomingCallback("POST", target, headers, body, datetime.now(UTC), PUBLIC_URL))
    parsed = parse_again(refuse(incoming, "x-sig"), url_provider, KeyDocuments(), PUBLIC_URL)
    assert (len(parsed.events), parsed.stored.secret_fingerprint) == (1, "00112233")
    assert token not in parsed.stored.target


def test_refused_callback_is_verified_by_the_public_url_of_its_provider() -> None:
    recipe, body = Recipe(source="header:X-Sig", secrets=["s"], signed="{url}{body}"), build_report("ref-1")
    auth = CallbackAuth(recipe, public_url="https://hooks.acme.example/in")
    callbacks = replace(provider().require_callbacks(), settings=CallbackSettings(auth))
    signature = hmac.new(b"s", b"https://hooks.acme.example/in?a=1" + body, "sha256").hexdigest()
    headers = {"content-type": "application/json", "x-sig": signature}
    incoming = IncomingCallback("POST", "/callbacks/sandbox?a=1", headers, body, datetime.now(UTC), PUBLIC_URL)
    stored = refuse(incoming, "x-sig")
    parsed = parse_again(stored, replace(provider(), callbacks=callbacks), KeyDocuments(), PUBLIC_URL)
    assert (len(parsed.events), parsed.stored.target) == (1, "/callbacks/sandbox?a=1")
    explanation = explain(stored, replace(provider(), callbacks=callbacks), KeyDocuments(), PUBLIC_URL)
    assert "valid with the current settings" in explanation.causes[0]


def test_replay_stores_events_verdict_and_action(connection: Connection) -> None:
    stored = refuse(build_incoming())
    save_refused(connection, [stored], max_per_provider=1)
    with connection.transaction():
        record_replay(connection, replay(stored), "ops", "the secret was missing")
    replayed = find_callback(connection, stored.id)
    assert replayed
    assert (replayed.verdict, replayed.errors) == (Verdict.ACCEPTED, None)
    assert connection.execute("SELECT callback_id, received_at FROM events").fetchall() == [
        (stored.id, stored.received_at)
    ]
    [action] = find_actions(connection, stored.id)
    assert (action.action, action.actor, action.reason) == ("replay", "ops", "the secret was missing")


@pytest.mark.parametrize(("caller", "counted_as"), [("2001:db8::1", "2001:db8::/64"), ("192.0.2.1", "")])
def test_accepted_callback_no_longer_counts_as_refused(connection: Connection, caller: str, counted_as: str) -> None:
    stored = replace(refuse(build_incoming(), "timestamp"), caller_address=caller)
    save_refused(connection, [stored], max_per_provider=1)
    refusal = Refusal("sandbox", "signature", counted_as, 2, stored.received_at)
    others = [replace(refusal, caller_address="192.0.2.9"), replace(refusal, reason="method")]
    save_refusals(connection, [refusal, *others])
    record_replay(connection, replay(stored), "ops", None)
    counts = {(item.reason, item.caller_address): item.count for item in list_refusals(connection, ["sandbox"])}
    assert counts == {("signature", counted_as): 1, ("signature", "192.0.2.9"): 2, ("method", counted_as): 2}
    record_replay(connection, replay(replace(stored, verdict=Verdict.ACCEPTED, verified=True)), "ops", None)
    assert len(list_refusals(connection, ["sandbox"])) == 3
    withdraw_refusal(connection, refusal)
    assert [item.caller_address for item in list_refusals(connection, ["sandbox"])].count("192.0.2.9") == 1
    assert len(list_refusals(connection, ["sandbox"])) == 2


def test_replay_of_accepted_callback_adds_no_event(connection: Connection) -> None:
    parsed = parse(build_incoming())
    record_callbacks(connection, parsed.events, [parsed.stored], ())
    with connection.transaction():
        record_replay(connection, replay(parsed.stored), "ops", None)
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)
