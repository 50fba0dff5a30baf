"""Small charts as SVG inside a page: shapes that the template `charts.html` prints, and the words that stand for them.

All are 330 units wide, so that their letters can be read on a telephone.
"""

import math
from dataclasses import dataclass, field

from datagradient.report.amounts import count, decimal, percent

WIDTH, LINE = 330, 26  # units; LINE is the height of one line of a dot plot


@dataclass
class Drawing:
    """A chart: its height, what it shows in a few words and in full, and its shapes (tag, attributes, text)."""

    height: float
    title: str
    description: str
    shapes: list[tuple[str, dict, str]] = field(default_factory=list)

    def add(self, tag: str, text: str = "", **attributes: object) -> None:
        """Add a shape; an underscore stands for a hyphen in an attribute's name, `kind` for its class."""
        rounded = {name: round(value, 2) if isinstance(value, float) else value for name, value in attributes.items()}
        named = {"class" if name == "kind" else name.replace("_", "-"): value for name, value in rounded.items()}
        self.shapes.append((tag, named, text))

    def write(self, x: float, y: float, text: str, anchor: str = "start", kind: str = "label") -> None:
        """Add a text whose base line begins, ends or has its middle at a point."""
        self.add("text", text, x=x, y=y, text_anchor=anchor, kind=kind)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """Add a straight line."""
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, kind=kind)


@dataclass(frozen=True)
class Scale:
    """From the values `low` … `high` to the places `start` … `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True)
class Mark:
    """A value in a dot plot, with an interval or without. Its kind is a class of the style sheet."""

    value: float | None
    kind: str
    low: float | None = None
    high: float | None = None


def dot_plot(
    lines: list[tuple[str, list[Mark]]], title: str, description: str, unit: str, legend: dict[str, str],
    below: int = 0, ends: tuple[float, float] | None = None,
) -> Drawing:  # fmt: skip
    """Return values and intervals, one line of them below the other.

    Args:
        lines: label and marks; a mark whose value is None is left out.
        title: what it shows.
        description: what a reader who does not see it is told.
        unit: label of the axis.
        legend: kind of mark -> word.
        below: the number of last lines that a rule sets apart.
        ends: the ends of the axis; without them it covers all values and 0.
    """
    marks = [mark for _, own in lines for mark in own if _known(mark.value)]
    values = [0.0, *(value for mark in marks for value in (mark.value, mark.low, mark.high) if _known(value))]
    low, high = ends or _rounded_ends(min(values), max(values))
    left = 14 + 6.4 * max((len(label) for label, _ in lines), default=0)
    scale = Scale(low, high, left, WIDTH - 14)
    top = 26 if legend else 6
    bottom = top + LINE * len(lines)
    drawing = Drawing(bottom + 42, title, description)
    place = 4.0
    for kind, word in legend.items():
        _mark(drawing, place + 5, 9, kind)
        drawing.write(place + 15, 13, word)
        place += 32 + 6.4 * len(word)
    _axis(drawing, scale, top, bottom, unit)
    drawing.line(scale(0), top, scale(0), bottom, "zero")
    for k, (label, own) in enumerate(lines):
        y = top + LINE * (k + 0.5)
        if below and k == len(lines) - below:
            drawing.line(8, y - LINE / 2, WIDTH - 8, y - LINE / 2, "rule")
        drawing.write(left - 8, y + 4, label, "end")
        for mark in own:
            if not _known(mark.value):
                continue
            if _known(mark.low) and _known(mark.high):
                ends_of = [scale(min(max(value, low), high)) for value in (mark.low, mark.high)]
                drawing.line(ends_of[0], y, ends_of[1], y, f"interval {mark.kind}")
                for x in ends_of:
                    drawing.line(x, y - 5, x, y + 5, f"interval {mark.kind}")
            _mark(drawing, scale(mark.value), y, mark.kind)
    return drawing


def histogram(edges: list[float], counts: list[int], title: str, unit: str, things: str) -> Drawing:
    """Return a histogram over shares, with the count above each bar that is not empty."""
    bars = list(zip(edges[:-1], edges[1:], counts, strict=True))
    filled = [f"{percent(low, 0)} to {percent(high, 0)}: {count(n)}" for low, high, n in bars if n]
    height, bottom, left, right = 200, 158, 14, WIDTH - 24
    drawing = Drawing(height, title, f"{title}. {things.capitalize()} by {unit}: {'; '.join(filled)}.")
    across = Scale(edges[0], edges[-1], left, right)
    up = Scale(0, max([*counts, 1]), bottom, 36)
    for low, high, n in bars:
        x, end = across(low), across(high)
        if n:
            y = min(up(n), bottom - 1.5)  # one row among many is still seen
            drawing.add("rect", x=x + 0.75, y=y, width=end - x - 1.5, height=bottom - y, kind="bar")
            drawing.write((x + end) / 2, y - 4, _short(n), "middle", "small")
    drawing.line(left, bottom, right, bottom, "axis")
    for share in _ticks(edges[0], edges[-1], 5):
        drawing.line(across(share), bottom, across(share), bottom + 4, "axis")
        drawing.write(across(share), bottom + 17, percent(share, 0), "middle")
    drawing.write((left + right) / 2, height - 5, unit, "middle", "unit")
    drawing.write(left, 12, things, kind="unit")
    return drawing


def curve(across: list[float], up: list[float], title: str, description: str, units: tuple[str, str]) -> Drawing:
    """Return a line through shares of one thing against shares of another, both from 0 to 1, and the diagonal."""
    height, bottom, left, right = 240, 196, 46, WIDTH - 24
    drawing = Drawing(height, title, description)
    x, y = Scale(0, 1, left, right), Scale(0, 1, bottom, 24)
    for share in _ticks(0, 1, 5):
        drawing.line(left, y(share), right, y(share), "grid")
        drawing.write(left - 6, y(share) + 4, percent(share, 0), "end")
        drawing.write(x(share), bottom + 17, percent(share, 0), "middle")
    drawing.line(left, bottom, right, bottom, "axis")
    drawing.line(x(0), y(0), x(1), y(1), "diagonal")
    points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(across, up, strict=True))
    drawing.add("polyline", points=points, kind="curve")
    drawing.write((left + right) / 2, height - 7, units[0], "middle", "unit")
    drawing.write(6, 12, units[1], kind="unit")
    return drawing


def _axis(drawing: Drawing, scale: Scale, top: float, bottom: float, unit: str) -> None:
    step = _step(scale.low, scale.high, 4)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    for value in _ticks(scale.low, scale.high, 4):
        drawing.line(scale(value), top, scale(value), bottom, "grid")
        drawing.write(scale(value), bottom + 15, decimal(value, digits), "middle")
    drawing.write((scale.start + scale.end) / 2, bottom + 34, unit, "middle", "unit")


def _mark(drawing: Drawing, x: float, y: float, kind: str) -> None:
    if kind == "random":
        points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in ((0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)))
        drawing.add("polygon", points=points, kind=f"mark {kind}")
    elif kind == "against":
        drawing.add("rect", x=x - 4.5, y=y - 4.5, width=9, height=9, kind=f"mark {kind}")
    else:
        drawing.add("circle", cx=x, cy=y, r=5, kind=f"mark {kind}")


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _short(n: int) -> str:
    """Return a count that fits above a narrow bar."""
    return str(n) if n < 1000 else f"{n / 1000:.1f}k" if n < 10_000 else f"{n / 1000:.0f}k"


def _step(low: float, high: float, steps: int) -> float:
    """Return 1, 2 or 5 times a power of ten, so that about `steps` of them cover a range."""
    rough = (high - low) / steps
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _rounded_ends(low: float, high: float) -> tuple[float, float]:
    if high - low < 1e-9:
        low, high = low - 1, high + 1
    step = _step(low, high, 4)
    return step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)


def _ticks(low: float, high: float, steps: int) -> list[float]:
    step = _step(low, high, steps)
    return [step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
