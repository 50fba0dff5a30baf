"""The record that every data set is loaded into."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datagradient.data import MODALITIES, checks
from datagradient.data.columns import read_columns
from datagradient.errors import UserError


@dataclass(frozen=True)
class Dataset:
    """Raw samples with labels, and what is known about them.

    Attributes:
        name: the data set's name, as in the configuration, and that of its module.
        title: its name in tables and figures, including which copy it is.
        modality: ``"table"``, ``"text"`` or ``"image"``.
        samples: a pandas DataFrame, a list of str, or a uint8 array (n, height, width, channels) with 1 or 3 channels.
            Stored as given, and never changed.
        labels: integer array (n,), values 0 … number of classes − 1, each present in at least one row; stored as int64.
        class_names: one name per class; with two classes, the last one is the positive class.
        is_test: bool array (n,), the official test set; None if there is none.
        source: where the data come from, with version and checksums; plain strings.
        kinds: for tables, column name to ``"number"``, ``"category"``, ``"date"`` or ``"ignore"``, for columns whose
            kind must not be guessed.

    Raises:
        UserError: one of these conditions fails; the message names the row or column, its value and the remedy.
    """

    name: str
    title: str
    modality: str
    samples: Any
    labels: np.ndarray
    class_names: tuple[str, ...]
    is_test: np.ndarray | None = None
    source: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values that would silently give wrong results later, or fail without a clear cause."""
        checks.check_name(self.name)
        where = self.where
        if not checks.is_text(self.title):
            raise UserError(f"{where}: title is {self.title!r}: give a text")
        if self.modality not in MODALITIES:
            raise UserError(f"{where}: modality is {self.modality!r}: give one of {', '.join(MODALITIES)}")
        class_names = checks.check_class_names(self.class_names, where)
        {"table": checks.check_table, "text": checks.check_texts, "image": checks.check_images}[self.modality](
            self.samples, where
        )
        n, labels = len(self.samples), checks.check_labels(self.labels, class_names, where)
        if len(labels) != n:
            raise UserError(f"{where}: {len(labels)} labels and {n} samples: give one label for each sample (has a "
                            "header or a row been left out of one of them?)")  # fmt: skip
        checks.check_test_mask(self.is_test, n, where)
        checks.check_source(self.source, where)
        if self.modality == "table":
            read_columns(self.samples, self.kinds, where)
        elif self.kinds:
            raise UserError(f"{where}: kinds are of a table's columns, and this is a data set of {self.modality}s")
        object.__setattr__(self, "class_names", class_names)
        object.__setattr__(self, "labels", labels)

    @property
    def where(self) -> str:
        """The name of the data set in messages."""
        return f"data set {self.name}"

    @property
    def f1_kind(self) -> str:
        """The F1 reported along with accuracy: that of the positive class of two, otherwise the mean over classes."""
        return f"of {self.class_names[1]}" if len(self.class_names) == 2 else "mean of classes"

    def take(self, rows: np.ndarray) -> Any:
        """Return the raw samples of the given rows, in that order."""
        if self.modality == "table":
            return self.samples.iloc[rows]
        if self.modality == "text":
            return [self.samples[row] for row in rows]
        return self.samples[rows]


def class_labels(answers: Sequence[Any], classes: Sequence[Any], where: str) -> np.ndarray:
    """Return for every answer the position of its class in `classes`; an answer outside `classes` is an error.

    The comparison ``answers == "yes"`` would turn a missing answer into ``no``.

    Args:
        answers: n values, e.g. a column of a table.
        classes: the values of the classes 0, 1, …
        where: names file and column in the message.

    Raises:
        UserError: an answer is missing or none of the classes.
    """
    import pandas as pd

    values = pd.Series(list(answers), dtype=object)
    labels = pd.Index(list(classes), dtype=object).get_indexer(values)
    wrong = np.flatnonzero(labels < 0)
    if len(wrong):
        value = values[wrong[0]]
        n = sum(v is value or v == value or bool(pd.isna(value) and pd.isna(v)) for v in values[wrong])
        raise UserError(f"{where}: {value!r} in {n} row{'s' * (n != 1)} (first: row {wrong[0]}) is none of the classes "
                        f"{', '.join(map(repr, classes))}: leave rows without a label out")  # fmt: skip
    return labels.astype(np.int64)


def sample_keys(dataset: Dataset) -> np.ndarray:
    """Return one hash per raw sample (labels left out); equal samples have equal hashes."""
    import pandas as pd

    if dataset.modality == "table":
        return pd.util.hash_pandas_object(dataset.samples, index=False).to_numpy()
    if dataset.modality == "text":
        return pd.util.hash_array(np.asarray(dataset.samples, dtype=object))
    return pd.util.hash_array(np.array([image.tobytes() for image in dataset.samples], dtype=object))


def fingerprint(dataset: Dataset, keys: np.ndarray) -> str:
    """Return a checksum of all raw samples in order, with labels, class names and names of columns.

    Args:
        dataset: the raw samples.
        keys: from `sample_keys`.
    """
    names = [*dataset.class_names, *(dataset.samples.columns if dataset.modality == "table" else ())]
    digest = hashlib.sha256(repr((dataset.modality, names, len(keys))).encode())
    digest.update(np.ascontiguousarray(keys).tobytes())
    digest.update(dataset.labels.tobytes())
    return f"sha256:{digest.hexdigest()}"
