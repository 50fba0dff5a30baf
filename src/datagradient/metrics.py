"""Metrics of a model on a part of the data."""

import numpy as np

# Prefixes of the metrics' names by part; those of the test part have none.
PREFIXES = {"test": "", "influence": "val_", "selection": "selection_"}


def measure(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return accuracy, F1 and the mean cross-entropy loss (nats).

    Args:
        probabilities: (n, classes), rows sum to 1.
        labels: (n,) true classes.
    """
    predicted = probabilities.argmax(axis=1)
    return {
        "accuracy": float((predicted == labels).mean()),
        "f1": f1(predicted, labels, probabilities.shape[1]),
        "loss": float(losses(probabilities, labels).mean()),
    }


def losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the cross-entropy loss (n,) of every sample, in nats; the arguments are those of `measure`."""
    true = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(true, np.finfo(true.dtype).tiny))


def f1(predicted: np.ndarray, labels: np.ndarray, n_classes: int) -> float:
    """Return the F1 of class 1 for two classes, otherwise the mean F1 of all classes.

    It equals scikit-learn's ``f1_score``, whose import takes a second, longer than some jobs.
    """
    confusion = np.zeros((n_classes, n_classes))
    np.add.at(confusion, (labels, predicted), 1)
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    by_class = np.divide(2 * confusion.diagonal(), both, out=np.zeros(n_classes), where=both > 0)
    return float(by_class[1] if n_classes == 2 else by_class.mean())
