"""`receiver job wait`: waits until jobs, or all jobs of a request, are final."""

import sys
import time
from collections.abc import Sequence
from math import inf
from uuid import UUID

import click

from receiver.cli import options
from receiver.cli.api import Service, Unavailable, connect_service
from receiver.cli.formats import Json, format_literal
from receiver.cli.messages import print_message, show_progress
from receiver.cli.output import print_json
from receiver.cli.table_printer import TablePrinter
from receiver.cli.tables import JOBS
from receiver.domain.plurals import format_count

_LONG_POLL_S = 30
_MAX_OUTAGE_S, _OUTAGE_RETRY_INTERVAL_S = 60.0, 0.5
_MIN_LONG_POLL_INTERVAL_S = 1.0
_MIN_POLL_INTERVAL_S, _MAX_POLL_INTERVAL_S = 0.25, 5.0
_ENDED_JOB_STATUSES = frozenset({"succeeded", "failed", "unresolved"})
_PENDING_REQUEST_STATUSES = frozenset({"queued", "sending"})
_SUCCESSFUL_REQUEST_STATUSES = frozenset({"accepted", "completed"})


@click.command()
@click.argument("job_ids", metavar="[ID]...", type=click.UUID, nargs=-1)
@click.option("--request", "request_id", type=click.UUID, metavar="ID", help="Wait for all jobs of this request.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="The maximum wait; by default the jobs' deadline.",
)
@options.table_options
def wait(job_ids: Sequence[UUID], request_id: UUID | None, timeout: float | None, as_json: bool) -> None:
    """Wait until jobs are final.

    Exits 0 if all jobs succeeded; 1 if a job failed, or has no final status when the wait ends. With --json, prints a
    list of jobs, also for a single job.

    Example: receiver job wait --request ID --timeout 300
    """
    if bool(job_ids) == bool(request_id):
        raise click.UsageError("Pass either the IDs of jobs or --request ID.")
    waiter = _Waiter(connect_service(), timeout)
    with show_progress("waiting") as update:
        request = waiter.wait_for_response(request_id) if request_id else None
        ids = [job["id"] for job in request["jobs"]] if request else list(dict.fromkeys(job_ids))
        jobs = []
        for index, job_id in enumerate(ids):
            update(f"{index} of {format_count(len(ids), 'job')} final; waiting for {job_id}")
            jobs.append(waiter.wait_for_job(job_id))
    if as_json:
        print_json({"items": jobs, "next_cursor": None})
    elif jobs:
        TablePrinter(JOBS).show(jobs)
    sys.exit(0 if _report_success(jobs, request) else 1)


class _Waiter:
    """Polls the service until a deadline. Once the service has responded, an outage of up to a minute is tolerated."""

    def __init__(self, service: Service, timeout: float | None) -> None:
        self._service = service
        self._deadline = inf if timeout is None else time.monotonic() + timeout
        self._connected = False

    def wait_for_response(self, request_id: UUID) -> Json:
        """Return a request once the provider has responded to it, or as it is at the deadline."""
        interval = _MIN_POLL_INTERVAL_S
        request = self._get("requests", request_id)
        while request["status"] in _PENDING_REQUEST_STATUSES and self._remaining > 0:
            time.sleep(min(interval, self._remaining))
            interval = min(interval * 2, _MAX_POLL_INTERVAL_S)
            request = self._get("requests", request_id)
        return request

    def wait_for_job(self, job_id: UUID | str) -> Json:
        """Return a job once it is final or unresolved, or as it is at the deadline."""
        job = self._get("jobs", job_id)
        while job["status"] not in _ENDED_JOB_STATUSES and self._remaining > 0:
            hold = int(min(_LONG_POLL_S, self._remaining))
            if not hold:
                time.sleep(self._remaining)
            started = time.monotonic()
            job = self._get("jobs", job_id, wait=hold)
            if job["status"] not in _ENDED_JOB_STATUSES and time.monotonic() - started < hold / 2:
                # A service that already holds its maximum number of responses returns immediately.
                time.sleep(min(_MIN_LONG_POLL_INTERVAL_S, self._remaining))
        return job

    @property
    def _remaining(self) -> float:
        """Seconds until the deadline."""
        return max(self._deadline - time.monotonic(), 0.0)

    def _get(self, *path: str | UUID, wait: int = 0) -> Json:
        deadline = min(self._deadline, time.monotonic() + _MAX_OUTAGE_S)
        reported = False
        while True:
            try:
                document: Json = self._service.get(*path, wait=wait)
            except Unavailable as error:
                if not self._connected or time.monotonic() > deadline:
                    raise
                if not reported:
                    print_message(f"still waiting: {error}")
                reported = True
                time.sleep(_OUTAGE_RETRY_INTERVAL_S)
            else:
                self._connected = True
                return document


def _report_success(jobs: Sequence[Json], request: Json | None) -> bool:
    """Return whether the request and all jobs succeeded; print a message if not."""
    if request is not None and (
        request["status"] not in _SUCCESSFUL_REQUEST_STATUSES or (request["status"] == "accepted" and not jobs)
    ):
        detail = f" ({format_literal(request['detail'])})" if request["detail"] else ""
        print_message(f"the request is {request['status']}{detail}; see `receiver request show {request['id']}`")
        return False
    others = [job for job in jobs if job["status"] != "succeeded"]
    if not others:
        return True
    succeeded = f"{len(jobs) - len(others)} of {format_count(len(jobs), 'job')} succeeded"
    print_message(f"{succeeded}; see `receiver job show {others[0]['id']}`")
    return False
