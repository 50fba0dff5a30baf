"""How good scores are, by validation data only: how well they foresee models trained without some samples."""

from types import ModuleType

import numpy as np
from scipy.stats import kendalltau, spearmanr

from datagradient.data.training_set import TrainingSet
from datagradient.metrics import measure
from datagradient.refine.removal import by_influence
from datagradient.seeds import generator

RESAMPLES = 1000


def random_halves(n: int, numbers: range) -> np.ndarray:
    """Return which of n samples each random half keeps: (halves, n) bool; a half depends on its number alone."""
    return np.array([generator(i, "halves").permutation(n) < n // 2 for i in numbers])


def loss_of_half(
    module: ModuleType, samples: TrainingSet, validation: tuple, settings: dict, kept: np.ndarray, number: int
) -> float:
    """Return the mean validation loss of a model trained on the samples kept, with an initialisation of its own."""
    model, _ = module.fit(samples.inputs[kept], samples.labels[kept], samples.n_classes, settings, number)
    inputs, labels = validation
    return measure(module.probabilities(model, inputs), labels)["loss"]


def datamodeling_score(influence: np.ndarray, kept: np.ndarray, losses: np.ndarray) -> float:
    """Return the linear datamodeling score (Park et al. 2023) for the mean validation loss.

    It is the rank correlation, over the halves, of the predicted change of the loss with the loss found.
    """
    return float(spearmanr(-(~kept @ influence), losses).statistic)


def datamodeling_intervals(
    influence: list[np.ndarray], kept: np.ndarray, losses: np.ndarray
) -> list[tuple[float, float, float, float]]:
    """Return (low, high, gap_low, gap_high) of each scores' datamodeling score and of its gap to the best one's.

    Both are 95 % percentile bootstrap intervals over the halves, the same resamples for all: a gap has less spread
    than the scores themselves.
    """
    predicted = -(~kept @ np.array(influence).T)
    best = np.nanargmax([spearmanr(column, losses).statistic for column in predicted.T])
    rows = generator(0, "bootstrap", "halves").integers(len(losses), size=(RESAMPLES, len(losses)))
    values = np.array([[spearmanr(column[some], losses[some]).statistic for column in predicted.T] for some in rows])
    gaps = values[:, [best]] - values
    return list(zip(*np.nanquantile(values, (0.025, 0.975), axis=0), *np.nanquantile(gaps, (0.025, 0.975), axis=0),
                    strict=True))  # fmt: skip


def correlation_interval(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Return the rank correlation of two arrays (n,), and a 95 % percentile bootstrap interval over their elements."""
    rows = generator(0, "bootstrap", "pairs").integers(len(first), size=(RESAMPLES, len(first)))
    usable = [some for some in rows if np.ptp(first[some]) > 0 and np.ptp(second[some]) > 0]
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan"), float("nan"), float("nan")
    values = [spearmanr(first[some], second[some]).statistic for some in usable]
    return float(spearmanr(first, second).statistic), *np.quantile(values, (0.025, 0.975)).tolist()


def agreement(first: np.ndarray, second: np.ndarray, labels: np.ndarray, fraction: float) -> dict[str, float]:
    """Return how far two scores (n,) of the same samples agree: Kendall's tau of all, and the Jaccard index of the
    samples that the policy ``influence`` would remove by each.
    """
    gone = [set(by_influence(scores, labels, fraction).positions.tolist()) for scores in (first, second)]
    either = gone[0] | gone[1]
    return {"kendall": float(kendalltau(first, second).statistic),
            "jaccard": len(gone[0] & gone[1]) / len(either) if either else 1.0}  # fmt: skip
