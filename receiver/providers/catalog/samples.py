"""Sample callbacks of an entry of the catalog: its examples, which are those of the vendor."""

from dataclasses import dataclass
from datetime import datetime

from receiver.domain.callbacks import IncomingCallback
from receiver.providers.capabilities import NoSample, Samples
from receiver.providers.catalog.examples import Examples


@dataclass(frozen=True, slots=True)
class CatalogSamples(Samples):
    """The examples of an entry."""

    examples: Examples

    def build(self, target: str, reference: str, status: str, now: datetime, unique_id: str) -> IncomingCallback:
        callback = self.examples.build_callback(target, status, now, reference)
        if callback is None:
            raise NoSample(f"The catalog has no example of a callback with the status {status}.")
        return callback
