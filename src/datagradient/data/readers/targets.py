"""Labels: from the values of a column, in whatever type, to class numbers, names, and values to write back."""

import datetime
import decimal
import math
import numbers
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagradient.data.checks import lone_surrogate
from datagradient.data.columns import BLANK, parse_numbers
from datagradient.data.readers.source import counted, fault, listed
from datagradient.data.readers.table import rows_shown

LARGEST_SHARE = 0.2  # of the rows: more classes than this are no classes
MANY_CLASSES = 20  # of whole numbers: more may be amounts
_LOOKED_AT = 1000  # different labels in which real numbers are looked for
_INTEGER = re.compile(r"-?(?:[1-9]\d{0,17}|0)")
_MISSING = re.compile(r"(-9+|9{3,})(\.0+)?")  # numbers that stand for a missing value
_BOOLS = {"True": True, "False": False}


@dataclass(frozen=True)
class Labels:
    """Labels of n rows.

    Attributes:
        numbers: (n,) class numbers; −1 without a label.
        names: one text per class.
        classes: the values of the classes, in the file's own type.
        said: what its owner should know.
    """

    numbers: np.ndarray
    names: tuple[str, ...]
    classes: tuple[Any, ...]
    said: tuple[str, ...] = ()


def read_labels(column: Any, name: str, where: str, words: bool, task: str | None) -> Labels:
    """Return the labels of a column.

    Args:
        column: a Series of n values.
        name: the column in messages, e.g. ``column 'y'``.
        where: the file in messages.
        words: whether the file has no types, so that numbers and truth values are recognised.
        task: ``"classification"`` if real numbers are classes.

    Raises:
        UserError: labels are missing in all rows, or lists, or of several types, or real numbers.
    """
    place = f"{where}: {name}"
    codes, values = _factorised(column, place)
    blank = [isinstance(value, str) and not value.strip() for value in values]
    codes, values = _without(codes, values, blank)
    if not values:
        raise fault(place, "holds no label: name another column with --target")
    values = _recognised(values) if words else values
    order = order_of(values)
    codes, values = _ordered(codes, order), [values[position] for position in order]
    names = _names(values)
    _check_names(names, values, codes, place)
    _check_task(values, codes, place, task)
    return Labels(codes, tuple(names), tuple(values), tuple(_remarks(names, values, name)))


def read_named_labels(column: Any, class_names: Sequence[str], name: str, where: str) -> Labels:
    """Return labels that are numbers of classes whose names the file has; −1 means no label, as in `datasets`.

    Raises:
        UserError: a label is no number of a class.
    """
    place = f"{where}: {name}"
    codes, values = _factorised(column, place)
    codes, values = _without(codes, values, [value == -1 for value in values])
    wrong = [value for value in values if not isinstance(value, int) or not 0 <= value < len(class_names)]
    if wrong:
        row = _first(codes, values.index(wrong[0]))
        raise fault(place, f"row {row} holds {wrong[0]!r}, and the file names the classes 0 … {len(class_names) - 1}: "
                           "correct the label or the names")  # fmt: skip
    order = sorted(range(len(values)), key=values.__getitem__)
    codes, values = _ordered(codes, order), [values[position] for position in order]
    names = [class_names[value] for value in values]
    _check_names(names, values, codes, place)
    empty = [other for number, other in enumerate(class_names) if number not in values]
    said = (f"classes without a row were left out: {listed(empty)}",) if empty else ()
    return Labels(codes, tuple(names), tuple(values), said)


def usable_labels(labels: Labels, usable: np.ndarray, name: str, where: str) -> Labels:
    """Return the labels of the rows that can be used; the others become −1, and classes without a row are left out.

    Raises:
        UserError: there are too few rows for classes, or one class.
    """
    place = f"{where}: {name}"
    numbers = np.where(usable, labels.numbers, -1)
    empty = np.bincount(numbers[numbers >= 0], minlength=len(labels.names)) == 0
    if empty.any():
        lost = [label for label, gone in zip(labels.names, empty, strict=True) if gone]
        said = (*labels.said, f"classes without a row that can be used were left out: {listed(lost)}")
        numbers, names = _without(numbers, list(labels.names), empty.tolist())
        classes = [value for value, gone in zip(labels.classes, empty, strict=True) if not gone]
        labels = Labels(numbers, tuple(names), tuple(classes), said)
    _check_count(labels.classes, numbers, place)
    counts = np.bincount(numbers[numbers >= 0], minlength=len(labels.names)).tolist()
    said = (*labels.said, *_like_missing(labels.names, counts, name))
    return Labels(numbers, labels.names, labels.classes, said)


def _like_missing(names: Sequence[str], counts: Sequence[int], column: str) -> list[str]:
    """Return what to say of classes that look like missing labels."""
    alike = [f"{name!r} ({counted(count, 'row')})" for name, count in zip(names, counts, strict=True)
             if name.strip().lower() in BLANK or _MISSING.fullmatch(name.strip())]  # fmt: skip
    if not alike:
        return []
    what = "looks like a missing label and is a class" if len(alike) == 1 else \
        "look like missing labels and are classes"  # fmt: skip
    return [f"{column}: {' and '.join(alike)} {what}: unless this is meant, leave these rows out, or remove their "
            "label, which sets them aside"]  # fmt: skip


def labels_like(
    labels: Labels, usable: np.ndarray, first: Sequence[str], classes: Sequence[Any], name: str, where: str
) -> np.ndarray:
    """Return the labels of the rows that can be used as numbers of the classes of a first file; the others become −1.

    Labels are the same if they have the same text, or are the same number: a column of whole numbers becomes one of
    real numbers when one is missing.

    Args:
        labels: of all rows.
        usable: bool (n,).
        first: the names of the classes of the first file.
        classes: their values.
        name: the column in messages.
        where: the file in messages.

    Raises:
        UserError: a class is not one of the first file's.
    """
    place = f"{where}: {name}"
    known = {**{_key(value): place for place, value in enumerate(classes)},
             **{label: place for place, label in enumerate(first)}}  # fmt: skip
    places = [known.get(label, known.get(_key(value), -1))
              for label, value in zip(labels.names, labels.classes, strict=True)]  # fmt: skip
    for number, label in enumerate(labels.names):
        if places[number] < 0:
            rows = np.flatnonzero(labels.numbers == number)
            raise fault(place, f"{rows_shown(rows)}: {label!r} is none of the classes of the first file, "
                               f"{listed(first)}: correct or remove such rows")  # fmt: skip
    return np.where(usable, np.array([*places, -1])[labels.numbers], -1)


def _key(value: Any) -> Any:
    return float(value) if _sort(value) == "number" else str(value)


def _factorised(column: Any, place: str) -> tuple[np.ndarray, list[Any]]:
    """Return for every row the number of its value (−1 for missing), and the different values as Python objects."""
    import pandas as pd

    if isinstance(column.dtype, pd.SparseDtype):
        column = column.sparse.to_dense()
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, values = column.cat.codes.to_numpy(), column.cat.categories.tolist()
        codes, values = _without(codes, values, (np.bincount(codes[codes >= 0], minlength=len(values)) == 0).tolist())
        _check_types(values, place)
        return codes.astype(np.int64), values
    if column.dtype == object or isinstance(column.dtype, pd.ArrowDtype):
        column = column.astype(object)
        _check_cells(column.to_numpy(dtype=object), place)
    codes, values = pd.factorize(column)
    return codes.astype(np.int64), [
        value.item() if isinstance(value, np.generic) else value for value in values.tolist()
    ]


def _check_cells(cells: np.ndarray, place: str) -> None:
    """Refuse cells that are no labels, or of several types."""
    import pandas as pd

    kinds = list(map(type, cells))
    for kind in dict.fromkeys(kinds):
        row = kinds.index(kind)
        if issubclass(kind, (bytes, bytearray, memoryview)):
            raise fault(place, f"row {row} holds {kind.__name__}, which are no label: convert them to text")
        if issubclass(kind, (tuple, frozenset)) or kind.__hash__ is None:
            raise fault(place, f"row {row} holds a {kind.__name__}, and each row needs one label: if it holds several "
                               "labels, choose one of them")  # fmt: skip
    missing = np.asarray(pd.isna(cells))
    kept = np.flatnonzero(~missing)
    _check_types([cells[row] for row in kept], place, kept)


def _check_types(values: Sequence[Any], place: str, rows: np.ndarray | None = None) -> None:
    sorts: dict[str, int] = {}
    for position, value in enumerate(values):
        sorts.setdefault(_sort(value), position)
    if len(sorts) > 1:
        shown = [f"{values[position]!r}" + (f" in row {rows[position]}" if rows is not None else "")
                 for position in sorts.values()]  # fmt: skip
        raise fault(
            place, f"mixes {' and '.join(sorted(sorts))} ({', '.join(shown[:2])}): write all labels as one type"
        )


def _sort(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    if isinstance(value, numbers.Number):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, (datetime.datetime, np.datetime64)):
        return "time"
    return "date" if isinstance(value, datetime.date) else type(value).__name__


def _without(codes: np.ndarray, values: list[Any], left_out: list[bool]) -> tuple[np.ndarray, list[Any]]:
    """Return codes and values without some of the values, whose rows become −1."""
    if not any(left_out):
        return codes, values
    kept = np.cumsum(~np.array(left_out)) - 1
    kept[np.array(left_out)] = -1
    return np.append(kept, -1)[codes], [value for value, out in zip(values, left_out, strict=True) if not out]


def _ordered(codes: np.ndarray, order: list[int]) -> np.ndarray:
    """Return codes after the values have been put in an order."""
    places = np.full(len(order) + 1, -1)
    places[order] = np.arange(len(order))
    return places[codes]


def _recognised(values: list[str]) -> list[Any]:
    """Return words as truth values or numbers if that is what all of them are, and if each gives the same word back."""
    if all(value in _BOOLS for value in values):
        return [_BOOLS[value] for value in values]
    if all(_INTEGER.fullmatch(value) for value in values):
        whole = [int(value) for value in values]
        return whole if list(map(str, whole)) == values else values
    try:
        real = [float(value) for value in values]
    except ValueError:
        return values
    return real if all(map(math.isfinite, real)) and list(map(str, real)) == values else values


def order_of(values: list[Any]) -> list[int]:
    """Return the order of the classes: that of numbers, dates or texts; texts that are whole numbers go by those."""
    keys: list[Any] = values
    if all(isinstance(value, str) and _INTEGER.fullmatch(value) for value in values):
        keys = [(int(value), value) for value in values]
    try:
        return sorted(range(len(values)), key=keys.__getitem__)
    except TypeError:  # e.g. dates with and without a time zone
        return sorted(range(len(values)), key=lambda position: str(values[position]))


def _names(values: list[Any]) -> list[str]:
    """Return the texts of the values; of points in time that are whole days, the days."""
    if all(isinstance(value, datetime.datetime) and value.time() == datetime.time(0) for value in values):
        return [str(value.date()) for value in values]
    return [str(value) for value in values]


def _first(codes: np.ndarray, code: int) -> int:
    return int(np.flatnonzero(codes == code)[0])


def _check_names(names: list[str], values: list[Any], codes: np.ndarray, place: str) -> None:
    seen: dict[str, int] = {}
    for position, name in enumerate(names):
        if name in seen:
            both = f"{values[position]!r} and {values[seen[name]]!r}"
            raise fault(place, f"row {_first(codes, position)}: {both} have the same text {name!r}: rename one of them")
        if not name.strip() or lone_surrogate(name):
            what = f"{values[position]!r} is no text that UTF-8 can express"
            raise fault(place, f"row {_first(codes, position)}: {what}: correct the label")
        seen[name] = position


def _check_task(values: list[Any], codes: np.ndarray, place: str, task: str | None) -> None:
    """Refuse real numbers, unless they are said to be classes."""
    if task is not None:
        return
    looked_at = values[:_LOOKED_AT]
    if all(isinstance(value, str) for value in looked_at):
        amounts = parse_numbers(looked_at)[0]
        if None in amounts:
            return
    elif all(isinstance(value, (int, float, decimal.Decimal, np.floating)) for value in looked_at):
        amounts = [float(value) for value in looked_at]
    else:
        return
    real = [position for position, amount in enumerate(amounts) if not (math.isnan(amount) or amount.is_integer())]
    if real:
        example = f"{values[real[0]]!r} in row {_first(codes, real[0])}"
        raise fault(place, f"holds real numbers ({example}), and classes are needed: bin it into a few classes, or "
                           "give --task classification if each number is a class")  # fmt: skip


def _check_count(values: Sequence[Any], codes: np.ndarray, place: str) -> None:
    n, k = int((codes >= 0).sum()), len(values)
    if k < 2:
        only = f"the one class {values[0]!r}" if values else "no label"
        raise fault(place, f"holds {only}: at least two classes are needed; name another column with --target")
    if k > LARGEST_SHARE * n:
        raise fault(place, f"has {k} different labels in {n} rows, more than {100 * LARGEST_SHARE:.0f} %: name a "
                           "column of classes with --target, bin its values, or bring more rows")  # fmt: skip


def _remarks(names: list[str], values: list[Any], column: str) -> list[str]:
    said = []
    if len(values) > MANY_CLASSES and all(isinstance(value, (int, float)) for value in values):
        said.append(f"{column} holds {len(values)} different numbers: each is a class. If they are amounts, bin "
                    "them into a few classes first")  # fmt: skip
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    said += [f"classes {' and '.join(map(repr, group))} differ only in spaces or capital letters"
             for group in alike.values() if len(group) > 1]  # fmt: skip
    return said
