"""Flipping labels."""

from pathlib import Path

from datagradient.data.splits import flip_labels
from datagradient.files import read_arrays, write_arrays
from datagradient.pipeline.provenance import stamp


def flip(features: Path, rate: float, out: Path) -> None:
    """Flip the labels of a share of the training part: labels.npz, with the mask of flipped samples."""
    arrays, facts = read_arrays(features, "labels_train")
    labels, flipped = flip_labels(arrays["labels_train"], rate, len(facts["class_names"]), facts["seed"])
    write_arrays(out, stamp(seed=facts["seed"], dataset=facts["dataset"], noise=rate), labels=labels, flipped=flipped)
