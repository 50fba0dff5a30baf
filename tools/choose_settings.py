"""Compare settings on the selection-validation part: python tools/choose_settings.py PRESET [MODEL ...] > FILE.

Reads the prepared data of a preset that has been run, trains unrefined models, and writes one row for each data set,
model, condition and setting: those of the preset, and variants that change a single setting. The test part is never
read. `best` marks the highest mean accuracy over seeds, and among equals the lowest loss.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from datagradient.files import read_json
from datagradient.metrics import measure
from datagradient.models import declared, family
from datagradient.pipeline import layout
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.training import load_held, load_training_set

PENALTIES = [{"l2": l2} for l2 in (3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)]
# Settings that are halved and doubled, one at a time; for other families, all numbers.
SCALED = {"boosted": ("rounds", "learning_rate", "l2"), "neural": ("epochs", "learning_rate", "width", "weight_decay")}


def main(preset: str, models: list[str]) -> None:
    """Print mean selection accuracy and loss over seeds, and seconds of training, for every setting."""
    root = Path(layout.root(preset))
    config = read_json(root / "config.json")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["dataset", "model", "noise", "changed", "seeds", "selection_accuracy", "selection_loss",
                     "seconds", "best"])  # fmt: skip
    for dataset in config["datasets"]:
        for model in models or config["models"]:
            for noise in layout.base_conditions(config, dataset):
                compare(writer, root, config, {"dataset": dataset, "model": model, "noise": noise})


def compare(writer: "csv.Writer", root: Path, config: dict, keys: dict) -> None:
    """Write one row for every setting of one cell."""
    settings, rows = model_settings(config, **keys), []
    for changed in tqdm(list(_changes(keys["model"], settings)), "/".join(keys.values()), disable=None):
        measured = [_selection(root, keys, seed, {**settings, **changed}) for seed in config["seeds"]]
        accuracy, loss, seconds = (sum(values) / len(values) for values in zip(*measured, strict=True))
        rows.append((accuracy, -loss, seconds, changed))
    for row in rows:
        accuracy, loss, seconds, changed = row
        name = " ".join(f"{key}={value:g}" for key, value in changed.items()) or "nothing"
        values = (f"{accuracy:.5f}", f"{-loss:.5f}", f"{seconds:.3f}", int(row[:2] == max(rows)[:2]))
        writer.writerow([*keys.values(), name, len(config["seeds"]), *values])
    sys.stdout.flush()


def _changes(model: str, settings: dict) -> Iterator[dict]:
    if model == "logistic":
        yield from PENALTIES
        return
    yield {}
    numbers = [key for key, legal in declared(model).settings.items() if isinstance(legal, dict)]
    for key in SCALED.get(model, numbers):
        for factor in (0.5, 2):
            yield {key: type(settings[key])(settings[key] * factor)}


def _selection(root: Path, keys: dict, seed: int, settings: dict) -> tuple[float, float, float]:
    data = Path(layout.PREPARED.format(root=root, seed=seed, **keys)) / "features.npz"
    labels = Path(layout.NOISE.format(root=root, seed=seed, **keys)) / "labels.npz"
    module = family(keys["model"])
    samples = load_training_set(declared(keys["model"]).inputs, data, labels, None)
    model, record = module.fit(samples.inputs, samples.labels, samples.n_classes, settings, seed)
    inputs, right = load_held(declared(keys["model"]).inputs, data, labels, "selection")
    values = measure(module.probabilities(model, inputs), right)
    return values["accuracy"], values["loss"], record["seconds"]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
