"""What reading a user's own data gives, and the options that say how to read it."""

import difflib
import keyword
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from datagradient.data.record import Dataset
from datagradient.errors import UserError, one_line

TASKS = ("classification",)
DECIMALS = (".", ",")
LONGEST_LIST = 200  # of names in a message, in characters


@dataclass(frozen=True)
class ReadOptions:
    """How to read a user's own data; whatever is None is recognised, and what was recognised is said.

    Attributes:
        target: the column of labels; folders of images and arrays need none.
        id: the column of names of rows.
        text: the column that is read as texts, instead of all others.
        drop: columns that are left out.
        sep: the separator of a text table, one character, or ``"tab"``.
        decimal: the decimal mark, ``"."`` or ``","``.
        encoding: of a text table or of JSON; UTF-8 without it.
        trusted_column: the column that says of each row whether its label was checked by hand.
        task: ``"classification"`` if real numbers as labels are classes.

    Raises:
        UserError: a value is not legal.
    """

    target: str | None = None
    id: str | None = None
    text: str | None = None
    drop: tuple[str, ...] = ()
    sep: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    trusted_column: str | None = None
    task: str | None = None

    def __post_init__(self) -> None:
        """Refuse illegal values."""
        if self.task not in (None, *TASKS):
            raise UserError(f"--task is {self.task!r}: give {TASKS[0]}, or leave it out")
        if self.decimal not in (None, *DECIMALS):
            raise UserError(f"--decimal is {self.decimal!r}: give . or ,")
        if self.sep is not None:
            sep = {"tab": "\t", "\\t": "\t"}.get(self.sep, self.sep)
            if len(sep) != 1 or not sep.isascii() or sep in '"\r\n\0':
                raise UserError(f"--sep is {self.sep!r}: give one character, such as ; or tab")
            object.__setattr__(self, "sep", sep)
        if isinstance(self.drop, str):
            raise UserError(f"--drop is {self.drop!r}: give a tuple of names of columns")
        object.__setattr__(self, "drop", tuple(self.drop))


@dataclass(frozen=True)
class SetAside:
    """A row or an image that cannot be used, and why.

    Attributes:
        row: its number in the file as read; None if it has none.
        name: its id, or the path of the image; None without.
        reason: in words.
    """

    row: int | None
    name: str | None
    reason: str


@dataclass(frozen=True)
class Source:
    """A user's own data as read: n usable rows, and what was left out.

    Attributes:
        dataset: the usable rows; every column of a table has a kind, so that nothing is guessed again.
        rows: numbers (n,) of the rows in the file as read, from 0, the header not counted; of images in the order of
            their paths.
        names: n texts: those of the column of ids, or paths of images relative to the folder; None without.
        trusted: bool (n,), whose label was checked by hand.
        set_aside: rows and images that cannot be used.
        classes: the values of the classes in the file's own type, in the order of the class names.
        facts: what was read and how, as JSON can hold it: path, format, sha256, rows (in the file), columns, ….
        said: one sentence for each guess and each thing left out.
    """

    dataset: Dataset
    rows: np.ndarray
    names: tuple[str, ...] | None
    trusted: np.ndarray
    set_aside: tuple[SetAside, ...]
    classes: tuple[Any, ...]
    facts: dict[str, Any]
    said: tuple[str, ...]


def fault(where: object, message: str) -> UserError:
    """Return an error in one line, whatever the name of the file; bytes of a name that are not UTF-8 are escaped."""
    return UserError(one_line(expressible(f"{where}: {message}")))


def expressible(text: str) -> str:
    """Return a text that UTF-8 can express: bytes of file names that are not UTF-8 are written as ``\\xff``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if _odd(text) else text


def _odd(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def identifier(name: str) -> str:
    """Return a legal name of a data set for a file name: ``my data.csv.gz`` gives ``my_data``."""
    word = re.sub(r"\W+", "_", PurePath(name).name.partition(".")[0], flags=re.ASCII).strip("_") or "data"
    return f"data_{word}" if word[0].isdigit() or keyword.iskeyword(word) else word


def title_of(name: str) -> str:
    """Return the title of a data set for a file name: one line, without bytes that are not UTF-8."""
    return one_line(expressible(name)) or "data"


def check_column(name: str, names: Sequence[str], option: str, where: object, hint: str = "") -> None:
    """Refuse a name that is none of the columns, and offer the nearest ones."""
    if name in names:
        return
    alike = {other.casefold(): other for other in reversed(names)}
    near = [alike[word] for word in difflib.get_close_matches(str(name).casefold(), alike, n=3)]
    offer = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise fault(
        where, f"there is no column {name!r} ({option}): {offer}{hint}the columns are {listed(names) or 'none'}"
    )


def check_kind(modality: str, first: Source | None, where: object) -> None:
    """Refuse data that are not of the kind of the first file's."""
    if first is not None and first.dataset.modality != modality:
        kinds = f"{modality}s, and the first data {first.dataset.modality}s"
        raise fault(where, f"holds {kinds}: give data of the same kind")


def listed(names: Iterable[object]) -> str:
    """Return names for a message, shortened."""
    text = ", ".join(map(repr, names))
    return text if len(text) <= LONGEST_LIST else f"{text[:LONGEST_LIST]} …"


def counted(n: int, what: str) -> str:
    """Return ``1 row`` or ``2 rows``."""
    return f"{n} {what}{'' if n == 1 else 's'}"
