"""A short run of the fuzzer for every family, and that the fuzzer detects wrong responses."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.web.callbacks import CallbackEndpoint
from tests.fuzz import mutations
from tests.fuzz.drive import FuzzFailed, FuzzRun, open_family_endpoints
from tests.fuzz.families import FAMILIES, Family
from tests.fuzz.signing import build_preset_signer

COUNT = 250
NOW = 1_800_000_000


@pytest.fixture(scope="module")
def endpoints(
    server: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, CallbackEndpoint]]:
    with (
        scratch_database(server, template=template) as dsn,
        open_family_endpoints(dsn, tmp_path_factory.mktemp("home"), list(FAMILIES)) as opened,
    ):
        yield opened


@pytest.mark.parametrize("name", FAMILIES)
def test_malformed_callbacks_get_400_or_401(name: str, endpoints: Mapping[str, CallbackEndpoint]) -> None:
    family = replace(FAMILIES[name], malformed_share=0.1) if name != "token" else FAMILIES[name]
    stats = FuzzRun(family, endpoints[name], seed=1).fuzz(COUNT)

    assert stats.count >= COUNT
    assert stats.statuses.keys() <= {400, 401}
    assert stats.statuses[400] > 0


def test_rejected_valid_request_fails_run(endpoints: Mapping[str, CallbackEndpoint]) -> None:
    wrong_signer = replace(FAMILIES["github"], sign=build_preset_signer("slack"))

    with pytest.raises(FuzzFailed, match="401 for a valid request"):
        FuzzRun(wrong_signer, endpoints["github"], seed=1).fuzz(1)


def test_accepted_changed_request_fails_run(endpoints: Mapping[str, CallbackEndpoint]) -> None:
    strict_family = replace(
        FAMILIES["equals"], extract_signed=lambda request: (frozenset(), request.headers), headers=["x-unsigned"]
    )

    with pytest.raises(FuzzFailed, match="200 for a request of kind changed, seed 1"):
        FuzzRun(strict_family, endpoints["equals"], seed=1).fuzz(COUNT)


def test_same_seed_repeats_mutations() -> None:
    family = FAMILIES["stripe"]
    signed = family.sign(True, family.body, NOW)
    first, second = (
        [mutations.mutate_headers(rng, family, signed) for _ in range(50)] for rng in (Random(7), Random(7))
    )

    assert first == second


@pytest.mark.parametrize("name", FAMILIES)
def test_is_still_signed_detects_other_key(name: str) -> None:
    family: Family = FAMILIES[name]
    signed = family.sign(True, family.body, NOW)

    assert family.is_still_signed(signed, signed)
    assert family.names_job(signed.body)
    assert not family.is_still_signed(signed, family.sign(False, family.body, NOW))
