"""Bodies as pages show them: indented or as fields, with what they hide made visible, and cut."""

import json

import pytest
from markupsafe import escape

from receiver.web.admin.bodies import Body, Part, describe_body, limit_fields, list_fields

JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART = {"content-type": 'multipart/form-data; boundary="B"'}


@pytest.mark.parametrize(
    ("text", "pretty"),
    [
        (
            '{"a":1,"b":[true,{"c":"x, {y}: [z]"}]}',
            '{\n  "a": 1,\n  "b": [\n    true,\n    {\n      "c": "x, {y}: [z]"\n    }\n  ]\n}',
        ),
        ('{"a":{},"b":[],"c":1.50e+2}', '{\n  "a": {},\n  "b": [],\n  "c": 1.50e+2\n}'),
        ('{"a":1,"a":2}', '{\n  "a": 1,\n  "a": 2\n}'),
        (r'["a \" b","\\"]', '[\n  "a \\" b",\n  "\\\\"\n]'),
        ('{"a":1}\n{"a":2}\n', '{\n  "a": 1\n}\n{\n  "a": 2\n}'),
    ],
)
def test_json_is_indented_as_it_is_written(text: str, pretty: str) -> None:
    body = describe_body(text, JSON)
    assert (body.kind, body.pretty, body.raw, body.is_cut) == ("JSON", pretty, text, False)


def test_indented_json_is_the_same_document() -> None:
    document = {"items": [{"id": n, "text": 'a"b\\c', "nested": [[], {}, [None, False, -1.5]]} for n in range(3)]}
    pretty = describe_body(json.dumps(document), JSON).pretty
    assert pretty is not None
    assert json.loads(pretty) == document


def test_xml_is_indented_and_not_interpreted() -> None:
    text = '<?xml version="1.0"?><a x="1"><!-- n --><b>one &amp; two</b><c/><d><![CDATA[<e>]]></d><f></f></a>'
    assert describe_body(text, {"content-type": "application/xml"}).pretty == (
        '<?xml version="1.0"?>\n<a x="1">\n  <!-- n -->\n  <b>one &amp; two</b>\n  <c/>\n  <d>\n    <![CDATA[<e>]]>\n'
        "  </d>\n  <f></f>\n</a>"
    )


def test_form_is_shown_as_fields() -> None:
    body = describe_body("a=1+2&b=%C3%BC&b=&c=%FF", FORM)
    assert (body.kind, body.fields) == ("form", [("a", "1 2"), ("b", "ü"), ("b", ""), ("c", "\\xff")])


def test_multipart_is_shown_as_parts() -> None:
    text = '--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n2\r\n--B\r\nX: y\r\n\r\n\\xff\r\n--B--\r\n'
    body = describe_body(text, MULTIPART)
    assert (body.kind, body.parts) == (
        "multipart",
        [Part('Content-Disposition: form-data; name="a"', "1\n2"), Part("X: y", "\\xff")],
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        (" \r\n", "empty"),
        ("{not json", "text"),
        ("hello", "text"),
        ("<a>", "XML"),
        ("\\x89PNG\\xff\\xfe\\xfd\\xfc", "binary"),
        ('{"text": "a \\\\xff"}', "JSON"),
    ],
)
def test_kind_of_other_bodies(text: str, kind: str) -> None:
    assert describe_body(text, {}).kind == kind


def test_hidden_characters_are_escapes() -> None:
    assert describe_body("a\x00\x1b[31m\u202eb\u200b\r\nc\rd\x7f\x9b", {}).raw == (
        "a\\x00\\x1b[31m\\u202eb\\u200b\nc\\x0dd\\x7f\\u009b"
    )


@pytest.mark.parametrize("text", ['"' * 30_000, "<a>" * 9_000, "ü" * 9_000, json.dumps([{"a": "<>"}] * 5_000)])
def test_large_body_is_cut_by_its_size_as_html(text: str) -> None:
    body = describe_body(text, {}, 5_000)
    assert (body.size, body.is_cut) == (len(text), True)
    for shown in (body.raw, body.pretty or ""):
        assert len(str(escape(shown)).encode()) <= 5_000
    assert len(str(escape(body.raw)).encode()) > 4_000


def test_body_of_the_full_size_is_not_cut() -> None:
    assert describe_body("a" * 5_000, {}, 5_000) == Body("text", "a" * 5_000, 5_000, is_cut=False)


def test_fields_are_limited() -> None:
    assert len(list_fields("&".join(f"name{n}={'v' * 50}" for n in range(1_000)), 5_000)) == 36
    [(name, value)] = limit_fields([("n" * 1_000, "v" * 100_000)], 5_000)
    assert (len(name), len(value)) == (200, 1_250)
