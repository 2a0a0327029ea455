"""Options and arguments that several commands share, and the one way to print a list."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec

import click

from receiver.cli.api import connect_service
from receiver.cli.output import Column, TablePrinter, print_json, print_message

P = ParamSpec("P")

_PAGE, _LARGEST_PAGE = 50, 500
_SPAN = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_VISIBLE = re.compile(r"[!-~]+")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class TimeParameter(click.ParamType[str]):
    """A time of RFC 3339 with its offset, or a span such as 90d from now: `ahead`, or back."""

    name = "time"

    def __init__(self, *, ahead: bool) -> None:
        self._sign = 1 if ahead else -1

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            span = _span(value)
            moment = datetime.fromisoformat(value) if span is None else datetime.now(UTC) + self._sign * span
            utc = moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; write 2026-11-23T14:00:00Z, or 90m, 2h, 7d from now", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} lacks its offset from UTC; write {value}Z if it is UTC", param, ctx)
        return utc.isoformat().replace("+00:00", "Z")


class DurationParameter(click.ParamType[timedelta]):
    """How long: such as 90d."""

    name = "span"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        span = _span(value) if isinstance(value, str) else value
        if span is None:
            self.fail(f"{value!r} is no span of time; write 90d, or 36h, 12w", param, ctx)
        return span


AGO, AHEAD = TimeParameter(ahead=False), TimeParameter(ahead=True)


class PairParameter(click.ParamType[tuple[str, str]]):
    """KEY=VALUE."""

    name = "key=value"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if not isinstance(value, str):
            return value
        key, equals, rest = value.partition("=")
        if not key or not equals:
            self.fail(f"{value!r} must be KEY=VALUE", param, ctx)
        return key, rest


as_json = click.option("--json", "as_json", is_flag=True, help="Print the API's JSON document.")
reason = click.option("--reason", help="Why; kept for those who look at it later.")


def _span(value: str) -> timedelta | None:
    """Read a number with its unit."""
    span = _SPAN.fullmatch(value)
    return timedelta(**{_UNITS[span[2]]: int(span[1])}) if span else None


def visible(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse what cannot stand in a header."""
    if value is not None and not _VISIBLE.fullmatch(value):
        raise click.BadParameter("must be letters, digits and signs of ASCII, without spaces", ctx, param)
    return value


def time_range_options(name: str, what: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Add `--NAME-from` and `--NAME-to`."""

    def add(command: Callable[P, None]) -> Callable[P, None]:
        since = click.option(
            f"--{name}-from", type=AGO, metavar="TIME", help=f"Only {what} since TIME; 2h is two hours ago."
        )
        until = click.option(f"--{name}-to", type=AGO, metavar="TIME", help=f"Only {what} before TIME.")
        return since(until(command))

    return add


@dataclass(frozen=True, slots=True)
class Paging:
    """How much of a list to show, from where, and how."""

    limit: int | None
    cursor: str | None
    everything: bool
    as_json: bool

    def show(self, path: str, filters: Mapping[str, object], columns: Sequence[Column]) -> None:
        """Print a list of the API, as a table or as JSON; say where it goes on if that is not its end."""
        if self.everything and self.limit:
            raise click.UsageError("--all shows all; leave out --limit")
        size = _LARGEST_PAGE if self.everything else self.limit or _PAGE
        pages = connect_service().pages(path, query={**filters, "limit": size, "cursor": self.cursor})
        if self.as_json:
            first = next(pages)
            rest = [item for page in pages for item in page["items"]] if self.everything else []
            print_json({**first, "items": first["items"] + rest, "next_cursor": None} if self.everything else first)
            return
        table, found = TablePrinter(columns), 0
        for page in pages:
            if page["items"]:
                table.show(page["items"])
            found += len(page["items"])
            if page["next_cursor"] and not self.everything:
                print_message(f"there are more: --all shows them, --cursor {page['next_cursor']} goes on from here")
                break
        if not found:
            print_message("nothing found")


def list_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take the options of a list; it gets them as its first argument."""

    @click.option("--limit", type=click.IntRange(1, _LARGEST_PAGE), help=f"How many to show; {_PAGE} unless given.")
    @click.option("--cursor", help="Go on where the list before this one ended.")
    @click.option("--all", "everything", is_flag=True, help="Show all, however many.")
    @as_json
    @wraps(command)
    def wrapped(limit: int | None, cursor: str | None, everything: bool, as_json: bool, **filters: Any) -> None:
        command(Paging(limit, cursor, everything, as_json), **filters)

    return wrapped


def print_result(document: Any, as_json: bool, tell: Callable[[Any], None]) -> None:
    """Print a document of the API as JSON, or let `tell` print it for people."""
    if as_json:
        print_json(document)
    else:
        tell(document)
