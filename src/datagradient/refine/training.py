"""One training of a model, with what it predicts of the parts that no model is trained on."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from datagradient.data.splits import OWNED
from datagradient.data.training_set import TrainingSet
from datagradient.influence.options import RECORD
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
        records: of ``"train"`` and of the parts that influence is on, what training and predicting kept of them for the
            solver ``record``; see `datagradient.models`.
    """

    samples: TrainingSet
    model: Any
    record: dict[str, Any]
    probabilities: dict[str, np.ndarray]
    predict_seconds: float
    records: Mapping[str, Any] = field(default_factory=dict)

    def metrics(self, held: Held) -> dict[str, float]:
        """Return accuracy, F1 and loss on each part, as metrics.json names them."""
        return metrics_of({part: (self.probabilities[part], labels) for part, (_, labels) in held.items()})


def train(model: str, samples: TrainingSet, held: Held, settings: dict, solver: Mapping[str, Any]) -> Trained:
    """Train a model of a family, and predict the held-out parts while it is in memory.

    With the solver ``record``, what scoring needs of the samples is kept.
    """
    module = family(model)
    fitted, record, records = fit(module, samples, settings, solver)
    start, probabilities = time.perf_counter(), {}
    for part, (inputs, _) in held.items():
        probabilities[part], kept = predict(module, fitted, inputs, solver if part in OWNED else None)
        records |= {} if kept is inputs else {part: kept}
    return Trained(samples, fitted, record, probabilities, time.perf_counter() - start, records)


def fit(
    module: ModuleType, samples: TrainingSet, settings: dict, solver: Mapping[str, Any] | None
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Train a model of a family; return it, the record of the training, and what was kept of the samples, by part."""
    given = (samples.inputs, samples.labels, samples.n_classes, settings, samples.seed)
    if solver is None or solver.get("name") != RECORD:
        return *module.fit(*given), {}
    model, record, kept = module.fit_recorded(*given, parameters=solver.get("parameters", "last"))
    return model, record, {} if kept is None else {"train": kept}


def predict(module: ModuleType, model: Any, inputs: Any, solver: Mapping[str, Any] | None) -> tuple[np.ndarray, Any]:
    """Return class probabilities, and what stands for the inputs where influence is computed with a solver."""
    if solver is None or solver.get("name") != RECORD:
        return module.probabilities(model, inputs), inputs
    probabilities, kept = module.probabilities_recorded(model, inputs)
    return probabilities, kept if solver.get("parameters", "last") == "last" else inputs


def metrics_of(predictions: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Return accuracy, F1 and loss by part and name, from probabilities (m, classes) and labels (m,) of parts."""
    return {
        PREFIXES[part] + name: value
        for part, (probabilities, labels) in predictions.items()
        for name, value in measure(probabilities, labels).items()
    }
