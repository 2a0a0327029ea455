"""Positions in the stream of changes, in the order of commits.

A time alone is no position: a transaction that began earlier may commit later. A position therefore holds which
transactions were visible, as Postgres's snapshots do, and when the transactions had begun that were running.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from receiver.domain.paging import BaseCursor, format_time, parse_time

KINDS = ("request", "callback", "job")
"""The kinds of changes."""
MAX_RUNNING = 100
"""The most transactions that the text of a position lists."""
_XID_BITS = 32


@dataclass(frozen=True, slots=True)
class TailCursor(BaseCursor):
    """A position between two commits.

    Args:
        time: when the position was taken, by the database's clock, UTC. Transactions that begin later are after it.
        next_xid: the id of the next transaction at that time; ids have 64 bits.
        running: the ids of the transactions that had changed something and were not committed.
        started: when all running transactions had begun, UTC.
    """

    PATTERN: ClassVar[str] = (
        rf"[0-9a-f]{{13}}\.[0-9a-f]{{1,15}}\.([0-9a-f]{{1,15}}-){{0,{MAX_RUNNING}}}\.([0-9a-f]{{13}}-){{0,{MAX_RUNNING}}}"
    )

    time: datetime
    next_xid: int
    running: Collection[int] = ()
    started: Collection[datetime] = ()

    def __str__(self) -> str:
        # Of more transactions than fit, the younger ones count as later than the position, like all after them.
        xids, times = sorted(self.running), sorted(self.started)
        next_xid = min([self.next_xid, *xids[MAX_RUNNING:]])
        time = min([self.time, *times[MAX_RUNNING:]])
        running = "".join(f"{xid:x}-" for xid in xids[:MAX_RUNNING])
        started = "".join(f"{format_time(started_at)}-" for started_at in times[:MAX_RUNNING])
        return f"{format_time(time)}.{next_xid:x}.{running}.{started}"

    @classmethod
    def parse(cls, text: str) -> "TailCursor":
        time, next_xid, running, started = text.split(".")
        return cls(
            parse_time(time),
            int(next_xid, 16),
            frozenset(int(xid, 16) for xid in running.split("-") if xid),
            frozenset(parse_time(each) for each in started.split("-") if each),
        )

    def sees_xid(self, xid: int) -> bool:
        """Return whether the transaction with this id, which has ended by now, was committed before the position."""
        return xid < self.next_xid and xid not in self.running

    def sees_time(self, started_at: datetime) -> bool:
        """Return whether the transaction that began at this time, which has ended by now, had ended by the position."""
        return started_at < self.time and started_at not in self.started


def merge_cursors(cursors: Iterable[TailCursor]) -> TailCursor:
    """Return a position after which everything is that is after any of the positions."""
    positions = list(cursors)
    return TailCursor(
        time=min(position.time for position in positions),
        next_xid=min(position.next_xid for position in positions),
        running=frozenset().union(*(position.running for position in positions)),
        started=frozenset().union(*(position.started for position in positions)),
    )


def widen_xid(short_xid: int, next_xid: int) -> int:
    """Return the 64-bit id of a recent transaction, from the 32 bits that a row holds and the id of the next one."""
    xid = next_xid >> _XID_BITS << _XID_BITS | short_xid
    return xid - (1 << _XID_BITS) if xid >= next_xid else xid


def narrow_xid(xid: int) -> int:
    """Return the 32 bits of a transaction's id that a row holds."""
    return xid & ((1 << _XID_BITS) - 1)
