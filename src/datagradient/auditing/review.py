"""A review as it comes back from a person: review.csv, also as a spreadsheet saves it, or a DataFrame.

A person writes the right class of a row into the column ``checked``. Nothing written there is lost: a review is not
replaced while it holds labels that are nowhere else.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagradient.errors import FileError, UserError, shown
from datagradient.files import read_rows

REVIEW_FILE = "review.csv"
ROW, GIVEN, CHECKED = "row", "given", "checked"
NAMES = ("id", "file")  # columns of which one may hold the name of a row
DRAWN = "drawn"  # column that says why a row is to be checked
RANDOM, DOUBTFUL = "random", "doubtful"
UNSURE = "?"  # in `CHECKED`: the person could not tell
_THOUSANDS = re.compile(r"[+-]?\d+[.,]\d{3}")


@dataclass(frozen=True)
class Entry:
    """What a person has written into a row of a review.

    Attributes:
        row: its number in the audited data.
        name: its id or file; blank where the review does not say.
        given: the label that the row had when it was audited; blank where the review does not say.
        label: the content of the column ``checked``, which is not blank.
        drawn: that of the column ``drawn``.
        where: the place in messages.
    """

    row: int
    name: str
    given: Any
    label: Any
    drawn: str
    where: str


def read_entries(review: Any, name: str = "trusted") -> list[Entry]:
    """Return what a person has written into a review.

    Args:
        review: the path of a review.csv, or a DataFrame with the columns ``row``, ``checked`` and ``drawn``, and
            ``given``, ``id`` and ``file`` if they are known.
        name: what messages call a DataFrame.

    Raises:
        UserError: it is none of these, lacks a column, or the number of a row is not a whole number.
    """
    if isinstance(review, str | Path):
        cells = [(row[ROW], [row.get(name, "") for name in NAMES], row.get(GIVEN, ""), row[CHECKED], row[DRAWN],
                  f"{review}, line {row[ROW].place[1]}") for row in _lines(Path(review))]  # fmt: skip
    else:
        cells = list(_cells(review, name))
    return [
        Entry(_whole(row, where), next((str(name) for name in names if not _is_blank(name)), ""),
              "" if _is_blank(given) else given, label, str(drawn).strip(), where)
        for row, names, given, label, drawn, where in cells if not _is_blank(label)
    ]  # fmt: skip


def _lines(path: Path) -> list[dict]:
    try:
        return read_rows(path, ROW, CHECKED, DRAWN)
    except FileError as error:
        if isinstance(error.__context__, UnicodeError):
            raise FileError(path, "is no text in UTF-8: let the spreadsheet save it as CSV in UTF-8") from None
        raise


def _cells(review: Any, name: str) -> Iterable[tuple[Any, list[Any], Any, Any, Any, str]]:
    import pandas as pd

    if not isinstance(review, pd.DataFrame):
        raise UserError(f"{name} is a {type(review).__name__}: give the path of a review.csv, or a DataFrame with the "
                        f"columns {ROW}, {CHECKED} and {DRAWN}")  # fmt: skip
    for column in (ROW, CHECKED, DRAWN):
        if column not in review.columns:
            raise UserError(f"{name}: the DataFrame has no column {column!r}: give the review of an audit")
    given = review[GIVEN].tolist() if GIVEN in review.columns else [""] * len(review)
    names = [review[column].tolist() if column in review.columns else [""] * len(review) for column in NAMES]
    columns = (
        review[ROW].tolist(),
        map(list, zip(*names, strict=True)),
        given,
        *(review[column].tolist() for column in (CHECKED, DRAWN)),
    )
    for place, cells in enumerate(zip(*columns, strict=True)):
        yield *cells, f"{name}, position {place} of the DataFrame"


def _is_blank(label: Any) -> bool:
    if isinstance(label, str):
        return not label.strip()
    import pandas as pd

    return bool(pd.api.types.is_scalar(label) and pd.isna(label))


def _whole(row: Any, where: str) -> int:
    """Return the number of a row; libraries and spreadsheets write ``5.0`` for 5."""
    try:
        number = float(str(row))
    except ValueError:
        number = math.nan
    if not number.is_integer():
        raise UserError(
            f"{where}: {ROW} is {shown(row)}, and not a whole number: give the rows as the audit wrote them"
        )
    return int(number)


def checksum(review: Any) -> str:
    """Return a checksum of a review: of a file its bytes, of a DataFrame what was written into it.

    Raises:
        UserError: see `read_entries`.
    """
    if isinstance(review, str | Path):
        content = Path(review).read_bytes()
    else:
        content = repr([(entry.row, str(entry.label), entry.drawn) for entry in read_entries(review)]).encode()
    return hashlib.sha256(content).hexdigest()


def class_of(label: Any, names: Mapping[str, int], values: Iterable[Any] = ()) -> int | None:
    """Return the class that a label written by a person is; None if it is none, or could be several.

    The name itself comes first. Then that of the one class which is the same without blanks around it, without regard
    to capital letters, or as a number: spreadsheets write ``TRUE`` for ``True`` and ``0`` for ``0.0``.

    Args:
        label: the label.
        names: number of each class by its name.
        values: of the classes in the type of the data, in the order of their numbers.
    """
    text = str(label)
    if text in names:
        return names[text]
    if not isinstance(label, str):
        for number, value in enumerate(values):
            if type(value) is type(label) and value == label:
                return number
    forms: tuple[Callable[[str], Any], ...] = (str.strip, lambda word: word.strip().casefold(), _number)
    for form in forms:
        wanted = form(text)
        same = [number for name, number in names.items() if wanted is not None and form(name) == wanted]
        if same:
            return same[0] if len(same) == 1 else None
    return None


def _number(text: str) -> float | None:
    """Return a text as a number, None if it is none; a decimal mark may be a comma, as spreadsheets write it.

    Three digits after a mark could be a group of thousands.
    """
    if _THOUSANDS.fullmatch(text.strip()):
        return None
    try:
        number = float(text.replace(",", ".").replace("_", "?"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def alike(label: Any) -> Any:
    """Return a label, or a name, such that those are equal which a spreadsheet may have turned into each other."""
    text = str(label).strip().casefold()
    number = _number(text)
    return text if number is None else number


def is_unsure(label: Any, names: Mapping[str, int]) -> bool:
    """Return whether a label says that the person could not tell."""
    return str(label).strip() == UNSURE and UNSURE not in names


def check_kept(folder: Path, trusted: Any = None) -> None:
    """Refuse to replace an audit whose review holds labels that are not in the review which is given as `trusted`.

    Raises:
        UserError: it does, or the file cannot be read as a review.
    """
    review = folder / REVIEW_FILE
    if not review.exists():
        return
    entries = read_entries(review)
    is_same = isinstance(trusted, str | Path) and Path(trusted).exists() and Path(trusted).samefile(review)
    if entries and trusted is not None and not is_same:
        elsewhere = {(entry.row, alike(entry.label)) for entry in read_entries(trusted)}
        entries = [entry for entry in entries if (entry.row, alike(entry.label)) not in elsewhere]
    if entries:
        raise UserError(f"{review}: row {entries[0].row} was checked by hand, which would be lost: move this file "
                        "away first")  # fmt: skip
