"""Channels of a worker: a client, an admission and a callback URL for each provider."""

import pytest

from receiver.domain.egress import Egress
from receiver.exchange.channels import Channels
from receiver.exchange.client import HttpClient
from receiver.exchange.webhook_client import WebhookClient
from receiver.providers.capabilities import OutgoingRequest
from receiver.providers.webhook import PROVIDER_NAME
from receiver.store.database import Database
from tests.support.factories import notify_provider, provider
from tests.support.provider import Reply, listening


def test_channel_has_what_one_provider_needs(database: Database) -> None:
    acme, other = provider(name="acme"), provider(name="other", api_key="another key")
    urls = {"acme": "https://receiver.example/a", "other": "https://receiver.example/o"}
    with Channels(database, {"acme": acme, "other": other}, urls) as channels:
        assert list(channels) == ["acme", "other"]
        assert (channels["acme"].provider, channels["acme"].callback_url) == (acme, "https://receiver.example/a")
        assert channels["acme"].credentials == acme.fingerprint != channels["other"].credentials
        assert channels["acme"].admission is channels.rate_limiter["acme"]
        assert isinstance(channels["acme"].client, HttpClient)
        with pytest.raises(KeyError):
            channels["nobody"]


def test_channel_sends_as_its_provider_is_configured(database: Database) -> None:
    with listening() as server:
        server.script("job", Reply(200))
        egress = Egress("me/1", proxy=None)
        acme = provider(name="acme", origin=server.url, egress=egress)
        with Channels(database, {"acme": acme}, {"acme": ""}) as channels:
            for headers in ({}, {"user-agent": "own"}):
                channels["acme"].client.exchange(OutgoingRequest("GET", "/job", headers))
        user_agents = [request.headers["user-agent"] for request in server.find_received("job")]
    assert user_agents == ["me/1", "own"]


def test_webhook_notifications_have_a_client_of_their_own(database: Database) -> None:
    with Channels(database, {PROVIDER_NAME: notify_provider()}, {PROVIDER_NAME: ""}) as channels:
        assert isinstance(channels[PROVIDER_NAME].client, WebhookClient)


def test_closed_channels_leave_their_share_to_others(database: Database) -> None:
    acme = {"acme": provider(name="acme")}
    with Channels(database, acme, {"acme": ""}) as first:
        first.rate_limiter.renew()
        assert first["acme"].admission.capacity == 16
    with Channels(database, acme, {"acme": ""}) as second:
        second.rate_limiter.renew()
        assert second["acme"].admission.capacity == 16
