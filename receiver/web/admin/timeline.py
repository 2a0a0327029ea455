"""The steps of a job as a sequence picture, in SVG.

The picture needs no style and no script of its own, and its width is that of its place: positions across are per cent,
positions down are pixels.
"""

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from receiver.domain.durations import format_long_duration
from receiver.domain.status_symbols import StatusKind, StatusMeaning, get_status_symbol
from receiver.web.admin.steps import GAP_S, Party, Step, shorten

_HEAD_HEIGHT, _ROW_HEIGHT, _GAP_HEIGHT, _END_HEIGHT = 34, 54, 30, 12
_LANE_X: Mapping[int, Sequence[int]] = {2: (42, 80), 3: (28, 52, 84), 4: (26, 48, 72, 93)}
"""Where the lanes are, in per cent, by their number; before them is the time."""
_MAX_LABEL_LENGTH = 32
_MAX_NAME_LENGTH = 16
_RADIUS = 9
_DEFINITIONS = Markup(
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"'
    ' orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker>'
    '<marker id="near" viewBox="0 0 8 8" refX="18" refY="4" markerWidth="8" markerHeight="8"'
    ' orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker></defs>'
)
_PICTURE = Markup('<svg class="timeline" width="100%" height="{}" aria-hidden="true" focusable="false">{}</svg>')
_TEXT = Markup('<text x="{}%" y="{}"{}>{}</text>')
_TIME = Markup('<text x="6" y="{}"{}>{}</text>')
_LINE = Markup('<line x1="{}%" y1="{}" x2="{}%" y2="{}"{}/>')
_BAND = Markup('<rect class="band" y="{}" width="100%" height="{}" rx="6"/>')
_MARKER = Markup('<circle cx="{}%" cy="0" r="{}"/><text class="glyph" x="{}%" y="4">{}</text>')
_CLASS = Markup(' class="{}"')
_GROUP = Markup('<g class="{}" transform="translate(0 {})">{}</g>')
_LINK = Markup('<a href="#step-{}" tabindex="-1">{}</a>')


def draw_timeline(steps: Sequence[Step], provider: str) -> Markup:
    """Return the sequence picture of steps, as SVG.

    Each row links to the item of the list beneath the picture, whose id is `step-NUMBER`. The picture is hidden from
    screen readers, which read that list.
    """
    lanes = _place_lanes(steps)
    rows: list[Markup] = []
    y, previous, date = _HEAD_HEIGHT, None, ""
    for number, step in enumerate(steps, 1):
        gap = (step.at - previous).total_seconds() if previous else 0.0
        is_cut_off = number > 1 and steps[number - 2].is_cut_off
        if is_cut_off or gap >= GAP_S:
            rows.append(_draw_gap(y, _name_gap(step, gap, is_cut_off=is_cut_off)))
            y += _GAP_HEIGHT
        y += _ROW_HEIGHT // 2
        shown_date = f"{step.at:%-d %b}"
        rows.append(_LINK.format(number, _draw_step(step, y, lanes, "" if shown_date == date else shown_date)))
        y, previous, date = y + _ROW_HEIGHT // 2, step.repeated_until or step.at, shown_date
    height = y + _END_HEIGHT
    content = [_DEFINITIONS, *_draw_lanes(lanes, height, provider), *rows]
    return _PICTURE.format(height, Markup().join(content))


def _place_lanes(steps: Sequence[Step]) -> Mapping[Party, int]:
    """Return where the lanes of those who take part are; the service and the provider always do."""
    parties = {Party.SERVICE, Party.PROVIDER}
    for step in steps:
        parties |= {step.sender, step.recipient}
    present = [party for party in Party if party in parties]
    return dict(zip(present, _LANE_X[len(present)], strict=True))


def _draw_lanes(lanes: Mapping[Party, int], height: int, provider: str) -> Iterator[Markup]:
    names = {Party.CLIENT: "Client", Party.SERVICE: "Us", Party.PROVIDER: provider, Party.OPERATOR: "Operator"}
    for party, x in lanes.items():
        yield _TEXT.format(x, 16, _CLASS.format("name"), shorten(names[party], _MAX_NAME_LENGTH))
        yield _LINE.format(x, 24, x, height, _CLASS.format("lane"))


def _draw_gap(y: int, text: str) -> Markup:
    return _GROUP.format(
        "gap", y + _GAP_HEIGHT // 2, _LINE.format(0, 0, 100, 0, "") + _TEXT.format(50, 4, _CLASS.format("middle"), text)
    )


def _name_gap(step: Step, seconds: float, *, is_cut_off: bool) -> str:
    """Name the gap before a step."""
    if is_cut_off:
        return "steps are left out"
    return "still open" if step.is_expected else f"nothing for {format_long_duration(seconds)}"


def _draw_step(step: Step, y: int, lanes: Mapping[Party, int], date: str) -> Markup:
    start, end = lanes[step.sender], lanes[step.recipient]
    symbol, own_x = step.symbol, lanes[Party.SERVICE]
    count = f"{step.repeats + 1:,} ×" if step.repeats else ""
    label = " ".join(filter(None, (count, step.title, step.words or (f"by {step.actor}" if step.actor else ""))))
    below = f"{symbol.shape} {symbol.word}" if symbol else step.detail
    if step.effect and step.effect != "applied":
        below += f" · {step.effect}"
    if step.is_decisive:
        below += " · decides"
    if step.is_expected:
        below += " · expected"
    middle = own_x if start == end else (start + end) / 2
    parts = [_TIME.format(4, "", f"{step.at:%H:%M:%S}")]
    if date:
        parts.append(_TIME.format(-11, _CLASS.format("date"), date))
    parts += [
        _draw_arrow(start, end, step),
        _TEXT.format(middle, -12, _CLASS.format("middle"), shorten(label, _MAX_LABEL_LENGTH)),
        _TEXT.format(middle, 20, _CLASS.format("middle word"), shorten(below, _MAX_LABEL_LENGTH)),
    ]
    meaning = _find_meaning(step)
    if step.effect or start == end:
        effect = get_status_symbol(StatusKind.EFFECT, step.effect) if step.effect else symbol
        parts.append(_MARKER.format(own_x, _RADIUS, own_x, effect.shape if effect else ""))
    if step.is_decisive:
        parts.insert(0, _BAND.format(-_ROW_HEIGHT // 2 + 1, _ROW_HEIGHT - 2))
    classes = [meaning, "decisive" if step.is_decisive else "", "expected" if step.is_expected else ""]
    return _GROUP.format(" ".join(filter(None, classes)), y, Markup().join(parts))


def _draw_arrow(start: int, end: int, step: Step) -> Markup:
    if start == end:
        return Markup()
    tip = "near" if step.effect and step.recipient is Party.SERVICE else "tip"
    attributes = Markup("") if step.is_failed else Markup(' marker-end="url(#{})"').format(tip)
    if step.is_two_way:
        attributes += Markup(' marker-start="url(#near)"')
    if step.is_failed or step.effect in {"stale", "duplicate"}:
        attributes += Markup(' stroke-dasharray="4 3"')
    return _LINE.format(start, 0, end, 0, attributes)


def _find_meaning(step: Step) -> StatusMeaning:
    if step.is_failed:
        return StatusMeaning.BAD
    if step.effect and step.effect != "applied":
        return get_status_symbol(StatusKind.EFFECT, step.effect).meaning
    return step.symbol.meaning if step.symbol else StatusMeaning.WAITING
