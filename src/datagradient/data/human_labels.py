"""Labels that people gave to the images of CIFAR-10: CIFAR-10N (Wei et al., ICLR 2022), licence CC BY-NC 4.0.

The licence forbids commercial use. The file ``CIFAR-10_human.pt`` is a pickle of a dictionary of NumPy arrays, one for
each column, in the order of CIFAR-10's own training files. Its column ``clean_label`` holds the published labels.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.data.record import Dataset
from datagradient.errors import UserError, shown

CLEAN = "clean_label"
# What an image is called: its class, and the number of images of the class before it in CIFAR-10's own order.
_NAME = re.compile(r"train_(.+)_([0-9]{1,9})\.\w+", re.ASCII)


def read_columns(path: Path, columns: Sequence[str], n: int) -> dict[str, np.ndarray]:
    """Read ``clean_label`` and the given columns of human labels, each an int64 array (n,), from CIFAR-10N's file.

    Nothing is unpickled but plain arrays of int64.

    Raises:
        UserError: the file is no dictionary of such arrays, lacks a column, has another one, or one of another length.
    """
    content = _load(path)
    wanted = (CLEAN, *columns)
    if not isinstance(content, dict):
        raise _refusal(path, f"holds a {type(content).__name__}, and a dictionary of arrays is needed")
    for name in content:
        if name not in wanted:
            raise _refusal(path, f"column {shown(name)} is unknown; it may have {', '.join(wanted)}")
    for name in wanted:
        if name not in content:
            raise _refusal(path, f"column {name} is missing")
        values = content[name]
        if not isinstance(values, np.ndarray) or values.dtype != np.int64 or values.ndim != 1:
            raise _refusal(path, f"column {name} is not an array (n,) of int64")
        if len(values) != n:
            raise _refusal(path, f"column {name} has {len(values)} labels, and the data set has {n} training rows")
    return {name: content[name] for name in wanted}


def _load(path: Path) -> Any:
    import torch

    needed = [
        (np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),  # its name in files of older NumPy
        np.ndarray, np.dtype, type(np.dtype("int64")),
    ]  # fmt: skip
    try:
        with torch.serialization.safe_globals(needed):
            return torch.load(path, weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # of many kinds; torch's words would advise to load it without the restriction
        raise _refusal(path, f"holds something else than a dictionary of arrays ({type(error).__name__})") from None


def _refusal(path: Path, problem: str) -> UserError:
    return UserError(f"{path}: {problem}: replace it by CIFAR-10N's CIFAR-10_human.pt")


def align(
    columns: dict[str, np.ndarray], labels: np.ndarray, class_names: Sequence[str], names: Sequence[str | None],
    is_shuffled: bool, where: str,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the columns other than ``clean_label`` in the order of a data set's training rows.

    The row of the image ``train_<class name>_<k>.<ext>`` is the k-th, from 0, at which ``clean_label`` is that class.
    Where no image has a name, rows are those of the same positions.

    Args:
        columns: arrays (m,) of labels, ``clean_label`` among them.
        labels: the labels (n,) of the data set's training rows.
        class_names: the names of its classes.
        names: the names of its n images; None or "" where an image has none.
        is_shuffled: whether the rows are in another order than the columns.
        where: names the data set's file in messages.

    Raises:
        UserError: rows cannot be told apart, or the data set's labels are not those of ``clean_label``.
    """
    clean, k = columns[CLEAN], len(class_names)
    for name, values in columns.items():
        wrong = np.flatnonzero((values < 0) | (values >= k))
        if len(wrong):
            raise UserError(f"human labels, column {name}: {values[wrong[0]]} in row {wrong[0]} is none of the {k} "
                            f"classes of {where}: replace the file of human labels")  # fmt: skip
    if any(names):
        positions = _named_positions(clean, class_names, names, where)
    elif is_shuffled:
        raise UserError(f"{where}: its rows are shuffled and the names of its images are missing, so nobody knows "
                        "whose the human labels are: use the official file, or a copy with names")  # fmt: skip
    else:
        positions = np.arange(len(labels))
    if len(positions) != len(clean):
        raise UserError(f"{where}: has {len(positions)} training rows, and {CLEAN} has {len(clean)}: use the official "
                        "file, or a copy of it")  # fmt: skip
    differs = np.flatnonzero(clean[positions] != labels)
    if len(differs):
        row = differs[0]
        there, here = (class_names[values] for values in (clean[positions[row]], labels[row]))
        raise UserError(f"{where}: row {row} is {here}, and {CLEAN} says {there}: these are not the images that people "
                        "labelled; use the official file, or a copy of it")  # fmt: skip
    return {name: values[positions] for name, values in columns.items() if name != CLEAN}


def _named_positions(
    clean: np.ndarray, class_names: Sequence[str], names: Sequence[str | None], where: str
) -> np.ndarray:
    """Return the position (n,) in the columns of each image, by its name; all positions have to occur."""
    by_class = {name: np.flatnonzero(clean == label) for label, name in enumerate(class_names)}
    rows: dict[int, int] = {}  # by position
    remedy = "use the official file, or a copy with the names of the images"
    for row, name in enumerate(names):
        parsed = _NAME.fullmatch(name or "")
        if not name:
            raise UserError(f"{where}: row {row} has no name, and other rows have one: {remedy}")
        if parsed is None or parsed[1] not in by_class:
            raise UserError(f"{where}: row {row}: {shown(name)} is not like train_{class_names[0]}_0.jpg, with one of "
                            f"the classes {', '.join(class_names)}: {remedy}")  # fmt: skip
        of_class, number = by_class[parsed[1]], int(parsed[2])
        if number >= len(of_class):
            raise UserError(f"{where}: row {row}: {shown(name)}: there are {len(of_class)} images of this class, "
                            f"numbered from 0: {remedy}")  # fmt: skip
        position = int(of_class[number])
        if position in rows:
            raise UserError(f"{where}: {shown(name)} is the name of row {rows[position]} and of row {row}: {remedy}")
        rows[position] = row
    if len(rows) < len(clean):
        for class_name, of_class in by_class.items():
            absent = [number for number, position in enumerate(of_class.tolist()) if position not in rows]
            if absent:
                raise UserError(f"{where}: the image train_{class_name}_{absent[0]} is missing: {remedy}")
    return np.array(list(rows), dtype=np.int64)  # rows were added in their order


def check_columns(columns: dict[str, np.ndarray], wanted: Sequence[str], dataset: Dataset) -> None:
    """Refuse human labels of a data set that lack a column, or a label of a row outside the official test set."""
    n, k = len(dataset.labels), len(dataset.class_names)
    needed = np.ones(n, dtype=bool) if dataset.is_test is None else ~dataset.is_test
    for name in wanted:
        if name not in columns:
            raise UserError(f"{dataset.where}: human_labels() has no column {name}; it has {', '.join(columns)}")
        values = columns[name]
        if values.shape != (n,) or not np.issubdtype(values.dtype, np.integer):
            raise UserError(f"{dataset.where}: human labels, column {name}: {values.dtype} of shape {values.shape}: "
                            f"give a whole number for each of the {n} rows")  # fmt: skip
        wrong = np.flatnonzero(needed & ((values < 0) | (values >= k)))
        if len(wrong):
            raise UserError(f"{dataset.where}: human labels, column {name}: {values[wrong[0]]} in row {wrong[0]}, and "
                            f"{k} classes ask for 0 … {k - 1}")  # fmt: skip
