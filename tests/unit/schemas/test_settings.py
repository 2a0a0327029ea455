"""Environment variables, and what the tables of all providers have in common."""

import re

import pytest

from receiver.domain.backoff import RetryPolicy
from receiver.providers.capabilities import PollPolicy
from receiver.providers.webhook import WebhookSender
from receiver.signatures.standard_webhooks import decode_key
from tests.support.capabilities import poller_of
from tests.support.factories import SECRET
from tests.support.settings_files import MINIMAL, append_line, fault_places, faults, load

pytestmark = pytest.mark.usefixtures("directory")  # settings are loaded from it
NEXT_SECRET = "whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZXM="
NOTIFY_ENVIRONMENT = {
    "RECEIVER_NOTIFY_HOSTS": "Shop.example., *.hooks.example,10.0.0.5",
    "RECEIVER_NOTIFY_SECRETS": f"{SECRET}, {NEXT_SECRET}",
    "RECEIVER_NOTIFY_NETWORKS": "10.0.0.0/8,fd00::/8",
}


def test_partial_tables_keep_the_other_defaults() -> None:
    provider = load(append_line("retry = { attempts = 2 }\npoll = { max_interval = 70 }")).providers["acme"]
    assert provider.retry_rules.retry == RetryPolicy(attempts=2, base=1.0, max=300.0)
    assert provider.deadline == 259_200.0
    assert poller_of(provider).policy == PollPolicy(first_after=60.0, max_interval=70.0, give_up_after=86_400.0)


@pytest.mark.parametrize(
    "line",
    [
        "deadline = 1e12",
        "timeout = 1e12",
        "connect_timeout = 1e12",
        "idle_timeout = -1",
        "retry = { max = 1e12 }",
        "poll = { first_after = 1e12 }",
        "poll = { max_interval = 1e12 }",
        "poll = { give_up_after = 1e12 }",
    ],
)
def test_too_long_durations_are_refused(line: str) -> None:
    assert len(faults(append_line(line))) == 1


@pytest.mark.parametrize("secret", ["", "with space", "line\n", "tab\t", "grüße", "nul\0"])
def test_bearer_secret_must_fit_a_header(secret: str) -> None:
    messages = faults(MINIMAL.replace('"sk_live_4242"', '"env:KEY"'), KEY=secret)
    assert fault_places(messages) == {"providers.acme.auth.secret"}


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h",
        "https://",
        "https://h:99999",
        "https://user:hunter2@h",
        "https://h?key=hunter2",
        "https://h/#top",
        "https://h//v1",
        "https://h/grüße",
        "https://h/v1 ",
        "https://[",
    ],
)
def test_public_url_must_be_a_base_url(url: str) -> None:
    [fault] = faults(RECEIVER_PUBLIC_URL=url)
    assert fault.startswith("RECEIVER_PUBLIC_URL: ")
    assert "hunter2" not in fault


@pytest.mark.parametrize("key", ["a-key-of-sixteen-or-more\n", "ein-schlüssel-mit-umlaut", "a key of sixteen or more"])
def test_admin_key_must_fit_a_header(key: str) -> None:
    [fault] = faults(RECEIVER_ADMIN_KEY=key)
    assert fault.startswith("RECEIVER_ADMIN_KEY: ")


def test_notification_settings_are_loaded() -> None:
    settings = load(**NOTIFY_ENVIRONMENT)
    assert settings.notify_provider
    assert settings.notify_targets
    assert settings.notify_targets.hosts == ("shop.example", "*.hooks.example", "10.0.0.5")
    assert [str(network) for network in settings.notify_targets.networks] == ["10.0.0.0/8", "fd00::/8"]
    assert isinstance(settings.notify_provider.sender, WebhookSender)
    assert settings.notify_provider.sender.keys == (decode_key(SECRET), decode_key(NEXT_SECRET))
    assert settings.providers.keys() == {"acme"}
    assert settings.send_targets.keys() == {"acme", "notify"}
    assert SECRET not in repr(settings)
    assert repr(decode_key(SECRET)) not in repr(settings) + repr(settings.notify_provider)


def test_notifications_are_off_without_hosts() -> None:
    settings = load(RECEIVER_NOTIFY_HOSTS="", RECEIVER_NOTIFY_SECRETS=SECRET)
    assert settings.notify_provider is None
    assert settings.notify_targets is None
    assert settings.send_targets.keys() == {"acme"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECEIVER_NOTIFY_HOSTS", "https://shop.example"),
        ("RECEIVER_NOTIFY_HOSTS", "shop.example,"),
        ("RECEIVER_NOTIFY_HOSTS", "*"),
        ("RECEIVER_NOTIFY_HOSTS", "shop.*.example"),
        ("RECEIVER_NOTIFY_SECRETS", ""),
        ("RECEIVER_NOTIFY_SECRETS", "whsec_not base64!"),
        ("RECEIVER_NOTIFY_SECRETS", "whsec_c2hvcnQ="),
        ("RECEIVER_NOTIFY_SECRETS", SECRET.removeprefix("whsec_")),
        ("RECEIVER_NOTIFY_SECRETS", f"{SECRET},whsk_{SECRET[6:]}"),
        ("RECEIVER_NOTIFY_NETWORKS", "10.0.0.0/99"),
    ],
)
def test_invalid_notification_settings_are_refused_without_secrets(name: str, value: str) -> None:
    messages = faults(**{**NOTIFY_ENVIRONMENT, name: value})
    assert fault_places(messages) == {name}
    assert not any(part in message for message in messages for part in re.split("[, ]", value) if part.startswith("wh"))
