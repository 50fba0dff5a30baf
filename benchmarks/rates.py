"""What a record costs in exactness at larger final learning rates: python benchmarks/rates.py PRESET

The record of the last epoch is of slightly older weights than the trained ones, the more so the larger the learning
rate still is. Networks of a preset, of which `make benchmark` has prepared the data, are trained with several schedules
(of the learning rate alone, not of AdamW's first moment, which the family's own cycle changes too) on 20 % flipped
labels, two seeds each, and scored by their last layer from the record and by a pass. No test sample is read.

Writes, below results/benchmarks/: rates.csv, one row a data set, schedule and seed: the rank correlation of the two
scores, the share of the 5 % most harmful samples that both name, the least rank correlation over the samples that a
record compares by itself, and whether it is refused for that; and rates.json, their provenance.
"""

import math
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from solvers import LAST_LAYER, OUT, given
from torch.nn.functional import cross_entropy

from datagradient.data.training_set import TrainingSet
from datagradient.files import read_json, write_json, write_rows
from datagradient.influence.record import Record
from datagradient.influence.recording import Recording
from datagradient.influence.scores import curvature_rows, score
from datagradient.influence.solvers import AgedRecord
from datagradient.models import neural
from datagradient.pipeline import layout
from datagradient.pipeline.provenance import config_hash, stamp
from datagradient.seeds import integer_seed

COLUMNS = (
    "dataset",
    "schedule",
    "last_rate",
    "seed",
    "rank_correlation",
    "overlap",
    "agreement",
    "refused",
    "accuracy",
)
SEEDS = (0, 1)
NOISE, REMOVED, SAMPLES = "0.2", 0.05, 5000  # samples that curvature is averaged over
WARM_UP = 0.2  # share of the steps, as in the family's own cycle
# Schedule -> the learning rate after the warm-up, as a share of the highest, by the share of the steps that are done.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine to nothing": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear to nothing": lambda done: 1 - done,
    "linear to a tenth": lambda done: 1 - 0.9 * done,
    "linear to a third": lambda done: 1 - 2 / 3 * done,
    "constant": lambda done: 1.0,
}


def main() -> None:
    """Measure every data set of a preset that has networks."""
    root = Path(layout.root(sys.argv[1]))
    config, rows = read_json(root / "config.json"), []
    for dataset in config["datasets"]:
        for seed in SEEDS:
            _, _, settings, default, samples, validation, _ = given(root, config, dataset, "neural", NOISE, seed)
            options = {**LAST_LAYER, "damping": default["damping"]}
            for schedule, rate in SCHEDULES.items():
                print(dataset, seed, schedule, file=sys.stderr, flush=True)
                model, record = train(samples, settings, rate, seed)
                found = compare(model, record, samples, validation, options)
                rows.append(
                    {"dataset": dataset, "schedule": schedule, "last_rate": f"{rate(1.0):.3g}", "seed": seed, **found}
                )
    write_rows(OUT / "rates.csv", COLUMNS, rows)
    write_json(OUT / "rates.json", stamp(preset=sys.argv[1], config_hash=config_hash(config), seeds=SEEDS, noise=NOISE))


def train(
    samples: TrainingSet, settings: dict, rate: Callable[[float], float], seed: int
) -> tuple[neural.NeuralModel, Record]:
    """Train a network of the family with a schedule; return it, and the record of its last epoch."""
    kind, inputs = neural.to_tensor(samples.inputs)
    labels, n, size = torch.from_numpy(samples.labels), len(samples.labels), int(settings["batch_size"])
    network = neural.fresh(kind, tuple(inputs.shape[1:]), samples.n_classes, settings, seed)
    highest = settings["learning_rate"]
    optimiser = torch.optim.AdamW(network.parameters(), lr=highest, weight_decay=settings["weight_decay"])
    steps = settings["epochs"] * math.ceil(n / size)

    def share(step: int) -> float:
        return min((step + 1) / (WARM_UP * steps), rate(max(0.0, step / steps - WARM_UP) / (1 - WARM_UP)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
    order = torch.Generator().manual_seed(integer_seed(seed, "order of samples"))
    recording = Recording(network, n)
    for epoch in range(settings["epochs"]):
        with recording if epoch == settings["epochs"] - 1 else nullcontext() as recorder:
            for batch in torch.randperm(n, generator=order).split(size):
                if recorder:
                    recorder.batch(batch, labels[batch])
                optimiser.zero_grad()
                cross_entropy(network(inputs[batch]), labels[batch]).backward()
                optimiser.step()
                schedule.step()
    return neural.NeuralModel(
        network.eval(), kind, tuple(inputs.shape[1:]), samples.n_classes, settings
    ), recording.record()


def compare(
    model: neural.NeuralModel, record: Record, samples: TrainingSet, validation: tuple, options: dict
) -> dict[str, object]:
    """Return what the scores from a record have in common with those by a pass."""
    rows = curvature_rows(len(samples.labels), SAMPLES, 0)
    options = {key: value for key, value in options.items() if key not in {"name", "parameters"}}

    def scored(inputs: object) -> tuple[np.ndarray, float]:
        problem = neural.problem(model, inputs, samples.labels, rows, parameters="last")
        return score(problem, *validation, name="cg", seed=0, **options).influence, getattr(problem, "agreement", 1.0)

    by_pass, unchecked = scored(samples.inputs)[0], scored(replace(record, checked=None))[0]
    try:
        agreement, refused = scored(record)[1], 0
    except AgedRecord as error:
        agreement, refused = error.agreement, 1
    worst = [set(np.argsort(-values)[: round(REMOVED * len(values))].tolist()) for values in (by_pass, unchecked)]
    right = neural.probabilities(model, validation[0]).argmax(axis=1) == validation[1]
    return {
        "rank_correlation": f"{spearmanr(by_pass, unchecked).statistic:.4f}",
        "overlap": f"{len(worst[0] & worst[1]) / len(worst[0]):.3f}", "agreement": f"{agreement:.4f}",
        "refused": refused, "accuracy": f"{right.mean():.4f}",
    }  # fmt: skip


if __name__ == "__main__":
    main()
