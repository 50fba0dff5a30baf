"""Amounts in words, for pages. None, a number that is not known, is a dash everywhere."""

import functools
import math
from collections.abc import Callable

SPACE = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


def _of_known(words: Callable[..., str]) -> Callable[..., str]:
    """Return a dash where the first number is not known."""

    @functools.wraps(words)
    def checked(value: float | None, *others: object) -> str:
        return "–" if value is None or not math.isfinite(value) else words(value, *others)

    return checked


@_of_known
def count(value: float) -> str:
    """Return a number of things: 1,234; a mean number of things has one decimal."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


@_of_known
def counted(value: float, thing: str) -> str:
    """Return a number of things with the word for them: 1 row, 2 rows."""
    return f"{count(value)}{SPACE}{thing}{'' if value == 1 else 'es' if thing.endswith('s') else 's'}"


@_of_known
def decimal(value: float, digits: int = 2) -> str:
    """Return a number with decimals and a proper minus sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)  # adding zero turns −0.00 into 0.00


@_of_known
def percent(value: float, digits: int = 1) -> str:
    """Return a share in percent."""
    return f"{decimal(100 * value, digits)}{SPACE}%"


@_of_known
def changed(value: float) -> str:
    """Return a change of a share, the larger the better, in points with the word for its direction."""
    size, word = _direction(value)
    return f"{size}{SPACE}points {word}" if word else size


def changed_range(low: float | None, high: float | None) -> str:
    """Return an interval of such a change."""
    if low is None or high is None or not math.isfinite(low) or not math.isfinite(high):
        return "–"
    return " to ".join(" ".join(filter(None, _direction(value))) for value in (low, high))


def _direction(value: float) -> tuple[str, str]:
    size = abs(100 * value)
    text = f"{size:.1f}" if size >= 0.1 else f"{size:.2f}"
    if float(text) == 0:
        return "no change", ""
    return text, "better" if value > 0 else "worse"


@_of_known
def size(value: float) -> str:
    """Return a number of bytes in kB, at least 1."""
    return f"{max(1, round(value / 1000)):,}{SPACE}kB"


def capital(text: str) -> str:
    """Return a text with a capital first letter, and the others as they are."""
    return text[:1].upper() + text[1:]


FILTERS = (capital, changed, count, counted, decimal, percent, size)
