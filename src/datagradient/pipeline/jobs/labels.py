"""The labels that an owner of data has."""

from pathlib import Path

import numpy as np

from datagradient.data.conditions import base_of, is_untrusted, rate_of
from datagradient.data.splits import OWNED, flipped_parts
from datagradient.errors import UserError
from datagradient.files import read_arrays, read_meta, write_arrays
from datagradient.pipeline.provenance import stamp


def give_labels(features: Path, condition: str, out: Path) -> None:
    """Write labels.npz: the labels of the training part and of the two validation parts in one condition.

    It holds ``labels`` of the training part, ``flipped`` (which of these are wrong), ``labels_influence`` and
    ``labels_selection``.

    Raises:
        UserError: the prepared data have no such human labels.
    """
    facts, rate, untrusted = read_meta(features), rate_of(condition), is_untrusted(condition)
    right = _labels(features, "labels")
    if rate is None:
        column = base_of(condition)
        if column not in facts.get("human_labels", ()):
            raise UserError(f"{features}: has no human labels {column}: make it again with 'prepare'")
        human = _labels(features, f"human_{column}")
        owned = human if untrusted else {**right, "train": human["train"]}
    else:
        owned = flipped_parts(right, rate, len(facts["class_names"]), facts["seed"], untrusted)
    noise = condition if rate is None or untrusted else rate
    write_arrays(
        out, stamp(seed=facts["seed"], dataset=facts["dataset"], noise=noise),
        labels=owned["train"], flipped=owned["train"] != right["train"],
        labels_influence=owned["influence"], labels_selection=owned["selection"],
    )  # fmt: skip


def _labels(features: Path, kind: str) -> dict[str, np.ndarray]:
    arrays, _ = read_arrays(features, *(f"{kind}_{part}" for part in OWNED))
    return {part: arrays[f"{kind}_{part}"] for part in OWNED}
