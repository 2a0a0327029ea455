"""The ways to the providers: for each its client, the gate before it, and where it is to call back."""

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

_RECORDING = 30.0


@dataclass(frozen=True, slots=True)
class Channel:
    """The way to one provider; `credentials` is the fingerprint of those that we prove ourselves with."""

    provider: Provider
    admission: Admission
    client: Client
    callback_url: str
    credentials: str

    def build_capacity(self, free: int) -> ProviderCapacity:
        """Give what to claim with for so many more exchanges."""
        return ProviderCapacity(self.provider.name, free, self.credentials)

    def exchange(self, outgoing: OutgoingRequest, permit: Permit[Any], begin_by: float) -> Response | NoResponse:
        """Exchange when the gate lets us have our turn.

        Raises:
            NotAdmitted: see `Admission.admitted`.
        """
        return self.client.exchange(outgoing, self.admission.admitted(begin_by, permit.begin_at, probe=permit.probe))


@dataclass(frozen=True, slots=True)
class Leases:
    """How long work is leased where an exchange takes `longest` seconds at most; all in seconds.

    Its turn may come behind others that were claimed for the same provider: to be sent, to be polled and to be looked
    up. After its `patience` it is not begun any more, so that it is over and recorded when its lease runs out.
    """

    longest: float

    @property
    def patience(self) -> float:
        return 3 * self.longest + _RECORDING / 2

    @property
    def length(self) -> float:
        return self.patience + self.longest + _RECORDING / 2


class Channels(Mapping[str, Channel]):
    """The channels of one process, by the names of their providers; closed at the end of the context.

    Their gates must be renewed over and over, see `RateLimiter.renew`.
    """

    def __init__(self, database: Database, providers: Mapping[str, Provider], callback_urls: Mapping[str, str]) -> None:
        self.rate_limiter = RateLimiter(
            database, {name: provider.send_policy.limits for name, provider in providers.items()}
        )
        self._channels = {
            name: Channel(
                provider, self.rate_limiter[name], _build_client(provider), callback_urls[name], provider.fingerprint
            )
            for name, provider in providers.items()
        }

    @property
    def leases(self) -> Leases:
        """How long work is leased, whoever it is for."""
        return Leases(max((channel.provider.send_policy.longest for channel in self.values()), default=0.0))

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
