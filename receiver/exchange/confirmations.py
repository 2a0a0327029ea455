"""Calls of the URL by which a provider wants a callback URL confirmed, such as the `SubscribeURL` of Amazon SNS.

The handshake that names the URL is authentic, and the host is one that the provider's table allows. Even so, only
https and public addresses are called, redirects are not followed, and nothing is sent but the request.
"""

from collections.abc import Sequence
from contextlib import closing
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

import structlog
from gevent.lock import BoundedSemaphore

from receiver.domain.egress import Egress
from receiver.domain.errors import ReceiverError
from receiver.domain.sending import NoResponse, Response
from receiver.domain.targets import TargetNotAllowed, TargetRules
from receiver.exchange.client import HttpClient
from receiver.providers.base import SendPolicy
from receiver.providers.capabilities import OutgoingRequest

_POLICY = SendPolicy(max_concurrency=1, connect_timeout=2.5, timeout=2.5, idle_timeout=0.0)
"""A call takes at most five seconds, however slowly the server sends."""
_MAX_BODY_BYTES = 4 << 10
_MAX_CONCURRENCY = 4

_log = structlog.get_logger(__name__)
_slots = BoundedSemaphore(_MAX_CONCURRENCY)


class ConfirmationFailed(ReceiverError):
    """The URL could not be confirmed now; the provider should send its handshake again."""


def confirm(
    provider: str, url: str, networks: Sequence[IPv4Network | IPv6Network] = (), egress: Egress | None = None
) -> None:
    """Call a URL that confirms the callback URL of a provider.

    Args:
        provider: the name of the provider, for the log.
        url: an https URL, whose host was checked.
        networks: addresses in these networks may be called even if they are not public.
        egress: how exchanges with the provider leave this machine, see `Egress.for_other_hosts`.

    Raises:
        ConfirmationFailed: the URL is not called, or the response is not 2xx.
    """
    host = urlsplit(url).hostname or ""
    if not _slots.acquire(blocking=False):
        raise ConfirmationFailed("Too many confirmations are in progress.")
    try:
        outcome = _call(url, TargetRules((host,), networks), (egress or Egress()).for_other_hosts())
    finally:
        _slots.release()
    if isinstance(outcome, NoResponse):
        raise ConfirmationFailed(f"{host}: {outcome.error}")
    if not 200 <= outcome.status < 300:
        raise ConfirmationFailed(f"{host}: HTTP {outcome.status}")
    _log.info("callback_url.confirmed", provider=provider, host=host)


def _call(url: str, rules: TargetRules, egress: Egress) -> Response | NoResponse:
    try:
        target = rules.parse(url)
    except TargetNotAllowed as error:
        return NoResponse(str(error), sent=False)
    if target.scheme != "https":
        return NoResponse("not an https URL", sent=False)
    client = HttpClient(target.origin, _POLICY, max_body_bytes=_MAX_BODY_BYTES, rules=rules, egress=egress)
    with closing(client):
        return client.exchange(OutgoingRequest("GET", target.path, {}))
