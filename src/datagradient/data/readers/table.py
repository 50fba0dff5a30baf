"""A table as a file holds it, before labels are told from columns and columns are told apart."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datagradient.data.readers.source import counted, fault


@dataclass
class Table:
    """Columns as read, with what their reader knows about them.

    Attributes:
        where: the file in messages.
        title: the file's name.
        frame: a DataFrame of n rows, in the order of the file; the rest of reading takes its columns out of it.
        names: of all columns of the file; `frame` may lack those that are dropped.
        facts: of `Source.facts`, what the format knows: path, format, sha256, ….
        said: what was recognised.
        words: whether the cells are words of a file without types, so that labels are told from them.
        decimal: the decimal mark in words, if it is known.
        class_names: by column, the names of the classes 0, 1, … if the file has them.
        images: columns of encoded images, each cell a dict with ``bytes`` and ``path``.
        target: labels (n,) that are no column of the table.
        hint: added where a column is not found.
        text: the column of texts, where there is nothing else.
    """

    where: str
    title: str
    frame: Any
    names: list[str]
    facts: dict[str, Any]
    said: list[str] = field(default_factory=list)
    words: bool = False
    decimal: str | None = None
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    target: Any = None
    hint: str = ""
    text: str | None = None


def check_names(names: list[Any], where: str, blank: bool = False) -> list[str]:
    """Return names of columns as distinct texts that are not blank, unless `blank` allows some that are.

    Raises:
        UserError: two are the same, or one is blank or no text that UTF-8 can express.
    """
    texts = [str(name).strip() for name in names]
    for place, text in enumerate(texts):
        if not text and not (blank and any(texts)):
            raise fault(where, f"column {place + 1} of {len(texts)} has no name: name it in the file")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise fault(
                where, f"the name of column {place + 1}, {text!r}, is no text that UTF-8 can express: rename it"
            )
    first = {text: place for place, text in reversed(list(enumerate(texts)))}
    for place, text in enumerate(texts):
        if text and first[text] != place:
            raise fault(where, f"columns {first[text] + 1} and {place + 1} are both named {text!r}: rename one of them")
    return texts


def check_rows(n: int, expected: int, where: str) -> None:
    """Refuse a table that does not hold as many rows as its file."""
    if n != expected:
        raise fault(where, f"{counted(n, 'row')} were read and the file has {expected}: write the file again, with "
                           "every text in double quotes")  # fmt: skip
    if n == 0:
        raise fault(where, "holds no row: give data with rows")


def rows_shown(rows: np.ndarray) -> str:
    """Return the first rows for a message: ``rows 3, 8, 9 and 4 more``."""
    shown = ", ".join(map(str, rows[:3].tolist())) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")
    return f"row{'s' * (len(rows) > 1)} {shown}"
