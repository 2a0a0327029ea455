"""The overview: whether anything is wrong, and where."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import render_template, url_for
from markupsafe import Markup

from receiver.domain.activity import ActivityCount, ActivityKind
from receiver.domain.jobs import JobStatus
from receiver.domain.limits import CircuitState
from receiver.providers.webhook import PROVIDER_NAME
from receiver.schemas.api.providers import ProviderSchema, StatsSchema
from receiver.store.activity import count_durations, find_counted_until, list_activity
from receiver.store.callbacks import Verdict
from receiver.store.connections import Connection
from receiver.store.limits import find_limits
from receiver.store.providers import find_pauses
from receiver.store.stats import count_open_jobs
from receiver.web.admin.activity import Window, draw_callbacks, draw_durations, draw_requests, sum_by_period
from receiver.web.admin.attention import AttentionItem, get_full_name, list_attention
from receiver.web.admin.blueprint import admin
from receiver.web.admin.calls import call, can_call
from receiver.web.admin.charts import BarRow, Cell, build_table, draw_bars, draw_sparkline
from receiver.web.context import current_context
from receiver.web.operations import current_caller
from receiver.web.v1.providers import build_counts, build_documents

_MAX_PROVIDERS = 20
_MAX_OWN_ITEMS = 10
_MAX_COUNT = 10_000
_COUNT_DELAY = timedelta(seconds=75)
"""A minute that ended so long ago is counted, unless no worker runs."""
_CHARTED = (ActivityKind.REQUESTS, ActivityKind.CALLBACKS)
_LATE = timedelta(minutes=3)
_AGES_S: Mapping[str, int] = {"< 1 min": 60, "< 10 min": 600, "< 1 h": 3_600, "< 1 day": 86_400}
_OLDEST = "older"
_OPEN: Mapping[JobStatus, str] = {JobStatus.ACCEPTED: "○ accepted", JobStatus.IN_PROGRESS: "◐ in progress"}


@dataclass(frozen=True, slots=True)
class _ProviderRow:
    """A provider of the table, with the callbacks of its last 24 hours."""

    name: str
    document: Mapping[str, Any]
    needs_attention: bool
    sparkline: Markup


@dataclass(frozen=True, slots=True)
class _Overview:
    """What the page shows; `late_since` is up to when figures are counted if no worker has counted since."""

    attention: Sequence[AttentionItem]
    callbacks: Markup
    requests: Markup
    durations: Markup | None
    open_jobs: Markup
    providers: Sequence[_ProviderRow]
    provider_table: Markup
    other_providers: int
    late_since: datetime | None


@admin.get("/")
def show_overview() -> str:
    """Show what needs attention; to a key that reads nothing but its own, the newest of that."""
    if not can_call("show_stats"):
        return _render_own()
    overview = current_context().reader.read(_load)
    if overview is None:
        return render_template("overview_empty.html", callback_urls=_list_callback_urls())
    return render_template("overview.html", overview=overview)


def _render_own() -> str:
    """Render the page of a key that may read its client's requests and jobs only."""
    limit = {"limit": str(_MAX_OWN_ITEMS)}
    requests, jobs = (
        call(name, limit)["items"] if can_call(name) else [] for name in ("browse_requests", "browse_jobs")
    )
    return render_template(
        "overview_own.html", requests=requests, jobs=jobs, public_url=current_context().settings.public_url
    )


def _list_callback_urls() -> Mapping[str, str | None]:
    """Return the callback URL to register of the first providers, by name."""
    documents = call("browse_providers", {"limit": str(_MAX_PROVIDERS)})["items"]
    return {get_full_name(document): document["callback_url"] for document in documents}


def _load(connection: Connection) -> _Overview | None:
    """Load the overview; None if nothing was sent or received yet."""
    stats = StatsSchema().dump(build_counts(connection, None))
    names = [name for name in map(get_full_name, stats["providers"]) if name != PROVIDER_NAME]
    if not any((*stats["requests"].values(), *stats["jobs"].values(), *stats["attention"].values())):
        return None
    now = current_context().clock.now()
    minutes, day = Window.of_last(60, 60, now - _COUNT_DELAY), Window.of_last(24, 3_600, now)
    # The caller may access all of `names`; a few names are read with less than the figures of all providers.
    counted_names = None if current_caller().providers is None else list(names)
    counted_until = find_counted_until(connection)
    hour_counts = list_activity(
        connection, minutes.since, minutes.until, minutes.seconds, counted_names, kinds=_CHARTED
    )
    day_counts = list_activity(
        connection, day.since, day.until, day.seconds, counted_names, kinds=[ActivityKind.CALLBACKS]
    )
    paused = sorted({pause.name for pause in find_pauses(connection)} & set(names))
    failing = [
        limits.provider
        for limits, at in find_limits(connection, names)
        if limits.circuit(at) is not CircuitState.CLOSED
    ]
    concerned = {get_full_name(item) for item in stats["providers"] if any(item["attention"].values())}
    concerned |= {*paused, *failing}
    shown = sorted(names, key=lambda name: (name not in concerned, name))[:_MAX_PROVIDERS]
    values = {name: _count_callbacks(day, day_counts, name, counted_until) for name in shown}
    return _Overview(
        list_attention(stats, paused, failing),
        draw_callbacks("callbacks", minutes, hour_counts, counted_until),
        draw_requests("requests", minutes, hour_counts, counted_until),
        draw_durations(
            "durations",
            "Time from acceptance to the final status, last 24 hours",
            count_durations(connection, day.since, day.until, counted_names).values(),
        ),
        _draw_open_jobs(connection, now),
        [
            _ProviderRow(name, document, name in concerned, draw_sparkline("Callbacks in 24 h", "h", values[name]))
            for name, document in zip(
                shown, ProviderSchema(many=True).dump(build_documents(connection, shown)), strict=True
            )
        ],
        build_table(
            "Callbacks per hour and provider",
            ["Hour from", *day.labels],
            [[name, *map(_format, values[name])] for name in shown],
        ),
        len(names) - len(shown),
        counted_until if now - counted_until > _LATE else None,
    )


def _count_callbacks(window: Window, counts: Collection[ActivityCount], name: str, until: datetime) -> list[int | None]:
    own = [count for count in counts if count.provider == name]
    return sum_by_period(window, own, ActivityKind.CALLBACKS, set(Verdict), until)


def _format(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _draw_open_jobs(connection: Connection, now: datetime) -> Markup:
    bounds = [now - timedelta(seconds=seconds) for seconds in _AGES_S.values()]
    counts = count_open_jobs(
        connection, bounds, list(_OPEN), limit=_MAX_COUNT + 1, providers=current_caller().providers
    )
    rows = []
    for number, label in enumerate([*_AGES_S, _OLDEST]):
        values = [counts[status][number] for status in _OPEN]
        query = _build_age_filter(bounds, number)
        cells = [_link_jobs(value, {"status": status, **query}) for status, value in zip(_OPEN, values, strict=True)]
        rows.append(BarRow(label, values, cells))
    return draw_bars("open-jobs", "Open jobs by age", list(_OPEN.values()), rows, _MAX_COUNT)


def _build_age_filter(bounds: Sequence[datetime], number: int) -> dict[str, str]:
    """Return the filter of the jobs of an age."""
    times = [f"{bound:%Y-%m-%dT%H:%M:%SZ}" for bound in bounds]
    since = {"accepted_from": times[number]} if number < len(times) else {}
    until = {"accepted_to": times[number - 1]} if number > 0 else {}
    return since | until


def _link_jobs(count: int, query: Mapping[str, Any]) -> Cell:
    text = f"{min(count, _MAX_COUNT):,}{'+' if count > _MAX_COUNT else ''}"
    return Markup('<a href="{}">{}</a>').format(url_for("admin.list_jobs", **query), text) if count else text
