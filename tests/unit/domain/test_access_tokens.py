"""How long an access token is used, and when a failed renewal is repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.access_tokens import DEFAULT_LIFETIME_S, TokenFailure, TokenLifetime, parse_expires_in


@given(st.floats(0.001, 1e10), st.floats(0, 1))
def test_token_is_renewed_before_it_is_no_longer_used(expires_in: float, jitter: float) -> None:
    lifetime = TokenLifetime.plan(expires_in, jitter)
    assert 0 < lifetime.renew_after < lifetime.usable_for < expires_in


def test_renewals_are_spread_over_time() -> None:
    assert TokenLifetime.plan(3600.0, 0.0) == TokenLifetime(3570.0, 3420.0)
    assert TokenLifetime.plan(3600.0, 1.0) == TokenLifetime(3570.0, 3270.0)
    assert TokenLifetime.plan(10.0, 1.0) == TokenLifetime(9.0, 7.2)


@pytest.mark.parametrize("text", [None, "", "soon", "0", "-5", "nan", "inf", "1764374400", "2026-11-29T12:00:00Z"])
def test_absent_or_malformed_lifetime_is_an_hour(text: str | None) -> None:
    assert parse_expires_in(text) == DEFAULT_LIFETIME_S


def test_lifetime_may_be_text_or_a_fraction() -> None:
    assert [parse_expires_in(text) for text in ("3599", " 60 ", "1.5", "0.5")] == [3599.0, 60.0, 1.5, 0.5]
    assert parse_expires_in("94867200") == 94_867_200.0
    assert parse_expires_in("94867200.1") == DEFAULT_LIFETIME_S


def test_failed_renewals_back_off() -> None:
    failure, refusal = TokenFailure("503"), TokenFailure("401", is_refusal=True)
    assert [failure.compute_retry_delay(failures, 1.0) for failures in (1, 2, 3, 99)] == [1.0, 2.0, 4.0, 60.0]
    assert refusal.compute_retry_delay(99, 1.0) == 1.0
