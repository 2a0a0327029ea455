"""The OpenAPI document describes callbacks and webhook notifications."""

import pytest

from receiver.domain.notifications import NotificationType
from receiver.providers.registry import build_provider
from tests.support.handshakes import build
from tests.support.openapi import AUTHENTICATED, DOCUMENT, TOKEN, build_json_document, is_valid


def test_callbacks_of_each_provider_are_described() -> None:
    webhook = DOCUMENT["webhooks"]["callback of globex"]
    assert webhook.keys() == {"get", "post"}
    operation = webhook["post"]
    assert set(operation["responses"]) == {"204", "400", "401", "404", "405", "408", "413", "415", "503"}
    assert list(operation["requestBody"]["content"]) == ["application/x-www-form-urlencoded"]
    assert "requestBody" not in webhook["get"]
    for text in ("/callbacks/globex/{token}", "standard-webhooks", "203.0.113.0/24", "triggers a poll"):
        assert text in operation["description"]
    assert build_json_document({})["webhooks"]["callback"]["post"]["responses"]["200"]


@pytest.mark.parametrize(
    ("public_url", "shown"),
    [
        ("https://hooks.globex.example/in", "https://hooks.globex.example/in"),
        (f"https://hooks.globex.example/in/{TOKEN}", "https://hooks.globex.example/in/{token}"),
    ],
)
def test_public_url_of_a_provider_is_shown_without_its_token(public_url: str, shown: str) -> None:
    provider = build_provider("globex", AUTHENTICATED | {"public_url": public_url})
    webhook = build_json_document({"globex": provider})["webhooks"]["callback of globex"]
    assert f"`{shown}`" in webhook["post"]["description"]
    assert TOKEN not in str(webhook)


def test_checks_of_the_url_are_described() -> None:
    provider = build('{ kind = "get-echo", echo = "query:challenge" }')
    webhook = build_json_document({"acme": provider})["webhooks"]["callback of acme"]
    assert (webhook["get"]["summary"], webhook["post"]["summary"]) == (
        "Check of the callback URL.",
        "Callback with news of jobs.",
    )


def test_webhook_notification_is_described() -> None:
    operation = DOCUMENT["webhooks"][NotificationType.REQUEST_FINISHED]["post"]
    assert [item["name"] for item in operation["parameters"]] == [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ]
    [media] = operation["requestBody"]["content"].values()
    assert is_valid(DOCUMENT, media["schema"], media["example"])
    assert media["example"]["type"] == NotificationType.REQUEST_FINISHED
    assert {"payload", "erased_at"} | media["example"]["data"].keys() == (
        DOCUMENT["components"]["schemas"]["Request"]["properties"].keys() | {"jobs_total"}
    )
