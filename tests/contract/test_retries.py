"""A provider whose response was lost sends the identical callback again, and gets the same acknowledgement."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.providers.registry import build_provider
from receiver.web.callbacks import CallbackEndpoint
from tests.contract import JWKS, TOKEN_ONLY, Case, build_incoming, sign_payload
from tests.contract.cases import CASES
from tests.fuzz.deliveries import FuzzRequest
from tests.fuzz.drive import get_status
from tests.support.endpoints import open_endpoints


@pytest.fixture(scope="module")
def endpoints(
    server: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, CallbackEndpoint]]:
    providers = {case.vendor: build_provider(case.vendor, allow_all_addresses(case)) for case in CASES}
    with (
        scratch_database(server, template=template) as dsn,
        open_endpoints(dsn, tmp_path_factory.mktemp("home"), providers, JWKS) as opened,
    ):
        yield opened


def allow_all_addresses(case: Case) -> dict[str, Any]:
    signature = {key: value for key, value in case.table.get("signature", {}).items() if key != "allow_from"}
    return case.table | {"signature": signature}


def build_request(case: Case, file: str) -> FuzzRequest:
    if case.signer == TOKEN_ONLY:
        secret = case.table["signature"]["secrets"][0]
        incoming = case.build_callback(case.payload(file), target=f"/callbacks/acme/{secret}")
    else:
        incoming = build_incoming(case, sign_payload(case, file, signed_at=int(time.time())))
    return FuzzRequest(incoming.target, incoming.headers, incoming.body, incoming.method)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_identical_callback_is_acknowledged_again(case: Case, endpoints: Mapping[str, CallbackEndpoint]) -> None:
    for file in case.reports_by_file:
        request = build_request(case, file)
        statuses = [get_status(endpoints[case.vendor], request) for _ in range(3)]
        assert statuses == [case.ack.status] * 3, file
