"""Formats of numbers in the paper's tables."""

import textwrap
from collections import Counter
from pathlib import Path
from statistics import mean, stdev

from datagradient.data.conditions import PUBLISHED, base_of, is_untrusted, rate_of
from datagradient.files import read_rows
from datagradient.influence.options import SOUND

POOLED = "pooled"  # for data set and model, in rows over all of them
ALL = "all"  # for a number of labels
CHECK = "check_"  # ways of trusted_shares.csv that begin with it give training samples their right labels


def wrapped(text: str) -> str:
    """Return text in lines of at most 120 characters."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def extent(rows: list[dict], column: str) -> str:
    """Return the range of a column of whole numbers, or its only value."""
    values = [int(row[column]) for row in rows]
    return str(min(values)) if min(values) == max(values) else f"{min(values)}–{max(values)}"


def difference(test: dict) -> str:
    """Return a test's difference with its t interval, in percentage points."""
    return f"{points(test['mean_difference'])} {interval(test, 't_low', 't_high')}"


def mean_and_deviation(rows: list[dict], column: str, scale: float, digits: int) -> str:
    """Return mean ± standard deviation of a column, times `scale`."""
    values = [scale * float(row[column]) for row in rows]
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def mean_and_sd(test: dict, which: str) -> str:
    """Return the mean ± standard deviation of a test's ``first`` or ``second`` values, in percent."""
    return f"{100 * float(test[f'mean_{which}']):.2f} ± {100 * float(test[f'sd_{which}']):.2f}"


def percent(share: str) -> str:
    """Return a share in percent."""
    return f"{100 * float(share):.2f}"


def share(part: str, whole: str) -> str:
    """Return a part of a whole in percent, or a dash if the whole is 0."""
    return percent(float(part) / float(whole)) if float(whole) else "–"


def points(difference: str) -> str:
    """Return a difference in percentage points, signed."""
    return f"{round(100 * float(difference), 2) + 0.0:+.2f}"  # adding zero turns −0.00 into +0.00


def interval(row: dict, low: str, high: str) -> str:
    """Return an interval of two columns in percentage points."""
    return f"[{points(row[low])}, {points(row[high])}]"


def p_value(value: str) -> str:
    """Return a p-value with four digits."""
    return f"{float(value):.4g}"


def number(value: str, digits: int = 2) -> str:
    """Return a number with the given number of decimals."""
    return f"{float(value):.{digits}f}"


def with_interval(row: dict, value: str, low: str, high: str) -> str:
    """Return a value with its interval, from three columns; the value alone where it has none."""
    if row[low] == "nan":
        return number(row[value])
    return f"{number(row[value])} [{number(row[low])}, {number(row[high])}]"


def trusted_shares(results: Path, checked: bool) -> list[dict]:
    """Return the rows about labels that are `checked`, or about trusted ones, each with the bare name of its way."""
    rows = read_rows(results / "trusted_shares.csv", "way", "labels", "share")
    return [{**row, "way": row["way"].removeprefix(CHECK)} for row in rows if row["way"].startswith(CHECK) == checked]


def number_of_labels(row: dict) -> str:
    """Return a number of labels; where it is all of one data set's, with how many these are."""
    if row["labels"] != ALL or row["dataset"] == POOLED:
        return row["labels"]
    return f"{ALL} ({float(row['mean_labels']):.0f})"


def with_default(row: dict, column: str) -> str:
    """Return what a row of a choice names, and whether it is the default."""
    return row[column] + (" (default)" if row["default"] == "1" else "")


def shortcomings(rows: list[dict]) -> str:
    """Return how many of some solves missed their tolerance, or took a pass where a record should be; "" for none."""
    counts = Counter(row["solver_status"] for row in rows if row["solver_status"] not in SOUND)
    return "; ".join(f"{count} of {len(rows)} {status}" for status, count in counts.items())


def dataset_titles(results: Path) -> dict[str, str]:
    """Return the title of each data set in tables and figures."""
    return {row["dataset"]: row["title"] for row in read_rows(results / "data.csv")}


def noise_words(noise: str, flipped: str = "flipped") -> str:
    """Return a condition in words; `flipped` is said of the share of labels that are."""
    base, rate = base_of(noise), rate_of(noise)
    words = "as published" if base == PUBLISHED else f"by people ({base})" if rate is None else f"{rate:.0%} {flipped}"
    return f"{words}, validation too" if is_untrusted(noise) else words
