"""Options and parameter types that several commands share, and the printing of lists."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import click

from receiver.cli.api import connect_service
from receiver.cli.cells import Column
from receiver.cli.completion import complete_accounts, complete_providers
from receiver.cli.messages import print_message
from receiver.cli.output import print_json
from receiver.cli.table_printer import TablePrinter
from receiver.cli.terminal import wide_option
from receiver.cli.unknown_names import report_unknown_names

P = ParamSpec("P")
CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_PAGE_SIZE, _MAX_PAGE_SIZE = 50, 500
_DURATION = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_VISIBLE = re.compile(r"[!-~]+")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class TimeParameter(click.ParamType[str]):
    """A time: RFC 3339 with an offset, or a duration such as 90d from now, into the future or the past.

    Converts to RFC 3339 in UTC.
    """

    name = "time"

    def __init__(self, *, future: bool) -> None:
        self._sign = 1 if future else -1

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            duration = _parse_duration(value)
            time = datetime.fromisoformat(value) if duration is None else datetime.now(UTC) + self._sign * duration
            utc = time.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time. Use 2026-11-23T14:00:00Z, or a span such as 90m, 2h, 7d.", param, ctx)
        if time.tzinfo is None:
            self.fail(f"{value!r} has no UTC offset. Use {value}Z if it is UTC.", param, ctx)
        return utc.isoformat().replace("+00:00", "Z")


class DurationParameter(click.ParamType[timedelta]):
    """A duration such as 90d."""

    name = "span"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        duration = _parse_duration(value) if isinstance(value, str) else value
        if duration is None:
            self.fail(f"{value!r} is not a duration. Use 90d, 36h or 12w.", param, ctx)
        return duration


PAST_TIME, FUTURE_TIME = TimeParameter(future=False), TimeParameter(future=True)


class PairParameter(click.ParamType[tuple[str, str]]):
    """KEY=VALUE."""

    name = "key=value"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if not isinstance(value, str):
            return value
        key, separator, text = value.partition("=")
        if not key or not separator:
            self.fail(f"{value!r} is not KEY=VALUE.", param, ctx)
        return key, text


def provider(help_text: str) -> Callable[[CommandT], CommandT]:
    """Return the option `--provider`, which is completed with the names of the service's providers."""
    return click.option("--provider", shell_complete=complete_providers, help=help_text)


account = click.option(
    "--account", metavar="NAME", shell_complete=complete_accounts, help="Only this account of the provider."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the API's JSON document.")


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `--json` and `--wide` to a command that prints tables."""
    return wide_option(as_json(command))


reason = click.option("--reason", help="The reason; stored with the action.")


def _parse_duration(text: str) -> timedelta | None:
    match = _DURATION.fullmatch(text)
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None


def check_header_value(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a value that fits an HTTP header; for `callback` of an option.

    Raises:
        BadParameter: the value does not.
    """
    if value is not None and not _VISIBLE.fullmatch(value):
        raise click.BadParameter("Must contain only printable ASCII characters, without spaces.", ctx, param)
    return value


def time_range_options(name: str, verb: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Return a decorator that adds `--NAME-from` and `--NAME-to`; `verb` is what happened to the items then."""

    def add_options(command: Callable[P, None]) -> Callable[P, None]:
        add_from = click.option(
            f"--{name}-from", type=PAST_TIME, metavar="TIME", help=f"Only {verb} at or after TIME; 2h is two hours ago."
        )
        add_to = click.option(f"--{name}-to", type=PAST_TIME, metavar="TIME", help=f"Only {verb} before TIME.")
        return add_from(add_to(command))

    return add_options


@dataclass(frozen=True, slots=True)
class Paging:
    """The part of a list to print, and its format."""

    limit: int | None
    cursor: str | None
    show_all: bool
    as_json: bool

    def show(self, path: str, filters: Mapping[str, object], columns: Sequence[Column]) -> None:
        """Print a list of the API as a table or as JSON, with a message on how to continue if there is more.

        Args:
            path: the path of the list below `/v1`.
            filters: the other parameters of the query.
            columns: the columns of the table.
        """
        if self.show_all and self.limit:
            raise click.UsageError("--all shows the whole list. Omit --limit.")
        size = _MAX_PAGE_SIZE if self.show_all else self.limit or _PAGE_SIZE
        service = connect_service()
        pages = service.pages(*path.split("/"), query={**filters, "limit": size, "cursor": self.cursor})
        if self.as_json:
            document = next(pages)
            if self.show_all:
                items = [*document["items"], *[item for page in pages for item in page["items"]]]
                document = {**document, "items": items, "next_cursor": None}
            print_json(document)
            return
        table, count = TablePrinter(columns), 0
        for page in pages:
            if page["items"]:
                table.show(page["items"])
            count += len(page["items"])
            if page["next_cursor"] and not self.show_all:
                print_message(f"more items follow: use --all, or --cursor {page['next_cursor']} for the next page")
                break
        if not count:
            print_message("no items found")
            report_unknown_names(service, filters)


def list_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a list to a command, which receives them as a `Paging` in its first argument."""

    @click.option(
        "--limit", type=click.IntRange(1, _MAX_PAGE_SIZE), help=f"The number of items to show; {_PAGE_SIZE} by default."
    )
    @click.option("--cursor", help="Continue where the previous page ended.")
    @click.option("--all", "show_all", is_flag=True, help="Show all items.")
    @table_options
    @wraps(command)
    def wrapped(limit: int | None, cursor: str | None, show_all: bool, as_json: bool, **filters: Any) -> None:
        command(Paging(limit, cursor, show_all, as_json), **filters)

    return wrapped


def print_result(document: Any, as_json: bool, print_text: Callable[[Any], None]) -> None:
    """Print a document of the API as JSON, or as text with `print_text`."""
    if as_json:
        print_json(document)
    else:
        print_text(document)
