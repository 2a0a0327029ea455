"""The table `callback.ack`, and the acknowledgements that providers document."""

from collections.abc import Mapping
from typing import Any

import pytest

from receiver.providers.declared.callbacks import build_ack
from receiver.schemas.declared_acks import AckTableSchema

JSON, TEXT = "application/json", "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "table",
    [
        {"status": 404},
        {"status": 102},
        {"content_type": "a\nb"},
        {"headers": {"Content-Length": "1"}},
        {"headers": {"content-type": "text/plain"}},
        {"headers": {"X-A": "a\r\nb"}},
        {"headers": {"X A": "b"}},
        {"echo_header": "Transfer-Encoding"},
        {"echo_header": "X_Client"},
    ],
)
def test_invalid_acknowledgement_is_refused(table: dict[str, Any]) -> None:
    assert AckTableSchema().validate(table).keys() == table.keys()


@pytest.mark.parametrize("status", [204, 205])
def test_status_without_body_has_none(status: int) -> None:
    assert AckTableSchema().validate({"status": status, "body": "OK"}).keys() == {"body"}
    assert AckTableSchema().validate({"status": status, "body": "OK", "echo_header": "a b"}).keys() == {
        "body",
        "echo_header",
    }


@pytest.mark.parametrize(
    ("table", "media_type"),
    [
        ({"body": "Hello API Event Received"}, TEXT),  # Dropbox Sign
        ({"body": "[accepted]"}, TEXT),  # Adyen
        ({"body": '{"code":0}'}, JSON),  # Alibaba
        ({"body": '{"result":0,"errmsg":"OK"}'}, JSON),  # Tencent
        ({"body": '{"ResultCode":0,"ResultDesc":"Accepted"}'}, JSON),  # M-Pesa
        ({"body": "OK"}, TEXT),
        ({"body": "1"}, TEXT),
        ({"body": "<Response/>", "content_type": "text/xml"}, "text/xml"),
        ({"body": "[1]", "content_type": "text/plain"}, "text/plain"),
        ({"status": 204}, None),
    ],
)
def test_media_type_follows_from_the_body(table: dict[str, Any], media_type: str | None) -> None:
    ack = build_ack(AckTableSchema().load(table))
    assert (ack.status, ack.body) == (table.get("status", 200), table.get("body", "").encode())
    assert ack.headers.get("content-type") == media_type


def test_headers_are_sent() -> None:
    headers: Mapping[str, str] = {"X-Client": "a b", "Retry-After": "0"}
    assert build_ack(AckTableSchema().load({"headers": dict(headers)})).headers == headers
