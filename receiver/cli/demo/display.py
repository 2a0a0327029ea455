"""The demo's output on stderr: live progress, and at the end the comparison of ledger and Postgres."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from receiver.cli.demo.compare import Comparison
from receiver.domain.plurals import format_count

_MAX_MISMATCHES = 20


class DemoDisplay:
    """Prints the progress and the result of a demo."""

    def __init__(self, requests: int) -> None:
        self._console = Console(stderr=True)
        self._requests = requests
        self._live: Live | None = None

    def print_step(self, line: str) -> None:
        """Print a line above the live table."""
        self._console.print(f"[dim]•[/dim] {line}", highlight=False)

    @contextmanager
    def show_live(self) -> Iterator[None]:
        """Show a live table at the bottom until the context ends."""
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            yield
        self._live = None

    def update(self, counts: Mapping[tuple[str, str], int], pending: int) -> None:
        """Update the live table.

        Args:
            counts: the number of requests and jobs, by `request` or `job` and status.
            pending: the number of callbacks that the sandbox has still to send.
        """
        if self._live is not None:
            self._live.update(_build_progress_table(self._requests, counts, pending), refresh=True)

    def print_result(self, comparison: Comparison, seconds: float) -> None:
        """Print the comparison and its summary."""
        table = Table(title="Sandbox ledger compared with Postgres", title_justify="left")
        table.add_column("subject")
        table.add_column("provider behavior")
        table.add_column("ledger", justify="right")
        table.add_column("Postgres agrees", justify="right")
        for (subject, behavior), (agreeing, total) in sorted(comparison.rows.items(), reverse=True):
            style = "" if agreeing == total else "bold red"
            table.add_row(subject, behavior.replace("_", " "), str(total), str(agreeing), style=style)
        refused = comparison.forged - comparison.forged_accepted
        style = "bold red" if comparison.forged_accepted else ""
        table.add_row("forged", "wrong key, changed body, stale", str(comparison.forged), str(refused), style=style)
        self._console.print(table)
        for line in comparison.mismatches[:_MAX_MISMATCHES]:
            self._console.print(f"[red]✗[/red] {line}", highlight=False)
        statuses = ", ".join(f"{count} {status}" for status, count in sorted(comparison.by_status.items()))
        mismatches = len(comparison.mismatches)
        mark = "[green]✓[/green]" if comparison.agrees else "[red]✗[/red]"
        self._console.print(
            f"{mark} {format_count(comparison.requests, 'request')}, "
            f"{format_count(comparison.jobs, 'job')} ({statuses}), "
            f"{comparison.forged_accepted} of {format_count(comparison.forged, 'forged callback')} accepted, "
            f"{mismatches:,} {'mismatch' if mismatches == 1 else 'mismatches'}, {seconds:.1f} s",
            highlight=False,
        )
        if comparison.agrees and comparison.by_status.get("unresolved"):
            self._console.print("  unresolved as intended: the sandbox never reports how these jobs ended")


def _build_progress_table(requests: int, counts: Mapping[tuple[str, str], int], pending: int) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for subject in ("request", "job"):
        by_status = {status: count for (kind, status), count in sorted(counts.items()) if kind == subject}
        total = f" of {requests}" if subject == "request" else ""
        cells = [f"{status} {count}" for status, count in by_status.items()]
        table.add_row(f"{subject}s {sum(by_status.values())}{total}", " · ".join(cells))
    table.add_row("provider", f"{format_count(pending, 'callback')} pending")
    return table
