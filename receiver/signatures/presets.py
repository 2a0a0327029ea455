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
_CLOUDINARY = partial(
    Recipe,
    source="header:X-Cld-Signature",
    is_digest=True,
    signed="{body}{timestamp}{secret}",
    timestamp="header:X-Cld-Timestamp",
    unit="s",
    tolerance=7_200.0,
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
    # Box's documentation: one signature for each of two keys, so that a key can be replaced.
    "box": partial(
        Recipe,
        source="header:Box-Signature-Primary",
        other_headers=("Box-Signature-Secondary",),
        encoding="base64",
        signed="{body}{timestamp}",
        timestamp="header:Box-Delivery-Timestamp",
        unit="iso",
        tolerance=600.0,
    ),
    # Secondary sources, and the default age in Cloudinary's libraries. An account signs with SHA-1 or SHA-256.
    "cloudinary": partial(_CLOUDINARY, algorithm="sha1"),
    "cloudinary-sha256": partial(_CLOUDINARY, algorithm="sha256"),
    # DocuSign's documentation and secondary sources: one signature for each key.
    "docusign": partial(
        Recipe,
        source="header:X-DocuSign-Signature-1",
        other_headers=tuple(f"X-DocuSign-Signature-{number}" for number in range(2, 11)),
        encoding="base64",
    ),
    # Hookdeck's documentation: a second signature while a secret is replaced.
    "hookdeck": partial(
        Recipe,
        source="header:X-Hookdeck-Signature",
        other_headers=("X-Hookdeck-Signature-2",),
        encoding="base64",
    ),
    # HubSpot's documentation. Versions 1 and 2 have the same header; no time is signed.
    "hubspot-v1": partial(Recipe, source="header:X-HubSpot-Signature", is_digest=True, signed="{secret}{body}"),
    "hubspot-v2": partial(
        Recipe, source="header:X-HubSpot-Signature", is_digest=True, signed="{secret}{method}{url}{body}"
    ),
    "hubspot-v3": partial(
        Recipe,
        source="header:X-HubSpot-Signature-v3",
        encoding="base64",
        signed="{method}{url}{body}{timestamp}",
        decode_url=True,
        timestamp="header:X-HubSpot-Request-Timestamp",
        unit="ms",
        tolerance=300.0,
    ),
    # Mandrill's documentation: URL and form as Twilio.
    "mandrill": partial(
        Recipe,
        source="header:X-Mandrill-Signature",
        algorithm="sha1",
        encoding="base64",
        signed="{url}{sorted_params}",
    ),
    # Persona's documentation, which states no tolerance, and secondary sources: while a secret is replaced, there are
    # two sets with a time each.
    "persona": partial(
        Recipe,
        source="header:Persona-Signature",
        format="pairs",
        set_separator=" ",
        pair="v1",
        signed="{timestamp}.{body}",
        timestamp="pair:t",
        unit="s",
    ),
    # Sumsub's documentation and secondary sources; HMAC_SHA1_HEX is left out.
    "sumsub": partial(
        Recipe,
        source="header:X-Payload-Digest",
        algorithm_header="X-Payload-Digest-Alg",
        algorithm_names={"HMAC_SHA256_HEX": "sha256", "HMAC_SHA512_HEX": "sha512"},
    ),
    # Transloadit's documentation: the form field transloadit is signed, as it is read.
    "transloadit": partial(
        Recipe, source="signature", prefix="sha384:", algorithm="sha384", signed="{field:transloadit}"
    ),
    # Xero's documentation.
    "xero": partial(Recipe, source="header:X-Xero-Signature", encoding="base64"),
    # Termii's documentation, which does not show the encoding; hex is assumed.
    "termii": partial(Recipe, source="header:X-Termii-Signature", algorithm="sha512"),
}
