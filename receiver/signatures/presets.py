"""The recipes of providers by name, as their vendors document them.

Settings that a vendor does not document must be configured. Without a documented tolerance, the timestamp is signed,
but its age is only checked if `tolerance` is set. Without a documented unit, `unit` must be set as well.
"""

from collections.abc import Mapping
from functools import partial

from receiver.signatures.recipe import Recipe

_STRIPE = partial(
    Recipe, format="pairs", pair="v1", signed="{timestamp}.{body}", timestamp="pair:t", unit="s", tolerance=300.0
)

PRESETS: Mapping[str, partial[Recipe]] = {
    # GitHub's documentation.
    "github": partial(Recipe, source="header:X-Hub-Signature-256", prefix="sha256="),
    # Meta's documentation and secondary sources.
    "meta": partial(Recipe, source="header:X-Hub-Signature-256", prefix="sha256="),
    # Stripe's documentation.
    "stripe": partial(_STRIPE, source="header:Stripe-Signature"),
    # Mux's documentation; the same as Stripe's.
    "mux": partial(_STRIPE, source="header:Mux-Signature"),
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
    # Zoom's documentation, which states neither the timestamp's unit nor a tolerance.
    "zoom": partial(
        Recipe,
        source="header:x-zm-signature",
        prefix="v0=",
        signed="v0:{timestamp}:{body}",
        timestamp="header:x-zm-request-timestamp",
    ),
    # Shopify's documentation.
    "shopify": partial(Recipe, source="header:X-Shopify-Hmac-Sha256", encoding="base64"),
    # Square's documentation, which recommends deduplication by event_id.
    "square": partial(
        Recipe,
        source="header:x-square-hmacsha256-signature",
        encoding="base64",
        signed="{url}{body}",
        id="event_id",
    ),
    # Paystack's documentation and secondary sources.
    "paystack": partial(Recipe, source="header:x-paystack-signature", algorithm="sha512"),
    # Flutterwave's documentation of v3 and secondary sources; the header is the secret hash itself.
    "flutterwave": partial(Recipe, source="header:verif-hash", algorithm="equals"),
    # Flutterwave v4; a secondary source only.
    "flutterwave-v4": partial(Recipe, source="header:flutterwave-signature", encoding="base64"),
    # Zendesk's documentation, which states neither the timestamp's unit nor a tolerance; there is no separator.
    "zendesk": partial(
        Recipe,
        source="header:X-Zendesk-Webhook-Signature",
        encoding="base64",
        signed="{timestamp}{body}",
        timestamp="header:X-Zendesk-Webhook-Signature-Timestamp",
    ),
    # Sinch's documentation, which states neither the timestamp's unit nor a tolerance.
    "sinch": partial(
        Recipe,
        source="header:x-sinch-webhook-signature",
        encoding="base64",
        signed="{body}.{nonce}.{timestamp}",
        timestamp="header:x-sinch-webhook-signature-timestamp",
        nonce="header:x-sinch-webhook-signature-nonce",
    ),
    # Sinch's documentation of Voice and Verification, which states neither the timestamp's unit nor a tolerance. The
    # header is "application KEY:signature". It is read as a list separated by colons: the part before the colon is not
    # base64 of the right length and never matches.
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
    # Plivo's documentation of V2, which does not sign the body.
    "plivo-v2": partial(
        Recipe,
        source="header:X-Plivo-Signature-V2",
        encoding="base64",
        signed="{url_no_query}{nonce}",
        nonce="header:X-Plivo-Signature-V2-Nonce",
    ),
    # Adyen's documentation: each item is signed separately, without escaping; an absent field counts as empty.
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
    # Termii's documentation, which does not show the encoding; hex is assumed.
    "termii": partial(Recipe, source="header:X-Termii-Signature", algorithm="sha512"),
}
