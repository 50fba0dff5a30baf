"""Published libraries compared with this project on the same networks: python benchmarks/peers.py PRESET [DATASET ...]

Runs after benchmarks/solvers.py, in the environment of benchmarks/peers.txt (`make peers`). Every method scores all
training samples against the mean validation loss in this process, with the damping of our default. The second of two
runs is timed, so that the import of the library does not count. Networks and halves are those of the seed that judges,
by which no default was chosen. Ours by a record train the same network once more; what that adds to the training is in
overhead.csv. Writes results/benchmarks/peers.csv.
"""

import argparse
import importlib.metadata
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from datamodeling import halves
from inrun import in_run_values
from peer_methods import METHODS
from scipy.stats import spearmanr
from solvers import CONVERGED, JUDGEMENT, KEPT, OUT, PAIRS, REPEATS, given, replace_rows, timed_scores
from tqdm import tqdm

from datagradient.data.training_set import TrainingSet
from datagradient.evidence.collect import auroc
from datagradient.experiments.datamodeling import datamodeling_intervals, datamodeling_score
from datagradient.experiments.scalability import median_seconds
from datagradient.files import read_arrays, read_json, write_json
from datagradient.models import family, neural
from datagradient.pipeline import layout
from datagradient.pipeline.provenance import config_hash, stamp

COLUMNS = (
    "dataset", "model", "noise", "n", "method", "version", "covers", "seconds", "forward_passes", "times_ours", "auroc",
    "rank_correlation", "lds", "lds_low", "lds_high", "status",
)  # fmt: skip
OURS, OTHER = "datagradient", "datagradient, not the default"
IN_RUN = "datagradient, in-run Shapley values for Adam"  # our version, for comparison alone
# Our second variant, by the parameters that the default uses: it uses the other parameters.
OTHERS = {"last": {**CONVERGED, "parameters": "all"}, "all": {**KEPT, "samples": 2000}}
LAYERS = {"last": "last layer", "all": "all layers", "projected": "all layers, projected"}
# The parameters covered by libraries that do not cover all layers.
COVERS = {
    "captum TracInCPFast": "last weight", "pyDVL EK-FAC": "linear layers", "dattri LoGra": "linear layers",
    "kronfluence EK-FAC": "linear and convolutional layers",
    "dattri-llm EK-FAC": "linear and convolutional layers", "dattri-llm K-FAC": "linear and convolutional layers",
}  # fmt: skip
TOO_LONG = 20.0  # seconds; a method that takes longer runs only once, and its first call is timed


def main() -> None:
    """Measure the requested data sets, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="the preset that benchmarks/solvers.py has run for")
    parser.add_argument("datasets", nargs="*", metavar="DATASET")
    args = parser.parse_args()
    root = Path(layout.root(args.preset))
    config = read_json(root / "config.json")
    for dataset in args.datasets or config["datasets"]:
        replace_rows(OUT / "peers.csv", COLUMNS, compare(root, config, dataset))
        write_json(OUT / "peers.json", stamp(preset=args.preset, config_hash=config_hash(config), config=config))


def compare(root: Path, config: dict, dataset: str) -> list[dict]:
    """Return one row for every method on one data set's network, our default first."""
    noise, module = layout.noise_names(config)[-1], family("neural")
    _, _, settings, solver, samples, validation, cell = given(root, config, dataset, "neural", noise, JUDGEMENT)
    model, _ = module.load(cell / "model.npz")
    records = same_network(module, model, samples, validation, settings)
    kept, losses = halves(cell / "halves.npz", module, samples, validation, settings)
    converged = read_arrays(cell / "scores.npz", "converged")[0]["converged"]
    forward = median_seconds(lambda: module.probabilities(model, samples.inputs), REPEATS)
    influence, seconds, status = {}, {}, {}
    ours = {OURS: solver, OTHER: {**OTHERS[solver["parameters"]], "damping": solver["damping"]}}
    covers = {**COVERS, **{name: LAYERS[options["parameters"]] for name, options in ours.items()}}
    for name, options in ours.items():
        scores, steps = timed_scores(module, model, samples, validation, options, REPEATS, records)
        influence[name], seconds[name], status[name] = scores.influence, sum(steps.values()), "done"
    influence[IN_RUN], seconds[IN_RUN] = in_run(module, samples, validation, settings)
    status[IN_RUN], covers[IN_RUN] = "done", "all layers but normalisation"
    x, x_val = (neural.to_tensor(inputs)[1] for inputs in (samples.inputs, validation[0]))
    tensors = (x, torch.from_numpy(samples.labels), x_val, torch.from_numpy(validation[1]))
    for name, method in tqdm(METHODS.items(), f"peers on {dataset}", disable=None):
        try:
            influence[name], seconds[name] = timed(lambda: method(model.network, *tensors, solver["damping"]))  # noqa: B023
            status[name] = "done" if np.isfinite(influence[name]).all() else "not finite"
        except Exception as error:  # a library's failure is a result and appears in the table
            status[name] = f"{type(error).__name__}: {error}".splitlines()[0][:100]
            print(f"{dataset}: {name}: {status[name]}", file=sys.stderr)
    good = [name for name, word in status.items() if word == "done"]
    intervals = dict(zip(good, datamodeling_intervals([influence[name] for name in good], kept, losses), strict=True))
    rows = []
    for name, word in status.items():
        package = name.split()[0].rstrip(",")
        row = {"dataset": dataset, "model": "neural", "noise": noise, "n": len(samples.labels), "method": name,
               "version": importlib.metadata.version(package), "covers": covers.get(name, "all layers"),
               "status": word}  # fmt: skip
        if name in good:
            low, high = intervals[name][:2]
            row |= {
                "seconds": f"{seconds[name]:.4g}", "forward_passes": f"{seconds[name] / forward:.3g}",
                "times_ours": f"{seconds[name] / seconds[OURS]:.3g}",
                "auroc": f"{auroc(influence[name], samples.flipped):.4f}",
                "rank_correlation": f"{spearmanr(influence[name], converged).statistic:.4f}",
                "lds": f"{datamodeling_score(influence[name], kept, losses):.3f}",
                "lds_low": f"{low:.3f}", "lds_high": f"{high:.3f}",
            }  # fmt: skip
        rows.append(row)
    return rows


def in_run(
    module: ModuleType, samples: TrainingSet, validation: tuple, settings: dict
) -> tuple[np.ndarray, float]:  # fmt: skip
    """Return in-run values, and the seconds that they add to a training: the median of pairs."""
    added = []
    for _ in range(PAIRS):
        plain = module.fit(samples.inputs, samples.labels, samples.n_classes, settings, 0)[1]["seconds"]
        values, watched = in_run_values(module, samples, validation, settings, 0)
        added.append(watched - plain)
    return values, float(np.median(added))


def same_network(module: ModuleType, model: Any, samples: TrainingSet, validation: tuple, settings: dict) -> dict:
    """Train the network again, with a record of its last layer; return what was kept, by parameters and part."""
    again, _, kept = module.fit_recorded(samples.inputs, samples.labels, samples.n_classes, settings, 0)
    theirs = again.network.state_dict()
    for name, value in model.network.state_dict().items():
        if not torch.allclose(value, theirs[name], rtol=1e-3, atol=1e-4):
            raise SystemExit(f"{samples.dataset}: parameter {name} of the network differs when it is trained again: "
                             "run benchmarks/solvers.py on this machine first")  # fmt: skip
    return {"last": {"train": kept, "influence": module.probabilities_recorded(again, validation[0])[1]}}


def timed(method: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """Return a method's scores and seconds, from a second run if the first was not too long."""
    for _ in range(2):
        start = time.perf_counter()
        scores = method()
        seconds = time.perf_counter() - start
        if seconds > TOO_LONG:
            break
    return scores, seconds


if __name__ == "__main__":
    main()
