"""Providers: locations, events, and capabilities that they lack."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.jobs import EventSource, JobStatus, Precedence, derive_job_id
from receiver.providers.base import MissingCapability
from tests.support.factories import NOON, provider, report

PROVIDER = provider()
WITHOUT_CAPABILITIES = replace(PROVIDER, sender=None, callbacks=None, poller=None, lookup=None)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/v1/messages/ref-1", "/v1/messages/ref-1"),
        ("/v1/messages/ref-1?full=1#part", "/v1/messages/ref-1?full=1"),
        ("messages/ref-1", "/api/messages/ref-1"),
        ("https://api.acme.example/v1/ref-1", "/v1/ref-1"),
        ("HTTPS://api.acme.example", "/"),
        ("https://api.acme.example?id=ref-1", "/?id=ref-1"),
        ("//api.acme.example/v1/ref-1", "/v1/ref-1"),
    ],
)
def test_location_at_the_provider_is_resolved(location: str, target: str) -> None:
    assert provider(origin="https://api.acme.example", base_path="/api").resolve_location(location) == target


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "http://api.acme.example/v1/ref-1",
        "https://api.acme.example:8443/v1/ref-1",
        "https://evil.example/v1/ref-1",
        "//evil.example/v1/ref-1",
        "https://api.acme.example.evil.example/",
        "https://api.acme.example@evil.example/",
        "https://user@api.acme.example/",
        "https://[",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "/v1/ref-1\r\nx-injected: 1",
        "/v1/ref-1\tx",
        "/v1/ref-1 HTTP/1.1",
        "/v1/grüße",
        "/v1/\0",
    ],
)
def test_location_elsewhere_or_malformed_is_none(location: str | None) -> None:
    assert provider(origin="https://api.acme.example", base_path="/api").resolve_location(location) is None


@given(location=st.text() | st.text().map("https://api.acme.example/{}".format) | st.text().map("//{}".format))
def test_resolve_location_returns_safe_target_or_none(location: str) -> None:
    target = provider(origin="https://api.acme.example").resolve_location(location)
    assert target is None or (target.startswith("/") and target.isascii() and not set(target) & set(" \r\n\t\0"))


def test_event_has_times_of_provider_policy() -> None:
    origin, request, callback = UUID(int=1), UUID(int=2), UUID(int=3)
    event = provider(name="acme").build_event(
        report(status=JobStatus.FAILED, detail="so", superseding=True),
        EventSource.CALLBACK,
        origin,
        NOON,
        callback_id=callback,
        request_id=request,
        location="http://127.0.0.1:9/status/7",
    )
    assert (event.job_id, event.provider, event.reference) == (derive_job_id("acme", "ref-1"), "acme", "ref-1")
    assert (event.status, event.precedence, event.detail) == (JobStatus.FAILED, Precedence.SUPERSEDING, "so")
    assert (event.callback_id, event.request_id, event.location) == (callback, request, "/status/7")
    assert (event.poll_at, event.deadline_at) == (NOON + timedelta(seconds=60), NOON + timedelta(seconds=3_600))
    soon = PROVIDER.build_event(
        report(), EventSource.RESPONSE, origin, NOON, poll_after=5.0, location="http://evil.example/"
    )
    assert (soon.poll_at, soon.location) == (NOON + timedelta(seconds=5), None)


def test_only_the_response_to_a_request_uses_a_reference_again() -> None:
    reusing = provider(reference_reuse_after=60.0)
    events = [
        reusing.build_event(report(), EventSource.RESPONSE, UUID(int=1), NOON, request_id=request_id)
        for request_id in (UUID(int=2), None)
    ]
    assert [event.reuse_after for event in events] == [60.0, None]


def test_event_of_provider_without_poller_is_never_polled() -> None:
    event = WITHOUT_CAPABILITIES.build_event(report(), EventSource.RESPONSE, UUID(int=1), NOON, poll_after=1.0)
    assert event.poll_at is None
    assert event.deadline_at == NOON + timedelta(seconds=WITHOUT_CAPABILITIES.deadline)


def test_provider_without_capabilities_offers_nothing() -> None:
    assert WITHOUT_CAPABILITIES.operations == {}
    assert WITHOUT_CAPABILITIES.first_lookup_after is None
    with pytest.raises(MissingCapability, match="sandbox has no callbacks"):
        WITHOUT_CAPABILITIES.require_callbacks()
