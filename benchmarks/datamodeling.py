"""Models on random halves of a training set, kept for the next call of the benchmarks."""

from pathlib import Path
from types import ModuleType

import numpy as np
from tqdm import tqdm

from datagradient.data.training_set import TrainingSet
from datagradient.experiments.datamodeling import loss_of_half, random_halves
from datagradient.files import read_arrays, write_arrays
from datagradient.pipeline.provenance import stamp

HALVES = 60  # models trained on random halves of a training set
FIRST = 1000  # number of the first: solvers are chosen by these, and fidelity.csv judges by others


def halves(
    path: Path, module: ModuleType, samples: TrainingSet, validation: tuple, settings: dict
) -> tuple[np.ndarray, np.ndarray]:
    """Return which samples each random half kept (`HALVES`, n), and the mean validation loss of its model (`HALVES`,).

    Losses found before with the same settings, by the same code, are read from `path`.
    """
    n, facts = len(samples.labels), stamp(seed=0, dataset=samples.dataset, settings=settings, n=len(samples.labels))
    kept, losses = random_halves(n, range(FIRST, FIRST + HALVES)), np.empty(0)
    if path.exists():
        arrays, found = read_arrays(path)
        if all(found[key] == facts[key] for key in ("settings", "n", "version", "git_commit")):
            losses = arrays["losses"][:HALVES]
    for i in tqdm(range(len(losses), HALVES), f"halves of {path.stem}", disable=None):
        losses = np.append(losses, loss_of_half(module, samples, validation, settings, kept[i], FIRST + i))
        write_arrays(path, facts, losses=losses)
    return kept, losses
