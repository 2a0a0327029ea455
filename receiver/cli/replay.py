"""Replays all stored callbacks that match a filter, oldest first, and prints a summary."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.cli.api import ApiError, Service, Unavailable, connect_service
from receiver.cli.formats import Json
from receiver.cli.messages import print_message, show_progress
from receiver.cli.output import print_fields, print_json
from receiver.domain.callbacks import VERDICTS
from receiver.domain.plurals import format_count

REPLAYABLE_VERDICTS = [verdict for verdict in VERDICTS if verdict != "duplicate"]
"""The verdicts of callbacks that are replayed. A duplicate repeats a callback that is replayed itself."""

_PAGE_SIZE = 500
_MAX_TRIES = 3
_STILL_REFUSED = "still refused"
"""Part of the service's `detail` when the signature of a callback does not verify with the current secrets either."""


@dataclass
class _Summary:
    """The results of a replay."""

    total: int
    replayed: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    still_refused: list[str] = field(default_factory=list)
    failed: list[Json] = field(default_factory=list)

    @property
    def processed(self) -> int:
        return self.replayed + len(self.still_refused) + len(self.failed)

    def add_failure(self, callback: Json, reason: str) -> None:
        self.failed.append({"id": callback["id"], "reason": reason})

    def as_document(self) -> Json:
        changes = [{"from": old, "to": new, "count": count} for (old, new), count in sorted(self.changes.items())]
        return {
            "found": self.total,
            "replayed": self.replayed,
            "changed": changes,
            "still_refused": self.still_refused,
            "failed": self.failed,
        }

    def print(self) -> None:
        print_fields(
            {
                "found": self.total,
                "replayed": self.replayed,
                **{f"{old} → {new}": count for (old, new), count in sorted(self.changes.items())},
                "still refused": len(self.still_refused),
                "failed": len(self.failed),
            }
        )


def replay_many(filters: Mapping[str, Any], reason: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Replay all stored callbacks that match the filters of the list. Exit with 1 if any failed."""
    service = connect_service()
    with show_progress("looking for callbacks") as update:
        callbacks = _list_callbacks(service, filters)
        summary = _Summary(len(callbacks))
        if not dry_run:
            for callback in callbacks:
                update(f"{summary.processed} of {summary.total} replayed")
                if not _replay(service, callback, reason, summary):
                    _give_up(callbacks, summary)
                    break
    if as_json:
        print_json({**summary.as_document(), "dry_run": dry_run})
    elif dry_run:
        by_verdict = Counter(callback["verdict"] for callback in callbacks)
        print_fields({"would be replayed": len(callbacks), **dict(sorted(by_verdict.items()))})
    else:
        summary.print()
    sys.exit(1 if summary.failed else 0)


def _list_callbacks(service: Service, filters: Mapping[str, Any]) -> list[Json]:
    """Return the matching callbacks, oldest first.

    The whole list is read before the first replay, because a replay changes which callbacks match.
    """
    pages = service.pages("callbacks", query={**filters, "limit": _PAGE_SIZE})
    items = [{"id": item["id"], "verdict": item["verdict"]} for page in pages for item in page["items"]]
    return [item for item in reversed(items) if item["verdict"] in REPLAYABLE_VERDICTS]


def _replay(service: Service, callback: Json, reason: str | None, summary: _Summary) -> bool:
    """Replay one callback and record the result; return False if the service is unavailable."""
    for remaining in reversed(range(_MAX_TRIES)):
        try:
            verdict = service.act("callbacks", callback["id"], "replay", reason=reason)["verdict"]
        except Unavailable as error:
            # The replay may have been carried out; a second one records nothing new.
            if not remaining:
                _report_failure(callback, error, summary)
                return False
        except ApiError as error:
            if _STILL_REFUSED in error.message:
                summary.still_refused.append(callback["id"])
            else:
                _report_failure(callback, error, summary)
            return True
        else:
            summary.replayed += 1
            if verdict != callback["verdict"]:
                summary.changes[callback["verdict"], verdict] += 1
            return True
    raise AssertionError("the last try returns")


def _report_failure(callback: Json, error: ApiError, summary: _Summary) -> None:
    summary.add_failure(callback, error.message)
    print_message(f"{callback['id']}: {error.message}")


def _give_up(callbacks: Sequence[Json], summary: _Summary) -> None:
    """Record the callbacks that were not tried as failed."""
    remaining = callbacks[summary.processed :]
    if remaining:
        number = format_count(len(remaining), "callback")
        print_message(f"stopped: {number} not replayed; repeat the command when the service is up")
    for callback in remaining:
        summary.add_failure(callback, "The service was unavailable.")
