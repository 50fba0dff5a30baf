"""Carrying out the plan of an audit: a new file or folder, or new data in memory; the old ones are never changed."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from datagradient.auditing.plan import Changes, Plan, changes_of, plan_from, read_plan
from datagradient.auditing.rewrite_arrow import rewrite_hugging_face, rewrite_parquet
from datagradient.auditing.rewrite_images import rewrite_images
from datagradient.auditing.rewrite_text import rewrite_text
from datagradient.data.readers.again import DATA_SET, IMAGES, checksum, read_labels_again
from datagradient.data.readers.image_folders import find_images
from datagradient.data.readers.memory import ARRAYS, FRAME, labels_of_arrays
from datagradient.data.readers.source import expressible
from datagradient.data.readers.targets import Labels, read_labels
from datagradient.errors import UserError, shown
from datagradient.files import replacing

_REMEDY = "pass the data that were audited"


def carry_out(plan: Path, out: Path, source: Path | None = None) -> str:
    """Write the audited file or folder with the changes of its plan, and return in words what was done.

    The new file has the format, order and column types of the audited one; of a text every byte is kept that no change
    concerns. A plan without actions writes a copy, of a file byte for byte.

    Args:
        plan: plan.json of an audit.
        out: the new file or folder, which must not exist.
        source: the audited file or folder, if it is not any more where the plan says.

    Raises:
        UserError: the plan is no plan or does not fit the data, these have changed since the audit, or `out` exists;
            nothing is written then.
    """
    read = read_plan(plan)
    path = Path(read.facts["path"]) if source is None else source
    _check_out(out, path)
    if not path.exists():
        remedy = "check the path" if source else "give the audited file with --source if it has moved"
        raise UserError(f"{path}: not found: {remedy}")
    if checksum(path, read.facts["format"]) != read.facts["sha256"]:
        raise UserError(f"{path}: has changed since the audit: audit it again, or give it as it was with --source")
    is_copy = not read.dropped and not read.labels
    if is_copy and path.is_file():
        with open(path, "rb") as old, replacing(out, "wb") as new:
            shutil.copyfileobj(old, new)
        return expressible(f"Nothing changed: the plan has no action, and {out} is a copy of {path}")
    if read.facts["format"] == IMAGES:
        changes, said = _apply_to_images(read, path, out)
    else:
        changes, said = _apply_to_table(read, path, out)
    summary = "Nothing changed: the plan has no action, and all rows are" if is_copy else f"{changes.summary},"
    return expressible(". ".join([f"{summary} in {out}", *said]))


def _check_out(out: Path, source: Path) -> None:
    if out.resolve() == source.resolve():
        raise UserError(f"{out}: is the audited data, which are never changed: give another --out")
    if os.path.lexists(out):
        raise UserError(f"{out}: exists: give another --out")
    if out.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{out}: is inside {source}, which is never changed: give another --out")


def _apply_to_table(plan: Plan, path: Path, out: Path) -> tuple[Changes, list[str]]:
    labels, facts = read_labels_again(path, plan.facts)
    changes, target = changes_of(plan, labels), plan.facts["target"]
    if facts["format"] == DATA_SET:
        rewrite_hugging_face(path, target, changes, out)
        return changes, []
    if facts["format"] == "parquet":
        rewrite_parquet(path, target, changes, out)
    else:
        rewrite_text(path, facts, target, changes, out)
    ending = "".join(PurePath(path.name).suffixes[-2:] if path.name.lower().endswith(".gz") else path.suffix)
    same = out.name.lower().endswith(ending.lower())
    return changes, [] if same else [f"It is of the same kind as {path.name}, so its name should end in {ending}"]


def _apply_to_images(plan: Plan, path: Path, out: Path) -> tuple[Changes, list[str]]:
    images = find_images(path).images
    folders = [name.partition("/")[0] for name in images]
    names, numbers = np.unique(folders, return_inverse=True)
    classes = tuple(map(str, names))
    changes = changes_of(plan, Labels(numbers, classes, classes))
    for row, name in plan.files.items():
        if images[row] != name:
            raise UserError(f"{plan.where}: row {row} is {shown(images[row])}, and the plan names {shown(name)}: "
                            "correct the row or the file")  # fmt: skip
    return changes, rewrite_images(path, changes, out)


def applied(plan: Mapping[str, Any], data: Any, given: Mapping[int, str]) -> Any:
    """Return a copy of audited data in memory with the changes of a plan; index, types and forms are kept.

    Args:
        plan: the content of a plan.json.
        data: the DataFrame, or the pair of samples and labels.
        given: by row, the name of the class that it had in the audit.

    Raises:
        UserError: the audited data are a file, or other ones.
    """
    import pandas as pd

    read = plan_from(plan, "plan")
    kind = read.facts["format"]
    if kind not in (FRAME, ARRAYS):
        raise UserError(f"the audited data are no DataFrame and no pair, but {kind}: for files there is "
                        "datagradient apply")  # fmt: skip
    if kind == FRAME and not isinstance(data, pd.DataFrame):
        raise UserError(f"the audited data are a DataFrame, and this is a {type(data).__name__}: {_REMEDY}")
    if kind == ARRAYS and not (isinstance(data, tuple) and len(data) == 2):
        raise UserError(f"the audited data are a pair (samples, labels), and this is a {type(data).__name__}: "
                        f"{_REMEDY}")  # fmt: skip
    return _frame_with(read, data, given) if kind == FRAME else _pair_with(read, *data, given)


def _frame_with(plan: Plan, frame: Any, given: Mapping[int, str]) -> Any:
    target = plan.facts["target"]
    names = [str(name).strip() for name in frame.columns]
    if target not in names:
        raise UserError(f"{FRAME}: there is no column {target!r}: {_REMEDY}")
    place = names.index(target)
    changes, order = _changes(plan, frame.iloc[:, place].reset_index(drop=True), f"column {target!r}", given)
    new = frame.copy()
    new.isetitem(place, frame.iloc[:, place].array.take(order))
    return new.iloc[np.flatnonzero(changes.kept)]


def _pair_with(plan: Plan, samples: Any, labels: Any, given: Mapping[int, str]) -> tuple[Any, Any]:
    n = samples.shape[0] if hasattr(samples, "shape") else len(samples)
    changes, order = _changes(plan, labels_of_arrays(labels, n), "labels", given)
    kept = np.flatnonzero(changes.kept)
    new = _taken(labels, order[kept])
    return _taken(samples, kept), new.set_axis(labels.index[kept]) if hasattr(labels, "iloc") else new


def _changes(plan: Plan, column: Any, name: str, given: Mapping[int, str]) -> tuple[Changes, np.ndarray]:
    """Return what becomes of the n rows, and for each the row whose label it gets (n,)."""
    where = plan.facts["format"]
    labels = read_labels(column, name, where, False, "classification")
    changes = changes_of(plan, labels)
    for row, class_name in given.items():
        number = labels.numbers[row]
        if number < 0 or labels.names[number] != class_name:
            raise UserError(f"{where}: row {row} has another label than the audited one, {class_name!r}: {_REMEDY}")
    order = np.arange(len(labels.numbers))
    order[list(changes.like)] = list(changes.like.values())
    return changes, order


def _taken(values: Any, places: np.ndarray) -> Any:
    """Return some of n values as the same type."""
    if hasattr(values, "iloc"):
        return values.iloc[places]
    if isinstance(values, list | tuple):
        return type(values)([values[place] for place in places])
    return values[places]
