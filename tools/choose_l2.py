"""Compare logistic penalties on the selection-validation part: python tools/choose_l2.py PRESET > FILE.

Reads the prepared data of a preset that has run, trains the unrefined model of every seed, and writes one row
for each data set, noise rate and penalty; `chosen` marks the best accuracy (then the lowest loss), which is what
the presets hold. The test part is never read.
"""

import csv
import sys
from pathlib import Path

from datagradient import layout
from datagradient.config import model_settings
from datagradient.files import read_json
from datagradient.metrics import measure
from datagradient.models import logistic
from datagradient.training import load_part, load_training_set

GRID = (3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def main(preset: str) -> None:
    """Print mean selection accuracy and loss over seeds for every penalty of `GRID`."""
    root = Path(layout.root(preset))
    config = read_json(root / "config.json")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["dataset", "noise", "l2", "selection_accuracy", "selection_loss", "chosen"])
    for dataset in config["datasets"]:
        for noise in layout.noise_names(config):
            settings = model_settings(config, dataset, "logistic", noise)
            means = {}
            for l2 in GRID:
                found = [_selection(root, dataset, noise, seed, {**settings, "l2": l2}) for seed in config["seeds"]]
                means[l2] = [sum(values) / len(values) for values in zip(*found, strict=True)]
            best = max(means, key=lambda l2: (means[l2][0], -means[l2][1]))
            for l2, (accuracy, loss) in means.items():
                writer.writerow([dataset, noise, f"{l2:g}", f"{accuracy:.5f}", f"{loss:.5f}", int(l2 == best)])
            sys.stdout.flush()


def _selection(root: Path, dataset: str, noise: str, seed: int, settings: dict) -> tuple[float, float]:
    data = Path(layout.PREPARED.format(root=root, dataset=dataset, seed=seed)) / "features.npz"
    labels = Path(layout.NOISE.format(root=root, dataset=dataset, seed=seed, noise=noise)) / "labels.npz"
    samples = load_training_set(data, labels, None)
    model, _ = logistic.fit(samples.features, samples.labels, samples.n_classes, settings, seed)
    features, true = load_part(data, "selection")
    values = measure(logistic.probabilities(model, features), true)
    return values["accuracy"], values["loss"]


if __name__ == "__main__":
    main(sys.argv[1])
