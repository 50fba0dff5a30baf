"""What scores are worth, by validation data only: how well they find flipped labels and foresee refits."""

from pathlib import Path
from types import ModuleType

import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

from datagradient.files import read_arrays, write_arrays
from datagradient.metrics import measure
from datagradient.provenance import stamp
from datagradient.training import TrainingSet

HALVES = 60  # models trained on random halves of a training set
RESAMPLES = 1000


def halves(
    path: Path, module: ModuleType, samples: TrainingSet, validation: tuple, settings: dict
) -> tuple[np.ndarray, np.ndarray]:
    """Return which samples each random half kept (`HALVES`, n), and the mean validation loss of its model (`HALVES`,).

    Losses found before with the same settings are read from `path`.
    """
    n, facts = len(samples.labels), stamp(seed=0, dataset=samples.dataset, settings=settings, n=len(samples.labels))
    kept = np.array([np.random.default_rng([1, i]).permutation(n) < n // 2 for i in range(HALVES)])
    losses = np.empty(0)
    if path.exists():
        arrays, found = read_arrays(path)
        if all(found[key] == facts[key] for key in ("settings", "n", "version")):
            losses = arrays["losses"][:HALVES]
    inputs, labels = validation
    for i in tqdm(range(len(losses), HALVES), f"halves of {path.stem}", disable=None):
        model, _ = module.fit(samples.inputs[kept[i]], samples.labels[kept[i]], samples.n_classes, settings, i)
        losses = np.append(losses, measure(module.probabilities(model, inputs), labels)["loss"])
        write_arrays(path, facts, losses=losses)
    return kept, losses


def datamodeling_score(influence: np.ndarray, kept: np.ndarray, losses: np.ndarray) -> float:
    """Return the linear datamodeling score (Park et al. 2023) for the mean validation loss.

    It is the rank correlation, over the halves, of the predicted change of the loss with the loss found.
    """
    return float(spearmanr(-(~kept @ influence), losses).statistic)


def datamodeling_gaps(
    influence: list[np.ndarray], kept: np.ndarray, losses: np.ndarray
) -> list[tuple[float, float, float, float]]:
    """Return (low, high, gap_low, gap_high) of each scores' datamodeling score and of its gap to the best one's.

    Both are 95 % percentile bootstrap intervals over the halves, the same resamples for all: a gap has less spread
    than the scores themselves.
    """
    predicted = -(~kept @ np.array(influence).T)
    best = np.argmax([spearmanr(column, losses).statistic for column in predicted.T])
    random = np.random.default_rng(3)
    values = np.array([
        [spearmanr(column[rows], losses[rows]).statistic for column in predicted.T]
        for rows in random.integers(len(losses), size=(RESAMPLES, len(losses)))
    ])  # fmt: skip
    gaps = values[:, [best]] - values
    return list(zip(*np.nanquantile(values, (0.025, 0.975), axis=0), *np.nanquantile(gaps, (0.025, 0.975), axis=0),
                    strict=True))  # fmt: skip
