"""Charts: what is drawn, what is said of it, and the table behind it."""

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from markupsafe import Markup

from receiver.web.admin.charts import (
    BarRow,
    HistogramBar,
    Series,
    build_table,
    draw_bars,
    draw_histogram,
    draw_periods,
    draw_sparkline,
)

MINUTES = ["12:00", "12:01", "12:02", "12:03"]
EVIL = '<script>alert("1")</script>'


def parse(markup: Markup) -> ET.Element:
    """Parse a chart, which must be well-formed, without a style or an unescaped value."""
    assert "style=" not in markup
    assert "<script" not in markup
    return ET.fromstring(f"<div>{markup}</div>")


def read_table(root: ET.Element) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]


def read_description(root: ET.Element) -> str:
    return next(element.text or "" for element in root.iter("desc"))


def test_strips_of_periods_are_drawn_and_described() -> None:
    series = [Series("accepted", [4, 0, 2, 1], "good"), Series("refused", [0, 0, 1, 0], "bad")]
    root = parse(draw_periods("calls", "Callbacks per minute", MINUTES, "min", series))

    svg = next(root.iter("svg"))
    assert svg.attrib["role"] == "img"
    ids = {element.attrib.get("id") for element in root.iter()}
    assert set(svg.attrib["aria-labelledby"].split()) <= ids
    assert read_description(root) == "accepted: 7, at most 4 per min; refused: 1, at most 1 per min."
    paths = {path.attrib["class"]: path.attrib["d"] for path in root.iter("path")}
    assert paths == {
        "fill good": "M0.1 100V0h0.8V100zM2.1 100V50h0.8V100zM3.1 100V75h0.8V100z",
        "fill bad": "M2.1 100V0h0.8V100z",
    }
    assert read_table(root) == [
        ["Per min", "accepted", "refused"],
        ["12:00", "4", "0"],
        ["12:01", "0", "0"],
        ["12:02", "2", "1"],
        ["12:03", "1", "0"],
    ]


def test_periods_without_figures_are_gaps() -> None:
    root = parse(draw_periods("calls", "Callbacks", MINUTES, "min", [Series("accepted", [4, 0, None, None])]))

    [gap] = [path.attrib["d"] for path in root.iter("path") if path.attrib["class"] == "gap"]
    assert gap == "M2 0h1v100h-1zM3 0h1v100h-1z"
    assert read_description(root).endswith("Not counted: 12:02 to 12:03.")
    assert "not counted" in [text.text for text in root.iter("text")]
    assert read_table(root)[1:] == [["12:00", "4"], ["12:01", "0"], ["12:02", "–"], ["12:03", "–"]]


def test_smallest_figure_is_visible_beside_a_large_one() -> None:
    chart = draw_periods("calls", "Callbacks", MINUTES[:2], "min", [Series("accepted", [100_000, 1])])
    assert "M1.1 100V97h0.8V100z" in chart


def test_chart_without_anything_says_none() -> None:
    root = parse(draw_periods("calls", "Callbacks", MINUTES, "min", [Series("accepted", [0, 0, 0, 0])]))
    assert list(root.iter("path")) == []
    assert "none" in [text.text for text in root.iter("text")]


def test_histogram_has_a_logarithmic_axis_and_percentiles() -> None:
    bars = [HistogramBar(0.1, 1.0, 5), HistogramBar(1.0, 10.0, 10)]
    root = parse(draw_histogram("durations", "Durations", bars, [("p50", 1.0), ("p99", 9.99)]))

    [path] = [path.attrib["d"] for path in root.iter("path")]
    assert path == "M0 100V50h50V100zM50 100V0h50V100z"
    marks = [line.attrib["x1"] for line in root.iter("line") if line.attrib["class"] == "mark"]
    assert marks == ["50%", "100%"]
    texts = {text.text: text.attrib for text in root.iter("text")}
    assert (texts["p50 1 s"]["text-anchor"], texts["p99 10 s"]["text-anchor"]) == ("start", "end")
    assert read_description(root) == "15 in all. p50: 1 s, p99: 10 s"
    assert read_table(root)[1:] == [
        ["100 ms to 1 s", "5"],
        ["1 s to 10 s", "10"],
        ["p50", "1 s"],
        ["p99", "10 s"],
    ]


def test_labels_of_percentiles_do_not_cross_lines() -> None:
    bars = [HistogramBar(0.1, 10.0, 5)]
    root = parse(draw_histogram("durations", "Durations", bars, [("p50", 1.0), ("p95", 8.0), ("p99", 9.0)]))
    heights = {(text.text or "")[:3]: float(text.attrib["y"]) for text in root.iter("text") if text.get("class")}
    assert heights["p50"] < heights["p99"] < heights["p95"]


def test_ticks_that_are_too_near_are_left_out() -> None:
    root = parse(draw_histogram("durations", "Durations", [HistogramBar(0.1, 8_640_000.0, 5)], []))
    positions = [float(text.attrib["x"].rstrip("%")) for text in root.iter("text")]
    assert len(positions) > 4
    assert all(after - before >= 12 for before, after in pairwise(positions))


def test_bars_are_outlined_and_filled_and_limited() -> None:
    link = Markup('<a href="/admin/jobs">10+</a>')
    rows = [BarRow("< 1 min", [11, 10], [link, "10"]), BarRow("older", [0, 5], ["0", "5"])]
    root = parse(draw_bars("open", "Open jobs", ["accepted", "in progress"], rows, 10))

    bars = [(bar.attrib["class"], bar.attrib["x"], bar.attrib["width"]) for bar in root.iter("rect")]
    assert bars == [
        ("accent outline", "24%", "27%"),
        ("accent fill", "51%", "27%"),
        ("accent fill", "24%", "13.5%"),
    ]
    assert read_description(root) == "< 1 min: 20+; older: 5."
    assert read_table(root) == [["Age", "accepted", "in progress"], ["< 1 min", "10+", "10"], ["older", "0", "5"]]
    assert [link.attrib["href"] for link in root.iter("a")] == ["/admin/jobs"]


def test_bars_without_anything_are_empty() -> None:
    root = parse(draw_bars("open", "Open jobs", ["accepted", "in progress"], [BarRow("older", [0, 0], ["0", "0"])], 10))
    assert list(root.iter("rect")) == []
    assert read_description(root) == "older: 0."


def test_sparkline_says_what_it_shows() -> None:
    root = parse(draw_sparkline("Callbacks in 24 h", "h", [1, None, 1_200]))
    svg = next(root.iter("svg"))
    assert (svg.attrib["role"], svg.attrib["aria-label"]) == ("img", "Callbacks in 24 h: 1,201, at most 1,200 per h")


def test_values_from_outside_are_escaped() -> None:
    for chart in (
        draw_periods("calls", EVIL, [EVIL], EVIL, [Series(EVIL, [1])]),
        draw_bars("open", EVIL, [EVIL, EVIL], [BarRow(EVIL, [1, 1], [EVIL, EVIL])], 10),
        draw_histogram("durations", EVIL, [HistogramBar(1, 10, 1)], [(EVIL, 2.0)]),
        draw_sparkline(EVIL, EVIL, [1]),
        build_table(EVIL, [EVIL], [[EVIL]]),
    ):
        parse(chart)


@pytest.mark.parametrize("count", [60, 24])
def test_chart_is_small(count: int) -> None:
    series = [Series(name, list(range(count))) for name in "abcd"]
    chart = draw_periods("calls", "Callbacks", [f"12:{number:02}" for number in range(count)], "min", series)
    svg = re.sub("<details.*", "", chart)
    assert len(svg) < 100 * count + 2_000
