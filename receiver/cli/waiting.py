"""`receiver job wait`: until jobs have their final word, or a request's jobs have."""

import sys
import time
from collections.abc import Sequence
from math import inf
from uuid import UUID

import click

from receiver.cli import options
from receiver.cli.api import Service, Unavailable, connect_service
from receiver.cli.output import Json, TablePrinter, format_literal, print_json, print_message, show_progress
from receiver.cli.tables import JOBS

_HELD = 30
_TROUBLE_BORNE, _AGAIN_AFTER = 60.0, 0.5
_SHORTEST_ROUND = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
_NO_MORE_WORD = frozenset({"succeeded", "failed", "unresolved"})
_BEFORE_THE_ANSWER = frozenset({"queued", "sending"})
_TAKEN = frozenset({"accepted", "completed"})


@click.command()
@click.argument("job_ids", metavar="[ID]...", type=click.UUID, nargs=-1)
@click.option("--request", "request_id", type=click.UUID, metavar="ID", help="Wait for all jobs of this request.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait so long; up to the jobs' deadline else."
)
@options.as_json
def wait(job_ids: Sequence[UUID], request_id: UUID | None, timeout: float | None, as_json: bool) -> None:
    """Wait until jobs are final.

    Exits 0 if all succeeded; 1 if one failed, or no final word came in time. With --json it prints a list of jobs, also
    for one.

    Example: receiver job wait --request ID --timeout 300
    """
    if bool(job_ids) == bool(request_id):
        raise click.UsageError("give either the IDs of jobs or --request ID")
    watch = _Watch(connect_service(), timeout)
    with show_progress("waiting") as tell:
        request = watch.answered(request_id) if request_id else None
        wanted = [found["id"] for found in request["jobs"]] if request else list(dict.fromkeys(job_ids))
        jobs = []
        for place, wanted_id in enumerate(wanted):
            tell(f"{place} of {len(wanted)} jobs are done; waiting for {wanted_id}")
            jobs.append(watch.final(wanted_id))
    if as_json:
        print_json({"items": jobs, "next_cursor": None})
    elif jobs:
        TablePrinter(JOBS).show(jobs)
    sys.exit(0 if _all_succeeded(jobs, request) else 1)


class _Watch:
    """Asks the service again and again until the time is over; bears it for a minute when the service is away."""

    def __init__(self, asked: Service, timeout: float | None) -> None:
        self._asked = asked
        self._until = inf if timeout is None else time.monotonic() + timeout
        self._met = False

    def answered(self, request_id: UUID) -> Json:
        """Give a request once the provider has answered to it, or as it is when the time is over."""
        pause = _FIRST_PAUSE
        found = self._ask("requests", request_id)
        while found["status"] in _BEFORE_THE_ANSWER and self._left > 0:
            time.sleep(min(pause, self._left))
            pause = min(pause * 2, _LONGEST_PAUSE)
            found = self._ask("requests", request_id)
        return found

    def final(self, job_id: UUID | str) -> Json:
        """Give a job once it is final or given up, or as it is when the time is over."""
        found = self._ask("jobs", job_id)
        while found["status"] not in _NO_MORE_WORD and self._left > 0:
            held = int(min(_HELD, self._left))
            if not held:
                time.sleep(self._left)
            began = time.monotonic()
            found = self._ask("jobs", job_id, wait=held)
            if found["status"] not in _NO_MORE_WORD and time.monotonic() - began < held / 2:
                # A service that can hold no more answers gives them at once.
                time.sleep(min(_SHORTEST_ROUND, self._left))
        return found

    @property
    def _left(self) -> float:
        return max(self._until - time.monotonic(), 0.0)

    def _ask(self, *path: str | UUID, wait: int = 0) -> Json:
        until = min(self._until, time.monotonic() + _TROUBLE_BORNE)
        told = False
        while True:
            try:
                found: Json = self._asked.get(*path, wait=wait)
            except Unavailable as error:
                if not self._met or time.monotonic() > until:
                    raise
                if not told:
                    print_message(f"still waiting: {error}")
                told = True
                time.sleep(_AGAIN_AFTER)
            else:
                self._met = True
                return found


def _all_succeeded(jobs: Sequence[Json], request: Json | None) -> bool:
    """Whether nothing is left to be desired; say what is."""
    if request is not None and (request["status"] not in _TAKEN or (request["status"] == "accepted" and not jobs)):
        told = f" ({format_literal(request['detail'])})" if request["detail"] else ""
        print_message(f"the request is {request['status']}{told}; see `receiver request show {request['id']}`")
        return False
    others = [found for found in jobs if found["status"] != "succeeded"]
    if not others:
        return True
    print_message(
        f"{len(jobs) - len(others)} of {len(jobs)} succeeded; `receiver job show {others[0]['id']}` tells what happened"
    )
    return False
