"""Charts as SVG, made of numbers alone: no text of a caller gets into one without being escaped.

Bars are stretched to the width of the page, so they hold no text: titles, scales and legends are HTML beside them, and
each chart's numbers stand in a table, too. Colours are classes of the style sheet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from markupsafe import Markup

# The height of a chart of bars, and the width of all charts, in units that the page stretches.
HEIGHT = 120
WIDTH = 600
# The share of a bar's place that is left empty.
GAP = Decimal("0.18")
# The height of a row of a timeline, and what is left empty of it.
ROW = 18
ROW_GAP = 5
# What is drawn of a value that is not 0, however small: it would not be seen otherwise.
LEAST = Decimal(1)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart: what it stands for, and its parts from below."""

    title: str
    parts: tuple[tuple[str, int | float], ...]


@dataclass(frozen=True, slots=True)
class Span:
    """One row of a timeline, in milliseconds from the request's beginning."""

    title: str
    kind: str
    starts_ms: float
    lasts_ms: float
    # When the first chunk came, from the row's own start; 0 without.
    first_ms: float = 0.0


def bars(values: Sequence[Bar], *, label: str) -> Markup:
    """Upright bars, stacked.

    Args:
        values: From left to right; each part is a class and a number from 0.
        label: What the chart shows, for those who do not see it.
    """
    most = max((sum(number for _, number in one.parts) for one in values), default=0)
    place = Decimal(WIDTH) / max(len(values), 1)
    drawn = Markup()
    for index, one in enumerate(values):
        left = place * index + place * GAP / 2
        top = Decimal(HEIGHT)
        inner = Markup()
        for kind, number in one.parts:
            if not number:
                continue
            height = max(Decimal(number) * HEIGHT / Decimal(most), LEAST)
            top -= height
            inner += _rect(left, top, place * (1 - GAP), height, kind)
        # What the pointer finds is as high as the chart, so that small bars have a title, too.
        inner += _rect(place * index, Decimal(0), place, Decimal(HEIGHT), "target")
        drawn += Markup("<g><title>{}</title>{}</g>").format(one.title, inner)
    return _picture(label, HEIGHT, drawn)


def share(part: float, whole: float, *, kind: str, label: str) -> Markup:
    """One lying bar: how much of a whole something is."""
    width = Decimal(0)
    if part > 0 and whole > 0:
        width = min(max(Decimal(part) * WIDTH / Decimal(whole), LEAST), Decimal(WIDTH))
    drawn = _rect(Decimal(0), Decimal(0), Decimal(WIDTH), Decimal(ROW), "track")
    return _picture(label, ROW, drawn + _rect(Decimal(0), Decimal(0), width, Decimal(ROW), kind))


def stacked(parts: Sequence[tuple[str, float]], whole: float, *, label: str) -> Markup:
    """One lying bar of several parts, side by side.

    Args:
        parts: A title and a number from 0 of each; their classes are part-0, part-1 and so on.
        whole: What the full width stands for.
        label: What the bar shows, for those who do not see it.
    """
    drawn = _rect(Decimal(0), Decimal(0), Decimal(WIDTH), Decimal(ROW), "track")
    left = Decimal(0)
    for index, (title, number) in enumerate(parts):
        if number <= 0 or whole <= 0:
            continue
        width = Decimal(number) * WIDTH / Decimal(whole)
        rect = _rect(left, Decimal(0), width, Decimal(ROW), f"part-{index}")
        drawn += Markup("<g><title>{}</title>{}</g>").format(title, rect)
        left += width
    return _picture(label, ROW, drawn)


def signed(number: float, most: float, *, label: str) -> Markup:
    """One lying bar to the left or to the right of the middle.

    Args:
        number: Negative goes left.
        most: The size that half of the width stands for.
        label: What the bar shows, for those who do not see it.
    """
    middle = Decimal(WIDTH) / 2
    width = min(abs(Decimal(number)) * middle / Decimal(most), middle) if most > 0 else Decimal(0)
    left = middle - width if number < 0 else middle
    drawn = _rect(middle, Decimal(0), Decimal(2), Decimal(ROW), "axis")
    return _picture(
        label,
        ROW,
        drawn + _rect(left, Decimal(0), width, Decimal(ROW), "negative" if number < 0 else "positive"),
    )


def timeline(spans: Sequence[Span], *, label: str) -> Markup:
    """Rows on one scale of time, from the first one's start to the last one's end."""
    ends = max((one.starts_ms + one.lasts_ms for one in spans), default=0.0)
    scale = Decimal(WIDTH) / Decimal(ends) if ends > 0 else Decimal(0)
    drawn = Markup()
    for index, one in enumerate(spans):
        top = Decimal(index * ROW)
        height = Decimal(ROW - ROW_GAP)
        left = Decimal(one.starts_ms) * scale
        width = max(Decimal(one.lasts_ms) * scale, LEAST)
        inner = _rect(min(left, WIDTH - LEAST), top, width, height, one.kind)
        if one.first_ms > 0:
            inner += _rect(left + Decimal(one.first_ms) * scale, top, Decimal(2), height, "first")
        drawn += Markup("<g><title>{}</title>{}</g>").format(one.title, inner)
    return _picture(label, max(len(spans), 1) * ROW, drawn)


def _picture(label: str, height: int, drawn: Markup) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(WIDTH, height, label, drawn)


def _rect(left: Decimal, top: Decimal, width: Decimal, height: Decimal, kind: str) -> Markup:
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}"/>').format(
        *(_short(number) for number in (left, top, width, height)), kind
    )


def _short(number: Decimal) -> str:
    """A coordinate with at most two decimals."""
    text = str(Decimal(number).quantize(Decimal("0.01"), ROUND_HALF_EVEN))
    return text.rstrip("0").rstrip(".")
