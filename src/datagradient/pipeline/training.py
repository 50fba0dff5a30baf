"""Reading a model's training and evaluation data from the files of 'prepare', 'noise' and 'prune'."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.data.splits import OWNED
from datagradient.data.training_set import TrainingSet, with_validation
from datagradient.errors import UserError
from datagradient.files import read_arrays, read_meta
from datagradient.metrics import PREFIXES
from datagradient.pipeline.provenance import check_shared


def load_training_set(form: str, data: str | Path, labels: str | Path, kept: str | Path | None) -> TrainingSet:
    """Read D_k; without `kept` it is the whole training part.

    Args:
        form: the form that the model family declares, ``"features"`` or ``"raw"``.
        data: features.npz.
        labels: labels.npz.
        kept: kept.npz, which may also say which samples are relabelled, and that the validation parts are added.
    """
    (inputs, clean), meta = load_part(form, data, "train"), read_meta(data)
    noisy, noise_facts = read_arrays(labels, "labels", "flipped")
    check_shared({data: meta, labels: noise_facts})
    unchanged = ~noisy["flipped"] if noisy["flipped"].shape == clean.shape else None
    if unchanged is None or not np.array_equal(noisy["labels"][unchanged], clean[unchanged]):
        raise UserError(f"{labels}: was not made from {data}: the labels that it did not flip differ; make it again "
                        "with 'noise'")  # fmt: skip
    given, right, n = noisy["labels"], clean, len(clean)
    whole = TrainingSet(inputs, given, given != right, np.arange(n), len(meta["class_names"]), meta["seed"],
                        meta["dataset"], noise_facts.get("noise"), right)  # fmt: skip
    positions = whole.positions
    if kept is not None:
        arrays, facts = read_arrays(kept)
        # kept.npz was made from the scores of a model with an earlier training set.
        check_shared({labels: noise_facts, kept: facts}, "training_set")
        positions = _checked(arrays["positions"], n, kept)
        if "relabelled_positions" in arrays:
            whole = whole.relabelled(_checked(arrays["relabelled_positions"], n, kept), arrays["relabelled_labels"])
        if facts.get("validation_added"):
            parts = [load_held(form, data, labels, part) for part in ("influence", "selection")]
            whole, positions = with_validation(whole, positions, parts)
    samples = whole.take(positions)
    counts = np.bincount(samples.labels, minlength=samples.n_classes)
    if not counts.all():
        numbers = ", ".join(f"{name} {count}" for name, count in zip(meta["class_names"], counts, strict=True))
        raise UserError(f"{kept or labels}: a class has no training sample: {numbers}; lower removal_fraction")
    return samples


def load_held(form: str, data: str | Path, labels: str | Path, part: str) -> tuple[Any, np.ndarray]:
    """Read the samples of a part that no model is trained on, and its labels.

    Labels of the validation parts are those that the owner of the data has, which may be wrong; those of the test part
    are right.

    Args:
        form: the form that the model family declares.
        data: features.npz.
        labels: labels.npz.
        part: ``"influence"``, ``"selection"`` or ``"test"``.
    """
    inputs, right = load_part(form, data, part)
    if part not in OWNED:
        return inputs, right
    arrays, facts = read_arrays(labels)
    check_shared({data: read_meta(data), labels: facts})
    name = f"labels_{part}"
    if name not in arrays:
        raise UserError(f"{labels}: has no {name}, as an earlier version wrote it; make it again with 'noise'")
    if arrays[name].shape != right.shape:
        raise UserError(f"{labels}: was not made from {data}: it has {len(arrays[name])} {name}, and {len(right)} are "
                        "needed; make it again with 'noise'")  # fmt: skip
    return inputs, arrays[name]


def _checked(positions: np.ndarray, n: int, kept: str | Path) -> np.ndarray:
    """Return the positions; refuse any but distinct whole numbers from 0 to n − 1."""
    whole = positions.ndim == 1 and np.issubdtype(positions.dtype, np.integer)
    if not whole or len(np.unique(positions)) < len(positions) or ((positions < 0) | (positions >= n)).any():
        raise UserError(f"{kept}: positions are not different whole numbers from 0 to {n - 1}; make it with 'prune'")
    return positions


def load_part(form: str, data: str | Path, part: str) -> tuple[Any, np.ndarray]:
    """Read the samples, in the form that a model family takes, and the true labels of one part."""
    # Networks also take a table's feature vectors.
    name = "features" if read_meta(data)["modality"] == "table" else form
    return _read_part(f"{name}_{part}", f"labels_{part}", str(data), Path(data).stat().st_mtime_ns)


@functools.lru_cache(maxsize=len(PREFIXES) + 1)
def _read_part(name: str, labels: str, data: str, _: int) -> tuple[Any, np.ndarray]:
    """Read two arrays. Recently read arrays stay in memory, because a job does many models of one prepared data set.

    They must not be modified: the next model gets the same arrays.
    """
    arrays, _ = read_arrays(data, name, labels)
    return arrays[name], arrays[labels]
