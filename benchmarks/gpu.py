"""Cost of influence on a GPU: python benchmarks/gpu.py [NETWORK ...] [--samples N] [--epochs N] [--cpu]

Trains the CNN of the presets, and the ResNet-18 of the preset `paper` in mixed precision, on CIFAR-10, once plainly and
once with a record, and scores every training sample: from the record, by a solve for the last layer afterwards, by one
of at most 50 steps over all layers, and by the gradients of all layers, projected in the record. Times are taken when
the device has finished. Writes results/gpu/gpu.csv, one row a network and way of scoring, and
results/gpu/provenance.json with the card and its clock.
Rows of the other network stay if card and commit are the same. `--cpu` is for trying it out where there is no GPU; it
writes nothing.
"""

import argparse
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from datagradient.data import sets
from datagradient.data.features import raw_inputs
from datagradient.data.splits import SplitPlan, split
from datagradient.errors import UserError
from datagradient.files import read_rows, write_json, write_rows
from datagradient.influence.options import PROBLEM_OPTIONS, RECORD
from datagradient.influence.scores import curvature_rows, score
from datagradient.models import declared, neural
from datagradient.models.networks.devices import best_device
from datagradient.pipeline.provenance import stamp

OUT = Path("results/gpu")
COLUMNS = ("network", "parameters", "n", "epochs", "scores", "train_seconds", "samples_per_second", "train_ratio",
           "score_seconds", "ratio", "forward_passes", "train_peak_mib", "score_peak_mib", "status", "card",
           "git_commit")  # fmt: skip
NETWORKS = {
    "CNN": {"width": 16, "epochs": 8},
    "ResNet-18": {"network": "resnet18", "epochs": 30, "batch_size": 128, "precision": "bfloat16"},
}
WAYS = {
    "record": {"name": RECORD, "parameters": "last"},
    "last layer": {"name": "cg", "parameters": "last"},
    "all layers": {"name": "cg", "parameters": "all", "samples": 1000, "max_iterations": 50},
    "record-all": {"name": RECORD, "parameters": "projected"},
}


def main() -> None:
    """Measure both networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"{', '.join(NETWORKS)}; both if left out")
    parser.add_argument("--samples", type=int, help="development samples; all if left out")
    parser.add_argument("--epochs", type=int, help="of both networks; those of the presets if left out")
    parser.add_argument("--cpu", action="store_true")
    args = parser.parse_args()
    if not args.cpu and best_device().type == "cpu":
        raise SystemExit("benchmarks/gpu.py: no GPU is visible; --cpu tries the script out, and writes nothing")
    dataset = sets.load("cifar10")
    parts = split(dataset, 0, SplitPlan(max_development=args.samples))
    inputs = raw_inputs(dataset, parts)
    train, validation = ((inputs[part], dataset.labels[parts[part]]) for part in ("train", "influence"))
    chosen = args.networks or list(NETWORKS)
    if unknown := set(chosen) - set(NETWORKS):
        parser.error(f"{', '.join(sorted(unknown))}: no network of {', '.join(NETWORKS)}")
    facts = stamp(seed=0, dataset="cifar10", device={} if args.cpu else card())
    made = {"card": facts["device"].get("name", ""), "git_commit": facts["git_commit"]}
    path = OUT / "gpu.csv"
    rows = [row for row in (read_rows(path) if path.exists() else [])
            if row["network"] not in chosen and made.items() <= row.items()]  # fmt: skip
    for network in chosen:
        settings = {**declared("neural").defaults, **NETWORKS[network]}
        settings["epochs"] = args.epochs or settings["epochs"]
        for row in measured(train, validation, len(dataset.class_names), settings):
            rows.append({"network": network, "n": len(train[1]), "epochs": settings["epochs"], **row, **made})
            print({key: rows[-1].get(key, "") for key in COLUMNS}, flush=True)
            if not args.cpu:  # after each row, so that what was measured stays when the rest is interrupted
                write_rows(path, COLUMNS, rows)
                write_json(OUT / "provenance.json", facts)


def measured(train: tuple, validation: tuple, n_classes: int, settings: dict) -> Iterator[dict[str, Any]]:
    """Yield one row for each way of scoring one network."""
    given = (*train, n_classes, settings, 0)
    neural.fit(train[0][:1000], train[1][:1000], n_classes, {**settings, "epochs": 1}, 0)  # warms the device up
    (model, _), seconds, peak = timed(lambda: neural.fit(*given))
    _, forward, _ = timed(lambda: neural.probabilities(model, train[0]))
    solver = {**declared("neural").solver, **(declared("neural").solver.get("image") or {})}
    for name, way in WAYS.items():
        options, features = {**plain(solver), **way}, train[0]
        row = {"parameters": sum(value.numel() for value in model.network.parameters()), "scores": name,
               "train_seconds": f"{seconds:.4g}", "train_peak_mib": f"{peak:.0f}",
               "samples_per_second": f"{len(train[1]) * int(settings['epochs']) / seconds:.4g}"}  # fmt: skip
        try:
            if way["name"] == RECORD:
                (_, _, features), recorded, _ = timed(lambda: neural.fit_recorded(*given, parameters=way["parameters"]))  # noqa: B023
                row["train_ratio"] = f"{recorded / seconds:.4f}"
            found, spent, most = timed(lambda: scored(model, features, train[1], validation, options))  # noqa: B023
            row |= {"score_seconds": f"{spent:.4g}", "ratio": f"{spent / seconds:.3g}", "status": found.record.status,
                    "forward_passes": f"{spent / forward:.3g}", "score_peak_mib": f"{most:.0f}"}  # fmt: skip
        except (UserError, torch.OutOfMemoryError) as error:
            row["status"] = f"failed: {str(error).splitlines()[0]}"
        yield row


def scored(model: Any, features: Any, labels: Any, validation: tuple, options: dict) -> Any:
    """Return the scores of all training samples, with the options of a solver and of the problem."""
    rest = {key: value for key, value in options.items() if key not in (*PROBLEM_OPTIONS, "name")}
    rows = curvature_rows(len(labels), options.get("samples"), 0)
    problem = neural.problem(model, features, labels, rows, parameters=options["parameters"])
    return score(problem, *validation, name=options["name"], **rest)


def plain(solver: dict) -> dict:
    """Return a solver's options without those by kind of data and those of other solvers."""
    return {key: solver[key] for key in ("damping", "tolerance", "max_iterations", "samples")}


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what some work returns, its seconds, and the most MiB of the GPU that it took."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    result = work()
    if cuda:
        torch.cuda.synchronize()
    return result, time.perf_counter() - start, torch.cuda.max_memory_allocated() / 2**20 if cuda else 0.0


def card() -> dict[str, str]:
    """Return the name of the GPU, its driver and clocks."""
    fields = "name,driver_version,clocks.sm,clocks.max.sm,memory.total"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return dict(zip(fields.split(","), map(str.strip, said.split(",")), strict=True))


if __name__ == "__main__":
    main()
