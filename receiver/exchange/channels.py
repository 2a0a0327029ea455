"""Channels to providers: for each provider its HTTP client, its admission, and the callback URL that it is given."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from receiver.domain.sending import NoResponse, Response
from receiver.exchange.admission import Admission
from receiver.exchange.client import Client, ProviderClient
from receiver.exchange.rate_limiter import Permit, RateLimiter
from receiver.exchange.webhook_client import WebhookClient
from receiver.providers.base import OutgoingRequest, Provider
from receiver.providers.webhook import WebhookSender
from receiver.store.database import Database
from receiver.store.limits import ProviderCapacity

_RECORDING_MARGIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Channel:
    """The channel to one provider; `credentials` is the fingerprint of the credentials that we use."""

    provider: Provider
    admission: Admission
    client: Client
    callback_url: str
    credentials: str

    def build_capacity(self, free: int) -> ProviderCapacity:
        """Return the capacity to claim work with, for `free` more exchanges."""
        return ProviderCapacity(self.provider.name, free, self.credentials)

    def exchange(self, outgoing: OutgoingRequest, permit: Permit[Any], begin_by: float) -> Response | NoResponse:
        """Wait for admission, then send the request and return its outcome.

        Raises:
            NotAdmitted: see `Admission.admit`.
        """
        return self.client.exchange(outgoing, self.admission.admit(begin_by, permit.begin_at, probe=permit.probe))


@dataclass(frozen=True, slots=True)
class LeasePolicy:
    """How long work is leased if an exchange takes at most `max_duration` seconds; all in seconds.

    An exchange may wait behind others that were claimed for the same provider: requests, polls and lookups. After
    `max_wait` it does not begin any more, so that it ends and is recorded before its lease runs out.
    """

    max_duration: float

    @property
    def max_wait(self) -> float:
        return 3 * self.max_duration + _RECORDING_MARGIN_S / 2

    @property
    def duration(self) -> float:
        return self.max_wait + self.max_duration + _RECORDING_MARGIN_S / 2


class Channels(Mapping[str, Channel]):
    """The channels of one process by provider name; closed at the end of the context.

    The caller must renew the shares regularly, see `RateLimiter.renew`.
    """

    def __init__(self, database: Database, providers: Mapping[str, Provider], callback_urls: Mapping[str, str]) -> None:
        self.rate_limiter = RateLimiter(
            database, {name: provider.send_policy.limit_policy for name, provider in providers.items()}
        )
        self._channels = {
            name: Channel(
                provider, self.rate_limiter[name], _build_client(provider), callback_urls[name], provider.fingerprint
            )
            for name, provider in providers.items()
        }

    @property
    def lease_policy(self) -> LeasePolicy:
        """How long work is leased, the same for all providers."""
        return LeasePolicy(max((channel.provider.send_policy.max_duration for channel in self.values()), default=0.0))

    def __getitem__(self, provider: str) -> Channel:
        return self._channels[provider]

    def __iter__(self) -> Iterator[str]:
        return iter(self._channels)

    def __len__(self) -> int:
        return len(self._channels)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.rate_limiter.close()
        for channel in self.values():
            channel.client.close()


def _build_client(provider: Provider) -> Client:
    return WebhookClient(provider) if isinstance(provider, WebhookSender) else ProviderClient(provider)
