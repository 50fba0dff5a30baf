"""GPU hours of a preset's networks, from operation counts: python tools/gpu_hours.py [PRESET], by default paper.

Torch counts the floating-point operations of one forward pass. Training takes about three times as many for each sample
and epoch, one forward and twice as much backward; scoring by the last layer takes one pass over the training samples,
the validation samples and those that curvature is averaged over. Experiments are not counted. Networks on tables and
texts are so small that launching kernels takes longer than the arithmetic; the hours do not include this. Writes
results/benchmarks/gpu_hours.csv, which `make readme` shows.
"""

import argparse
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from datagradient.files import write_rows
from datagradient.models.networks import build
from datagradient.pipeline.config import merged, validate
from datagradient.pipeline.layout import conditions, grid, solver_for
from datagradient.refine.crossfit import FOLDS
from datagradient.refine.policies import needs_crossfit

COLUMNS = ("preset", "dataset", "network", "n", "trainings", "scorings", "passes_each_training", "passes_each_scoring",
           "gigaflop_a_sample", "teraflops", "hours")  # fmt: skip
IMAGES = {"cifar10": (50_000, (3, 32, 32), 10)}  # development samples, shape, classes
GRADIENT = 3  # forward passes
SUSTAINED = (10, 50)  # TFLOP/s that GPUs may sustain on networks of this size
SHARE = 1 - 1 / FOLDS  # of the training set, that each of the cross-fitted models is trained on


def main() -> None:
    """Count, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", nargs="?", default="paper")
    preset = parser.parse_args().preset
    files = [Path("config/defaults.yaml"), Path(f"config/{preset}.yaml")]
    config = validate(merged(files), files)
    rows = []
    for dataset in config["datasets"].keys() & IMAGES.keys():
        development, shape, n_classes = IMAGES[dataset]
        settings = {key: value[0] if isinstance(value, list) else value
                    for key, value in config["datasets"][dataset]["models"]["neural"].items()}  # fmt: skip
        solver = solver_for(config["model_settings"]["neural"]["solver"], "image")
        if solver["parameters"] != "last":
            raise SystemExit(f"{preset}: networks of images are not scored by the last layer, and only that is counted")
        split = config["split"]
        development = config["datasets"][dataset]["max_development"] or development
        n = round(development * (1 - split["influence"] - split["selection"]))
        cases = len(conditions(config, dataset)) * len(config["seeds"])
        keys = {"dataset": dataset, "model": "neural"}
        models = sum(1 for _ in grid(config, **keys))
        folds = FOLDS * cases * needs_crossfit(config["policies"])
        network = build("image", shape, n_classes, settings)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros((1, *shape), dtype=torch.uint8))
        flop = counter.get_total_flops()
        training = GRADIENT * settings["epochs"]
        scoring = (n + round(development * split["influence"]) + min(solver["samples"] or n, n)) / n
        total = flop * n * ((models + folds * SHARE) * training + models * scoring)
        for speed in SUSTAINED:
            rows.append({
                "preset": preset, "dataset": dataset, "network": settings["network"], "n": n,
                "trainings": round(models + folds), "scorings": models,
                "passes_each_training": training, "passes_each_scoring": round(scoring, 2),
                "gigaflop_a_sample": round(flop / 1e9, 3), "teraflops": speed,
                "hours": round(total / speed / 1e12 / 3600, 1),
            })  # fmt: skip
    for row in rows:
        print(row)
    write_rows(Path("results/benchmarks/gpu_hours.csv"), COLUMNS, rows)


if __name__ == "__main__":
    main()
