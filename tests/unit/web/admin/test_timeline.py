"""The sequence picture: well-formed SVG without styles, one row for each step, with long gaps named."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from receiver.domain.status_symbols import StatusKind
from receiver.web.admin.steps import Party, Step
from receiver.web.admin.timeline import draw_timeline

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CALLBACK = Step(NOON, Party.PROVIDER, Party.SERVICE, "Callback", "DONE", (StatusKind.JOB, "succeeded"), "applied")
RESOLUTION = Step(NOON, Party.OPERATOR, Party.SERVICE, "Resolved", status=(StatusKind.JOB, "failed"), actor="mary")


def move(step: Step, seconds: float, **changes: object) -> Step:
    fields = {name: getattr(step, name) for name in Step.__slots__}
    return Step(**fields | {"at": NOON + timedelta(seconds=seconds)} | changes)


def parse(*steps: Step, provider: str = "acme") -> ET.Element:
    return ET.fromstring(draw_timeline(steps, provider))  # our own picture


def read_texts(picture: ET.Element) -> list[str]:
    return [element.text or "" for element in picture.iter("text")]


def find_rows(picture: ET.Element) -> Iterator[ET.Element]:
    for link in picture.iter("a"):
        yield link[0]


def test_picture_has_a_linked_row_for_each_step() -> None:
    picture = parse(CALLBACK, move(CALLBACK, 2, effect="duplicate"))
    links = list(picture.iter("a"))
    assert [(link.get("href"), link.get("tabindex")) for link in links] == [("#step-1", "-1"), ("#step-2", "-1")]
    assert (picture.get("aria-hidden"), picture.get("width")) == ("true", "100%")
    assert read_texts(picture) == [
        *("Us", "acme"),
        *("12:00:00", "23 Nov", "Callback DONE", "● succeeded", "✓"),
        *("12:00:02", "Callback DONE", "● succeeded · duplicate", "="),
    ]


def test_rows_do_not_overlap_and_fit_into_the_picture() -> None:
    picture = parse(*[move(CALLBACK, seconds) for seconds in (0, 1, 100, 5_000)])
    places = [int(group.get("transform", "").split()[1].rstrip(")")) for group in picture.iter("g")]
    assert places == sorted(places)
    assert min(after - before for before, after in itertools.pairwise(places)) >= 30
    assert places[-1] + 27 < int(picture.get("height", ""))


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ([CALLBACK], ["Us", "acme"]),
        ([CALLBACK, RESOLUTION], ["Us", "acme", "Operator"]),
        ([move(CALLBACK, 0, sender=Party.CLIENT), RESOLUTION], ["Client", "Us", "acme", "Operator"]),
    ],
)
def test_only_lanes_of_parties_that_take_part_are_drawn(steps: list[Step], names: list[str]) -> None:
    picture = parse(*steps)
    assert [text.text for text in picture.iter("text") if text.get("class") == "name"] == names
    places = [float(line.get("x1", "").rstrip("%")) for line in picture.iter("line") if line.get("class") == "lane"]
    assert places == sorted(places)
    assert places[0] >= 24, "room for the times"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59, None), (60, "nothing for 1 min"), (8_040, "nothing for 2 h 14 min"), (97_200, "nothing for 1 d 3 h")],
)
def test_long_gap_is_folded_and_named(seconds: float, text: str | None) -> None:
    texts = read_texts(parse(CALLBACK, move(CALLBACK, seconds)))
    assert [item for item in texts if item.startswith("nothing")] == ([text] if text else [])


def test_gap_begins_at_the_end_of_repeated_steps() -> None:
    repeated = move(CALLBACK, 0, repeats=5, repeated_until=NOON + timedelta(minutes=9))
    texts = read_texts(parse(repeated, move(CALLBACK, 600)))
    assert "6 × Callback DONE" in texts
    assert "nothing for 1 min" in texts


def test_expected_step_follows_what_is_still_open() -> None:
    deadline = Step(
        NOON + timedelta(hours=1),
        Party.SERVICE,
        Party.SERVICE,
        "Deadline",
        status=(StatusKind.JOB, "unresolved"),
        is_expected=True,
    )
    picture = parse(CALLBACK, deadline)
    assert read_texts(picture)[-5:] == ["still open", "13:00:00", "Deadline", "? unresolved · expected", "?"]
    assert [row.get("class") for row in find_rows(picture)] == ["good", "doubtful expected"]


def test_steps_that_are_left_out_are_named() -> None:
    assert "steps are left out" in read_texts(parse(move(CALLBACK, 0, is_cut_off=True), move(CALLBACK, 9_999)))


def test_decisive_step_is_marked_by_word_band_and_class() -> None:
    picture = parse(move(CALLBACK, 0, is_decisive=True), move(CALLBACK, 1))
    first, second = find_rows(picture)
    assert (first.get("class"), second.get("class")) == ("good decisive", "good")
    assert [len(list(row.iter("rect"))) for row in (first, second)] == [1, 0]
    assert "● succeeded · decides" in read_texts(picture)


def test_arrow_shows_direction_failure_and_stale_effect() -> None:
    sent, failed, poll, stale, deadline = find_rows(
        parse(
            Step(NOON, Party.SERVICE, Party.PROVIDER, "Attempt 1"),
            Step(NOON, Party.PROVIDER, Party.SERVICE, "No response", detail="timed out", is_failed=True),
            move(CALLBACK, 0, sender=Party.SERVICE, recipient=Party.PROVIDER, is_two_way=True),
            move(CALLBACK, 0, effect="stale"),
            Step(NOON, Party.SERVICE, Party.SERVICE, "Deadline", status=(StatusKind.JOB, "unresolved")),
        )
    )
    arrows = [next(row.iter("line")) for row in (sent, failed, poll, stale)]
    assert [(arrow.get("marker-start"), arrow.get("marker-end")) for arrow in arrows] == [
        (None, "url(#tip)"),
        (None, None),
        ("url(#near)", "url(#tip)"),
        (None, "url(#near)"),
    ]
    assert [arrow.get("stroke-dasharray") is not None for arrow in arrows] == [False, True, False, True]
    assert arrows[0].get("x1") == arrows[1].get("x2") != arrows[0].get("x2")
    assert list(deadline.iter("line")) == []
    assert [row.get("class") for row in (failed, stale, deadline)] == ["bad", "waiting", "doubtful"]


def test_texts_of_others_are_escaped_and_cut() -> None:
    source = draw_timeline([move(CALLBACK, 0, words="<script>" * 9)], "<b>" * 9)
    assert "<script>" not in source
    assert "<b>" not in source
    assert max(map(len, read_texts(parse(move(CALLBACK, 0, words="x" * 60))))) == 32


def test_picture_has_no_style_or_script() -> None:
    source = draw_timeline([move(CALLBACK, 0, is_decisive=True), move(RESOLUTION, 90)], "acme")
    assert not any(word in source for word in ("style", "script", "onload", "http"))
