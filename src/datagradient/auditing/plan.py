"""The plan of an audit, plan.json: rows of a file that are left out, and rows that get another label."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.data.readers.again import IMAGES, TABLES
from datagradient.data.readers.source import listed
from datagradient.data.readers.targets import Labels
from datagradient.errors import UserError, shown
from datagradient.files import read_json

SCHEMA = 1
DROP, RELABEL = "drop", "relabel"
_KEYS, _ACTION_KEYS = ("schema", "source", "actions", "verdict"), ("row", "file", "decision", "label")
_KINDS = {str: "a text", int: "a whole number", list: "a list", dict: "a mapping"}


@dataclass(frozen=True)
class Plan:
    """A plan whose actions fit together.

    Attributes:
        where: the plan in messages.
        facts: the `Source.facts` of the audited data.
        rows: how many rows they have.
        dropped: rows to leave out.
        labels: by row, the name of the class that it gets.
        files: by row, the image that the plan names.
    """

    where: str
    facts: Mapping[str, Any]
    rows: int
    dropped: tuple[int, ...]
    labels: Mapping[int, str]
    files: Mapping[int, str]


@dataclass(frozen=True)
class Changes:
    """What becomes of the n rows of a file.

    Attributes:
        kept: (n,) bool, rows that are not left out.
        labels: by row, the name of its new class; rows that have it already are left out.
        like: by row with a new class, a row that is of this class in the file: its label is copied, so that its type,
            spelling and quotes are the file's own.
    """

    kept: np.ndarray
    labels: Mapping[int, str]
    like: Mapping[int, int]

    @property
    def summary(self) -> str:
        """How many rows go, change and stay, in words."""
        n, left = len(self.kept), int(self.kept.sum())
        rows = "row is" if n - left == 1 else "rows are"
        return f"{n - left} {rows} left out and {len(self.labels)} relabelled; {left} of {n} are left"


def read_plan(path: Path) -> Plan:
    """Read a plan.json of data in a file or folder.

    Raises:
        UserError: it is missing or no plan, or of data that were in memory.
    """
    plan = plan_from(read_json(path, "schema"), str(path))
    facts, where = plan.facts, f"{path}: source"
    if facts.get("path") is None:
        raise UserError(f"{path}: is of data in memory, and no file: Audit.apply in Python returns changed data")
    for name in ("path", "format", "sha256"):
        _part(facts, name, str, where)
    if facts["format"] not in (*TABLES, IMAGES):
        raise UserError(f"{where}: format is {shown(facts['format'])}: it is one of {listed((*TABLES, IMAGES))}")
    if facts["format"] != IMAGES:
        _part(facts, "target", str, where)
        columns = _part(facts, "columns", list, where)
        if not all(isinstance(column, dict) and isinstance(column.get("name"), str) for column in columns):
            raise UserError(f"{where}: columns do not all have a name: copy plan.json from the audit again")
        if facts["target"] not in [column["name"] for column in columns]:
            raise UserError(f"{where}: target is {shown(facts['target'])}, which is none of the columns: copy "
                            "plan.json from the audit again")  # fmt: skip
    for name in ("sep", "encoding"):
        if facts.get(name) is not None:
            _part(facts, name, str, where)
    if plan.files and facts["format"] != IMAGES:
        raise UserError(f"{path}: an action names a file, and the source is no folder of images: leave file out")
    return plan


def plan_from(content: Mapping[str, Any], where: str) -> Plan:
    """Return the plan that the content of a plan.json makes.

    Raises:
        UserError: a key is missing or not known, a row does not exist or appears twice, or an action is not legal.
    """
    if content["schema"] != SCHEMA:
        raise UserError(f"{where}: schema is {shown(content['schema'])}, and this version of datagradient carries out "
                        f"{SCHEMA}: audit again with this version")  # fmt: skip
    _check_keys(content, _KEYS, where)
    facts = _part(content, "source", dict, where)
    rows = _part(facts, "rows", int, f"{where}: source")
    dropped: list[int] = []
    labels: dict[int, str] = {}
    files: dict[int, str] = {}
    seen: set[int] = set()
    for number, action in enumerate(_part(content, "actions", list, where)):
        place = f"{where}: action {number}"
        if not isinstance(action, dict):
            raise UserError(f"{place} is {shown(action)}, and not a mapping of keys to values")
        _check_keys(action, _ACTION_KEYS, place)
        row = _part(action, "row", int, place)
        if not 0 <= row < rows:
            raise UserError(f"{place}: there is no row {shown(row)}: rows are 0 to {rows - 1}")
        if row in seen:
            raise UserError(f"{place}: row {row} has an action already: leave one of them out")
        seen.add(row)
        if "file" in action:
            files[row] = _part(action, "file", str, place)
        if action.get("decision") == RELABEL:
            labels[row] = _part(action, "label", str, place)
        elif action.get("decision") != DROP:
            raise UserError(f"{place}: decision is {shown(action.get('decision'))}: give {DROP} or {RELABEL}")
        elif "label" in action:
            raise UserError(f"{place}: has a label, and its decision is {DROP}: leave the label out, or give {RELABEL}")
        else:
            dropped.append(row)
    return Plan(where, facts, rows, tuple(dropped), labels, files)


def _check_keys(mapping: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = [key for key in mapping if key not in known]
    if unknown:
        raise UserError(f"{where}: the key {shown(unknown[0])} is not known: keys are {', '.join(known)}")


def _part(mapping: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    """Return a value that must be there, and of a type."""
    value = mapping.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{where}: {key} is {shown(value) if key in mapping else 'missing'}: give {_KINDS[kind]}")
    return value


def changes_of(plan: Plan, labels: Labels) -> Changes:
    """Return what becomes of the rows of a file with these labels.

    Raises:
        UserError: the plan is of another number of rows, a new label is no class, or no row is left.
    """
    n = len(labels.numbers)
    if n != plan.rows:
        raise UserError(f"{plan.where}: is of {plan.rows} rows, and there are {n}: give the data that were audited")
    numbers = {name: number for number, name in enumerate(labels.names)}
    for row, name in plan.labels.items():
        if name not in numbers:
            raise UserError(f"{plan.where}: row {row} gets the label {shown(name)}, which is no class of the data: "
                            f"classes are {listed(labels.names)}")  # fmt: skip
    kept = np.ones(n, dtype=bool)
    kept[list(plan.dropped)] = False
    if not kept.any():
        raise UserError(f"{plan.where}: leaves out all {n} rows: leave out fewer")
    changed = {row: name for row, name in plan.labels.items() if labels.numbers[row] != numbers[name]}
    first = {name: int(np.argmax(labels.numbers == numbers[name])) for name in set(changed.values())}
    return Changes(kept, changed, {row: first[name] for row, name in changed.items()})
