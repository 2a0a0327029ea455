"""Compares the sandbox's ledger with Postgres, request by request and job by job. No I/O."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.domain.plurals import format_count


@dataclass(frozen=True, slots=True)
class StoredState:
    """The status and flags of one request or job, in Postgres or in the ledger."""

    status: str
    disputed: bool = False
    matched: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences between ledger and database.

    Attributes:
        by_status: the number of jobs by status.
        forged: the number of forged callbacks; `forged_accepted` of them got a 2xx response.
        rows: by `request` or `job` and the scripted behavior, how many agree and how many there are.
    """

    requests: int
    jobs: int
    by_status: Mapping[str, int]
    forged: int
    forged_accepted: int
    mismatches: Sequence[str]
    rows: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether there is no mismatch and no forged callback was accepted."""
        return not self.mismatches and not self.forged_accepted


def compare(
    ledger: Mapping[str, Any], requests: Mapping[str, StoredState], jobs: Mapping[str, StoredState]
) -> Comparison:
    """Compare the ledger with the contents of Postgres.

    Args:
        ledger: the document of the sandbox's `/ledger`.
        requests: the stored requests, by client reference.
        jobs: the stored jobs, by the provider's reference.
    """
    mismatches: list[str] = []
    rows: dict[tuple[str, str], tuple[int, int]] = {}

    def check(subject: str, behavior: str, name: str, expected: StoredState, stored: StoredState | None) -> None:
        agreeing, total = rows.get((subject, behavior), (0, 0))
        rows[subject, behavior] = (agreeing + (stored == expected), total + 1)
        if stored != expected:
            mismatches.append(
                f"{subject} {name} ({behavior}): {expected} in the ledger, {stored or 'missing'} in Postgres"
            )

    for entry in ledger["requests"]:
        name = entry["client_reference"]
        check("request", entry["response"], name, StoredState(entry["expected"]), requests.get(name))
    for entry in ledger["jobs"]:
        expected = StoredState(entry["expected"], entry["disputed"], entry["matched"])
        check("job", entry["callback"], entry["reference"], expected, jobs.get(entry["reference"]))
    mismatches += _find_unexpected("request", requests, {entry["client_reference"] for entry in ledger["requests"]})
    mismatches += _find_unexpected("job", jobs, {entry["reference"] for entry in ledger["jobs"]})
    if ledger["double_sends"]:
        mismatches.append(f"{format_count(ledger['double_sends'], 'request')} carried out more than once")
    return Comparison(
        requests=len(requests),
        jobs=len(jobs),
        by_status=Counter(job.status for job in jobs.values()),
        forged=len(ledger["forged"]),
        forged_accepted=sum(1 for forged in ledger["forged"] if 200 <= (forged["response_status"] or 0) < 300),
        mismatches=mismatches,
        rows=rows,
    )


def _find_unexpected(subject: str, stored: Mapping[str, StoredState], expected: set[str]) -> list[str]:
    return [f"{subject} {name}: in Postgres, but not in the ledger" for name in stored if name not in expected]
