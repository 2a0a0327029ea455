"""Probes of a callback URL that carry no callback: HEAD, and OPTIONS with its handshake for CloudEvents.

See https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md, section 4: a sender asks by OPTIONS
whether it may deliver. The URL with its token is what proves that it may. Nothing is stored.
"""

import re

from receiver.domain.callbacks import Ack
from receiver.providers.capabilities import CallbackSettings
from receiver.web.server.messages import HttpRequest

PROBE_METHODS = frozenset({"HEAD", "OPTIONS"})
_ORIGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,252}")


def answer_probe(request: HttpRequest, settings: CallbackSettings) -> Ack | None:
    """Return the response to a probe of a known callback URL, or None for any other method."""
    if request.method not in PROBE_METHODS:
        return None
    headers = {}
    if request.method == "OPTIONS":
        headers["Allow"] = ", ".join(sorted(settings.all_methods | PROBE_METHODS))
        origin = request.headers.get("webhook-request-origin", "")
        if _ORIGIN.fullmatch(origin):
            headers |= {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"}
    return Ack(200, b"", headers)
