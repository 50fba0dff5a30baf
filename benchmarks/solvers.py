"""Cost and quality of solvers and dampings: python benchmarks/solvers.py PRESET [DATASET/MODEL/NOISE ...]

Uses the prepared data of a preset, and validation data only. For every data set, model and seed, one model is trained
and then scored with every candidate. A candidate's quality is the AUROC of finding wrong labels, if there are any; the
linear datamodeling score over models trained on random halves of the training set; and the rank correlation of its
scores with those of a converged solve at the same damping. Its cost is given in seconds, in plain forward passes over
the training set, and as a share of training; what a record costs in training is in overhead.csv. Without cells: every
model at the highest noise rate, and networks at the lowest too, and with human labels.

Seed 0 is there to choose defaults by, seed 1 to judge them. Writes, below results/benchmarks/: choice.csv and
solvers.csv, one row a candidate, of seeds 0 and 1; overhead.csv, the default of each data set and model of seed 1 with
the peak memory of training and scoring, each in a fresh process; provenance.json. What the next call takes up again
lies in results/benchmarks/cells/: models, scores and the losses of the halves. With --halves these alone are made,
several at once.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from datamodeling import halves
from memory import peak_mib
from scipy.stats import spearmanr
from tqdm import tqdm

from datagradient.data.training_set import TrainingSet
from datagradient.evidence.collect import auroc
from datagradient.experiments.datamodeling import datamodeling_intervals, datamodeling_score
from datagradient.experiments.scalability import BY_PASS, median_seconds
from datagradient.files import read_json, read_meta, read_rows, write_arrays, write_json, write_rows
from datagradient.influence.options import PROBLEM_OPTIONS, RECORD
from datagradient.influence.scores import Scores, curvature_rows, score
from datagradient.influence.solvers import AgedRecord, SolverError
from datagradient.models import declared, family
from datagradient.pipeline import layout
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.provenance import config_hash, stamp
from datagradient.pipeline.training import load_part, load_training_set

OUT = Path("results/benchmarks")
TIMES = (
    "train_seconds", "setup_seconds", "val_gradient_seconds", "solve_seconds", "projection_seconds", "ratio",
    "forward_passes", "projection_forward_passes",
)  # fmt: skip
COLUMNS = (
    "dataset", "model", "noise", "n", "solver", "parameters", "curvature", "damping", "steps", "samples", "default",
    "status", *TIMES, "auroc", "rank_correlation", "lds", "lds_low", "lds_high", "lds_gap", "lds_gap_low",
    "lds_gap_high", "tolerance",
)  # fmt: skip
OVERHEAD = ("dataset", "model", "noise", "n", *TIMES, "peak_mib", "train_peak_mib", "auroc", "rank_correlation", "lds",
            "train_ratio")  # fmt: skip
CHOICE, JUDGEMENT = 0, 1  # seeds
TABLES = {CHOICE: "choice.csv", JUDGEMENT: "solvers.csv"}
KEYS = ("dataset", "model", "noise")
REPEATS = 5  # of the default's timing, a warm-up apart; the median counts
PAIRS = 3  # trainings with and without a record
QUICK = 5.0  # seconds: training that takes no longer is repeated too
EKFAC_CG = {"name": "cg", "preconditioner": "ekfac", "tolerance": 0, "max_iterations": 3, "samples": 500}
LAST_LAYER = {"name": "cg", "tolerance": 1e-2, "max_iterations": 300, "parameters": "last"}
KEPT = {**LAST_LAYER, "name": RECORD}
CONVERGED = {"name": "cg", "tolerance": 1e-2, "max_iterations": 1000, "samples": 1000}


def candidates(model: str, default: dict) -> Iterator[dict]:
    """Yield the solvers to compare, the default first. One step of CG ranks samples as the identity for H does."""
    yield default
    if model == "neural":
        for damping in (0.01, 0.03, 0.1, 1.0):
            for samples in (5000, None):
                yield {**LAST_LAYER, "damping": damping, "samples": samples}
            for samples in (2000, 5000):
                yield {**KEPT, "damping": damping, "samples": samples}
        for damping in (0.03, 0.1, 0.3, 1.0, 3.0):
            yield {**KEPT, "parameters": "projected", "damping": damping, "samples": 5000}
        for damping in (0.01, 0.03, 0.1, 1.0):
            network = {"damping": damping, "parameters": "all"}
            yield {**CONVERGED, **network}
            yield {"name": "cg", "tolerance": 0, "max_iterations": 3, "samples": 500, **network}
            yield {"name": "ekfac", "samples": 500, **network}
            yield {**EKFAC_CG, **network}
            if damping >= 0.1:
                yield {"name": "lissa", "max_iterations": 50, "batch_size": 32, "samples": 500, **network}
    else:
        for damping in (0.0, 0.01, 0.1, 1.0) if model == "logistic" else (0.01, 0.1, 1.0):
            yield {**default, "damping": damping, "samples": None}
            yield {**default, "damping": damping, "samples": 500}
            yield {**default, "damping": damping, "tolerance": 0, "max_iterations": 1}
            yield {**default, "damping": damping, "tolerance": 0, "max_iterations": 3}
        for tolerance in (1e-2, 1e-3) if model == "logistic" else ():
            yield {**default, "tolerance": tolerance}


def main() -> None:
    """Measure every cell that is asked for, and write the tables after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="its data must be prepared: results/<preset>/<data set>/prepared")
    parser.add_argument("cells", nargs="*", metavar="DATASET/MODEL/NOISE")
    parser.add_argument("--halves", action="store_true", help="only train the models on random halves, several at once")
    args = parser.parse_args()
    root = Path(layout.root(args.preset))
    config = read_json(root / "config.json")
    noise = layout.noise_names(config)
    cells = [(dataset, model, noise[-1]) for model in config["models"] for dataset in config["datasets"]]
    cells += [(dataset, "neural", condition) for dataset in config["datasets"] if "neural" in config["models"]
              for condition in dict.fromkeys((noise[0], *layout.conditions(config, dataset)[len(noise):]))]  # fmt: skip
    chosen = [tuple(cell.split("/")) for cell in args.cells] or list(dict.fromkeys(cells))
    work = [(*cell, seed) for cell in chosen for seed in TABLES]
    if args.halves:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(train_halves, *zip(*((root, config, *cell) for cell in work), strict=True)))
        return
    for *cell, seed in work:
        rows, overhead = compare(root, config, *cell, seed)
        replace_rows(OUT / TABLES[seed], COLUMNS, rows)
        if seed == JUDGEMENT:
            replace_rows(OUT / "overhead.csv", OVERHEAD, [overhead])
        run = stamp(
            preset=args.preset,
            config_hash=config_hash(config),
            config=config,
            seeds=list(TABLES),
            candidates="benchmarks/solvers.py",
            threads=_threads(),
        )
        # Code and machine of each data set, model and noise rate, which may be measured apart.
        before = read_json(provenance, cells=dict)["cells"] if (provenance := OUT / "provenance.json").exists() else {}
        of_this = {"/".join(cell): {key: run[key] for key in ("git_commit", "machine")}}
        write_json(provenance, {**run, "cells": {**before, **of_this}})


def replace_rows(path: Path, columns: tuple[str, ...], rows: list[dict]) -> None:
    """Write rows to a table in place of those that had the same keys."""
    new = {tuple(row[key] for key in KEYS) for row in rows}
    kept = [row for row in (read_rows(path) if path.exists() else []) if tuple(row[key] for key in KEYS) not in new]
    write_rows(path, columns, [*kept, *rows])


def train_halves(root: Path, config: dict, dataset: str, name: str, noise: str, seed: int) -> None:
    """Train the models on random halves of one data set."""
    module, _, settings, _, samples, validation, cell = given(root, config, dataset, name, noise, seed)
    halves(cell / "halves.npz", module, samples, validation, settings)


def compare(root: Path, config: dict, dataset: str, name: str, noise: str, seed: int) -> tuple[list[dict], dict]:
    """Return one row for every candidate on one data set and model, and the row of the default in overhead.csv."""
    module, files, settings, default, samples, validation, cell = given(root, config, dataset, name, noise, seed)
    model, record, forward = trained(module, samples, settings, dataset, name, cell)
    kept, losses = halves(cell / "halves.npz", module, samples, validation, settings)
    records, train_ratio = recorded(module, samples, validation, settings) if declared(name).records else ({}, 1.0)
    found, rows = {}, []
    for k, options in enumerate(tqdm(list(candidates(name, default)), f"{dataset}/{name}/{noise}", disable=None)):
        # A record's cost is small: a single run would be mostly noise.
        repeats = REPEATS if k == 0 or options["name"] == RECORD else 1
        try:
            scores, seconds, instead = as_refined(module, model, samples, validation, options, repeats, records, k == 0)
        except SolverError as error:
            print(f"{dataset}/{name}/{noise}: {options}: {error}", file=sys.stderr)
            continue
        found[k] = scores.influence
        rows.append({
            "dataset": dataset, "model": name, "noise": noise, "n": len(samples.labels),
            "solver": named(options, scores),
            "parameters": options.get("parameters", "all"), "curvature": options.get("curvature", "ggn"),
            "damping": options["damping"],
            "steps": scores.record.iterations, "samples": options.get("samples") or len(samples.labels),
            "default": int(k == 0), "tolerance": options.get("tolerance", ""),
            "status": scores.record.status + instead, **costs(record, forward, seconds),
            "auroc": f"{auroc(scores.influence, samples.flipped):.4f}" if samples.flipped.any() else "",
            "lds": f"{datamodeling_score(scores.influence, kept, losses):.3f}",
        })  # fmt: skip
    converged = add_references(rows, list(found.values()), kept, losses, name, module, model, samples, validation)
    references = {"default": found[0], "converged": converged[default["damping"]]}
    write_arrays(cell / "scores.npz", {"default": default}, flipped=samples.flipped, **references)
    memory = peaks(name, settings, default, files, cell)
    overhead = {**{key: value for key, value in rows[0].items() if key in OVERHEAD}, **memory,
                "train_ratio": f"{train_ratio:.4f}"}  # fmt: skip
    return rows, overhead


def as_refined(
    module: ModuleType, model: Any, samples: TrainingSet, validation: tuple, options: dict, repeats: int,
    records: Mapping[str, Mapping[str, Any]], or_by_a_pass: bool,
) -> tuple[Scores, dict, str]:  # fmt: skip
    """Return scores, seconds, and what is to be added to their status.

    Where a record is too old and `or_by_a_pass` says so, a pass takes its place as in a run, and trying it counts too.
    """
    start = time.perf_counter()
    try:
        return *timed_scores(module, model, samples, validation, options, repeats, records), ""
    except AgedRecord:
        if not or_by_a_pass:
            raise
        spent = time.perf_counter() - start
        scores, seconds = timed_scores(module, model, samples, validation, {**options, "name": "cg"}, repeats)
        return scores, {**seconds, "setup": seconds["setup"] + spent}, f" {BY_PASS}"


def named(options: dict, scores: Scores) -> str:
    """Return the name of a solver in the tables."""
    projected = options["name"] == RECORD and options.get("parameters") == "projected"
    return f"{RECORD}-all" if projected else scores.record.solver


def recorded(
    module: ModuleType, samples: TrainingSet, validation: tuple, settings: dict
) -> tuple[dict[str, dict[str, Any]], float]:
    """Return what training keeps of the samples, and predicting of the validation samples, by parameters.

    Also the seconds of training with the record of the last layer ÷ those without, the median of pairs.
    """
    given, ratios, records = (samples.inputs, samples.labels, samples.n_classes, settings, 0), [], {}
    for _ in range(PAIRS):
        plain = module.fit(*given)[1]["seconds"]
        model, record, kept = module.fit_recorded(*given)
        ratios.append(record["seconds"] / plain)
    records["last"] = {"train": kept, "influence": module.probabilities_recorded(model, validation[0])[1]}
    records["projected"] = {"train": module.fit_recorded(*given, parameters="projected")[2]}
    return records, float(np.median(ratios))


def given(root: Path, config: dict, dataset: str, name: str, noise: str, seed: int) -> tuple:
    """Return a cell's model family, files, settings, default solver, training set, validation samples and folder."""
    module = family(name)
    files = {
        "data": Path(layout.PREPARED.format(root=root, dataset=dataset, seed=seed)) / "features.npz",
        "labels": Path(layout.NOISE.format(root=root, dataset=dataset, seed=seed, noise=noise)) / "labels.npz",
    }
    settings, default = model_settings(config, dataset, name, noise), config["model_settings"][name]["solver"]
    default = layout.solver_for(default, read_meta(files["data"])["modality"])
    samples = load_training_set(declared(name).inputs, files["data"], files["labels"], None)
    validation = load_part(declared(name).inputs, files["data"], "influence")
    return module, files, settings, default, samples, validation, OUT / f"cells/{dataset}-{name}-{noise}-{seed}"


def trained(
    module: ModuleType, samples: TrainingSet, settings: dict, dataset: str, name: str, cell: Path
) -> tuple[Any, dict, float]:
    """Train and save a model; return it, the record of its training, and the seconds of a plain forward pass."""
    model, record = module.fit(samples.inputs, samples.labels, samples.n_classes, settings, 0)
    if record["seconds"] < QUICK:
        every = [module.fit(samples.inputs, samples.labels, samples.n_classes, settings, 0)[1] for _ in range(REPEATS)]
        record["seconds"] = float(np.median([again["seconds"] for again in every]))
    module.save(cell / "model.npz", model, stamp(seed=0, dataset=dataset, model=name, settings=settings))
    return model, record, median_seconds(lambda: module.probabilities(model, samples.inputs), REPEATS)


def costs(record: dict, forward: float, seconds: dict[str, float]) -> dict[str, str]:
    """Return the columns of `TIMES`."""
    total = sum(seconds.values())
    return {
        "train_seconds": f"{record['seconds']:.4g}",
        **{f"{step}_seconds": f"{value:.4g}" for step, value in seconds.items()},
        "ratio": f"{total / record['seconds']:.3g}", "forward_passes": f"{total / forward:.3g}",
        "projection_forward_passes": f"{seconds['projection'] / forward:.3g}",
    }  # fmt: skip


def add_references(
    rows: list[dict], found: list[np.ndarray], kept: np.ndarray, losses: np.ndarray, name: str, *cell: Any
) -> dict[float, np.ndarray]:
    """Add to the rows what compares a candidate with others: converged solves, and the best datamodeling score.

    Returns:
        The scores of the converged solves, by damping.
    """
    converged: dict[float, np.ndarray] = {}
    best = max(float(row["lds"]) for row in rows)
    for row, influence, gaps in zip(rows, found, datamodeling_intervals(found, kept, losses), strict=True):
        damping = row["damping"]
        if damping not in converged:
            own = {"name": "cg", "tolerance": 1e-6, "max_iterations": 5000}
            options = {**({**CONVERGED, "parameters": "all"} if name == "neural" else own), "damping": damping}
            done = ("cg", "ggn", "converged", "all", damping)
            known = [place for place, other in enumerate(rows) if name == "neural" and done == tuple(
                     other[key] for key in ("solver", "curvature", "status", "parameters", "damping"))]  # fmt: skip
            converged[damping] = found[known[0]] if known else timed_scores(*cell, options, 1)[0].influence
        row["rank_correlation"] = f"{spearmanr(influence, converged[damping]).statistic:.4f}"
        row["lds_gap"] = f"{best - float(row['lds']):.3f}"
        row |= {key: f"{value:.3f}" for key, value in
                zip(("lds_low", "lds_high", "lds_gap_low", "lds_gap_high"), gaps, strict=True)}  # fmt: skip
    return converged


def timed_scores(
    module: ModuleType, model: Any, samples: TrainingSet, validation: tuple, options: dict, repeats: int,
    records: Mapping[str, Mapping[str, Any]] = {},
) -> tuple[Scores, dict]:  # fmt: skip
    """Return scores and the median seconds of each step, building the problem afresh every time.

    `records` are what training and predicting kept, by parameters and part, for the solver ``record``.
    """
    options, every = dict(options), []
    kept = records[options["parameters"]] if options["name"] == RECORD else {}
    inputs, validation = kept.get("train", samples.inputs), (kept.get("influence", validation[0]), validation[1])
    rows = curvature_rows(len(samples.labels), options.pop("samples", None), 0)
    form, name = {key: options.pop(key) for key in PROBLEM_OPTIONS[1:] if key in options}, options.pop("name")
    for _ in range(repeats + (repeats > 1)):
        start = time.perf_counter()
        problem = module.problem(model, inputs, samples.labels, rows, **form)
        setup = time.perf_counter() - start
        found = score(problem, *validation, name=name, seed=0, **options)
        every.append({"setup": setup, **found.seconds})
    counted = every[1:] or every
    return found, {step: float(np.median([seconds[step] for seconds in counted])) for step in every[0]}


def peaks(name: str, settings: dict, solver: dict, files: dict, cell: Path) -> dict[str, str]:
    """Return the columns of memory: of training a model with the default settings, and of scoring by the default."""
    model = cell / "memory/model.npz"
    return {
        "train_peak_mib": peak_mib("train", name=name, settings=settings, out=model, **files),
        "peak_mib": peak_mib("score", name=name, solver=solver, model_file=model, **files),
    }


def _threads() -> str:
    return os.environ.get("OMP_NUM_THREADS", f"{os.cpu_count()}")


if __name__ == "__main__":
    main()
