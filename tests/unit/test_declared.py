"""Declared providers: every knob of `receiver.toml`, on documents such as the vendors publish."""

import hmac
import json
import tomllib
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from receiver.domain.callbacks import Ack, IncomingCallback, parse_attempt_token, redact_attempt_token
from receiver.domain.jobs import EventSource, JobStatus, StatusReport
from receiver.domain.sending import ItemStatus, ParsedResponse, Response
from receiver.domain.unknown_requests import UnknownRequest
from receiver.providers.base import LookupImpossible, MalformedCallback, OutgoingRequest, Provider
from receiver.providers.registry import build_provider
from receiver.signatures.base import SignatureRefused
from tests.factories import NOON, SECRET, attempt, report

BASE = f"""
kind = "declared"
base_url = "https://api.acme.example/base"
auth = {{ scheme = "bearer", secret = "sk_1" }}
signature = {{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}
"""
SIGNATURE = f'signature = {{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}'
TOKEN_ONLY = BASE.replace(SIGNATURE, 'signature = { scheme = "token", secrets = ["an-unguessable-token"] }')
OPERATION = '[operations.render]\npath = "/v1/renders"\n'
CALLBACK = """
[callback]
reference = "id"
status = "state"
statuses = { RUNNING = "in_progress", DONE = "succeeded", ERROR = "failed" }
"""
OURS = "https://receiver.example/callbacks/acme"


def table(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def provider(more: str = CALLBACK, base: str = BASE) -> Provider:
    return build_provider("acme", table(base + more))


def sent(more: str, payload: dict[str, Any], base: str = BASE) -> OutgoingRequest:
    """Give the request that an operation `render` makes."""
    built = provider(more + CALLBACK, base)
    return built.compose(attempt(operation="render", payload=payload), OURS)


def incoming(
    body: object = b"", *, target: str = "/callbacks/acme", media_type: str = "", method: str = "POST", **headers: str
) -> IncomingCallback:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    given = {
        "content-type": media_type or "application/json",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    return IncomingCallback(method, target, given, raw, NOON)


def reports(more: str, given: IncomingCallback) -> list[StatusReport]:
    parsed = provider(more).parse(given)
    assert parsed.errors == {}
    return [report for _, report in parsed.reports]


def said(more: str, body: object) -> list[tuple[str, JobStatus | None, str | None]]:
    return [(report.reference, report.status, report.provider_status) for report in reports(more, incoming(body))]


def faults(more: str, base: str = BASE) -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        provider(more, base)
    return caught.value.messages_dict


def auth(text: str) -> str:
    return BASE.replace('auth = { scheme = "bearer", secret = "sk_1" }', text)


@pytest.mark.parametrize(
    ("given", "headers", "target", "body"),
    [
        ('auth = { scheme = "bearer", secret = "s" }', {"authorization": "Bearer s"}, "/base/v1/renders", {"a": 1}),
        (
            'auth = { scheme = "header", secret = "s", name = "Authorization", prefix = "Key " }',
            {"authorization": "Key s"},
            "/base/v1/renders",
            {"a": 1},
        ),
        ('auth = { scheme = "basic", secret = "u:p" }', {"authorization": "Basic dTpw"}, "/base/v1/renders", {"a": 1}),
        ('auth = { scheme = "query", secret = "s&", name = "key" }', {}, "/base/v1/renders?key=s%26", {"a": 1}),
        (
            'auth = { scheme = "body", secret = "s", name = "api_key" }',
            {},
            "/base/v1/renders",
            {"a": 1, "api_key": "s"},
        ),
        ('headers = { X-Version = "2" }', {"x-version": "2"}, "/base/v1/renders", {"a": 1}),
    ],
)
def test_a_request_proves_itself_as_declared(given: str, headers: dict[str, str], target: str, body: object) -> None:
    outgoing = sent(OPERATION, {"a": 1}, auth(given))
    assert (outgoing.method, outgoing.target) == ("POST", target)
    assert outgoing.headers == {**headers, "content-type": "application/json"}
    assert json.loads(outgoing.body) == body


def test_a_form_holds_lists_repeated_and_everything_else_as_json() -> None:
    outgoing = sent(OPERATION + 'body = "form"\n', {"to": ["1", "2"], "deep": {"a": True}, "n": 3})
    assert outgoing.headers["content-type"] == "application/x-www-form-urlencoded"
    assert outgoing.body == urlencode([("to", "1"), ("to", "2"), ("deep", '{"a":true}'), ("n", "3")]).encode()


def test_names_in_the_path_are_taken_out_of_the_payload_and_encoded() -> None:
    outgoing = sent('[operations.render]\npath = "/{model}/run"\n', {"model": "a/b c", "x": 1})
    assert outgoing.target == "/base/a%2Fb%20c/run"
    assert json.loads(outgoing.body) == {"x": 1}


@pytest.mark.parametrize(
    ("place", "target", "header", "body"),
    [
        ("webhook_url", "/base/v1/renders", None, {"webhook_url": OURS}),
        ("hooks.done.url", "/base/v1/renders", None, {"hooks": {"done": {"url": OURS}}}),
        ("query:fal_webhook", f"/base/v1/renders?{urlencode({'fal_webhook': OURS})}", None, {}),
        ("header:X-Callback", "/base/v1/renders", OURS, {}),
    ],
)
def test_our_callback_url_goes_where_the_provider_wants_it(
    place: str, target: str, header: str | None, body: object
) -> None:
    outgoing = sent(f'{OPERATION}callback_url = "{place}"\n', {})
    assert outgoing.target == target
    assert outgoing.headers.get("x-callback") == header
    assert json.loads(outgoing.body) == body


def test_an_idempotency_key_is_the_requests_own_and_equal_for_every_attempt() -> None:
    built = provider(OPERATION + 'idempotency_header = "Idempotency-Key"\n' + CALLBACK)
    first = attempt(operation="render", payload={})
    second = attempt(operation="render", payload={}, request_id=first.request_id)
    keys = {built.compose(one, OURS).headers["idempotency-key"] for one in (first, second)}
    assert keys == {str(first.request_id)}


def test_a_payload_without_what_is_required_is_not_sent() -> None:
    built = provider(
        '[operations.render]\npath = "/{model}"\nrequired = ["text"]\ndefaults = { size = 1 }\n' + CALLBACK
    )
    assert built.check_payload("render", {}, NOON) == {"text": ["is required"], "model": ["is required"]}
    assert built.check_payload("render", {"text": "a", "model": {}}, NOON) == {"model": ["must be text or a number"]}
    for dots in (".", ".."):
        assert built.check_payload("render", {"text": "a", "model": dots}, NOON) == {"model": ["must not be . or .."]}
    assert built.check_payload("render", {"text": "a", "model": "m"}, NOON) == {}
    assert json.loads(built.compose(attempt(operation="render", payload={"model": "m"}), OURS).body) == {"size": 1}


ANSWER = """
[response]
items = "items[]"
reference = "id"
code = "status"
codes = { queued = "accepted", done = "succeeded", bad = "rejected", 7 = "retry" }
detail = ["error.message", "note"]
"""


def items(more: str, body: object) -> list[tuple[ItemStatus, str | None, str | None, str | None]]:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    parsed = provider(more + CALLBACK).interpret(Response(202, {}, raw))
    return [(item.item_status, item.reference, item.code, item.detail) for item in parsed.items]


def test_each_item_of_an_answer_is_read_by_its_own_code_whatever_its_case_or_type() -> None:
    body = {
        "items": [
            {"id": "a", "status": "QUEUED", "note": "soon"},
            {"id": 17, "status": "done"},
            {"status": "bad", "error": {"message": "no such model"}},
            {"id": "c", "status": 7},
            {"id": "d", "status": "sparkling"},
            {"id": "e"},
        ]
    }
    assert items(ANSWER, body) == [
        (ItemStatus.ACCEPTED, "a", "QUEUED", "soon"),
        (ItemStatus.SUCCEEDED, "17", "done", None),
        (ItemStatus.REFUSED, None, "bad", "no such model"),
        (ItemStatus.RETRY, "c", "7", None),
        (ItemStatus.UNKNOWN, "d", "sparkling", None),
        (ItemStatus.UNKNOWN, "e", None, None),
    ]


def test_without_codes_an_item_with_a_reference_is_accepted_and_one_without_is_not() -> None:
    plivo = '[response]\nitems = "message_uuid"\nreference = "@"\n'
    assert items(plivo, {"message_uuid": ["u-1", "u-2", None]}) == [
        (ItemStatus.ACCEPTED, "u-1", None, None),
        (ItemStatus.ACCEPTED, "u-2", None, None),
        (ItemStatus.UNKNOWN, None, None, None),
    ]


def test_a_composite_reference_joins_what_its_paths_lead_to_and_may_start_at_the_whole() -> None:
    more = '[response]\nitems = "to[]"\nreference = ["$.batch", "number"]\n'
    assert items(more, {"batch": "b-1", "to": [{"number": "1"}, {"number": "2"}, {}]}) == [
        (ItemStatus.ACCEPTED, "b-1/1", None, None),
        (ItemStatus.ACCEPTED, "b-1/2", None, None),
        (ItemStatus.UNKNOWN, None, None, None),
    ]


def test_an_answer_that_is_no_json_is_a_problem_and_no_item() -> None:
    parsed = provider(ANSWER + CALLBACK).interpret(Response(200, {}, b"<html>"))
    assert parsed.items == ()
    assert parsed.problem is not None


def test_a_callbacks_words_are_compared_without_regard_to_case_and_unknown_ones_are_kept() -> None:
    assert said(CALLBACK, {"id": "a", "state": "done"}) == [("a", JobStatus.SUCCEEDED, "done")]
    assert said(CALLBACK, {"id": "a", "state": "Error"}) == [("a", JobStatus.FAILED, "Error")]
    assert said(CALLBACK, {"id": "a", "state": "melting"}) == [("a", None, "melting")]
    assert said(CALLBACK, {"id": "a"}) == [("a", None, None)]


META = """
[callback]
items = "entry[].changes[].value.statuses[]"
reference = "id"
status = "status"
statuses = { sent = "in_progress", delivered = "succeeded", failed = "failed" }
code = "errors[0].code"
detail = "errors[0].title"
occurred_at = "timestamp"
time_unit = "s"
[callback.handshake]
kind = "get-echo"
token_at = "query:hub.verify_token"
token = "let-me-in-please"
echo = "query:hub.challenge"
"""


def test_items_may_lie_several_levels_deep() -> None:
    def change(*statuses: dict[str, Any]) -> dict[str, Any]:
        return {"changes": [{"value": {"statuses": list(statuses)}}]}

    one = {"id": "wamid.1", "status": "delivered", "timestamp": "1763899200"}
    two = {"id": "wamid.2", "status": "failed", "errors": [{"code": 131047, "title": "Re-engagement"}]}
    read = reports(META, incoming({"entry": [change(one), change(two)]}))
    assert [(report.reference, report.status) for report in read] == [
        ("wamid.1", JobStatus.SUCCEEDED),
        ("wamid.2", JobStatus.FAILED),
    ]
    assert str(read[0].occurred_at) == "2025-11-23 12:00:00+00:00"
    assert (read[1].code, read[1].detail) == ("131047", "Re-engagement")


def test_one_bad_item_takes_none_of_the_others_with_it() -> None:
    more = CALLBACK.replace('reference = "id"', 'reference = "id"\nitems = "results[]"')
    parsed = provider(more).parse(incoming({"results": [{"id": "a", "state": "DONE"}, {"state": "DONE"}, 7]}))
    assert [(index, report.reference) for index, report in parsed.reports] == [(0, "a")]
    assert list(parsed.errors) == ["id"]


@pytest.mark.parametrize(
    "body", [b"", b"no json", b"[]", b"{}", b'{"id": null}', b'{"id": {}}', b'{"id": 1e30}', b'{"id": true}']
)
def test_a_callback_that_names_no_job_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedCallback):
        provider().parse(incoming(body))


@given(
    body=st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["id", "state", "entry", "changes", "value", "statuses", "errors"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_a_callback_holds_it_is_read_or_malformed(body: bytes) -> None:
    for more in (CALLBACK, META):
        try:
            read = _PROVIDERS[more].parse(incoming(body)).reports
        except MalformedCallback:
            continue
        assert all(report.reference for _, report in read)


_PROVIDERS = {more: provider(more) for more in (CALLBACK, META)}

FORM = """
[callback]
body = "form"
methods = ["POST", "GET"]
reference = "MessageUUID"
status = "Status"
statuses = { queued = "in_progress", sent = "in_progress", delivered = "succeeded", failed = "failed" }
code = "ErrorCode"
"""


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_form_may_come_in_the_body_or_in_the_query(method: str) -> None:
    fields = "MessageUUID=u-1&Status=failed&ErrorCode=450&To=%2B2348030000000"
    body, query = (fields, "") if method == "POST" else ("", f"?{fields}")
    given = incoming(
        body.encode(), target=f"/callbacks/acme{query}", method=method, media_type="application/x-www-form-urlencoded"
    )
    built = provider(FORM, TOKEN_ONLY)
    [(_, report)] = built.parse(given).reports
    assert (report.reference, report.status, report.code) == ("u-1", JobStatus.FAILED, "450")
    assert built.callback_settings.methods == {"GET", "POST"}


@pytest.mark.parametrize("line", ['methods = ["GET", "POST"]', 'body = "query"'])
def test_what_the_signature_does_not_cover_is_not_read(line: str) -> None:
    told = faults(CALLBACK.replace("[callback]", f"[callback]\n{line}"))
    assert "does not cover the query" in str(told["callback"])


def test_items_that_are_signed_one_by_one_are_those_that_are_read() -> None:
    adyen = BASE.replace(SIGNATURE, 'signature = { scheme = "adyen", secrets = ["00ff"] }')
    told = faults(CALLBACK.replace("[callback]", '[callback]\nitems = "others[]"'), adyen)
    assert list(told["callback"]) == ["items"]


def test_one_form_field_may_hold_the_json() -> None:
    more = CALLBACK.replace("[callback]", '[callback]\nbody = "form"\njson_field = "response"\nitems = "[]"')
    inner = json.dumps([{"id": "a", "state": "DONE"}, {"id": "b", "state": "ERROR"}])
    given = incoming(urlencode({"response": inner}).encode(), media_type="application/x-www-form-urlencoded")
    assert [report.reference for report in reports(more, given)] == ["a", "b"]
    with pytest.raises(MalformedCallback):
        provider(more).parse(incoming(b"other=1"))


PAYSTACK = """
[callback]
reference = "data.reference"
status = "event"
superseding = ["transfer.reversed"]
only = { event = ["charge.success", "transfer.failed", "transfer.reversed"] }
[callback.statuses]
"charge.success" = "succeeded"
"transfer.failed" = "failed"
"transfer.reversed" = "failed"
"""


def test_a_reversal_supersedes_the_final_word_before_it() -> None:
    [report] = reports(PAYSTACK, incoming({"event": "transfer.reversed", "data": {"reference": "t-1"}}))
    assert (report.status, report.superseding) == (JobStatus.FAILED, True)


def test_an_event_that_is_not_asked_for_is_taken_and_says_nothing() -> None:
    assert reports(PAYSTACK, incoming({"event": "customeridentification.success", "data": {}})) == []
    ignoring = CALLBACK.replace("[callback]", '[callback]\nignore = { type = ["ping"] }')
    assert reports(ignoring, incoming({"type": "ping"})) == []


def test_a_thin_callback_only_asks() -> None:
    more = """
[callback]
reference = "transcript_id"
status = "status"
statuses = { queued = "in_progress", completed = "succeeded", error = "failed" }
fetch = true
[poll]
path = "/v2/transcript/{reference}"
reference = "id"
"""
    [report] = reports(more, incoming({"transcript_id": "t-1", "status": "completed"}))
    assert (report.reference, report.status, report.provider_status, report.needs_poll) == (
        "t-1",
        None,
        "completed",
        True,
    )


@pytest.mark.parametrize(
    ("event_id", "expected"),
    [("header:X-Delivery", "d-1"), ("query:n", "7"), ("id", "evt-1"), ("missing", ""), ("header:X-None", "")],
)
def test_the_event_id_is_found_where_it_is_declared(event_id: str, expected: str) -> None:
    built = provider(CALLBACK.replace("[callback]", f'[callback]\nevent_id = "{event_id}"'))
    given = incoming({"id": "evt-1"}, target="/callbacks/acme?n=7", x_delivery="d-1")
    assert built.event_id(given) == expected


def test_the_acknowledgement_is_the_providers() -> None:
    built = provider(
        CALLBACK.replace(
            "[callback]", '[callback]\nack = { status = 202, body = "[accepted]", content_type = "text/plain" }'
        )
    )
    assert built.callback_settings.ack == Ack(202, b"[accepted]", {"content-type": "text/plain"})


def test_a_get_with_the_verify_token_gets_its_challenge_back_as_plain_text() -> None:
    target = "/callbacks/acme?hub.mode=subscribe&hub.verify_token={}&hub.challenge=%3Cb%3E"
    greeting = provider(META).handshake(incoming(method="GET", target=target.format("let-me-in-please")))
    assert greeting is not None
    assert greeting.body == b"<b>"
    assert greeting.headers["content-type"].startswith("text/plain")
    for wrong in (target.format("let-me-in"), target.format("%00"), "/callbacks/acme"):
        with pytest.raises(SignatureRefused):
            provider(META).handshake(incoming(method="GET", target=wrong))
    assert provider(META).handshake(incoming({"entry": []})) is None


def greeted(handshake: str, body: object) -> Ack | None:
    more = CALLBACK.replace("[callback]", f"[callback]\nhandshake = {handshake}")
    return provider(more, TOKEN_ONLY).handshake(incoming(body))


def test_a_posted_challenge_is_echoed_only_where_it_is_one() -> None:
    slack = '{ kind = "post-echo", when = { type = "url_verification" }, echo = "challenge" }'
    greeting = greeted(slack, {"type": "url_verification", "challenge": "3eZ"})
    assert greeting is not None
    assert (greeting.status, greeting.body) == (200, b"3eZ")
    assert greeted(slack, {"type": "event_callback", "challenge": "3eZ"}) is None


def test_a_posted_token_is_answered_with_its_hmac() -> None:
    when = '{ event = "endpoint.url_validation" }'
    zoom = f'{{ kind = "post-hmac", when = {when}, echo = "payload.plainToken", secret = "s3cret" }}'
    greeting = greeted(zoom, {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}})
    assert greeting is not None
    assert json.loads(greeting.body) == {
        "plainToken": "qgg8vlvZRS6UYooatFL8Aw",
        "encryptedToken": _hmac("s3cret", "qgg8vlvZRS6UYooatFL8Aw"),
    }


def _hmac(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


def test_a_handshake_that_is_not_signed_is_refused_where_callbacks_are() -> None:
    more = CALLBACK.replace(
        "[callback]", '[callback]\nhandshake = { kind = "post-echo", when = { type = "v" }, echo = "c" }'
    )
    with pytest.raises(SignatureRefused):
        provider(more).handshake(incoming({"type": "v", "c": "x"}))


POLL = """
[poll]
path = "/v1/renders/{reference}?full=1"
reference = "id"
not_found = "failed"
"""


def test_a_poll_asks_by_reference_and_reads_by_the_callbacks_map() -> None:
    built = provider(CALLBACK + POLL)
    assert built.can_poll
    outgoing = built.compose_poll("a/b", None)
    assert (outgoing.method, outgoing.target) == ("GET", "/base/v1/renders/a%2Fb?full=1")
    assert outgoing.headers == {"authorization": "Bearer sk_1"}
    read = built.interpret_poll("r", Response(200, {}, b'{"id": "r", "state": "done"}'))
    assert read is not None
    assert read.status is JobStatus.SUCCEEDED
    assert built.interpret_poll("r", Response(200, {}, b'{"id": "other", "state": "done"}')) is None
    assert built.interpret_poll("r", Response(200, {}, b"<html>")) is None
    assert built.interpret_poll("r", Response(500, {}, b'{"id": "r", "state": "done"}')) is None
    gone = built.interpret_poll("r", Response(404, {}, b""))
    assert gone is not None
    assert gone.status is JobStatus.FAILED


def test_a_poll_finds_its_job_among_others_and_may_have_words_of_its_own() -> None:
    more = """
[poll]
method = "POST"
path = "/status"
body = { ids = "{reference}" }
items = "jobs[]"
reference = "ref"
status = "s"
statuses = { ok = "succeeded" }
"""
    built = provider(CALLBACK + more)
    assert json.loads(built.compose_poll("b", None).body) == {"ids": "b"}
    read = built.interpret_poll("b", Response(200, {}, b'{"jobs": [{"ref": "a", "s": "no"}, {"ref": "b", "s": "OK"}]}'))
    assert read is not None
    assert read.status is JobStatus.SUCCEEDED


def test_what_is_told_only_once_of_other_jobs_is_told_too() -> None:
    once = POLL.replace("not_found", 'items = "results"\nread_once = true\nnot_found')
    response = Response(200, {}, b'{"results": [{"id": "a", "state": "DONE"}, {"id": "b", "state": "ERROR"}, {}]}')
    built = provider(CALLBACK + once)
    assert [report.reference for report in built.others_in_poll(["a"], response)] == ["b"]
    assert provider(CALLBACK + once.replace("true", "false")).others_in_poll(["a"], response) == ()
    assert not built.others_in_poll(["a"], Response(200, {}, b"<html>"))


def test_the_url_at_which_a_job_is_polled_may_stand_in_the_answer() -> None:
    built = provider('[response]\nreference = "id"\nlocation = "urls.get"\n' + CALLBACK + POLL)
    url = "https://api.acme.example/base/p/1"
    [item] = built.interpret(Response(201, {}, orjson.dumps({"id": "p1", "urls": {"get": url}}))).items
    assert item.location == url
    said = report("p1", JobStatus.ACCEPTED, location=item.location)
    assert built.event(said, EventSource.RESPONSE, uuid4(), NOON).location == "/base/p/1"
    assert built.compose_poll("p1", "/base/p/1").target == "/base/p/1"


def test_a_provider_without_a_poll_is_never_asked() -> None:
    assert not provider().can_poll
    assert not provider().can_look_up
    assert provider().first_lookup_after is None


MANY = ["a/b", "c,d"]


@pytest.mark.parametrize(
    ("poll", "target", "body"),
    [
        ('path = "/v1/jobs?ids={references}"', "/base/v1/jobs?ids=a%2Fb,c%2Cd", b""),
        ('path = "/v1/jobs/{references}/status"\nseparator = "|"', "/base/v1/jobs/a%2Fb|c%2Cd/status", b""),
        ('path = "/s"\nmethod = "POST"\nbody = { q = { ids = "{references}" } }', "/base/s", {"q": {"ids": MANY}}),
        ('path = "/s"\nmethod = "POST"\nbody = { ids = "in:{references}" }', "/base/s", {"ids": "in:a/b,c,d"}),
        (
            'path = "/s"\nmethod = "POST"\nencoding = "form"\nbody = { ids = "{references}", full = "1" }',
            "/base/s",
            b"ids=a%2Fb%2Cc%2Cd&full=1",
        ),
    ],
)
def test_a_poll_may_ask_about_many_jobs(poll: str, target: str, body: object) -> None:
    built = provider(f"{CALLBACK}[poll]\nbatch = 100\n{poll}\n")
    assert built.poll_batch == 100
    outgoing = built.compose_batch(MANY)
    assert outgoing.target == target
    assert (json.loads(outgoing.body) if isinstance(body, dict) else outgoing.body) == body
    assert ("content-type" in outgoing.headers) == bool(body)
    assert built.compose_poll("a/b", "/elsewhere").target == "/elsewhere"


KEYED = """[operations.render]
path = "/v1/renders"
idempotency_header = "Idempotency-Key"
defaults = { area = "eu" }
[response]
reference = "id"
code = "status"
codes = { queued = "accepted", done = "succeeded", bad = "rejected" }
"""
LOOKUP = """
[lookup]
path = "/v1/renders?key={request_id}&area={area}&order={order}"
items = "data"
"""


def in_doubt(**payload: Any) -> UnknownRequest:
    """Give a request in doubt."""
    return UnknownRequest(
        id=UUID(int=7),
        provider="acme",
        operation="render",
        payload=payload,
        failures=1,
        lookup_count=1,
        not_found=0,
        unknown_since=NOON,
        deadline_at=NOON,
        at=NOON,
    )


def test_a_lookup_asks_by_the_requests_id_and_its_payload() -> None:
    built = provider(KEYED + CALLBACK + LOOKUP)
    assert built.can_look_up
    assert built.first_lookup_after == 60.0
    outgoing = built.compose_lookup(in_doubt(order="7 & 8"))
    assert (outgoing.method, outgoing.body) == ("GET", b"")
    assert outgoing.target == f"/base/v1/renders?key={UUID(int=7)}&area=eu&order=7%20%26%208"
    assert outgoing.headers == {"authorization": "Bearer sk_1"}


@pytest.mark.parametrize("payload", [{}, {"order": ""}, {"order": None}, {"order": ["7"]}])
def test_a_request_without_what_it_is_known_by_is_not_asked_about(payload: dict[str, Any]) -> None:
    """An empty value would ask for everybody's."""
    with pytest.raises(LookupImpossible, match="its payload has no order"):
        provider(KEYED + CALLBACK + LOOKUP).compose_lookup(in_doubt(**payload))


def test_a_lookup_may_ask_in_its_body() -> None:
    more = '[lookup]\nmethod = "POST"\npath = "/find"\nbody = { any = [{ key = "{request_id}" }], n = 1 }\n'
    outgoing = provider(KEYED + CALLBACK + more).compose_lookup(in_doubt())
    assert json.loads(outgoing.body) == {"any": [{"key": str(UUID(int=7))}], "n": 1}


def test_a_lookup_reads_as_an_answer_is_read() -> None:
    built = provider(KEYED + CALLBACK + LOOKUP)
    body = {"data": [{"id": "r1", "status": "queued"}, {"id": "r2", "status": "DONE"}, {"id": "r3", "status": "?"}]}
    items = built.interpret_lookup(Response(200, {}, orjson.dumps(body))).items
    assert [(item.reference, item.item_status) for item in items] == [
        ("r1", ItemStatus.ACCEPTED),
        ("r2", ItemStatus.SUCCEEDED),
        ("r3", ItemStatus.UNKNOWN),
    ]


@pytest.mark.parametrize(
    "response", [Response(404, {}, b""), Response(200, {}, b'{"data": []}'), Response(200, {}, b"{}")]
)
def test_a_lookup_without_items_says_that_the_request_is_not_known(response: Response) -> None:
    assert provider(KEYED + CALLBACK + LOOKUP).interpret_lookup(response) == ParsedResponse()


@pytest.mark.parametrize(
    "response", [Response(500, {}, b'{"data": []}'), Response(401, {}, b""), Response(200, {}, b"<html>")]
)
def test_a_lookup_that_fails_says_nothing(response: Response) -> None:
    parsed = provider(KEYED + CALLBACK + LOOKUP).interpret_lookup(response)
    assert (parsed.items, bool(parsed.problem)) == ((), True)


def test_a_lookup_may_tell_by_the_words_for_a_jobs_status() -> None:
    more = LOOKUP + 'status = "state"\nreference = "ref"\n'
    words = ["RUNNING", "done", "error", "?"]
    body = {"data": [{"ref": word, "state": word} for word in words]}
    items = provider(KEYED + CALLBACK + more).interpret_lookup(Response(200, {}, orjson.dumps(body))).items
    assert [(item.reference, item.item_status, item.job) for item in items] == [
        ("RUNNING", ItemStatus.ACCEPTED, JobStatus.IN_PROGRESS),
        ("done", ItemStatus.SUCCEEDED, JobStatus.SUCCEEDED),
        ("error", ItemStatus.ACCEPTED, JobStatus.FAILED),
        ("?", ItemStatus.UNKNOWN, None),
    ]


OUR_ID = "018f0000-0000-7000-8000-000000000007"


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("meta.key", lambda sent: sent["body"]["meta"]["key"]),
        ("query:key", lambda sent: sent["query"]["key"]),
        ("header:X-Key", lambda sent: sent["headers"]["x-key"]),
    ],
)
def test_our_id_is_sent_where_the_provider_wants_it(place: str, found: Callable[[dict[str, Any]], str]) -> None:
    attempted = attempt(operation="render", payload={})
    built = provider(f'{OPERATION}request_id = "{place}"\n{CALLBACK}')
    outgoing = built.compose(attempted, OURS)
    told = {
        "body": json.loads(outgoing.body),
        "query": dict(parse_qsl(urlsplit(outgoing.target).query)),
        "headers": outgoing.headers,
    }
    assert found(told) == str(attempted.request_id)


@pytest.mark.parametrize("ours", [OURS, f"{OURS}?region=eu"])
def test_the_callback_url_says_which_attempt_it_was_sent_with(ours: str) -> None:
    attempted = attempt(operation="render", payload={})
    built = provider(f'{OPERATION}callback_url = "hook"\ncallback_token = true\n{CALLBACK}')
    url = json.loads(built.compose(attempted, ours).body)["hook"]
    assert url.startswith(ours)
    came = incoming({}, target=url.removeprefix("https://receiver.example"))
    assert parse_attempt_token(came) == attempted.id
    assert built.callback_settings.by_token
    assert not provider(OPERATION + CALLBACK).callback_settings.by_token
    assert redact_attempt_token(came.target, "…") == came.target.replace(str(attempted.id), "…")


@pytest.mark.parametrize(
    "query",
    ["", "request=", "request=7", f"xrequest={OUR_ID}", f"request={OUR_ID}0", f"request={OUR_ID.replace('-', '')}"],
)
def test_what_is_no_token_is_none(query: str) -> None:
    assert parse_attempt_token(incoming({}, target=f"/callbacks/acme?{query}")) is None


CLAIMED = CALLBACK.replace("[callback]", '[callback]\nitems = "jobs"\nrequest = "meta.key"')


@pytest.mark.parametrize("given", [OUR_ID, OUR_ID.upper(), "", "7", None, 7, [OUR_ID]])
def test_a_callback_may_give_our_id_back_for_each_of_its_items(given: object) -> None:
    jobs = [{"id": "a", "state": "DONE", "meta": {"key": given}}, {"id": "b", "state": "DONE"}]
    reports = [report for _, report in provider(KEYED + CLAIMED).parse(incoming({"jobs": jobs})).reports]
    claimed = UUID(OUR_ID) if isinstance(given, str) and len(given) > 30 else None
    assert [report.request_id for report in reports] == [claimed, None]


def test_our_id_may_come_back_beside_the_body_where_the_signature_covers_it() -> None:
    signature = """signature = { scheme = "hmac", header = "x-sig", encoding = "hex", signed = "{body}{header:X-Key}", \
secrets = ["k"] }"""
    base = BASE.replace(SIGNATURE, signature.replace("\\\n", ""))
    headed = KEYED + CALLBACK.replace("[callback]", '[callback]\nrequest = "header:X-Key"')
    came = incoming({"id": "a", "state": "DONE"}, **{"x-key": OUR_ID})
    [(_, read)] = provider(headed, base).parse(came).reports
    assert read.request_id == UUID(OUR_ID)
    for place in ("header:X-Other", "query:key"):
        with pytest.raises(ValidationError) as told:
            provider(headed.replace("header:X-Key", place), base)
        assert "does not cover" in told.value.messages_dict["callback"]["request"][0]


@pytest.mark.parametrize(
    ("more", "place"),
    [
        (f"{OPERATION}callback_token = true\n{CALLBACK}", "operations.render.callback_token"),
        (f"{OPERATION}{CLAIMED}", "callback.request"),
        (f'{OPERATION}[response]\nreference = "id"\n{CALLBACK}{LOOKUP}', "lookup.path"),
        (f'{KEYED}{CALLBACK}{LOOKUP}status = "s"\ncodes = {{ a = "accepted" }}\n', "lookup.codes"),
        (f'{KEYED}{CALLBACK}{LOOKUP}statuses = {{ a = "accepted" }}\n', "lookup.statuses"),
        (f'{KEYED}{CALLBACK}{LOOKUP}not_found = "failed"\n', "lookup.not_found"),
        (f'{KEYED}{CALLBACK}[lookup]\npath = "/v1/renders"\n', "lookup.path"),
        (f"{KEYED.replace('reference', '#')}{CALLBACK}{LOOKUP}", "lookup.reference"),
        (f'{CALLBACK}[poll]\npath = "/s/{{reference}}"\nbatch = 10\n', "poll.batch"),
        (f'{CALLBACK}[poll]\npath = "/s/{{references}}"\n', "poll.batch"),
        (f'{CALLBACK}[poll]\npath = "/s/{{references}}"\nbatch = 1001\n', "poll.batch"),
        (f'{CALLBACK}[poll]\npath = "/s/{{job}}"\n', "poll.path"),
        (f'{CALLBACK}[poll]\npath = "/s/{{references}}"\nbatch = 9\nseparator = " "\n', "poll.separator"),
    ],
)
def test_a_mistake_about_following_is_told_with_its_place(more: str, place: str) -> None:
    with pytest.raises(ValidationError) as told:
        provider(more)
    found: Any = told.value.messages_dict
    for name in place.split("."):
        assert name in found, told.value.messages_dict
        found = found[name]
    assert isinstance(found, list)


def test_every_mistake_in_the_tables_is_told_at_once_with_its_place() -> None:
    mistaken = """
max_concurency = 3
[operations.render]
method = "FETCH"
path = "v1"
body = "yaml"
[response]
items = "items["
code = "status"
[callback]
reference = "id"
statuses = { DONE = "finished" }
ack = { status = 404 }
handshake = { kind = "get-echo", echo = "query:" }
[poll]
path = "/x"
first_after = -1
"""
    told = faults(mistaken, auth('auth = { scheme = "header", secret = "s" }'))
    assert set(told) == {"max_concurency", "auth", "operations", "response", "callback", "poll"}
    assert set(told["operations"]["render"]) == {"method", "path", "body"}
    assert set(told["response"]) == {"items", "codes"}
    assert set(told["callback"]) == {"status", "statuses", "ack", "handshake"}
    assert set(told["poll"]) == {"first_after"}
    assert set(told["auth"]) == {"name"}


@pytest.mark.parametrize("needs", ["fetch = true"])
def test_callbacks_that_only_ask_need_a_poll(needs: str) -> None:
    assert set(faults(CALLBACK + needs)) == {"poll"}


def test_what_cannot_be_stored_costs_no_status_and_a_reference_that_cannot_is_malformed() -> None:
    more = CALLBACK + 'detail = "why"\ncode = "code"\n'
    [report] = reports(more, incoming({"id": "a", "state": "DONE", "why": "nul \0", "code": "\0"}))
    assert (report.status, report.detail, report.code) == (JobStatus.SUCCEEDED, None, None)
    for reference in ("nul \0", "x" * 2_000):
        with pytest.raises(MalformedCallback) as caught:
            provider(more).parse(incoming({"id": reference, "state": "DONE"}))
        assert list(caught.value.errors) == ["id"]


def test_a_report_keeps_its_place_in_the_body_whatever_is_left_out() -> None:
    more = CALLBACK.replace("[callback]", '[callback]\nitems = "[]"\nonly = { live = "true" }')
    body = [{"live": False}, {"live": True, "id": "a", "state": " done "}, {"live": True}]
    parsed = provider(more).parse(incoming(body))
    assert [(place, report.reference, report.status) for place, report in parsed.reports] == [
        (1, "a", JobStatus.SUCCEEDED)
    ]


def test_a_check_of_another_mode_is_refused() -> None:
    more = META + 'when = { "query:hub.mode" = "subscribe" }\n'
    target = "/callbacks/acme?hub.mode={}&hub.verify_token=let-me-in-please&hub.challenge=1"
    assert provider(more).handshake(incoming(method="GET", target=target.format("subscribe"))) is not None
    with pytest.raises(SignatureRefused):
        provider(more).handshake(incoming(method="GET", target=target.format("unsubscribe")))


def test_a_get_without_the_token_is_a_callback_where_those_come_by_get() -> None:
    more = META.replace("[callback]", '[callback]\nmethods = ["GET", "POST"]')
    built = provider(more, TOKEN_ONLY)
    assert built.handshake(incoming(method="GET", target="/callbacks/acme?id=1")) is None


def test_a_posted_token_is_answered_by_the_secret_that_signed_it() -> None:
    zoom = 'signature = { scheme = "zoom", secrets = ["new", "old"] }'
    base = BASE.replace(f'signature = {{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}', zoom)
    handshake = '{ kind = "post-hmac", when = { event = "v" }, echo = "p", secret = ["new", "old"] }'
    built = provider(CALLBACK.replace("[callback]", f"[callback]\nhandshake = {handshake}"), base)
    body = orjson.dumps({"event": "v", "p": "plain"})
    signature = f"v0={_hmac('old', f'v0:1:{body.decode()}')}"
    greeting = built.handshake(incoming(body, x_zm_signature=signature, x_zm_request_timestamp="1"))
    assert greeting is not None
    assert json.loads(greeting.body)["encryptedToken"] == _hmac("old", "plain")
