"""Many runs: which faults each of them inflicts, the state file that makes them resumable, and the summary."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from random import Random
from statistics import median

from tests.chaos.store.faults import FAULTS, SECOND_FAULTS
from tests.chaos.store.postgres import Template, prepare_template
from tests.chaos.store.trial import Result, run
from tests.support.processes import kill_processes

SECOND_FAULT_SHARE = 0.25
_KINDS = ("callback", "submission", "send", "settled")


def choose_faults(seed: int, number: int) -> tuple[str, ...]:
    """Return the names of the faults of a run: all faults take turns, in another order each time."""
    turn, place = divmod(number, len(FAULTS))
    names = Random(f"{seed} turn {turn}").sample([*FAULTS], len(FAULTS))
    random = Random(f"{seed} {number} faults")
    second = random.choice(SECOND_FAULTS)
    has_second = random.random() < SECOND_FAULT_SHARE and second != names[place]
    return (second, names[place]) if has_second else (names[place],)


def run_campaign(
    runs: int, seed: int, fault: str | None, state: Path, report: Callable[[Result], None]
) -> Sequence[Result]:
    """Return the results of all runs: those in the state file, and those that are missing there, which are run now.

    Args:
        runs: the number of runs.
        seed: decides the faults and their times.
        fault: the only fault, or None for all of them.
        state: where each result is appended as a line of JSON; logs of runs with differences are stored beside it.
        report: called after each run.
    """
    results = {result.number: result for result in read_results(state, seed, fault)}
    missing = [number for number in range(runs) if number not in results]
    if missing:
        with temporary_template() as template:
            for number in missing:
                faults = (fault,) if fault else choose_faults(seed, number)
                logs = state.with_suffix(".logs") / f"{faults[-1]} {number}"
                result = run(template, Random(f"{seed} {number}"), number, faults, logs)
                append_result(state, seed, fault, result)
                results[number] = result
                report(result)
    return [results[number] for number in range(runs)]


@contextmanager
def temporary_template() -> Iterator[Template]:
    """Yield a template in a temporary directory, in which all runs take place."""
    with tempfile.TemporaryDirectory(prefix="receiver-store-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)  # Postgres may run as another user
        try:
            with prepare_template(Path(home)) as template:
                yield template
        finally:
            kill_processes(Path(home))


def append_result(state: Path, seed: int, fault: str | None, result: Result) -> None:
    """Append the result of a run to a state file."""
    with state.open("a") as file:
        print(json.dumps({"seed": seed, "fault": fault, **asdict(result)}), file=file)


def read_results(state: Path, seed: int, fault: str | None) -> Iterator[Result]:
    """Yield the results of earlier runs of the same seed and fault."""
    for line in state.read_text().splitlines() if state.exists() else []:
        document = json.loads(line)
        if (document.pop("seed"), document.pop("fault")) == (seed, fault):
            yield Result(**document)


def choose_state(seed: int) -> Path:
    """Return the state file of a seed: in the cache directory of the user."""
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "callback-receiver")
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"chaos-store-{seed}.jsonl"


def format_result(result: Result) -> str:
    """Return a run as lines for people."""
    name = " + ".join(result.faults)
    if result.skipped:
        return f"{result.number:4}  {name}: skipped, {result.skipped}"
    seconds = "  ".join(f"{kind} {result.recovery[kind]:.1f}" for kind in _KINDS if kind in result.recovery)
    lines = [f"{result.number:4}  {name}: {seconds}  refused {result.refused}  ({result.seconds:.0f} s)"]
    return "\n".join([*lines, *(f"      {difference}" for difference in result.differences)])


def format_summary(results: Sequence[Result]) -> str:
    """Return a table with a line for each fault: runs, runs with differences, and seconds to recover (median, max)."""
    header = f"{'fault':22}{'runs':>5}{'skipped':>9}{'differ':>8}" + "".join(f"{kind:>14}" for kind in _KINDS)
    lines = [header]
    for fault in sorted({result.faults[-1] for result in results}):
        of_fault = [result for result in results if result.faults[-1] == fault]
        skipped = sum(bool(result.skipped) for result in of_fault)
        differ = sum(bool(result.differences) for result in of_fault)
        lines.append(f"{fault:22}{len(of_fault):5}{skipped:9}{differ:8}" + _format_recovery(of_fault))
    callbacks = sum(result.callbacks for result in results)
    seconds = [result.seconds for result in results if not result.skipped]
    lines.append(
        f"{len(results)} runs, {sum(bool(result.differences) for result in results)} with differences; "
        f"{callbacks} callbacks acknowledged; {sum(seconds) / max(len(seconds), 1):.1f} s a run"
    )
    return "\n".join(lines)


def _format_recovery(results: Sequence[Result]) -> str:
    cells = []
    for kind in _KINDS:
        seconds = [result.recovery[kind] for result in results if kind in result.recovery]
        cells.append(f"{median(seconds):.1f} / {max(seconds):.1f}" if seconds else "-")
    return "".join(f"{cell:>14}" for cell in cells)
