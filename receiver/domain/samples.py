"""Which refused callbacks are stored as a sample, and which of the stored ones are deleted.

Anybody can send callbacks that are refused, in any number. The sample is for the few that a provider sent. Therefore
plausible callbacks have places of their own, all callers and forms of callbacks share the places evenly, and of each
form the newest and the oldest are stored: a flood displaces neither what came before it nor other callers' callbacks.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Generic, TypeVar

IdT = TypeVar("IdT", bound=Hashable)
T = TypeVar("T")

IMPLAUSIBLE_SHARE = 0.2
"""The share of the places that callbacks without any sign of their provider may have."""
MAX_BYTES_PER_PROVIDER = 8 << 20
_FRESH = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Sample(Generic[IdT]):
    """A refused callback that is stored or could be.

    Args:
        id: identifies it.
        received_at: when it was received (UTC).
        is_plausible: whether it has what the provider's scheme checks, right or wrong.
        caller: the caller's address, or its network.
        form: what callbacks of one origin have in common, such as the names of their headers.
        size: the bytes that it takes.
    """

    id: IdT
    received_at: datetime
    is_plausible: bool
    caller: str
    form: str
    size: int


def choose_surplus(
    samples: Sequence[Sample[IdT]], max_count: int, max_bytes: int = MAX_BYTES_PER_PROVIDER
) -> list[IdT]:
    """Return the ids of the samples of one provider to delete, so that at most `max_count` and `max_bytes` are left."""
    implausible = list(_rank(sample for sample in samples if not sample.is_plausible))
    plausible = list(_rank(sample for sample in samples if sample.is_plausible))
    reserved = min(len(implausible), int(max_count * IMPLAUSIBLE_SHARE))
    # The last places are those of implausible samples; plausible ones take what these leave.
    split = min(len(plausible), max_count - reserved)
    kept_ids: set[IdT] = set()
    for sample in (*plausible[:split], *implausible[: max_count - split]):
        max_bytes -= sample.size
        if max_bytes >= 0:
            kept_ids.add(sample.id)
    return [sample.id for sample in samples if sample.id not in kept_ids]


def _rank(samples: Iterable[Sample[IdT]]) -> Iterator[Sample[IdT]]:
    """Yield samples in the order in which they are worth their place: callers take turns, and so do their forms."""
    by_caller: defaultdict[str, defaultdict[str, list[Sample[IdT]]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        by_caller[sample.caller][sample.form].append(sample)
    turns = (list(_take_turns(map(_alternate, forms.values()))) for forms in by_caller.values())
    return _take_turns(sorted(turns, key=lambda queue: queue[0].received_at, reverse=True))


def _alternate(samples: Sequence[Sample[IdT]]) -> Sequence[Sample[IdT]]:
    """Return samples of one form: the newest, the oldest of the last day, the second newest and so on."""
    newest_first = sorted(samples, key=lambda sample: sample.received_at, reverse=True)
    fresh = [sample for sample in newest_first if sample.received_at > newest_first[0].received_at - _FRESH]
    return list(dict.fromkeys([*_take_turns([fresh, fresh[::-1]]), *newest_first]))


def _take_turns(queues: Iterable[Sequence[T]]) -> Iterator[T]:
    """Yield the first items of all queues, then the second ones and so on."""
    return (item for items in zip_longest(*queues) for item in items if item is not None)
