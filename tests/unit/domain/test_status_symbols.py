"""Symbols of statuses: every status has one, and is told from the others without colour."""

from collections.abc import Iterable

import pytest
from rich.cells import cell_len

from receiver.domain.callbacks import VERDICTS
from receiver.domain.jobs import Effect, JobStatus
from receiver.domain.limits import CircuitState
from receiver.domain.notifications import NotificationStatus
from receiver.domain.sending import RequestStatus
from receiver.domain.status_symbols import (
    STATUS_SYMBOLS,
    StatusKind,
    StatusMeaning,
    StatusSymbol,
    get_status_symbol,
)


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (StatusKind.REQUEST, RequestStatus),
        (StatusKind.JOB, JobStatus),
        (StatusKind.FLAG, ("disputed", "unmatched")),
        (StatusKind.VERDICT, VERDICTS),
        (StatusKind.EFFECT, Effect),
        (StatusKind.PROVIDER, ("active", "paused", "unconfigured")),
        (StatusKind.CIRCUIT, CircuitState),
        (StatusKind.NOTIFICATION, NotificationStatus),
    ],
)
def test_every_status_has_a_symbol(kind: StatusKind, statuses: Iterable[str]) -> None:
    assert set(STATUS_SYMBOLS[kind]) == set(statuses)


@pytest.mark.parametrize("kind", StatusKind)
def test_shapes_of_a_kind_differ_and_fill_one_column(kind: StatusKind) -> None:
    shapes = [symbol.shape for symbol in STATUS_SYMBOLS[kind].values()]
    assert len(set(shapes)) == len(shapes)
    assert [cell_len(shape) for shape in shapes] == [1] * len(shapes)


def test_same_shape_means_the_same_in_every_kind() -> None:
    meanings: dict[str, set[StatusMeaning]] = {}
    for symbols in STATUS_SYMBOLS.values():
        for symbol in symbols.values():
            meanings.setdefault(symbol.shape, set()).add(symbol.meaning)
    assert [shape for shape, each in meanings.items() if len(each) > 1] == []


def test_symbol_has_the_word_of_a_status() -> None:
    assert get_status_symbol(StatusKind.JOB, "in_progress") == ("◐", "in progress", StatusMeaning.WAITING)


def test_status_of_a_newer_service_has_a_neutral_symbol() -> None:
    assert get_status_symbol(StatusKind.JOB, "on_hold") == StatusSymbol("·", "on hold", StatusMeaning.WAITING)
