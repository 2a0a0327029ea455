"""What a person sees of the demo, on stderr: live progress, and at the end the table of ledger against Postgres."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from receiver.cli.demo.compare import Comparison

_FIRST_MISMATCHES = 20


class DemoDisplay:
    """Tells the demo's course and result."""

    def __init__(self, requests: int) -> None:
        self._console = Console(stderr=True)
        self._requests = requests
        self._live: Live | None = None

    def say(self, line: str) -> None:
        """Print a line above the live part."""
        self._console.print(f"[dim]•[/dim] {line}", highlight=False)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Keep a live part at the bottom within the context."""
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            yield
        self._live = None

    def show(self, counts: Mapping[tuple[str, str], int], pending: int) -> None:
        """Redraw the live part."""
        if self._live is not None:
            self._live.update(_progress(self._requests, counts, pending), refresh=True)

    def result(self, comparison: Comparison, seconds: float) -> None:
        """Print the final table and the verdict."""
        table = Table(title="The sandbox's ledger against Postgres", title_justify="left")
        table.add_column("what")
        table.add_column("how the provider behaved")
        table.add_column("ledger", justify="right")
        table.add_column("Postgres agrees", justify="right")
        for (what, kind), (good, total) in sorted(comparison.rows.items(), reverse=True):
            style = "" if good == total else "bold red"
            table.add_row(what, kind.replace("_", " "), str(total), str(good), style=style)
        table.add_row("forged", "wrong key, changed body, stale", str(comparison.forged), "", end_section=True)
        self._console.print(table)
        for line in comparison.mismatches[:_FIRST_MISMATCHES]:
            self._console.print(f"[red]✗[/red] {line}", highlight=False)
        statuses = ", ".join(f"{number} {status}" for status, number in sorted(comparison.by_status.items()))
        mark = "[green]✓[/green]" if comparison.agrees else "[red]✗[/red]"
        self._console.print(
            f"{mark} {comparison.requests} requests, {comparison.jobs} jobs ({statuses}), "
            f"{comparison.forged_accepted} of {comparison.forged} forged callbacks accepted, "
            f"{len(comparison.mismatches)} mismatches, {seconds:.1f} s",
            highlight=False,
        )


def _progress(requests: int, counts: Mapping[tuple[str, str], int], pending: int) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for what in ("request", "job"):
        cells = [f"{status} {number}" for (kind, status), number in sorted(counts.items()) if kind == what]
        total = f" of {requests}" if what == "request" else ""
        number = sum(number for (kind, _), number in counts.items() if kind == what)
        table.add_row(f"{what}s {number}{total}", " · ".join(cells))
    table.add_row("provider", f"{pending} callbacks to come")
    return table
