"""Probes of a callback URL that carry no callback: HEAD, and OPTIONS with its handshake for CloudEvents.

See https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md, section 4: a sender asks by OPTIONS
whether it may deliver. The URL with its token is what proves that it may. Nothing is stored.
"""

import re
from typing import TYPE_CHECKING

from receiver.domain.callbacks import Ack
from receiver.providers.capabilities import CallbackSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PROBE_METHODS = frozenset({"HEAD", "OPTIONS"})
_ORIGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,252}")


def answer_probe(environ: "WSGIEnvironment", settings: CallbackSettings) -> Ack | None:
    """Return the response to a probe of a known callback URL, or None for any other method."""
    if environ["REQUEST_METHOD"] not in PROBE_METHODS:
        return None
    headers = {}
    if environ["REQUEST_METHOD"] == "OPTIONS":
        headers["Allow"] = ", ".join(sorted(settings.all_methods | PROBE_METHODS))
        origin = environ.get("HTTP_WEBHOOK_REQUEST_ORIGIN", "")
        if _ORIGIN.fullmatch(origin):
            headers |= {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"}
    return Ack(200, b"", headers)
