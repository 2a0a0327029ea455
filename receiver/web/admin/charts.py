"""Charts as SVG: figures in, markup out.

A chart has a title and a description, and the table of its figures behind it in a `<details>`. Positions are
percentages, so that a chart is as wide as its place while its texts keep their size. Colours are those of the style
sheet's classes; no chart depends on them: series stand apart, are outlined or filled, and are labelled directly. Axes
begin at zero, and periods without figures are shown as gaps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from receiver.domain.durations import format_duration

Cell = str | Markup

_LABEL_PX, _STRIP_PX, _SPACE_PX, _AXIS_PX = 17, 34, 9, 18
_ROW_PX, _BAR_PX = 26, 14
_HISTOGRAM_PX, _SPARKLINE_PX = 96, 22
_MIN_HEIGHT = 3.0
"""The height of the smallest bar, in percent of the chart: one callback among thousands is visible."""
_LABEL_PERCENT, _BAR_PERCENT, _MIN_BAR_PERCENT = 24.0, 54.0, 0.6
_TURN_PERCENT = 65.0
"""From here on, the label of a mark stands to the left of it."""
_MIN_LABELLED_GAP = 0.2
_TICKS_S = (0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 864_000.0, 8_640_000.0)
_MIN_TICK_DISTANCE = 12.0
_NO_FIGURE = "–"
_UNCOUNTED = "not counted"


@dataclass(frozen=True, slots=True)
class Series:
    """Figures of the same kind.

    Attributes:
        name: what is counted.
        values: the figure of each period or row; None where there is none.
        style: the class of the colour: `good`, `bad`, `waiting`, `doubtful` or `accent`.
    """

    name: str
    values: Sequence[int | None]
    style: str = "accent"

    @property
    def total(self) -> int:
        """The sum of the figures."""
        return sum(value or 0 for value in self.values)

    @property
    def maximum(self) -> int:
        """The greatest figure."""
        return max((value or 0 for value in self.values), default=0)


@dataclass(frozen=True, slots=True)
class HistogramBar:
    """How many durations are between two bounds in seconds."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class BarRow:
    """A horizontal bar: its label, the figures of its parts, and these as the table shows them, such as with links."""

    label: str
    values: Sequence[int]
    cells: Sequence[Cell]


def draw_periods(chart_id: str, title: str, periods: Sequence[str], unit: str, series: Sequence[Series]) -> Markup:
    """Draw figures of periods, such as minutes: a strip of bars for each series, one above the other.

    Each strip has a scale of its own, whose maximum is written beside its name.

    Args:
        chart_id: a prefix of ids, unique on the page.
        title: what the chart shows.
        periods: the label of each period.
        unit: the name of a period, such as `min`.
        series: at most four, each with a figure for each period.
    """
    height = len(series) * (_LABEL_PX + _STRIP_PX + _SPACE_PX) + _AXIS_PX
    strips = [_draw_strip(one, unit, number * (_LABEL_PX + _STRIP_PX + _SPACE_PX)) for number, one in enumerate(series)]
    axis = Markup('<text y="{0}">{1}</text><text x="100%" y="{0}" text-anchor="end">{2}</text>').format(
        height - 4, periods[0] if periods else "", periods[-1] if periods else ""
    )
    totals = "; ".join(f"{one.name}: {one.total:,}, at most {one.maximum:,} per {unit}" for one in series)
    gaps = [period for period, *values in zip(periods, *(one.values for one in series), strict=True) if None in values]
    description = f"{totals}." + (f" Not counted: {gaps[0]} to {gaps[-1]}." if gaps else "")
    rows = [
        [period, *map(_format_figure, values)]
        for period, *values in zip(periods, *(one.values for one in series), strict=True)
    ]
    svg = _build_svg(chart_id, title, description, height, Markup().join([*strips, axis]))
    return _build_figure(chart_id, title, svg, build_table(title, [f"Per {unit}", *(one.name for one in series)], rows))


def draw_histogram(
    chart_id: str, title: str, bars: Sequence[HistogramBar], marks: Sequence[tuple[str, float]]
) -> Markup:
    """Draw how many durations there are of which length, on a logarithmic axis of time, with lines at percentiles.

    Args:
        chart_id: a prefix of ids, unique on the page.
        title: what the chart shows.
        bars: the counts, by length, without those of 0; at least one.
        marks: names and seconds, such as `("p50", 2.5)`.
    """
    low, high = math.log10(bars[0].low), math.log10(bars[-1].high)
    maximum = max(bar.count for bar in bars)

    def locate(seconds: float) -> float:
        return min(max(100 * (math.log10(seconds) - low) / (high - low), 0.0), 100.0)

    top = len(marks) * _LABEL_PX
    bottom = top + _HISTOGRAM_PX
    shapes = [
        _build_nested(
            top,
            _HISTOGRAM_PX,
            100,
            Markup('<path class="fill accent" d="{}"/>').format(
                "".join(
                    _draw_bar(locate(bar.low), locate(bar.high) - locate(bar.low), bar.count, maximum) for bar in bars
                )
            ),
        ),
        Markup('<line class="axis" x2="100%" y1="{0}" y2="{0}"/>').format(bottom),
    ]
    positions = {f"{name} {format_duration(seconds)}": locate(seconds) for name, seconds in marks}
    for number, (text, position) in enumerate(sorted(positions.items(), key=_order_mark)):
        shapes.append(_draw_mark(text, position, number * _LABEL_PX, bottom))
    previous = -math.inf
    for tick in _TICKS_S:
        position = locate(tick)
        if bars[0].low <= tick <= bars[-1].high and position - previous >= _MIN_TICK_DISTANCE:
            shapes.append(_draw_text(format_duration(tick), position, bottom + _AXIS_PX - 4))
            previous = position
    total = sum(bar.count for bar in bars)
    description = f"{total:,} in all. " + ", ".join(f"{name}: {format_duration(seconds)}" for name, seconds in marks)
    svg = _build_svg(chart_id, title, description, bottom + _AXIS_PX, Markup().join(shapes))
    rows: list[Sequence[Cell]] = [
        [f"{format_duration(bar.low)} to {format_duration(bar.high)}", f"{bar.count:,}"] for bar in bars
    ]
    rows += [[name, format_duration(seconds)] for name, seconds in marks]
    return _build_figure(chart_id, title, svg, build_table(title, ["Duration", "Number"], rows))


def draw_bars(chart_id: str, title: str, names: Sequence[str], rows: Sequence[BarRow], limit: int) -> Markup:
    """Draw horizontal bars of two parts each: the first is outlined, the second is filled.

    Args:
        chart_id: a prefix of ids, unique on the page.
        title: what the chart shows.
        names: what the two parts count.
        rows: the bars.
        limit: a figure of more than that is shown as the limit with a plus sign.
    """
    maximum = max((min(sum(row.values), len(names) * limit) for row in rows), default=0)
    key = Markup('<text y="{}">{}, {}</text>').format(_LABEL_PX - 5, f"outlined: {names[0]}", f"filled: {names[1]}")
    bars = [_draw_bar_row(row, _LABEL_PX + number * _ROW_PX, maximum, limit) for number, row in enumerate(rows)]
    description = "; ".join(f"{row.label}: {_format_sum(row.values, limit)}" for row in rows)
    height = _LABEL_PX + len(rows) * _ROW_PX
    svg = _build_svg(chart_id, title, f"{description}.", height, Markup().join([key, *bars]))
    table = build_table(title, ["Age", *names], [[row.label, *row.cells] for row in rows])
    return _build_figure(chart_id, title, svg, table)


def draw_sparkline(title: str, unit: str, values: Sequence[int | None]) -> Markup:
    """Draw figures of periods in the height of a line of text. Its table stands elsewhere on the page."""
    series = Series(title, values)
    description = f"{title}: {series.total:,}, at most {series.maximum:,} per {unit}"
    return Markup('<svg class="spark" role="img" aria-label="{}" height="{}"><title>{}</title>{}</svg>').format(
        description,
        _SPARKLINE_PX,
        description,
        _draw_periods(series, 0, _SPARKLINE_PX) + _draw_axis(_SPARKLINE_PX),
    )


def build_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    """Build a table of figures; the first cell of each row is its head."""
    head = Markup().join(Markup('<th scope="col">{}</th>').format(text) for text in heads)
    body = Markup().join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            row[0], Markup().join(Markup("<td>{}</td>").format(cell) for cell in row[1:])
        )
        for row in rows
    )
    return Markup(
        '<div class="scroll" role="region" aria-label="{}" tabindex="0"><table class="data"><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(title, head, body)


def _build_figure(chart_id: str, title: str, svg: Markup, table: Markup) -> Markup:
    return Markup(
        '<figure class="chart"><figcaption>{}</figcaption>{}'
        '<details id="{}-table"><summary>Table<span class="hidden">: {}</span></summary>{}</details></figure>'
    ).format(title, svg, chart_id, title, table)


def _build_svg(chart_id: str, title: str, description: str, height: int, content: Markup) -> Markup:
    return Markup(
        '<svg role="img" aria-labelledby="{0}-title {0}-description" height="{1}"><title id="{0}-title">{2}</title>'
        '<desc id="{0}-description">{3}</desc>{4}</svg>'
    ).format(chart_id, height, title, description, content)


def _build_nested(y: int, height: int, width: int, content: Markup) -> Markup:
    """Build a part whose shapes are stretched: `width` units wide, and 100 units high."""
    return Markup(
        '<svg y="{}" width="100%" height="{}" viewBox="0 0 {} 100" preserveAspectRatio="none">{}</svg>'
    ).format(y, height, width, content)


def _draw_strip(series: Series, unit: str, y: int) -> Markup:
    label = Markup('<text y="{0}" class="label {1}">{2}</text>').format(y + _LABEL_PX - 5, series.style, series.name)
    scale = f"{series.total:,}, max {series.maximum:,}/{unit}" if series.total else "none"
    top = y + _LABEL_PX
    return Markup().join(
        [
            label,
            Markup('<text x="100%" y="{}" text-anchor="end">{}</text>').format(y + _LABEL_PX - 5, scale),
            _draw_periods(series, top, _STRIP_PX),
            _draw_axis(top + _STRIP_PX),
            _label_gap(series.values, top + _STRIP_PX // 2 + 4),
        ]
    )


def _draw_bar_row(row: BarRow, y: int, maximum: int, limit: int) -> Markup:
    shapes, x = [Markup('<text y="{}">{}</text>').format(y + _BAR_PX, row.label)], _LABEL_PERCENT
    for value, shape in zip(row.values, ("outline", "fill"), strict=True):
        if value:
            width = max(_BAR_PERCENT * min(value, limit) / maximum, _MIN_BAR_PERCENT)
            bar = Markup('<rect class="accent {}" x="{}%" y="{}" width="{}%" height="{}"/>')
            shapes.append(bar.format(shape, _round(x), y + 2, _round(width), _BAR_PX))
            x += width
    text = Markup('<text x="{}%" y="{}" dx="6">{}</text>').format(
        _round(x), y + _BAR_PX, _format_sum(row.values, limit)
    )
    return Markup().join([*shapes, text])


def _draw_axis(y: int) -> Markup:
    return Markup('<line class="axis" x2="100%" y1="{0}" y2="{0}"/>').format(y)


def _draw_periods(series: Series, y: int, height: int) -> Markup:
    bars = "".join(
        _draw_bar(number + 0.1, 0.8, value, series.maximum) for number, value in enumerate(series.values) if value
    )
    gaps = "".join(f"M{number} 0h1v100h-1z" for number, value in enumerate(series.values) if value is None)
    content = Markup('<path class="gap" d="{}"/>').format(gaps) if gaps else Markup()
    content += Markup('<path class="fill {}" d="{}"/>').format(series.style, bars) if bars else Markup()
    return _build_nested(y, height, max(len(series.values), 1), content)


def _draw_bar(x: float, width: float, value: int, maximum: int) -> str:
    height = max(100 * value / maximum, _MIN_HEIGHT)
    return f"M{_round(x)} 100V{_round(100 - height)}h{_round(width)}V100z"


def _draw_mark(text: str, position: float, y: int, bottom: int) -> Markup:
    line = Markup('<line class="mark" x1="{0}%" x2="{0}%" y1="{1}" y2="{2}"/>').format(_round(position), y + 3, bottom)
    anchor, shift = ("start", 5) if position < _TURN_PERCENT else ("end", -5)
    return line + Markup('<text class="strong" x="{}%" y="{}" dx="{}" text-anchor="{}">{}</text>').format(
        _round(position), y + _LABEL_PX - 4, shift, anchor, text
    )


def _order_mark(mark: tuple[str, float]) -> tuple[bool, float]:
    """Return the order in which marks have their labels, from above, so that no label crosses the line of another."""
    position = mark[1]
    return (False, position) if position < _TURN_PERCENT else (True, -position)


def _draw_text(text: str, position: float, y: int) -> Markup:
    anchor = "start" if position < 8 else "end" if position > 92 else "middle"
    return Markup('<text x="{}%" y="{}" text-anchor="{}">{}</text>').format(_round(position), y, anchor, text)


def _label_gap(values: Sequence[int | None], y: int) -> Markup:
    """Label the gap at the end, or at the beginning, if it has room for a text."""
    gaps = [number for number, value in enumerate(values) if value is None]
    if not gaps or len(gaps) / len(values) < _MIN_LABELLED_GAP:
        return Markup()
    middle = 100 * (gaps[0] + gaps[-1] + 1) / 2 / len(values)
    return Markup('<text x="{}%" y="{}" text-anchor="middle">{}</text>').format(_round(middle), y, _UNCOUNTED)


def _format_sum(values: Sequence[int], limit: int) -> str:
    return f"{sum(min(value, limit) for value in values):,}{'+' if max(values) > limit else ''}"


def _format_figure(value: int | None) -> str:
    return _NO_FIGURE if value is None else f"{value:,}"


def _round(number: float) -> str:
    """Return a number with at most one digit after the point, as short as possible."""
    return f"{number:.1f}".removesuffix(".0")
