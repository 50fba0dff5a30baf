"""The cost of influence as the training set grows: time by step, forward passes, memory, and slopes."""

import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from datagradient.data.training_set import TrainingSet
from datagradient.experiments.cost_model import forward_passes
from datagradient.experiments.enlarge import batches, enlarged
from datagradient.files import read_arrays, read_json, read_meta, read_rows, write_json, write_rows
from datagradient.models import declared, family
from datagradient.pipeline.layout import solver_for
from datagradient.pipeline.provenance import stamp
from datagradient.pipeline.training import load_part
from datagradient.refine.scoring import Work, score_all, score_further, solve_direction
from datagradient.seeds import generator

STEPS = ("setup", "val_gradient", "solve", "projection")
COLUMNS = (
    "dataset", "model", "n", "originals", "n_validation", "n_curvature", "epochs", "train_seconds",
    *(f"{step}_seconds" for step in STEPS), "influence_seconds", "fastest_seconds", "slowest_seconds", "ratio",
    "three_rounds_ratio", "three_rounds_with_training_ratio", "forward_seconds", "forward_passes",
    "predicted_forward_passes", "predicted_seconds", "solver_status", "solver_iterations", "data_mib", "scoring_mib",
    "peak_mib", "repeats",
)  # fmt: skip
SLOPES = ("dataset", "model", "what", "slope", "low", "high", "sizes")
STREAMED = (
    "dataset", "model", "n", "seconds", "direction_seconds", "peak_mib", "chunk", "trained_on", "solver_status",
)  # fmt: skip
VALIDATION, LEAST = 8, 100  # training samples for each validation sample, as in the presets; validation samples
QUICK = 5.0  # seconds; training that takes less is repeated as well
ROUNDS = 3  # of the paper


def measure_sizes(data: Path, name: str, settings: dict, solver: dict, plan: dict, out: Path) -> None:
    """Train and score for each size; write rows of scalability.csv as JSON to `out`, and the models next to it.

    Scoring and quick training are repeated after a warm-up that does not count; the medians are reported. To measure
    its memory, scoring is then done once more in a fresh process; the peak hardly differs between processes.

    Args:
        data: features.npz.
        name: of the model family.
        settings: of the model.
        solver: the solver's options, with overrides by kind of data.
        plan: ``sizes``; ``repeats``; ``removal_fraction`` of each round, for the cost of three rounds.
        out: the file to write.
    """
    measured = [_measure_size(data, name, settings, solver, plan, n, out.with_name(f"model-{n}.npz"))
                for n in tqdm(plan["sizes"], "sizes", disable=None)]  # fmt: skip
    peaks = in_fresh_processes(peak_of_scoring, [
        (data, name, out.with_name(f"model-{n}.npz"), solver_for(solver, read_meta(data)["modality"]), n)
        for n in plan["sizes"]
    ])  # fmt: skip
    rows = [{**row, **peak} for (row, _), peak in zip(measured, peaks, strict=True)]
    write_json(out, {"rows": rows, "provenance": [facts for _, facts in measured]})


def _measure_size(
    data: Path, name: str, settings: dict, solver: dict, plan: dict, n: int, model_file: Path
) -> tuple[dict, dict]:
    """Return a row without the columns of memory, and its provenance; the model is written to `model_file`."""
    repeats, facts = plan["repeats"], read_meta(data)
    samples, validation = samples_of(declared(name).inputs, data, n)
    work, train_seconds = trained(name, samples, validation, settings, solver_for(solver, facts["modality"]), repeats)
    work.family.save(model_file, work.model, work.facts)
    runs = [score_all(work) for _ in range(repeats + 1)][1:]
    seconds = {step: float(np.median([run.seconds[step] for run in runs])) for step in STEPS}
    totals, total = [sum(run.seconds.values()) for run in runs], sum(seconds.values())
    forward = median_seconds(lambda: work.family.probabilities(work.model, samples.inputs), repeats)
    ratio, record = total / train_seconds, runs[0].solver
    rounds = sum((1 - plan["removal_fraction"]) ** k for k in range(ROUNDS))
    again = sum((1 - plan["removal_fraction"]) ** k for k in range(1, ROUNDS + 1))
    predicted = float("nan")
    if declared(name).cost_model:
        predicted = forward_passes(n, len(validation[1]), work.solver, record["iterations"])
    return {
        "dataset": samples.dataset, "model": name, "n": n, "originals": min(n, train_size(data)),
        "n_validation": len(validation[1]), "n_curvature": min(work.solver.get("samples") or n, n),
        "epochs": settings.get("epochs", ""), "train_seconds": train_seconds,
        **{f"{step}_seconds": value for step, value in seconds.items()}, "influence_seconds": total,
        "fastest_seconds": min(totals), "slowest_seconds": max(totals), "ratio": ratio,
        "three_rounds_ratio": rounds * ratio, "three_rounds_with_training_ratio": rounds * ratio + again,
        "forward_seconds": forward, "forward_passes": total / forward, "predicted_forward_passes": predicted,
        "predicted_seconds": predicted * forward, "solver_status": record["status"],
        "solver_iterations": record["iterations"], "repeats": repeats,
    }, work.facts  # fmt: skip


def trained(
    name: str, samples: TrainingSet, validation: tuple, settings: dict, solver: dict, repeats: int
) -> tuple[Work, float]:
    """Return a trained model to score, and its training time in seconds."""
    module = family(name)

    def fit() -> tuple[Any, float]:
        model, record = module.fit(samples.inputs, samples.labels, samples.n_classes, settings, samples.seed)
        return model, record["seconds"]

    model, seconds = fit()
    if seconds < QUICK:
        seconds = float(np.median([fit()[1] for _ in range(repeats)]))
    facts = stamp(seed=samples.seed, dataset=samples.dataset, model=name, settings=settings, n=len(samples.labels))
    return Work(module, model, facts, samples, validation, solver), seconds


def samples_of(form: str, data: Path, n: int) -> tuple[TrainingSet, tuple[Any, np.ndarray]]:
    """Return n training samples and a matching number of validation samples, in random order.

    The order is random because the rows of many data sets are sorted by class. If there are fewer than n images, they
    are enlarged. `form` is ``"features"`` or ``"raw"``, the form that the model family takes.
    """
    meta = read_meta(data)
    (inputs, labels), (validation, validation_labels) = (
        _shuffled(*load_part(form, data, part), part) for part in ("train", "influence")
    )
    size = min(max(n // VALIDATION, LEAST), len(validation_labels))
    inputs, labels = enlarged(inputs, labels, n)
    samples = TrainingSet(inputs, labels, np.zeros(n, dtype=bool), np.arange(n), len(meta["class_names"]), meta["seed"],
                          meta["dataset"])  # fmt: skip
    return samples, (validation[:size], validation_labels[:size])


def _shuffled(inputs: Any, labels: np.ndarray, part: str) -> tuple[Any, np.ndarray]:
    order = generator(0, "scale", part).permutation(len(labels))
    return inputs[order], labels[order]


def train_size(data: Path) -> int:
    """Return the number of training samples of a prepared data set."""
    return len(read_arrays(data, "labels_train")[0]["labels_train"])


def median_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Return the median seconds of a call, without a warm-up."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def in_fresh_processes(function: Callable[..., Any], arguments: list[tuple]) -> list[Any]:
    """Return a function's results for each of `arguments`, each from a fresh process without this one's memory.

    As many processes run at once as this process has cores: this is for measuring memory, not time.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, max_tasks_per_child=1) as pool:
        return list(pool.map(function, *zip(*arguments, strict=True)))


def peak_of_scoring(data: Path, name: str, model_file: Path, solver: dict, n: int) -> dict[str, float]:
    """Score once and return main memory in MiB: of the training samples, added by scoring, and the peak of scoring.

    The values are NaN if the system does not report them.
    """
    module = family(name)
    model, facts = module.load(model_file)
    samples, validation = samples_of(declared(name).inputs, data, n)
    work = Work(module, model, facts, samples, validation, solver)
    before, can_tell = memory_mib("VmRSS"), forget_peak()
    score_all(work)
    peak = memory_mib("VmHWM") if can_tell else float("nan")
    inputs = samples.inputs
    size = inputs.nbytes if hasattr(inputs, "nbytes") else inputs.data.nbytes + inputs.indices.nbytes
    return {"data_mib": size / 2**20, "scoring_mib": peak - before, "peak_mib": peak}


def memory_mib(field: str) -> float:
    """Return Linux's figure for this process: ``"VmRSS"``, its current memory, or ``"VmHWM"``, its peak.

    NaN if there is no such file.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("nan")
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def forget_peak() -> bool:
    """Reset this process's peak memory to its current memory; return whether Linux did so."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True


def gather_sizes(rows: list[Path], out: Path) -> None:
    """Write scalability.csv from the rows of `measure_sizes`, and next to it slopes.csv and the provenance."""
    contents = [read_json(file, rows=list, provenance=list) for file in rows]
    measured = [row for content in contents for row in content["rows"]]
    table = sorted(measured, key=lambda row: (row["dataset"], row["model"], row["n"]))
    write_rows(out, COLUMNS, table)
    write_rows(out.with_name("slopes.csv"), SLOPES, slope_rows(read_rows(out)))
    write_json(out.with_suffix(".json"), {"runs": [facts for content in contents for facts in content["provenance"]]})


def slope_rows(table: list[dict]) -> list[dict]:
    """Return slopes of log seconds against log n, with t intervals, for each data set and model.

    If curvature is averaged over a subsample, the slopes of single steps use only sizes above it: below, work moves
    between steps.
    """
    rows = []
    for dataset, model in dict.fromkeys((row["dataset"], row["model"]) for row in table):
        cell_rows = [row for row in table if (row["dataset"], row["model"]) == (dataset, model)]
        beyond = [row for row in cell_rows if int(row["n_curvature"]) < int(row["n"])] or cell_rows
        for what in ("influence", "train", *STEPS):
            used_rows = beyond if what in STEPS else cell_rows
            values = [float(row[f"{what}_seconds"]) for row in used_rows]
            if len(used_rows) > 2 and min(values) > 0:
                slope, low, high = log_slope([int(row["n"]) for row in used_rows], values)
                rows.append(dict(zip(SLOPES, (dataset, model, what, slope, low, high, len(used_rows)), strict=True)))
    return rows


def log_slope(n: list[int], seconds: list[float]) -> tuple[float, float, float]:
    """Return the least-squares slope of log seconds against log n, with a 95 % interval from Student's t."""
    from scipy import stats

    fit = stats.linregress(np.log(n), np.log(seconds))
    half = stats.t.ppf(0.975, len(n) - 2) * fit.stderr
    return float(fit.slope), float(fit.slope - half), float(fit.slope + half)


def measure_stream(data: Path, name: str, settings: dict, solver: dict, plan: dict, out: Path) -> None:
    """Score an increasing number of samples with one S, one chunk at a time: streamed.csv, one row per size.

    The samples are the images and their variants: this measures cost, not learning. The originals stay in memory. The
    seconds are those of projecting along S; the seconds for S itself are reported separately.

    Args:
        data: features.npz.
        name: of the model family.
        settings: of the model.
        solver: the solver's options, with overrides by kind of data.
        plan: ``trained_on``, number of training samples; ``sizes``, multiples of ``chunk``, the samples held at once.
        out: streamed.csv.
    """
    sizes, chunk, meta = plan["sizes"], plan["chunk"], read_meta(data)
    samples, validation = samples_of(declared(name).inputs, data, plan["trained_on"])
    work, _ = trained(name, samples, validation, settings, solver_for(solver, meta["modality"]), 1)
    direction, _ = solve_direction(work)
    base = _shuffled(*load_part(declared(name).inputs, data, "train"), "train")
    rows, scored, spent, solve_seconds, can_tell = [], 0, 0.0, sum(direction.seconds.values()), forget_peak()
    with tqdm(total=max(sizes), desc="streamed", disable=None) as bar:
        for inputs, labels in batches(*base, max(sizes), chunk):
            start = time.perf_counter()
            score_further(work, direction.solution, inputs, labels, scored)
            spent, scored = spent + time.perf_counter() - start, scored + len(labels)
            bar.update(len(labels))
            if scored in sizes:
                peak = memory_mib("VmHWM") if can_tell else float("nan")
                status = direction.record.status
                values = (name, scored, spent, solve_seconds, peak, chunk, plan["trained_on"], status)
                rows.append(dict(zip(STREAMED, (meta["dataset"], *values), strict=True)))
    write_rows(out, STREAMED, rows)
    write_json(out.with_suffix(".json"), work.facts)
