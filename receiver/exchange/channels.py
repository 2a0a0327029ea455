"""The ways to the providers: for each its client, the gate before it, and where it is to call back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from receiver.domain.sending import Answer, NoAnswer
from receiver.exchange.client import Client, ProviderClient
from receiver.exchange.gate import Gate
from receiver.exchange.limits import Gates, Turn
from receiver.exchange.notify_client import NotifyClient
from receiver.providers.base import Outgoing, Provider
from receiver.providers.notify import Notifier
from receiver.store.database import Database
from receiver.store.limits import Lane

_RECORDING = 30.0


@dataclass(frozen=True, slots=True)
class Channel:
    """The way to one provider; `credentials` is the fingerprint of those that we prove ourselves with."""

    provider: Provider
    gate: Gate
    client: Client
    callback_url: str
    credentials: str

    def lane(self, capacity: int) -> Lane:
        """Give what to claim with for so many more exchanges."""
        return Lane(self.provider.name, capacity, self.credentials)

    def exchange(self, outgoing: Outgoing, turn: Turn[Any], begin_by: float) -> Answer | NoAnswer:
        """Exchange when the gate lets us have our turn.

        Raises:
            NotAdmitted: see `Gate.admitted`.
        """
        return self.client.exchange(outgoing, self.gate.admitted(begin_by, turn.begin_at, probe=turn.probe))


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

    Their gates must be renewed over and over, see `Gates.renew`.
    """

    def __init__(self, database: Database, providers: Mapping[str, Provider], callback_urls: Mapping[str, str]) -> None:
        self.gates = Gates(database, {name: provider.dispatching.limits for name, provider in providers.items()})
        self._channels = {
            name: Channel(provider, self.gates[name], _client_of(provider), callback_urls[name], provider.fingerprint)
            for name, provider in providers.items()
        }

    @property
    def leases(self) -> Leases:
        """How long work is leased, whoever it is for."""
        return Leases(max((channel.provider.dispatching.longest for channel in self.values()), default=0.0))

    def __getitem__(self, provider: str) -> Channel:
        return self._channels[provider]

    def __iter__(self) -> Iterator[str]:
        return iter(self._channels)

    def __len__(self) -> int:
        return len(self._channels)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.gates.close()
        for channel in self.values():
            channel.client.close()


def _client_of(provider: Provider) -> Client:
    return NotifyClient(provider) if isinstance(provider, Notifier) else ProviderClient(provider)
