"""Reads many kept callbacks again, the oldest first, and tells what came of it."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.cli.api import ApiError, Service, Unavailable, connect_service
from receiver.cli.output import Json, print_facts, print_json, print_message, show_progress
from receiver.schemas.api.callbacks import VERDICTS

REPLAYED = [verdict for verdict in VERDICTS if verdict != "duplicate"]
"""The verdicts of callbacks that are read again: a duplicate is read where its first delivery is."""

_PAGE = 500
_AWAY_BORNE = 3
_STILL_REFUSED = "still refused"


@dataclass
class _Outcome:
    """What came of it."""

    found: int
    replayed: int = 0
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    still_refused: list[str] = field(default_factory=list)
    failed: list[Json] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.replayed + len(self.still_refused) + len(self.failed)

    def document(self) -> Json:
        changes = [{"from": old, "to": new, "count": count} for (old, new), count in sorted(self.changed.items())]
        return {
            "found": self.found,
            "replayed": self.replayed,
            "changed": changes,
            "still_refused": self.still_refused,
            "failed": self.failed,
        }

    def tell(self) -> None:
        print_facts(
            {
                "found": self.found,
                "replayed": self.replayed,
                **{f"{old} → {new}": count for (old, new), count in sorted(self.changed.items())},
                "still refused": len(self.still_refused),
                "failed": len(self.failed),
            }
        )


def replay_many(filters: Mapping[str, Any], reason: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Read again all kept callbacks that the filters of the list fit; exits 1 if any failed."""
    asked = connect_service()
    with show_progress("looking for callbacks") as tell:
        found = _found(asked, filters)
        outcome = _Outcome(len(found))
        if not dry_run:
            for one in found:
                tell(f"{outcome.done} of {outcome.found} read again")
                if not _replay(asked, one, reason, outcome):
                    _give_up(found, outcome)
                    break
    if as_json:
        print_json({**outcome.document(), "dry_run": dry_run})
    elif dry_run:
        by_verdict = Counter(one["verdict"] for one in found)
        print_facts({"would be read again": len(found), **dict(sorted(by_verdict.items()))})
    else:
        outcome.tell()
    sys.exit(1 if outcome.failed else 0)


def _found(asked: Service, filters: Mapping[str, Any]) -> list[Json]:
    """Give the callbacks, the oldest first; all before the first is read again, as that changes what is in the list."""
    pages = asked.pages("callbacks", query={**filters, "limit": _PAGE})
    items = [{"id": one["id"], "verdict": one["verdict"]} for page in pages for one in page["items"]]
    return [one for one in reversed(items) if one["verdict"] in REPLAYED]


def _replay(asked: Service, one: Json, reason: str | None, outcome: _Outcome) -> bool:
    """Read one again and note what came of it; False if the service is away."""
    for remaining in reversed(range(_AWAY_BORNE)):
        try:
            now = asked.act("callbacks", one["id"], "replay", reason=reason)["verdict"]
        except Unavailable as error:
            # To read a callback twice does no harm.
            if not remaining:
                _fail(one, error, outcome)
                return False
        except ApiError as error:
            if _STILL_REFUSED in error.message:
                outcome.still_refused.append(one["id"])
            else:
                _fail(one, error, outcome)
            return True
        else:
            outcome.replayed += 1
            if now != one["verdict"]:
                outcome.changed[one["verdict"], now] += 1
            return True
    raise AssertionError("the last time returns")


def _fail(one: Json, error: ApiError, outcome: _Outcome) -> None:
    outcome.failed.append({"id": one["id"], "reason": error.message})
    print_message(f"{one['id']}: {error.message}")


def _give_up(found: Sequence[Json], outcome: _Outcome) -> None:
    rest = found[outcome.done :]
    if rest:
        print_message(f"gave up: {len(rest)} more were not read again; run it again when the service is back")
    outcome.failed += [{"id": one["id"], "reason": "the service was away"} for one in rest]
