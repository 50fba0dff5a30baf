"""Columns of a user's table as numbers, dates and categories that need no second guess."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from datagradient.data.columns import Column, read_columns
from datagradient.data.readers.table import Table

MICROSECONDS = 86_400_000_000  # in a day
# How a number of a file of words looks that needs no interpretation. 007 may be a code, so a guess decides about it.
_PLAIN = r"^-?(?:[1-9]\d*|0)(?:{mark}\d*)?(?:[eE][+-]?\d+)?$"
_GROUPED = r"-?[1-9]\d{0,2}\.\d{3}"
_FORMS = {",": "decimal comma", ".": "decimal point"}
_AS = {"ignore": "left out", "number": "read as numbers", "date": "read as dates", "category": "read as words"}
_ARROW = re.compile(r" → (ignore|number|date|category)")
MANY_INTEGERS = 20  # different whole numbers in as many rows: fewer are no sign of names of rows


def drop_remedy(name: str) -> str:
    """Return what a user can do about a cell that cannot be read."""
    return f"change or empty such cells, or leave the column out with --drop {name!r}"


def read_typed(table: Table, names: list[str], like: Mapping[str, Mapping[str, Any]] | None = None) -> list[Column]:
    """Return columns of a table, read one after the other, each taken out of the table's frame.

    Args:
        table: the table.
        names: of the columns.
        like: by column, the ``kind`` and ``form`` with which the first of two files was read.

    Raises:
        UserError: a cell cannot be read, or not as the kind that it had in the first file.
    """
    return [_read(table, table.frame.pop(name), like[name] if like else {}) for name in names]


def read_words(table: Table, name: str) -> np.ndarray:
    """Return a column's cells as texts (n,), None for missing."""
    (column,) = read_columns(table.frame[[name]], {name: "category"}, table.where, remedy=drop_remedy)
    return np.full(len(table.frame), None) if column.values is None else column.values


def _read(table: Table, series: Any, like: Mapping[str, Any]) -> Column:
    name, kind = series.name, like.get("kind")
    numbers = plain_numbers(series, table.decimal) if kind in (None, "number") else None
    words, series = series, series if numbers is None else _series(numbers, name)
    preferred = like.get("form") or _FORMS.get(table.decimal or "", "")
    options = {"forms": {name: preferred}, "remedy": drop_remedy}
    if kind in ("category", "ignore"):
        return read_columns(series.to_frame(), {name: kind}, table.where, **options)[0]
    (column,) = read_columns(series.to_frame(), {}, table.where, **options)
    if kind and column.kind not in (kind, "ignore"):
        (column,) = read_columns(series.to_frame(), {name: kind}, table.where, **options)
    if numbers is None:
        return column
    note = _thousands(words) if table.decimal is None and words is not None else ""
    return dataclasses.replace(column, form=_FORMS.get(table.decimal or "", ""), note=column.note or note)


def _thousands(words: Any) -> str:
    """Return what to say of numbers that were read with a decimal point, and may be written with one for thousands."""
    marked = words[words.str.contains(".", regex=False).fillna(False)]
    if not len(marked) or len(marked) == words.notna().sum() or not marked.str.fullmatch(_GROUPED).all():
        return ""
    shown = marked.iloc[0]
    return (f"holds numbers such as {shown}, read as {float(shown):g}; where the point stands for thousands, as "
            f"in {shown.replace('.', '')}, give --decimal ,")  # fmt: skip


def plain_numbers(series: Any, decimal: str | None) -> np.ndarray | None:
    """Return words as numbers (n,), NaN for missing, if all of them are plain numbers; otherwise None.

    This is the quick path of a large file: words with units, groups of thousands or signs for missing cells are left
    to the guess of `data.columns`.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(series.dtype, pd.StringDtype):
        return None
    words = pa.array(series.array, from_pandas=True)
    words = words if isinstance(words, pa.ChunkedArray) else pa.chunked_array([words])
    mark = decimal or "."
    plain = pc.match_substring_regex(words, _PLAIN.format(mark=re.escape(mark)))
    if words.null_count == len(words) or not pc.all(plain).as_py():
        return None
    if mark == ",":
        words = pc.replace_substring(words, ",", ".")
    try:
        numbers = pc.cast(words, pa.float64())
    except pa.ArrowInvalid:
        return None
    return numbers.to_numpy().astype(np.float64, copy=False)


def _series(values: np.ndarray, name: str) -> Any:
    import pandas as pd

    return pd.Series(values, name=name, copy=False)


def stored(column: Column, kind: str) -> Any:
    """Return a column as a Series that `read_columns` reads as the same kind without looking at its cells again.

    Numbers are float64, dates are datetime64 in UTC, words are a category.
    """
    import pandas as pd

    if kind == "category":
        return pd.Series(pd.Categorical(column.values), name=column.name)
    if kind == "number":
        return _series(column.values, column.name)
    known = np.isfinite(column.values)
    times = np.where(known, np.round(column.values * MICROSECONDS, 0), 0).astype(np.int64).view("datetime64[us]")
    return _series(np.where(known, times, np.datetime64("NaT")), column.name)


def on_guess(column: Column) -> list[str]:
    """Return how a column was read, if that was a guess."""
    note = _ARROW.sub(lambda match: f": {_AS[match[1]]}", column.note)
    return [f"column {column.name!r} {note}"] if note else []


_NAMES_ROWS = re.compile(r"has (\d+) different words in \1 rows")


def remarks(column: Column) -> list[str]:
    """Return what should be said of a column: what was guessed, and what looks like a mistake."""
    said = on_guess(column)
    if column.kind != "ignore" and is_constant(column):
        said.append(f"column {column.name!r} holds the same value in every row: left out")
    elif _NAMES_ROWS.match(column.note):
        said[-1] += f"; --id {column.name!r} shows it beside the rows"
    elif numbers_rows(column):
        said.append(f"column {column.name!r} holds a different whole number in each of {len(column.values)} rows: read "
                    f"as numbers; if they only name the rows, leave them out with --drop {column.name!r}")  # fmt: skip
    return said


def is_constant(column: Column) -> bool:
    """Return whether a column holds one value in all rows, none missing, and so tells nothing."""
    values = column.values
    return values is not None and len(values) > 0 and bool((values == values[0]).all())


def numbers_rows(column: Column) -> bool:
    """Return whether a column holds a different whole number in every row, as ids do."""
    if column.kind != "number" or len(column.values) < MANY_INTEGERS or np.isnan(column.values).any():
        return False
    whole = column.values == np.floor(column.values)
    return bool(whole.all()) and len(np.unique(column.values)) == len(column.values)
