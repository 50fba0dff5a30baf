"""Samples in the form in which a user gave them, indexed by position as arrays are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagradient.errors import UserError


@dataclass(frozen=True)
class Given:
    """n samples: a DataFrame, a list of texts, or an array (n, …)."""

    samples: Any

    def __len__(self) -> int:
        """Return n."""
        return len(self.samples)

    def __getitem__(self, places: np.ndarray | slice) -> "Given":
        """Return the samples at some places, in that order."""
        if hasattr(self.samples, "iloc"):
            return Given(self.samples.iloc[places])
        if isinstance(self.samples, list) and not isinstance(places, slice):
            return Given([self.samples[place] for place in places])
        return Given(self.samples[places])


def joined(parts: Sequence[Given]) -> Given:
    """Return the samples of several parts as one; columns and their types are those of the first part.

    Raises:
        UserError: a part has another form than the first, lacks one of its columns, or has other sizes.
    """
    first, others = parts[0].samples, [part.samples for part in parts[1:]]
    for other in others:
        if type(other) is not type(first):
            raise UserError(f"samples are a {type(first).__name__} and a {type(other).__name__}: give both in the same "
                            "form")  # fmt: skip
    if isinstance(first, list):
        return Given([sample for part in parts for sample in part.samples])
    if hasattr(first, "iloc"):
        return Given(_frames(first, others))
    for other in others:
        if other.shape[1:] != first.shape[1:]:
            raise UserError(f"samples have the shapes {first.shape[1:]} and {other.shape[1:]}: give both in the same")
    return Given(np.concatenate([first, *others]) if others else first)


def _frames(first: Any, others: Sequence[Any]) -> Any:
    import pandas as pd

    for other in others:
        absent = [name for name in first.columns if name not in other.columns]
        if absent:
            raise UserError(f"further samples lack the column {absent[0]!r}, which the classifier gets: add it, or "
                            "drop it from all")  # fmt: skip
    parts = [first, *(other[list(first.columns)] for other in others)]
    # Of categories that differ pandas would make plain objects.
    for name, dtype in first.dtypes.items():
        if others and isinstance(dtype, pd.CategoricalDtype):
            words = pd.concat([part[name].astype(object) for part in parts])
            every = dtype.categories.append(pd.Index(words.dropna().unique())).unique()
            whole = pd.CategoricalDtype(every, dtype.ordered)
            parts = [part.astype({name: whole}) for part in parts]
    return pd.concat(parts, ignore_index=True)
