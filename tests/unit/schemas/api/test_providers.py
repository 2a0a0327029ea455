"""Providers and statistics in responses, and the query of the statistics."""

import pytest

from receiver.schemas.api.providers import AttentionSchema, ProviderStatsSchema, StatsQuerySchema
from receiver.store.stats import ATTENTION_KINDS, Attention


def test_attention_is_dumped_by_kind() -> None:
    counts = {kind: number for number, kind in enumerate(ATTENTION_KINDS)}
    assert AttentionSchema().dump(Attention("acme", **counts)) == counts


def test_provider_without_open_job_is_dumped_with_null() -> None:
    assert ProviderStatsSchema().dump({"name": "acme", "oldest_open_job": None}) == {
        "name": "acme",
        "account": None,
        "oldest_open_job": None,
    }


@pytest.mark.parametrize(("name", "valid"), [("acme-2", True), ("ACME", False), ("", False), ("a" * 64, False)])
def test_stats_query_takes_a_provider_name(name: str, valid: bool) -> None:
    assert (StatsQuerySchema().validate({"provider": name}) == {}) is valid
    assert StatsQuerySchema().validate({"providers": name}).keys() == {"providers"}
