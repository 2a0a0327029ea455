"""The page for those who have a hand-written view: its view and its table treat callbacks alike."""

import hmac
import json
import tomllib
from typing import Any

import pytest
from flask import Flask, abort, request

from receiver.domain.callbacks import IncomingCallback
from receiver.providers.registry import build_provider
from receiver.signatures.base import InvalidSignature
from tests.acceptance.guides import parse_blocks, read_guide
from tests.support.capabilities import callbacks_of, parse_reports_of
from tests.support.factories import NOON

BLOCKS = {block.language: block.text for block in parse_blocks(read_guide("docs/coming-from.md"))}
SECRET = b"a-secret-of-parcels"


def receive_by_view(body: bytes, signature: str) -> tuple[int, list[tuple[str, str]]]:
    """Return the status of the view's response, and the orders that it finished."""
    finished: list[tuple[str, str]] = []
    namespace: dict[str, Any] = {"app": Flask(__name__), "abort": abort, "hmac": hmac, "request": request}
    namespace |= {"SECRET": SECRET, "finish_order": lambda *order: finished.append(order)}
    exec(BLOCKS["python"], namespace)  # the guide's own code
    client = namespace["app"].test_client()
    headers = {"X-Parcels-Signature": signature, "content-type": "application/json"}
    return client.post("/hooks/parcels", data=body, headers=headers).status_code, finished


def receive_by_table(body: bytes, signature: str) -> tuple[int, list[tuple[str, str]]]:
    """Return the status of our response, and the jobs that have a final status."""
    table = tomllib.loads(BLOCKS["toml"].replace("env:PARCELS_SECRET", SECRET.decode()))["providers"]["parcels"]
    provider = build_provider("parcels", table)
    callback = IncomingCallback("POST", "/callbacks/parcels", {"x-parcels-signature": signature}, body, NOON)
    try:
        callbacks_of(provider).settings.auth.verify(callback)
    except InvalidSignature:
        return 401, []
    reports = [report for _, report in parse_reports_of(provider, callback).reports]
    final = [(report.reference, str(report.status)) for report in reports if report.status and report.status.is_final]
    return callbacks_of(provider).settings.ack.status, final


@pytest.mark.parametrize("state", ["delivered", "lost", "moving"])
@pytest.mark.parametrize("secret", [SECRET, b"another-secret"])
def test_table_takes_the_place_of_the_view(state: str, secret: bytes) -> None:
    body = json.dumps({"parcel": {"id": "p-7", "state": state}}).encode()
    signature = hmac.new(secret, body, "sha256").hexdigest()
    assert receive_by_table(body, signature) == receive_by_view(body, signature)
