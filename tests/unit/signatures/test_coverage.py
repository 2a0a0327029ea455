"""What a signature covers, and which expressions read nothing but what it covers."""

import pytest

from receiver.signatures.base import Scheme
from receiver.signatures.coverage import CallbackDocument, Coverage
from receiver.signatures.fal import FalScheme
from receiver.signatures.http_messages import HTTPMessageSignatures
from receiver.signatures.jwt import Jwt
from receiver.signatures.plivo import PlivoV3
from receiver.signatures.presets import PRESETS
from receiver.signatures.recipe import Recipe
from receiver.signatures.standard_webhooks import StandardWebhooks
from receiver.signatures.twilio import Twilio

JSON, FORM, QUERY = (CallbackDocument(kind) for kind in ("json", "form", "query"))
FIELDS = Coverage(fields=("id", "data.state"))


def recipe(signed: str, **options: str) -> Recipe:
    return Recipe(source="header:X-Sig", secrets=("s",), signed=signed, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scheme", "covered"),
    [
        (recipe("{body}"), [JSON, FORM]),
        (recipe("{timestamp}{md5_b64}", timestamp="header:T"), [JSON, FORM]),
        (recipe("{url}{sha256_hex}"), [JSON, FORM, QUERY]),
        (recipe("{url}"), [QUERY]),
        (recipe("{header:X-Id}"), []),
        (recipe("{url_no_query}{path}{method}{content_type}"), []),
        (recipe("{url_no_query}{nonce}", nonce="header:N"), []),
        (recipe("{sorted_params}"), [FORM]),
        (recipe("{field:id}{query:id}"), []),
        (PRESETS["plivo-v2"](secrets=("s",)), []),
        (PRESETS["adyen"](secrets=("00",)), []),
        (PRESETS["flutterwave"](secrets=("s",)), []),
        (PRESETS["github"](secrets=("s",)), [JSON, FORM]),
        (StandardWebhooks([b"k"]), [JSON, FORM]),
        (Twilio(["s"]), [JSON, FORM, QUERY]),
        (PlivoV3(["s"]), [FORM, QUERY]),
        (Jwt(["s"], body_hash="payload_hash"), [JSON, FORM]),
        (FalScheme(), [JSON, FORM]),
        (HTTPMessageSignatures(["s"]), [JSON, FORM, QUERY]),
        (HTTPMessageSignatures(["s"], components=("@method", "date")), []),
    ],
)
def test_scheme_declares_documents_that_it_covers(scheme: Scheme, covered: list[CallbackDocument]) -> None:
    assert [document for document in (JSON, FORM, QUERY) if scheme.coverage.covers_document(document)] == covered


def test_recipe_covers_headers_and_parameters_that_are_signed() -> None:
    coverage = recipe(
        "{id}.{nonce}{timestamp}.{header:X-Job}.{query:n}.{content_type}.{body}",
        id="header:X-Id",
        nonce="query:nonce",
        timestamp="pair:t",
        format="pairs",
        pair="v1",
    ).coverage
    assert coverage.headers == {"x-id", "x-job", "content-type"}
    assert coverage.parameters == {"n", "nonce"}
    assert coverage.covers_header("X-JOB")
    assert not coverage.covers_header("x-other")
    assert not coverage.covers_parameter("m")


@pytest.mark.parametrize("path", ["id", "$.id", '"id"', "data.state", "join('.', [id, data.state])", "to_string(id)"])
def test_path_to_signed_fields_is_covered(path: str) -> None:
    assert FIELDS.covers_path(JSON, path)


@pytest.mark.parametrize(
    "path",
    [
        *("data", "data.id", "state", "@", "*", "[id]|[1]", "id || state", "id && 'x'", "id == 'x' && 'y' || 'z'"),
        *("type(id)", "not_null(id, state)", "join('.', [id, state])", "data.*", "keys(@)[0]", "`1` && state"),
    ],
)
def test_path_beyond_signed_fields_is_not_covered(path: str) -> None:
    assert not FIELDS.covers_path(JSON, path)


@pytest.mark.parametrize(
    "path", ["text.id", "$.text.a.b", "a.text.id", "text[0].id", "join('.', [text.id, text.state])"]
)
def test_path_into_a_signed_text_is_covered(path: str) -> None:
    assert Coverage(fields=("text", "a.text")).covers_path(JSON, path)


@pytest.mark.parametrize("path", ["a.id", "other.text.id", "texts.id", "text.id || id", "a.text || text.id == 'x'"])
def test_path_beside_a_signed_text_is_not_covered(path: str) -> None:
    assert not Coverage(fields=("text", "a.text")).covers_path(JSON, path)


def test_fields_of_one_kind_cover_no_other_kind() -> None:
    coverage = Coverage(fields=("id",), fields_kind="json")
    assert coverage.covers_path(JSON, "id")
    assert not coverage.covers_path(FORM, "id")
    assert not coverage.covers_document(CallbackDocument("form", "id"))


def test_items_within_a_signed_text_are_covered() -> None:
    coverage = Coverage(fields=("Message",))
    document = CallbackDocument("json", items="Message.records[]")
    assert coverage.covers_path(document, "anything.at.all")
    assert not coverage.covers_path(document, "$.other")
    assert not coverage.covers_path(CallbackDocument("json", items="records[]"), "id")
    assert not Coverage(fields=("Message",), items="events[]").covers_path(document, "id")


def test_fields_of_signed_items_are_covered_only_in_these_items() -> None:
    coverage = Coverage(fields=("id",), items="items[].value")
    assert coverage.covers_path(CallbackDocument("json", items="items[].value"), "id")
    assert not coverage.covers_path(CallbackDocument("json", items="items[].value"), "$.id")
    assert not coverage.covers_path(CallbackDocument("json", items="others[]"), "id")
    assert not coverage.covers_path(JSON, "id")
    assert not FIELDS.covers_path(CallbackDocument("json", items="data"), "id")


def test_json_in_a_field_is_covered_with_the_field() -> None:
    document = CallbackDocument("form", "payload", "[]")
    assert Coverage(fields=("payload",)).covers_path(document, "id")
    assert not Coverage(fields=("id",)).covers_path(document, "id")
    assert Coverage(parameters=frozenset({"payload"})).covers_path(CallbackDocument("query", "payload"), "id")


def test_query_parameter_is_covered_by_its_name() -> None:
    coverage = Coverage(parameters=frozenset({"id", "hub.state"}))
    assert coverage.covers_path(QUERY, "id")
    assert coverage.covers_path(QUERY, '"hub.state"')
    assert not coverage.covers_path(QUERY, "state")
    assert not coverage.covers_path(JSON, "id")


@pytest.mark.parametrize(
    ("items", "path"),
    [
        *(("", path) for path in ("data", "data.id", "data[0].id", "data | id", "data.items[].id", "$.data.id")),
        *(("", path) for path in ("data.a || data.b", "join('', [data.a, data.b])", "data.*", "data[?x == `1`].id")),
        *(("data[]", path) for path in ("id", "@", "$.data.id", "x || y")),
        ("data.items[]", "id"),
    ],
)
def test_path_within_a_raw_member_is_covered(items: str, path: str) -> None:
    document = CallbackDocument("json", items=items)
    assert recipe("{raw:data}").coverage.covers_path(document, path)
    assert items == "" or recipe("{raw:data}").coverage.covers_items(document)


@pytest.mark.parametrize(
    ("items", "path"),
    [
        *(("", path) for path in ("event", "@", "*", "event || data.id", "[data, event]", "values(@)", "x.data")),
        *(("", path) for path in ("{a: event}", "!event", "event == data", "sort_by(data, &x)", "length(@)")),
        *(("data[]", path) for path in ("$.event", "$.x.data")),
        *((items, "id") for items in ("events[]", "*", "[]", "event || data")),
    ],
)
def test_path_beyond_a_raw_member_is_not_covered(items: str, path: str) -> None:
    document = CallbackDocument("json", items=items)
    assert not recipe("{raw:data}").coverage.covers_path(document, path)


def test_raw_member_covers_no_other_document() -> None:
    coverage = recipe("{raw:data}").coverage
    for document in (JSON, FORM, QUERY, CallbackDocument("form", json_field="data")):
        assert not coverage.covers_document(document)
    assert not coverage.covers_path(FORM, "data")


def test_sum_of_the_body_covers_nothing() -> None:
    assert not any(recipe("{crc32}").coverage.covers_document(document) for document in (JSON, FORM, QUERY))


@pytest.mark.parametrize(
    ("location", "is_covered"),
    [
        ("header:X-Id", True),
        ("header:x:id", True),
        ("header:n", False),
        ("query:n", True),
        ("query:x-id", False),
        ("id", True),
        ("state", False),
    ],
)
def test_location_is_covered_by_its_own_kind_only(location: str, is_covered: bool) -> None:
    coverage = Coverage(headers=frozenset({"x-id", "x:id"}), parameters=frozenset({"n"}), fields=("id",))
    assert coverage.covers_location([JSON], location) is is_covered


def test_path_must_be_covered_in_every_document() -> None:
    coverage = Coverage(fields=("id",), fields_kind="json")
    assert coverage.covers_location([JSON], "id")
    assert not coverage.covers_location([JSON, FORM], "id")
    assert not coverage.covers_location([JSON], "state")


@pytest.mark.parametrize(
    ("items", "is_covered"),
    [("payload.events[]", True), ("$.payload.events[]", True), ("events[]", False), ("Message.records[]", False)],
)
def test_items_within_a_signed_parameter_are_covered(items: str, is_covered: bool) -> None:
    coverage = Coverage(fields=("Message",), parameters=frozenset({"payload"}))
    document = CallbackDocument("query", items=items)
    assert coverage.covers_items(document) is is_covered
    assert coverage.covers_path(document, "id") is is_covered


def test_items_are_covered_by_raw_members_of_json_only() -> None:
    coverage = recipe("{raw:data}").coverage
    assert coverage.covers_items(CallbackDocument("json", items="data[]"))
    assert not coverage.covers_items(JSON)
    assert not coverage.covers_items(CallbackDocument("json", items="events[]"))
    assert not coverage.covers_items(CallbackDocument("xml", items="data[]"))
    assert Coverage(fields=("text",)).covers_items(CallbackDocument("json", items="text.events[]"))
