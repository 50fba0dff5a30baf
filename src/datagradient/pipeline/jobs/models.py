"""Training and evaluating models."""

import numpy as np

from datagradient.files import read_arrays, read_meta, write_arrays, write_json
from datagradient.metrics import PREFIXES
from datagradient.models import declared, family
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.layout import Cell, solver_for
from datagradient.pipeline.progress import progress
from datagradient.pipeline.provenance import stamp
from datagradient.pipeline.training import load_held, load_training_set
from datagradient.refine import training


def train(config: dict, cell: Cell) -> None:
    """Train a model on the kept samples of the training part, and predict the other parts.

    Writes model.npz, predictions.npz (class probabilities, and the labels that these are compared with), train.json
    (seconds inside the fit and of predicting, and the optimiser's record) and record.npz: what training kept of the
    samples for the solver ``record``, if it is used.
    """
    settings = model_settings(config, cell.dataset, cell.model, cell.noise)
    samples = load_training_set(declared(cell.model).inputs, cell.data, cell.labels, cell.kept)
    held = held_out(cell)
    with progress(f"train {cell.folder}"):
        trained = training.train(cell.model, samples, held, settings, cell_solver(config, cell))
    facts = write_model(trained, held, settings, cell)
    kept = trained.records.get("train")
    write_arrays(cell.file("record.npz"), facts, **({} if kept is None else kept.arrays()))


def cell_solver(config: dict, cell: Cell) -> dict:
    """Return the solver of a model, with its options for the kind of the data."""
    return solver_for(config["model_settings"][cell.model]["solver"], read_meta(cell.data)["modality"])


def held_out(cell: Cell) -> training.Held:
    """Read the parts that no model is trained on, with the labels that the owner of the data has."""
    return {part: load_held(declared(cell.model).inputs, cell.data, cell.labels, part) for part in PREFIXES}


def write_model(trained: training.Trained, held: training.Held, settings: dict, cell: Cell) -> dict:
    """Write model.npz, predictions.npz and train.json; return what made them."""
    facts = stamp(**trained.samples.facts, model=cell.model, settings=settings)
    family(cell.model).save(cell.file("model.npz"), trained.model, facts)
    predictions: dict[str, np.ndarray] = {}
    for part, (_, labels) in held.items():
        predictions |= {f"labels_{part}": labels, f"probabilities_{part}": trained.probabilities[part]}
    write_arrays(cell.file("predictions.npz"), facts, **predictions)
    content = {**trained.record, "predict_seconds": trained.predict_seconds, "n_train": len(trained.samples.labels),
               "provenance": facts}  # fmt: skip
    write_json(cell.file("train.json"), content)
    return facts


def evaluate(cell: Cell) -> None:
    """Measure a model's predictions on the two validation parts and the test part: metrics.json."""
    arrays, facts = read_arrays(cell.file("predictions.npz"))
    predictions = {part: (arrays[f"probabilities_{part}"], arrays[f"labels_{part}"]) for part in PREFIXES}
    write_metrics(training.metrics_of(predictions), facts, cell)


def write_metrics(metrics: dict[str, float], facts: dict, cell: Cell) -> None:
    """Write metrics.json."""
    write_json(cell.file("metrics.json"), {"metrics": metrics, "provenance": facts})
