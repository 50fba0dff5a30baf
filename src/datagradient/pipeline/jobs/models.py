"""Training and evaluating models."""

import time

from datagradient.files import read_arrays, write_arrays, write_json
from datagradient.metrics import PREFIXES, measure
from datagradient.models import declared, family
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.layout import Cell
from datagradient.pipeline.progress import progress
from datagradient.pipeline.provenance import stamp
from datagradient.pipeline.training import load_part, load_training_set


def train(config: dict, cell: Cell) -> None:
    """Train a model on the kept samples of the training part, and predict the other parts.

    Writes model.npz, predictions.npz (class probabilities, true labels) and train.json (seconds inside the fit and of
    predicting, and the optimiser's record).
    """
    module, settings = family(cell.model), model_settings(config, cell.dataset, cell.model, cell.noise)
    form = declared(cell.model).inputs
    samples = load_training_set(form, cell.data, cell.labels, cell.kept)
    with progress(f"train {cell.folder}"):
        model, record = module.fit(samples.inputs, samples.labels, samples.n_classes, settings, samples.seed)
    facts = stamp(**samples.facts, model=cell.model, settings=settings)
    module.save(cell.file("model.npz"), model, facts)
    # While the model is in memory: to load a library and a model again takes longer than to predict.
    predictions, seconds = {}, 0.0
    for part in PREFIXES:
        inputs, predictions[f"labels_{part}"] = load_part(form, cell.data, part)
        start = time.perf_counter()
        predictions[f"probabilities_{part}"] = module.probabilities(model, inputs)
        seconds += time.perf_counter() - start
    write_arrays(cell.file("predictions.npz"), facts, **predictions)
    content = {**record, "predict_seconds": seconds, "n_train": len(samples.labels), "provenance": facts}
    write_json(cell.file("train.json"), content)


def evaluate(cell: Cell) -> None:
    """Measure a model's predictions on the two validation parts and the test part: metrics.json."""
    arrays, facts = read_arrays(cell.file("predictions.npz"))
    metrics: dict[str, float] = {}
    for part, prefix in PREFIXES.items():
        values = measure(arrays[f"probabilities_{part}"], arrays[f"labels_{part}"])
        metrics |= {prefix + name: value for name, value in values.items()}
    write_json(cell.file("metrics.json"), {"metrics": metrics, "provenance": facts})
