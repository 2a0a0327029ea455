"""How values look on a page: times, durations, ids, and statuses with shape, word and colour."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Blueprint
from markupsafe import Markup

from receiver.domain.durations import format_duration, format_long_duration, format_relative_time
from receiver.domain.nested_errors import flatten_errors
from receiver.domain.status_symbols import StatusKind, get_status_symbol
from receiver.web.context import current_context

SHORT_ID_LENGTH, SHORT_ID_END_LENGTH = 8, 4


def register_filters(blueprint: Blueprint) -> None:
    """Register the filters of the templates."""
    filters: Mapping[str, Callable[..., str]] = {
        "absolute_time": format_absolute_time,
        "duration": format_duration,
        "errors": format_errors,
        "elapsed": format_elapsed,
        "long_duration": format_long_duration,
        "prose": build_prose,
        "rate_limit": format_rate_limit,
        "share": format_share,
        "short_id": shorten_id,
        "status": build_status,
        "time": build_time,
        "value": format_value,
    }
    for name, function in filters.items():
        blueprint.add_app_template_filter(function, name)


def format_value(value: Any) -> str:
    """Return a value of JSON as text: a text itself, and anything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def format_errors(errors: Any) -> str:
    """Return the messages of nested fields, each with the path of its field."""
    return "; ".join(f"{path}: {message}" for path, message in flatten_errors(errors or {}))


def build_time(text: str | None) -> Markup:
    """Return a time as an element: how long ago or how far ahead it is, with the absolute time in UTC beside it.

    Args:
        text: RFC 3339, as the API writes it; None for no time.
    """
    if text is None:
        return Markup('<span class="none">–</span>')
    relative = format_relative_time(datetime.fromisoformat(text), current_context().clock.now())
    return Markup('<time datetime="{}">{} <span class="absolute">{}</span></time>').format(
        text, relative, format_absolute_time(text)
    )


def format_absolute_time(text: str) -> str:
    """Return a time of RFC 3339 as text for people, in UTC."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def format_elapsed(attempt: Mapping[str, Any]) -> str:
    """Return how long an attempt took; a dash while it is in progress."""
    if attempt["finished_at"] is None:
        return "–"
    started_at, finished_at = (datetime.fromisoformat(attempt[name]) for name in ("started_at", "finished_at"))
    return format_duration((finished_at - started_at).total_seconds())


def format_share(share: float | None) -> str:
    """Return a share as text in percent; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f} %".replace(".0 ", " ")


def format_rate_limit(provider: Mapping[str, Any]) -> str:
    """Return how many requests per second a provider is sent at most, beside the configured limit if that is higher."""
    current, configured = provider["per_second"], provider["max_per_second"]
    if current is None:
        return "no limit"
    return f"{current:g} per s" + (f" of {configured:g}" if configured not in (None, current) else "")


def build_status(status: str, kind: str) -> Markup:
    """Return a status as an element with its shape, its word and the class of its colour.

    Args:
        status: the status, as the API writes it.
        kind: what has the status, see `StatusKind`.
    """
    symbol = get_status_symbol(StatusKind(kind), status)
    return Markup('<span class="status {}"><span class="shape" aria-hidden="true">{}</span> {}</span>').format(
        symbol.meaning, symbol.shape, symbol.word
    )


def build_prose(text: str) -> Markup:
    """Return a text in which what stands between backticks is code."""
    code, plain = Markup("<code>{}</code>"), Markup("{}")
    parts = [(code if number % 2 else plain).format(part) for number, part in enumerate(text.split("`"))]
    return Markup("").join(parts)


def shorten_id(text: str, *, copy: bool = True) -> Markup:
    """Return an id as an element: its beginning and its end, by which ids of the same minute differ.

    Args:
        text: the id.
        copy: whether the whole id can be copied, which is too much in a list.
    """
    short = f"{text[:SHORT_ID_LENGTH]}…{text[-SHORT_ID_END_LENGTH:]}"
    if not copy:
        return Markup('<code title="{}">{}</code>').format(text, short)
    return Markup('<code class="id" title="{}" data-copy="{}">{}</code>').format(text, text, short)
