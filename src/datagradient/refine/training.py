"""One training of a model, with what it predicts of the parts that no model is trained on."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagradient.data.training_set import TrainingSet
from datagradient.metrics import PREFIXES, measure
from datagradient.models import family

Held = Mapping[str, tuple[Any, np.ndarray]]  # inputs and labels of the parts that no model is trained on, by name


@dataclass(frozen=True)
class Trained:
    """A model with what it was trained on and what it predicts.

    Attributes:
        samples: the n training samples.
        model: of the family.
        record: of the training: optimiser, iterations, seconds.
        probabilities: of each held-out part (m, classes).
        predict_seconds: that predicting them took.
    """

    samples: TrainingSet
    model: Any
    record: dict[str, Any]
    probabilities: dict[str, np.ndarray]
    predict_seconds: float

    def metrics(self, held: Held) -> dict[str, float]:
        """Return accuracy, F1 and loss on each part, as metrics.json names them."""
        return metrics_of({part: (self.probabilities[part], labels) for part, (_, labels) in held.items()})


def train(model: str, samples: TrainingSet, held: Held, settings: dict) -> Trained:
    """Train a model of a family, and predict the held-out parts while it is in memory."""
    module = family(model)
    fitted, record = module.fit(samples.inputs, samples.labels, samples.n_classes, settings, samples.seed)
    start = time.perf_counter()
    probabilities = {part: module.probabilities(fitted, inputs) for part, (inputs, _) in held.items()}
    return Trained(samples, fitted, record, probabilities, time.perf_counter() - start)


def metrics_of(predictions: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Return accuracy, F1 and loss by part and name, from probabilities (m, classes) and labels (m,) of parts."""
    return {
        PREFIXES[part] + name: value
        for part, (probabilities, labels) in predictions.items()
        for name, value in measure(probabilities, labels).items()
    }
