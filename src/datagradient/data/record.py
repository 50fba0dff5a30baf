"""The record that every data set is loaded into."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Dataset:
    """Raw samples with labels, and what is known about them.

    Attributes:
        name: the data set's name, as in the configuration.
        title: how tables and figures call it, including what copy it is.
        modality: ``"table"``, ``"text"`` or ``"image"``.
        samples: a pandas DataFrame, a list of str, or a uint8 array (n, height, width, channels).
        labels: int64 array (n,), values 0 … number of classes − 1.
        class_names: one name per class; the last class is the positive one where there are two.
        is_test: bool array (n,), the official test set; None where a data set has none.
        source: where it comes from, with version and checksums; plain strings.
    """

    name: str
    title: str
    modality: str
    samples: Any
    labels: np.ndarray
    class_names: tuple[str, ...]
    is_test: np.ndarray | None = None
    source: dict[str, str] = field(default_factory=dict)

    @property
    def f1_kind(self) -> str:
        """Which F1 is reported beside accuracy: of the positive class of two, otherwise the mean over classes."""
        return f"of {self.class_names[1]}" if len(self.class_names) == 2 else "mean of classes"

    def take(self, rows: np.ndarray) -> Any:
        """Return the raw samples of the given rows, in that order."""
        if self.modality == "table":
            return self.samples.iloc[rows]
        if self.modality == "text":
            return [self.samples[row] for row in rows]
        return self.samples[rows]


def sample_keys(dataset: Dataset) -> np.ndarray:
    """Return one hash per raw sample (labels left out); equal samples have equal hashes."""
    import pandas as pd

    if dataset.modality == "table":
        return pd.util.hash_pandas_object(dataset.samples, index=False).to_numpy()
    if dataset.modality == "text":
        return pd.util.hash_array(np.asarray(dataset.samples, dtype=object))
    return pd.util.hash_array(np.array([image.tobytes() for image in dataset.samples], dtype=object))
