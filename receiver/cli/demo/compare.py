"""Compares the sandbox's ledger with Postgres, request by request and job by job; pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredState:
    """What Postgres holds of one request or job: its status and flags in words."""

    status: str
    disputed: bool = False
    matched: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far ledger and database agree."""

    requests: int
    jobs: int
    by_status: Mapping[str, int]
    forged: int
    forged_accepted: int
    mismatches: Sequence[str]
    rows: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        return not self.mismatches and not self.forged_accepted


def compare(
    ledger: Mapping[str, Any], requests: Mapping[str, StoredState], jobs: Mapping[str, StoredState]
) -> Comparison:
    """Hold the ledger against what Postgres has.

    Args:
        ledger: as the sandbox gives it.
        requests: by client reference.
        jobs: by the provider's reference.
    """
    mismatches: list[str] = []
    rows: dict[tuple[str, str], tuple[int, int]] = {}

    def check(what: str, kind: str, name: str, wanted: StoredState, found: StoredState | None) -> None:
        good, total = rows.get((what, kind), (0, 0))
        rows[what, kind] = (good + (found == wanted), total + 1)
        if found != wanted:
            mismatches.append(f"{what} {name} ({kind}): the ledger says {wanted}, Postgres {found or 'nothing'}")

    for entry in ledger["requests"]:
        name = entry["client_reference"]
        check("request", entry["response"], name, StoredState(entry["expected"]), requests.get(name))
    for entry in ledger["jobs"]:
        wanted = StoredState(entry["expected"], entry["disputed"], entry["matched"])
        check("job", entry["callback"], entry["reference"], wanted, jobs.get(entry["reference"]))
    mismatches += _strangers("request", requests, {entry["client_reference"] for entry in ledger["requests"]})
    mismatches += _strangers("job", jobs, {entry["reference"] for entry in ledger["jobs"]})
    if ledger["double_sends"]:
        mismatches.append(f"{ledger['double_sends']} requests were acted on twice")
    return Comparison(
        requests=len(requests),
        jobs=len(jobs),
        by_status=Counter(job.status for job in jobs.values()),
        forged=len(ledger["forged"]),
        forged_accepted=sum(1 for forged in ledger["forged"] if 200 <= (forged["answered"] or 0) < 300),
        mismatches=mismatches,
        rows=rows,
    )


def _strangers(what: str, found: Mapping[str, StoredState], known: set[str]) -> list[str]:
    return [f"{what} {name}: in Postgres, but not in the ledger" for name in found if name not in known]
