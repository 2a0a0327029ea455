"""`prune`: the intake of callbacks while `receiver prune` removes finished jobs, against the intake alone."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from receiver.cli.process_group import ProcessGroup
from receiver.cli.processes import WEB
from tests.benchmarks.contests import Contest, Goal, compute_ratio
from tests.benchmarks.environment import (
    BenchmarkEnvironment,
    BenchmarkFailed,
    describe_machine,
    query,
    start_environment,
)
from tests.benchmarks.intake import start_gunicorn
from tests.benchmarks.loader import load_jobs
from tests.benchmarks.results import Contender, Round
from tests.benchmarks.rounds import WARM_UP_S, CallbackRounds
from tests.benchmarks.wrk import find_wrk

MIN_RATIO = 0.8
_START_S = 1.0
"""How long prune takes to begin."""

PRUNE = ("-c", "from receiver.cli import main; main()", "prune", "--older-than", "1d", "--json")
# The references of loaded jobs begin with `ref-`, those of callbacks with `sbx-`. A request stays with all its jobs
# while one of them is open or disputed, or while an operator has to decide.
_FINISHED = b"""
SELECT count(*) FROM jobs LEFT JOIN requests ON requests.id = jobs.request_id
WHERE jobs.finished_at IS NOT NULL AND NOT disputed AND reference LIKE 'ref-%' AND conflict_deadline_at IS NULL
    AND NOT EXISTS (
        SELECT FROM jobs AS other
        WHERE other.request_id = jobs.request_id AND (other.finished_at IS NULL OR other.disputed))
"""
_STORED = b"""
SELECT (SELECT count(*) FROM callbacks WHERE verdict = 'accepted' AND received_at > now() - interval '1 day'),
    (SELECT count(*) FROM jobs WHERE reference LIKE 'sbx-%' AND status = 'succeeded')
"""


@dataclass(frozen=True, slots=True)
class PruneLoad:
    """The load: `jobs` to load before, and `seconds` per round."""

    jobs: int
    rounds: int
    seconds: int
    connections: int
    workers: int


def compare(load: PruneLoad) -> Contest:
    """Run the benchmark.

    Raises:
        WrkMissing: the load generator is not installed.
        BenchmarkFailed: a response was not 2xx, an acknowledged callback is not in Postgres, a finished job remains, or
            there were too few jobs for all rounds.
    """
    find_wrk()
    with ExitStack() as stack:
        environment = stack.enter_context(start_environment())
        loading_s = load_jobs(environment.dsn, load.jobs)
        web = stack.enter_context(start_gunicorn(environment, "intake", WEB, load.workers))
        rounds = CallbackRounds(web, load.connections, {"postgres": environment.postmaster})
        rounds.run(min(WARM_UP_S, load.seconds), is_timed=False)
        prune = PruneRuns(environment)
        turns: list[tuple[Round, Round]] = []
        for _ in range(load.rounds):
            alone = rounds.run(load.seconds)
            with prune.run():
                turns.append((alone, rounds.run(load.seconds)))
        removed_per_s = prune.removed / prune.seconds
        removed_alone_per_s = prune.run_to_end()
        environment.processes.stop()
        path, ceiling = (
            Contender("intake beside prune", [turn[1] for turn in turns]),
            Contender("intake alone", [turn[0] for turn in turns]),
        )
        return Contest(
            "prune",
            "callbacks",
            [ceiling, path],
            ceiling,
            [Goal("intake beside prune, ratio to intake alone", compute_ratio(path, ceiling).median, MIN_RATIO)],
            {
                "jobs": load.jobs,
                "loading_s": round(loading_s),
                "removed_per_second_beside_intake": round(removed_per_s),
                "removed_per_second_alone": round(removed_alone_per_s),
                **_check_stored(environment, rounds),
            },
            describe_machine(environment.dsn),
        )


class PruneRuns:
    """Runs of `receiver prune`: how many finished jobs they removed beside other load, and in how many seconds."""

    def __init__(self, environment: BenchmarkEnvironment) -> None:
        self._environment = environment
        self.removed = 0
        self.seconds = 0.0

    @contextmanager
    def run(self) -> Iterator[None]:
        """Run prune within the context, and interrupt it at the end.

        Raises:
            ChildEnded: prune failed, or has removed everything: more jobs must be loaded.
        """
        finished, started_at = self._count_finished(), time.monotonic()
        with ProcessGroup() as processes:
            log = self._environment.home / "prune.log"
            processes.start("prune", PRUNE, dict(self._environment.environ), log=log)
            processes.check(wait=_START_S)
            yield
            processes.check()
        self.seconds += time.monotonic() - started_at
        self.removed += finished - self._count_finished()

    def run_to_end(self) -> float:
        """Run prune until it has removed everything; return the finished jobs that it removed per second.

        Raises:
            BenchmarkFailed: prune failed, or a finished job remains.
        """
        finished, started_at = self._count_finished(), time.monotonic()
        command, environ = [sys.executable, *PRUNE], dict(self._environment.environ)
        completed = subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=False)
        remaining = self._count_finished()
        if completed.returncode or remaining:
            raise BenchmarkFailed(f"prune exited with code {completed.returncode}; {remaining} finished jobs remain")
        return finished / (time.monotonic() - started_at)

    def _count_finished(self) -> int:
        (count,) = query(self._environment.dsn, _FINISHED)
        return int(count)


def _check_stored(environment: BenchmarkEnvironment, rounds: CallbackRounds) -> dict[str, int]:
    callbacks, jobs = query(environment.dsn, _STORED)
    rounds.check_stored(callbacks)
    if callbacks != jobs:
        raise BenchmarkFailed(f"{callbacks} callbacks have {jobs} jobs")
    return {"acknowledged": rounds.acknowledged, "callbacks": callbacks}
