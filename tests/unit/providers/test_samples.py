"""Sample callbacks from the locations of values; `tests/contract/test_signing.py` covers all kinds of bodies."""

import json
from typing import Any

import pytest

from receiver.providers.capabilities import NoSample
from receiver.providers.registry import build_provider
from receiver.providers.samples import LocatedSamples
from tests.support.capabilities import parse_reports_of
from tests.support.factories import NOON

ID = "0123456789abcdef"
CECULA = {
    "kind": "cecula",
    "auth": {"scheme": "bearer", "secret": "key"},
    "signature": {"scheme": "token", "secrets": ["a-token-of-this-test"]},
    "callback": {"items": "reports", "reference": "sms.id", "statuses": {"LANDED": "succeeded"}},
}


def build_samples(**callback: Any) -> LocatedSamples:
    """Build the samples of a declared provider."""
    table = {
        "kind": "declared",
        "base_url": "https://acme.example",
        "signature": {"scheme": "token", "secrets": ["a-token-of-this-test"]},
        "callback": {"reference": "id", "status": "state", "statuses": {"Done": "succeeded"}, **callback},
    }
    samples = build_provider("acme", table).samples
    assert isinstance(samples, LocatedSamples)
    return samples


def build_document(samples: LocatedSamples, reference: str = "ref-1") -> Any:
    return json.loads(samples.build("/c", reference, "Done", NOON, ID).body)


def test_sample_has_what_settings_read() -> None:
    samples = build_samples(
        items="data.results[]",
        reference=["job.id", "$.batch"],
        occurred_at="at",
        time_unit="ms",
        event_id="delivery",
        only={"$.type": ["job", "other"]},
        code="code",
    )
    assert build_document(samples, "ref/1/2") == {
        "type": "job",
        "batch": "1/2",
        "delivery": ID,
        "data": {"results": [{"at": str(int(NOON.timestamp() * 1000)), "job": {"id": "ref"}, "state": "Done"}]},
    }


def test_values_are_put_outside_of_the_body() -> None:
    samples = build_samples(reference="header:X-Id", status="query:state", methods=["PUT"])
    sample = samples.build("/c", "ref-1", "Done", NOON, ID)
    assert (sample.method, sample.target, sample.headers, sample.body) == (
        "PUT",
        "/c?state=Done",
        {"x-id": "ref-1"},
        b"",
    )


def test_status_decides_over_filters() -> None:
    assert build_document(build_samples(only={"state": ["Done", "Lost"]})) == {"id": "ref-1", "state": "Done"}


def test_optional_value_at_another_path_is_left_out() -> None:
    samples = build_samples(occurred_at="a || b", event_id="join('-', [id, state])")
    assert build_document(samples) == {"id": "ref-1", "state": "Done"}


@pytest.mark.parametrize(
    "callback",
    [{"reference": "a || b"}, {"status": "upper(state)"}, {"items": "items[?id]"}, {"only": {"type(id)": ["string"]}}],
)
def test_other_path_has_no_sample(callback: dict[str, Any]) -> None:
    with pytest.raises(NoSample, match="No sample can be built for the path"):
        build_samples(**callback).build("/c", "ref-1", "Done", NOON, ID)


def test_reference_must_have_its_parts() -> None:
    with pytest.raises(NoSample, match="must have 2 parts"):
        build_samples(reference=["a", "b"]).build("/c", "ref-1", "Done", NOON, ID)


def test_status_is_found_as_the_provider_spells_it() -> None:
    samples = build_samples(statuses={"Done": "succeeded", "LOST": "failed"})
    assert samples.statuses == ("Done", "LOST")
    assert [samples.find_status(text) for text in ("done", " Lost", "gone")] == ["Done", "LOST", None]
    assert build_samples(statuses={"Done": "succeeded", "*": "failed"}).find_status("1032") == "1032"


def test_sample_of_cecula_is_read() -> None:
    provider = build_provider("cecula", CECULA)
    assert provider.samples
    for status in ("DELIVRD", "landed"):
        sample = provider.samples.build("/c", "ref-1", status, NOON, ID)
        [(_, report)] = parse_reports_of(provider, sample).reports
        assert (report.reference, report.status, report.provider_status) == ("ref-1", "succeeded", status)
