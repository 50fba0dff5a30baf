"""What the columns of a table are: labels, ids, marks of trust, or samples."""

from typing import Any

import numpy as np

from datagradient.data.readers.assembly import Content
from datagradient.data.readers.samples import check_texts, samples_of
from datagradient.data.readers.source import TASKS, ReadOptions, Source, check_column, counted, fault, listed
from datagradient.data.readers.table import Table, rows_shown
from datagradient.data.readers.targets import Labels, read_labels, read_named_labels
from datagradient.data.readers.typed_columns import read_words

TRUE, FALSE = {"true", "t", "yes", "y", "1", "1.0"}, {"false", "f", "no", "n", "0", "0.0"}
_OPTIONS = {"target": "--target", "id": "--id", "text": "--text", "trusted_column": "--trusted-column"}


def content_of(table: Table, options: ReadOptions, first: Source | None) -> Content:
    """Return what a table holds; its frame is used up.

    Args:
        table: the table.
        options: what the columns are.
        first: the source of a first file, whose columns and kinds this one gets.

    Raises:
        UserError: a column is missing or cannot be read, or none is left to learn from.
    """
    roles, said = _roles(table, options, first)
    missing = {name: int(table.frame[name].isna().sum()) for name in table.frame.columns}
    labels = _labels(table, roles.get("target"), options.task)
    ids = read_words(table, roles["id"]) if "id" in roles else None
    trusted = _trusted(table, roles["trusted_column"]) if "trusted_column" in roles else None
    for role, name in roles.items():
        if role != "text":
            del table.frame[name]
    if options.text is not None and first is None:
        check_texts(table, options.text)
    samples = samples_of(table, roles.get("text"), first)
    facts = {**table.facts, **dict.fromkeys(_OPTIONS), **roles, "text": samples.text,
             "columns": _described(table, roles, samples.columns, missing)}  # fmt: skip
    said = [*table.said, *said, *_on_ids(ids, roles.get("id"))]
    target = f"column {roles['target']!r}" if "target" in roles else "labels"
    names = None if ids is None else ["" if name is None else name for name in ids]
    return Content(table.where, table.title, target, labels, samples, facts, said, names, trusted)


def _roles(table: Table, options: ReadOptions, first: Source | None) -> tuple[dict[str, str], list[str]]:
    """Return the columns that the options name, by role, and take the dropped ones out of the table.

    A second file may lack the columns of ids and of marks of trust, and those that are dropped.
    """
    named = {role: getattr(options, role) for role in _OPTIONS if getattr(options, role) is not None}
    if table.text and table.text not in options.drop:
        named.setdefault("text", table.text)
    said = []
    if table.target is None and "target" not in named:
        raise fault(table.where, f"give --target, the column of labels: the columns are {listed(table.names)}")
    if table.target is not None and "target" in named:
        raise fault(table.where, "--target is given beside labels: leave one of them out")
    for role in [role for role in ("id", "trusted_column") if first is not None and role in named]:
        if named[role] not in table.names:
            said.append(f"there is no column {named[role]!r} ({_OPTIONS[role]}) in this file")
            del named[role]
    for role, name in named.items():
        check_column(name, table.names, _OPTIONS[role], table.where, table.hint)
    drop = [name for name in dict.fromkeys(options.drop) if first is None or name in table.names]
    for name in drop:
        check_column(name, table.names, "--drop", table.where)
    used: dict[str, str] = {}
    for name, option in [
        *((name, _OPTIONS[role]) for role, name in named.items()),
        *((name, "--drop") for name in drop),
    ]:
        if name in used:
            raise fault(table.where, f"column {name!r} is given as {used[name]} and {option}: choose one")
        used[name] = option
    table.frame = table.frame.drop(columns=[name for name in drop if name in table.frame.columns])
    return named, said


def _labels(table: Table, target: str | None, task: str | None) -> Labels:
    if target is None:
        return read_labels(table.target, "labels", table.where, False, task)
    if target in table.class_names:
        return read_named_labels(table.frame[target], table.class_names[target], f"column {target!r}", table.where)
    return read_labels(table.frame[target], f"column {target!r}", table.where, table.words, task)


def _trusted(table: Table, name: str) -> np.ndarray:
    """Return which rows a column marks as checked by hand; an empty cell marks nothing."""
    words = read_words(table, name)
    plain = ["" if word is None else word.strip().lower() for word in words]
    for row, word in enumerate(plain):
        if word and word not in TRUE and word not in FALSE:
            raise fault(table.where, f"column {name!r}, row {row}: {words[row]!r} is neither true nor false: write "
                                     "true or false, or leave the cell empty")  # fmt: skip
    return np.array([word in TRUE for word in plain])


def _on_ids(ids: np.ndarray | None, name: str | None) -> list[str]:
    if ids is None:
        return []
    absent = np.flatnonzero([word is None for word in ids])
    there, said = len(ids) - len(absent), []
    if len(absent):
        said.append(f"column {name!r} (--id) has no value in {counted(len(absent), 'row')}: {rows_shown(absent)}")
    different = len({word for word in ids if word is not None})
    if different < there:
        said.append(f"column {name!r} (--id) has {counted(different, 'different value')} in {counted(there, 'row')}")
    return said


def _described(
    table: Table, roles: dict[str, str], columns: dict[str, dict[str, Any]], missing: dict[str, int]
) -> list[dict[str, Any]]:
    """Return for every column of the file, in order, what it was read as, and how many cells have no value."""
    used = {name: role.partition("_")[0] for role, name in roles.items() if role != "text"}
    described = []
    for name in table.names:
        kind = used.get(name) or ("ignore" if name in missing else "dropped")
        known = {"kind": kind, "note": "", "form": "", "missing": missing.get(name)}
        described.append({"name": name, **known, **columns.get(name, {})})
    return described


def labels_of(table: Table, target: str) -> Labels:
    """Return the labels of a table that has been read as data with classes before; real numbers are classes then."""
    return _labels(table, target, TASKS[0])
