"""The samples of a table: its columns, or one column of texts or of images."""

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from datagradient.data.columns import Column
from datagradient.data.readers.images import Picture, read_pictures
from datagradient.data.readers.source import Source, check_kind, fault, listed
from datagradient.data.readers.table import Table
from datagradient.data.readers.typed_columns import (
    is_constant,
    numbers_rows,
    on_guess,
    read_typed,
    read_words,
    remarks,
    stored,
)

# Prose: the median cell has at least this many words, and at least this share of the cells are different. From the
# second pair on a column may hold texts, which is said.
PROSE_WORDS, PROSE_SHARE = 5, 0.9
TEXT_WORDS, TEXT_SHARE = 3, 0.3
PROSE_SAMPLE = 2000  # cells whose words are counted
_WORD = re.compile(r"(?<![\w])[^\W\d_]{2,}(?![\w])")  # not the letters of a code


@dataclass
class Samples:
    """The samples of n rows of a file, of which some cannot be used.

    Attributes:
        modality: ``"table"``, ``"text"`` or ``"image"``.
        values: a DataFrame, a list of texts, or an array of images.
        reasons: by number of a row that cannot be used, why.
        kinds: of the columns of a table.
        text: the column of texts; None without.
        columns: by name, what a column was read as: ``kind``, ``note`` and ``form``; with ``missing`` if it was read.
        said: what was guessed and left out.
    """

    modality: str
    values: Any
    reasons: dict[int, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def take(self, rows: np.ndarray) -> Any:
        """Return the samples of some rows, and nothing copied if they are all."""
        if len(rows) == len(self.values):
            return self.values
        if self.modality == "table":
            return self.values.iloc[rows].reset_index(drop=True)
        return [self.values[row] for row in rows] if self.modality == "text" else self.values[rows]


def samples_of(table: Table, text: str | None, first: Source | None) -> Samples:
    """Return the samples of a table whose frame holds no column of labels or ids any more.

    Args:
        table: the table.
        text: the column of texts that the user names.
        first: the first of two files, which decides what the columns are.

    Raises:
        UserError: no column is left, a column of the first file is missing, or a cell cannot be read.
    """
    if first is not None:
        return _like(table, first)
    if text is not None:
        return _texts(table, text)
    pictures = [name for name in table.images if name in table.frame.columns]
    if pictures:
        return _pictures(table, pictures)
    prose = [name for name in table.frame.columns if is_prose(table.frame[name])]
    texts = {name: table.frame.pop(name) for name in prose}
    maybe = [name for name in table.frame.columns if is_prose(table.frame[name], TEXT_WORDS, TEXT_SHARE)]
    columns = read_typed(table, list(table.frame.columns))
    useful = [column for column in columns if _is_useful(column)]
    if not [column for column in useful if not numbers_rows(column)] and prose:
        if len(prose) > 1:
            raise fault(table.where, f"columns {listed(prose)} are prose: choose one with --text")
        table.frame[prose[0]] = texts[prose[0]]
        samples = _texts(table, prose[0], [column.name for column in columns])
        samples.columns |= {column.name: _described(column) for column in columns}
        samples.said = [f"column {prose[0]!r} is prose: read as text", *samples.said]
        return samples
    if not useful:
        reasons = "; ".join([*(line for column in columns for line in remarks(column)), *_may_be_texts(maybe)])
        raise fault(table.where, f"no column is left to learn from: {reasons or 'add one, or drop fewer'}")
    samples = _columns(columns, useful, prose)
    samples.said += _may_be_texts(maybe)
    return samples


def _may_be_texts(names: list[str]) -> list[str]:
    return [f"column {name!r} may hold texts; --text {name!r} reads it as such, instead of the other columns"
            for name in names]  # fmt: skip


def check_texts(table: Table, name: str) -> None:
    """Refuse a column that the user gives as texts, and whose cells are all numbers or dates."""
    if is_prose(table.frame[name]):
        return
    (column,) = read_typed(replace(table, frame=table.frame[[name]]), [name])
    if column.kind in ("number", "date"):
        raise fault(table.where, f"column {name!r} (--text) holds {column.kind}s, and no texts: give the column of "
                                 "texts, or leave --text out")  # fmt: skip


def is_prose(series: Any, words: int = PROSE_WORDS, share: float = PROSE_SHARE) -> bool:
    """Return whether a column holds texts of so many words in the median, and so large a share of them different."""
    import pandas as pd

    if not (isinstance(series.dtype, pd.StringDtype) or series.dtype == object):
        return False
    cells = series.dropna()
    if not len(cells):
        return False
    shown = cells.iloc[np.unique(np.linspace(0, len(cells) - 1, PROSE_SAMPLE).astype(int))]
    if not all(isinstance(cell, str) for cell in shown):
        return False
    if np.median([len(_WORD.findall(cell)) for cell in shown]) < words:
        return False
    return all(isinstance(cell, str) for cell in cells) and cells.nunique() >= share * len(cells)


def _is_useful(column: Column) -> bool:
    return column.kind != "ignore" and not is_constant(column)


def _described(column: Column) -> dict[str, Any]:
    kind = column.kind if _is_useful(column) else "ignore"
    described = {"kind": kind, "note": column.note, "form": column.form}
    if column.values is None:
        return described
    return {**described, "missing": int(_missing(column).sum())}


def _missing(column: Column) -> np.ndarray:
    import pandas as pd

    return np.asarray(pd.isna(column.values))


def _columns(columns: list[Column], useful: list[Column], prose: list[str]) -> Samples:
    import pandas as pd

    values = pd.DataFrame({column.name: stored(column, column.kind) for column in useful}, copy=False)
    said = [line for column in columns for line in remarks(column)]
    said += [f"column {name!r} is prose: left out; --text {name!r} reads it instead of the others" for name in prose]
    described = {column.name: _described(column) for column in columns}
    described |= {name: {"kind": "ignore", "note": "prose", "form": ""} for name in prose}
    return Samples("table", values, kinds={column.name: column.kind for column in useful}, columns=described, said=said)


def _texts(table: Table, name: str, others: list[str] | None = None) -> Samples:
    """Return the samples of a column of texts; rows without a text cannot be used."""
    words = read_words(table, name)
    texts = ["" if word is None else word for word in words]
    reasons = {row: f"no text in column {name!r}" for row, text in enumerate(texts) if not text.strip()}
    others = [other for other in table.frame.columns if other != name] if others is None else others
    said = [f"columns beside the texts were left out: {listed(others)}"] if others else []
    columns = {name: {"kind": "text", "note": "", "form": "", "missing": len(reasons)}}
    return Samples("text", texts, reasons, text=name, columns=columns, said=said)


def _pictures(table: Table, names: list[str], shape: tuple[int, ...] | None = None) -> Samples:
    """Return the samples of a column of encoded images; those that cannot be read are set aside."""
    if len(names) > 1:
        raise fault(table.where, f"columns {listed(names)} hold images: leave out all but one with --drop")
    if names[0] not in table.images:
        raise fault(
            table.where, f"column {names[0]!r} holds no images, as that of the first file does: rename one of them"
        )
    cells = table.frame[names[0]]
    pictures = [Picture(f"row {row}", cell.get("bytes") if cell else None) for row, cell in enumerate(cells)]
    found = read_pictures(pictures, table.where, shape)
    others = [other for other in table.frame.columns if other != names[0]]
    said = found.said + ([f"columns beside the images were left out: {listed(others)}"] if others else [])
    columns = {names[0]: {"kind": "image", "note": "", "form": ""}}
    return Samples("image", found.images, found.reasons, columns=columns, said=said)


def _like(table: Table, first: Source) -> Samples:
    """Return samples with the columns, kinds and size of images of a first file."""
    facts = {column["name"]: column for column in first.facts.get("columns", [])}
    modality = first.dataset.modality
    if modality == "table":
        needed = list(first.dataset.samples.columns)
    else:
        needed = [name for name, column in facts.items() if column["kind"] == modality]
        check_kind(modality if needed else "table", first, table.where)
    absent = [name for name in needed if name not in table.frame.columns]
    if absent:
        columns = f"column{'s' * (len(absent) > 1)} {listed(absent)} of the first file"
        raise fault(table.where, f"lacks {columns}: add what is missing, or leave it out of both with --drop")
    new = [name for name in table.frame.columns if name not in facts]
    said = [f"columns that are not in the first file were left out: {listed(new)}"] if new else []
    if modality == "text":
        samples = _texts(table, needed[0])
        samples.said = said
        return samples
    if modality == "image":
        return _pictures(table, needed, first.dataset.samples.shape[1:])
    columns = read_typed(table, needed, facts)
    return _typed_like(columns, len(table.frame), first.dataset.kinds, said)


def _typed_like(columns: list[Column], n: int, kinds: dict[str, str], said: list[str]) -> Samples:
    import pandas as pd

    values = {}
    for column in columns:
        kind = kinds[column.name]
        empty = Column(column.name, kind, np.full(n, None if kind == "category" else np.nan))
        values[column.name] = stored(empty if column.values is None else column, kind)
    said = said + [line for column in columns for line in on_guess(column)]
    described = {column.name: {**_described(column), "kind": kinds[column.name]} for column in columns}
    return Samples("table", pd.DataFrame(values, copy=False), kinds=dict(kinds), columns=described, said=said)
