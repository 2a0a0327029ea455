"""Channels of a worker: a client, an admission and a callback URL for each provider."""

import pytest

from receiver.exchange.channels import Channels
from receiver.exchange.client import HttpClient
from receiver.exchange.webhook_client import WebhookClient
from receiver.providers.webhook import PROVIDER_NAME
from receiver.store.database import Database
from tests.support.factories import notify_provider, provider


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
