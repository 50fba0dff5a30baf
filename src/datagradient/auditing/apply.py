"""Carrying out the plan of an audit: a new file or folder, or a new DataFrame; the audited one is never changed."""

import os
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
from datagradient.data.readers.memory import FRAME
from datagradient.data.readers.source import expressible
from datagradient.data.readers.targets import Labels, read_labels
from datagradient.errors import UserError, shown


def carry_out(plan: Path, out: Path, source: Path | None = None) -> str:
    """Write the audited file or folder with the changes of its plan, and return in words what was done.

    The new file has the format, order and column types of the audited one; of a text every byte is kept that no change
    concerns. A plan without actions writes nothing.

    Args:
        plan: plan.json of an audit.
        out: the new file or folder, which must not exist.
        source: the audited file or folder, if it is not any more where the plan says.

    Raises:
        UserError: the plan is no plan or does not fit the data, these have changed since the audit, or `out` exists;
            nothing is written then.
    """
    read = read_plan(plan)
    if not read.dropped and not read.labels:
        return expressible(f"{plan}: nothing to do: no row is to be left out or relabelled, and {out} was not written")
    path = Path(read.facts["path"]) if source is None else source
    _check_out(out, path)
    if not path.exists():
        remedy = "check the path" if source else "give the audited file with --source if it has moved"
        raise UserError(f"{path}: not found: {remedy}")
    if checksum(path, read.facts["format"]) != read.facts["sha256"]:
        raise UserError(f"{path}: has changed since the audit: audit it again, or give it as it was with --source")
    if read.facts["format"] == IMAGES:
        changes, said = _apply_to_images(read, path, out)
    else:
        changes, said = _apply_to_table(read, path, out)
    return expressible(". ".join([f"{changes.summary}, in {out}", *said]))


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


def applied(plan: Mapping[str, Any], frame: Any, given: Mapping[int, str]) -> Any:
    """Return a copy of an audited DataFrame with the changes of a plan; its index and types of columns are kept.

    Args:
        plan: the content of a plan.json.
        frame: the DataFrame.
        given: by row, the name of the class that it had in the audit.

    Raises:
        UserError: the audited data are no DataFrame, or another one.
    """
    read = plan_from(plan, "plan")
    if read.facts["format"] != FRAME:
        raise UserError(f"the audited data are no DataFrame, but {read.facts['format']}: for files there is "
                        "datagradient apply")  # fmt: skip
    target, remedy = read.facts["target"], "pass the DataFrame that was audited"
    names = [str(name).strip() for name in frame.columns]
    if target not in names:
        raise UserError(f"{FRAME}: there is no column {target!r}: {remedy}")
    place = names.index(target)
    labels = read_labels(frame.iloc[:, place].reset_index(drop=True), f"column {target!r}", FRAME, False,
                         "classification")  # fmt: skip
    changes = changes_of(read, labels)
    for row, name in given.items():
        number = labels.numbers[row]
        if number < 0 or labels.names[number] != name:
            raise UserError(f"{FRAME}: row {row} has another label than the audited one, {name!r}: {remedy}")
    order = np.arange(len(frame))
    order[list(changes.like)] = list(changes.like.values())
    new = frame.copy()
    new.isetitem(place, frame.iloc[:, place].array.take(order))
    return new.iloc[np.flatnonzero(changes.kept)]
