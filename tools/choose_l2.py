"""Choose each data set's logistic penalty on the selection-validation part, over all seeds and noise rates.

Reads the prepared data of a preset that has run (or at least prepared), writes one row per data set, noise
rate and penalty to stdout. The test part is never read.
"""

import csv
import sys
from pathlib import Path

from datagradient import layout
from datagradient.files import read_json
from datagradient.metrics import measure
from datagradient.models import logistic
from datagradient.training import load_part, load_training_set

GRID = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def main(preset: str) -> None:
    """Print mean selection accuracy and loss over seeds for every penalty of `GRID`."""
    root = Path(layout.root(preset))
    config = read_json(root / "config.json")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["dataset", "noise", "l2", "selection_accuracy", "selection_loss"])
    for dataset in config["datasets"]:
        settings = config["datasets"][dataset]["models"]["logistic"]
        for noise in layout.noise_names(config):
            for l2 in GRID:
                found = [_selection(root, dataset, noise, seed, {**settings, "l2": l2}) for seed in config["seeds"]]
                means = [f"{sum(values) / len(values):.5f}" for values in zip(*found, strict=True)]
                writer.writerow([dataset, noise, f"{l2:g}", *means])
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
