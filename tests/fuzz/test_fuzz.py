"""A short run of the fuzzer for every family, and that its judge can tell good from bad."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random

import pytest

from receiver.store.scratch import scratch_database
from receiver.web.callbacks import CallbackEndpoint
from tests.fuzz import mutations
from tests.fuzz.drive import Broken, Run, endpoints
from tests.fuzz.families import FAMILIES, Family
from tests.fuzz.signing import by_preset

COUNT = 250
NOW = 1_800_000_000


@pytest.fixture(scope="module")
def made(
    server: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, CallbackEndpoint]]:
    with (
        scratch_database(server, template=template) as dsn,
        endpoints(dsn, tmp_path_factory.mktemp("home"), list(FAMILIES)) as endpoints_made,
    ):
        yield endpoints_made


@pytest.mark.parametrize("name", FAMILIES)
def test_no_malformed_delivery_is_answered_other_than_400_or_401(
    name: str, made: Mapping[str, CallbackEndpoint]
) -> None:
    family = replace(FAMILIES[name], malformed=0.1) if name != "token" else FAMILIES[name]
    tally = Run(family, made[name], seed=1).fuzz(COUNT)

    assert tally.count >= COUNT
    assert tally.statuses.keys() <= {400, 401}
    assert tally.statuses[400] > 0


def test_a_family_whose_good_deliveries_are_refused_is_broken(made: Mapping[str, CallbackEndpoint]) -> None:
    astray = replace(FAMILIES["github"], sign=by_preset("slack"))

    with pytest.raises(Broken, match="401 to a good delivery"):
        Run(astray, made["github"], seed=1).fuzz(1)


def test_a_changed_delivery_that_is_taken_is_broken(made: Mapping[str, CallbackEndpoint]) -> None:
    strict = replace(FAMILIES["equals"], holds=lambda sent: (frozenset(), sent.headers), headers=["x-unsigned"])

    with pytest.raises(Broken, match="200 to changed of seed 1"):
        Run(strict, made["equals"], seed=1).fuzz(COUNT)


def test_the_same_seed_makes_the_same_mutations() -> None:
    family = FAMILIES["stripe"]
    signed = family.sign(True, family.body, NOW)
    first, second = (
        [mutations.changed_headers(rng, family, signed) for _ in range(50)] for rng in (Random(7), Random(7))
    )

    assert first == second


@pytest.mark.parametrize("name", FAMILIES)
def test_a_signed_delivery_proves_itself_and_one_by_another_key_does_not(name: str) -> None:
    family: Family = FAMILIES[name]
    signed = family.sign(True, family.body, NOW)

    assert family.still_proves(signed, signed)
    assert family.readable(signed.body)
    assert not family.still_proves(signed, family.sign(False, family.body, NOW))
