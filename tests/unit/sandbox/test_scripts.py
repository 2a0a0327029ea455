"""Scripts of the sandbox: complete, and following only from seed and number."""

import pytest

from receiver.sandbox.scripts import (
    CYCLE_LENGTH,
    PLAIN_RESPONSE,
    SPECIAL_RESPONSES,
    CallbackKind,
    build_script,
    parse_number,
)
from tests.support.sandbox import SEED


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("start", [0, 1, 37])
def test_sixty_requests_cover_all_responses_and_callbacks(seed: int, start: int) -> None:
    scripts = [build_script(seed, number) for number in range(start, start + CYCLE_LENGTH)]
    assert {script.response for script in scripts} == {PLAIN_RESPONSE, *SPECIAL_RESPONSES}
    assert {script.callback for script in scripts if script.response.has_callbacks} == set(CallbackKind)
    assert sum(script.response is PLAIN_RESPONSE for script in scripts) >= CYCLE_LENGTH / 2


def test_scripts_depend_only_on_seed_and_number() -> None:
    forward = [build_script(SEED, number) for number in range(500)]
    assert forward == [build_script(SEED, number) for number in reversed(range(500))][::-1]
    assert forward != [build_script(SEED + 1, number) for number in range(500)]


def test_at_most_two_requests_pause_the_provider() -> None:
    assert sum(build_script(SEED, number).response.kind == "401 then 202" for number in range(20_000)) == 2


def test_reference_without_number_gets_a_stable_number() -> None:
    assert parse_number("demo-0017") == 17
    assert parse_number("no number") == parse_number("no number") != parse_number("none either")
