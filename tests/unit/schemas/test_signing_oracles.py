"""No file is accepted with which a stranger could have us sign a callback, or call a URL.

`get-hmac` and `get-digest` hash what anybody sends. With a secret of the signature, that must never be what is signed.
"""

from typing import Any

import pytest

from receiver.schemas.declared import DeclaredSettingsSchema

SECRET = "the-consumer-secret"
HASH = {"kind": "get-hmac", "echo": "query:crc_token", "secret": SECRET, "reply": {"r": "{hash}"}}
DIGEST = HASH | {"kind": "get-digest", "content": "{echo}{secret}"}
HMAC = {"scheme": "hmac", "header": "X-Sig", "secrets": ["new", SECRET]}
CALLBACK = {"reference": "id", "status": "state", "statuses": {"DONE": "succeeded"}}
POLL = {"path": "/v1/{reference}", "reference": "id", "status": "state"}


def find_errors(signature: dict[str, Any], handshake: Any, callback: dict[str, Any] | None = None) -> Any:
    """Return the errors of the key `handshake`."""
    base = {"kind": "declared", "base_url": "https://api.acme.example", "poll": POLL}
    table = {**base, "signature": signature, "callback": CALLBACK | {"handshake": handshake} | (callback or {})}
    errors: dict[str, Any] = DeclaredSettingsSchema().validate(table)
    assert errors.keys() <= {"callback"}
    return errors.get("callback", {}).get("handshake")


@pytest.mark.parametrize("signed", ["{body}", "{timestamp}.{body}", "{url}{body}"])
def test_secret_of_a_signed_json_body_may_hash(signed: str) -> None:
    more = {"signed": signed} | ({"timestamp": "header:X-Time"} if "timestamp" in signed else {})
    assert find_errors(HMAC | more, HASH) is None


@pytest.mark.parametrize("scheme", ["github", "slack", "shopify"])
def test_secret_of_a_preset_may_hash(scheme: str) -> None:
    assert find_errors({"scheme": scheme, "secrets": [SECRET]}, HASH) is None


@pytest.mark.parametrize(
    ("signature", "callback"),
    [
        (HMAC, {"body": "form"}),
        (HMAC | {"signed": "{field:id}:{field:state}"}, {}),
        (HMAC | {"signed": "{sha256_hex}"}, {}),
        (HMAC | {"signed": "{sorted_params}"}, {"body": "form"}),
        (
            HMAC | {"signed": "{body}.{query:id}"},
            {"methods": ["GET"], "body": "query", "reference": "id", "status": "id"},
        ),
        (HMAC | {"trust": "confirm"}, {}),
        (HMAC | {"trust": "sender"}, {}),
        (HMAC | {"signed": "{url}", "trust": "sender"}, {}),
        (HMAC, {"reference": "@"}),
        (HMAC, {"reference": "to_string(@)"}),
        (HMAC, {"reference": '`"x"`'}),
        (HMAC, {"items": "[@]", "reference": "@"}),
        (HMAC | {"signed": "{header:X-Id}.{body}"}, {"reference": "header:X-Id"}),
        ({"scheme": "standard-webhooks", "secrets": ["whsec_dGhlLWNvbnN1bWVyLXNlY3JldA=="]}, {}),
    ],
)
def test_secret_of_another_signature_may_not_hash(signature: dict[str, Any], callback: dict[str, Any]) -> None:
    secret = signature["secrets"][-1]
    errors = find_errors(signature, HASH | {"secret": ["other", secret]}, callback)
    assert errors.keys() == {"secret"}
    assert find_errors(signature, HASH | {"secret": "other"}, callback) is None


def test_secret_of_the_signature_is_not_digested() -> None:
    assert find_errors(HMAC, DIGEST).keys() == {"secret"}
    assert find_errors(HMAC, DIGEST | {"secret": "other"}) is None


def test_errors_of_a_list_are_reported_by_index() -> None:
    assert find_errors(HMAC, [HASH, DIGEST]).keys() == {1}


def test_secret_that_callbacks_carry_may_hash() -> None:
    assert find_errors(HMAC | {"scheme": "equals"}, HASH) is None


SNS = {"scheme": "sns", "topic_arn": "arn:aws:sns:eu-west-1:123456789012:jobs"}


@pytest.mark.parametrize(
    ("signature", "url", "is_covered"),
    [
        (SNS, "SubscribeURL", True),
        (SNS, "MessageAttributes.url", False),
        (SNS, "query:url", False),
        (HMAC, "url", True),
        (HMAC, "header:X-Url", False),
        (HMAC | {"signed": "{header:X-Url}.{body}"}, "header:X-Url", True),
        (HMAC | {"scheme": "equals"}, "url", True),
    ],
)
def test_url_to_call_must_be_signed(signature: dict[str, Any], url: str, is_covered: bool) -> None:
    handshake = {"kind": "confirm", "when": {"Type": "c"}, "url": url, "allowed_hosts": "sns.*.amazonaws.com"}
    callback = {"reference": "MessageId", "status": "Subject"} if signature is SNS else {}
    errors = find_errors(signature, handshake, callback)
    assert errors is None if is_covered else errors.keys() == {"url"}
