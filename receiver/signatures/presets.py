"""The recipes of providers by name, each as its vendor tells it; what the vendor leaves open stays open here.

Where a vendor names no tolerance, the timestamp is signed but not compared unless `tolerance` is set; where it names no
unit either, `unit` is set with it.
"""

from collections.abc import Mapping
from functools import partial

from receiver.signatures.recipe import Recipe

PRESETS: Mapping[str, partial[Recipe]] = {
    # GitHub's documentation.
    "github": partial(Recipe, source="header:X-Hub-Signature-256", prefix="sha256="),
    # Meta's documentation and secondary sources.
    "meta": partial(Recipe, source="header:X-Hub-Signature-256", prefix="sha256="),
    # Stripe's documentation.
    "stripe": partial(
        Recipe,
        source="header:Stripe-Signature",
        format="pairs",
        pair="v1",
        signed="{timestamp}.{body}",
        timestamp="pair:t",
        unit="s",
        tolerance=300.0,
    ),
    # Mux's documentation: as Stripe's.
    "mux": partial(
        Recipe,
        source="header:Mux-Signature",
        format="pairs",
        pair="v1",
        signed="{timestamp}.{body}",
        timestamp="pair:t",
        unit="s",
        tolerance=300.0,
    ),
    # Slack's documentation.
    "slack": partial(
        Recipe,
        source="header:X-Slack-Signature",
        prefix="v0=",
        signed="v0:{timestamp}:{body}",
        timestamp="header:X-Slack-Request-Timestamp",
        unit="s",
        tolerance=300.0,
    ),
    # Zoom's documentation; neither the timestamp's unit nor a tolerance is told.
    "zoom": partial(
        Recipe,
        source="header:x-zm-signature",
        prefix="v0=",
        signed="v0:{timestamp}:{body}",
        timestamp="header:x-zm-request-timestamp",
    ),
    # Shopify's documentation.
    "shopify": partial(Recipe, source="header:X-Shopify-Hmac-Sha256", encoding="base64"),
    # Square's documentation; it tells to drop duplicates by event_id.
    "square": partial(
        Recipe,
        source="header:x-square-hmacsha256-signature",
        encoding="base64",
        signed="{url}{body}",
        id="event_id",
    ),
    # Paystack's documentation and secondary sources.
    "paystack": partial(Recipe, source="header:x-paystack-signature", algorithm="sha512"),
    # Flutterwave's documentation of v3, and secondary sources: the secret hash itself.
    "flutterwave": partial(Recipe, source="header:verif-hash", algorithm="equals"),
    # Flutterwave v4, from a secondary source alone.
    "flutterwave-v4": partial(Recipe, source="header:flutterwave-signature", encoding="base64"),
    # Zendesk's documentation; no separator; neither the timestamp's unit nor a tolerance is told.
    "zendesk": partial(
        Recipe,
        source="header:X-Zendesk-Webhook-Signature",
        encoding="base64",
        signed="{timestamp}{body}",
        timestamp="header:X-Zendesk-Webhook-Signature-Timestamp",
    ),
    # Sinch's documentation; neither the timestamp's unit nor a tolerance is told.
    "sinch": partial(
        Recipe,
        source="header:x-sinch-webhook-signature",
        encoding="base64",
        signed="{body}.{nonce}.{timestamp}",
        timestamp="header:x-sinch-webhook-signature-timestamp",
        nonce="header:x-sinch-webhook-signature-nonce",
    ),
    # Sinch's documentation of Voice and Verification: "application KEY:signature", where a colon is in no base64, so
    # that the part before it never matches; neither the timestamp's unit nor a tolerance is told.
    "sinch-voice": partial(
        Recipe,
        source="header:authorization",
        format="list",
        separator=":",
        encoding="base64",
        key_encoding="base64",
        signed="POST\n{md5_b64}\n{content_type}\nx-timestamp:{timestamp}\n{path}",
        timestamp="header:x-timestamp",
    ),
    # Plivo's documentation of V2; the body is not signed.
    "plivo-v2": partial(
        Recipe,
        source="header:X-Plivo-Signature-V2",
        encoding="base64",
        signed="{url_no_query}{nonce}",
        nonce="header:X-Plivo-Signature-V2-Nonce",
    ),
    # Adyen's documentation: each item by itself, without escaping, an absent field being empty.
    "adyen": partial(
        Recipe,
        source="additionalData.hmacSignature",
        items="notificationItems[].NotificationRequestItem",
        encoding="base64",
        key_encoding="hex",
        signed=(
            "{field:pspReference}:{field:originalReference}:{field:merchantAccountCode}:{field:merchantReference}"
            ":{field:amount.value}:{field:amount.currency}:{field:eventCode}:{field:success}"
        ),
    ),
    # Termii's documentation; its encoding is not shown there and taken to be hex.
    "termii": partial(Recipe, source="header:X-Termii-Signature", algorithm="sha512"),
}
