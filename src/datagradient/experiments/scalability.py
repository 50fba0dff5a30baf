"""The cost of influence as the training set grows: time by step, forward passes, memory, and slopes.

Networks are scored by several solvers, each on the same trained model and samples. A solver's name in the tables is
``record`` for what the last epoch of training kept; that of the family's own solver, such as ``cg`` or ``ekfac+cg``;
``cg-all`` for a converged solve over all layers where the own one is not that; and ``lissa`` as in the paper.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tqdm import tqdm

from datagradient.data.training_set import TrainingSet
from datagradient.errors import one_line
from datagradient.experiments.enlarge import batches, enlarged
from datagradient.files import read_arrays, read_json, read_meta, read_rows, write_arrays, write_json, write_rows
from datagradient.influence.options import RECORD
from datagradient.influence.solvers import SolverError
from datagradient.models import declared, family
from datagradient.pipeline.layout import solver_for
from datagradient.pipeline.provenance import stamp
from datagradient.pipeline.training import load_part
from datagradient.refine.scoring import Scored, Work, score_all, score_further, solve_direction
from datagradient.refine.training import fit, predict
from datagradient.seeds import generator

STEPS = ("setup", "val_gradient", "solve", "projection")
COLUMNS = (
    "dataset", "model", "solver", "default", "n", "originals", "n_validation", "n_curvature", "epochs", "train_seconds",
    "train_ratio", *(f"{step}_seconds" for step in STEPS), "influence_seconds", "fastest_seconds", "slowest_seconds",
    "ratio", "three_rounds_ratio", "three_rounds_with_training_ratio", "forward_seconds", "forward_passes",
    "solver_status", "solver_iterations", "data_mib", "record_mib", "scoring_mib", "peak_mib", "repeats",
)  # fmt: skip
SLOPES = ("dataset", "model", "solver", "what", "slope", "low", "high", "sizes")
STREAMED = (
    "dataset", "model", "n", "seconds", "direction_seconds", "peak_mib", "chunk", "trained_on", "solver_status",
)  # fmt: skip
VALIDATION, LEAST = 8, 100  # training samples for each validation sample, as in the presets; validation samples
QUICK = 5.0  # seconds; training that takes less is repeated as well
ROUNDS = 3  # of the paper
# Of networks, beside their family's own solver; those without a damping take its.
KEPT = {"name": RECORD, "parameters": "last", "tolerance": 1e-2, "max_iterations": 300, "samples": 5000}
CONVERGED = {"name": "cg", "parameters": "all", "tolerance": 1e-2, "max_iterations": 1000, "samples": 1000}
PAPER = {"name": "lissa", "parameters": "all", "damping": 0.1, "tolerance": 0.1, "max_iterations": 50, "batch_size": 32,
         "repeats": 1, "samples": 500}  # fmt: skip
PARTS = ("train", "influence")  # of which something is kept
BY_PASS = "by a pass"  # status of the solver record where there was no record, or too old a one


def solvers_of(has_records: bool, default: dict) -> dict[str, dict]:
    """Return the solvers to measure, by name in the tables; `default` are the family's options for the kind of data.

    A family without records has its own solver alone. Where a network's own is `record`, CG with the same options
    stands for what scoring costs afterwards.
    """
    if not has_records:
        return {_named(default): default}
    is_record = default["name"] == RECORD
    after, damping = {**default, "name": "cg"} if is_record else default, {"damping": default["damping"]}
    solvers = {_named(after): after, RECORD: default if is_record else {**KEPT, **damping}}
    if not (after["name"] == "cg" and after.get("parameters") == "all" and after.get("tolerance", 1) > 0):
        solvers["cg-all"] = {**CONVERGED, **damping}
    return {**solvers, "lissa": solvers.get("lissa", PAPER)}


def _named(solver: dict) -> str:
    return "ekfac+cg" if (solver["name"], solver.get("preconditioner")) == ("cg", "ekfac") else solver["name"]


def measure_sizes(data: Path, name: str, settings: dict, solver: dict, plan: dict, out: Path) -> None:
    """Train and score for each size; write rows of scalability.csv as JSON to `out`, and the models next to it.

    Scoring and quick training are repeated after a warm-up that does not count; the medians are reported. To measure
    its memory, scoring is then done once more in a fresh process; the peak hardly differs between processes.

    Args:
        data: features.npz.
        name: of the model family.
        settings: of the model.
        solver: the family's options, with overrides by kind of data.
        plan: ``sizes``; ``repeats``; ``removal_fraction`` of each round, for the cost of three rounds.
        out: the file to write.
    """
    solver = solver_for(solver, read_meta(data)["modality"])
    solvers = solvers_of(declared(name).records, solver)
    measured = [_measure_size(data, name, settings, solver, plan, n, out.with_name(f"model-{n}.npz"))
                for n in tqdm(plan["sizes"], "sizes", disable=None)]  # fmt: skip
    rows = [row for found, _ in measured for row in found]
    peaks = in_fresh_processes(peak_of_scoring, [
        (data, name, out.with_name(f"model-{row['n']}.npz"), solvers[row["solver"]], row["n"]) for row in rows
    ])  # fmt: skip
    rows = [{**row, **peak} for row, peak in zip(rows, peaks, strict=True)]
    write_json(out, {"rows": rows, "provenance": [facts for _, facts in measured]})


def _measure_size(
    data: Path, name: str, settings: dict, default: dict, plan: dict, n: int, model_file: Path
) -> tuple[list[dict], dict]:
    """Return a row for each solver, without the columns of memory that a fresh process gives, and their provenance.

    The model is written to `model_file`, and next to it what was kept of the samples.
    """
    repeats, solvers = plan["repeats"], solvers_of(declared(name).records, default)
    samples, validation = samples_of(declared(name).inputs, data, n)
    training = train(name, samples, validation, settings, solvers.get(RECORD), repeats)
    training.save(model_file)
    forward = median_seconds(lambda: training.family.probabilities(training.model, samples.inputs), repeats)
    rounds = sum((1 - plan["removal_fraction"]) ** k for k in range(ROUNDS))
    again = sum((1 - plan["removal_fraction"]) ** k for k in range(1, ROUNDS + 1))
    rows, notes = [], {}
    for solver, options in tqdm(solvers.items(), f"solvers, {n} samples", disable=None):
        work = training.work(samples, validation, options)
        try:
            runs = [score_all(work) for _ in range(repeats + 1)][1:]
        except SolverError as error:
            if options == default:
                raise
            notes[solver] = one_line(error)  # there is no row of it
            continue
        seconds = {step: float(np.median([run.seconds[step] for run in runs])) for step in STEPS}
        totals, total = [sum(run.seconds.values()) for run in runs], sum(seconds.values())
        status, note = status_of(runs[0])
        notes |= {solver: note} if note else {}
        ratio = total / training.seconds
        rows.append({
            "dataset": samples.dataset, "model": name, "solver": solver, "default": int(options == default), "n": n,
            "originals": min(n, train_size(data)), "n_validation": len(validation[1]),
            "n_curvature": min(options.get("samples") or n, n), "epochs": settings.get("epochs", ""),
            "train_seconds": training.seconds, "train_ratio": training.ratio if options["name"] == RECORD else "",
            **{f"{step}_seconds": value for step, value in seconds.items()}, "influence_seconds": total,
            "fastest_seconds": min(totals), "slowest_seconds": max(totals), "ratio": ratio,
            "three_rounds_ratio": rounds * ratio, "three_rounds_with_training_ratio": rounds * ratio + again,
            "forward_seconds": forward, "forward_passes": total / forward, "solver_status": status,
            "solver_iterations": runs[0].solver["iterations"], "record_mib": size_of(work.records) / 2**20,
            "repeats": repeats,
        })  # fmt: skip
    for solver, note in notes.items():
        print(f"{samples.dataset}, {name}, {n} samples, {solver}: {note}", file=sys.stderr)
    return rows, {**training.facts, "solvers": solvers, "notes": notes}


def status_of(scored: Scored) -> tuple[str, str]:
    """Return the status of a solve, which says so where a pass took the place of a record, and the reason for that."""
    status, note = scored.solver["status"], scored.solver["note"]
    return (f"{status} {BY_PASS}", note) if note else (status, "")


def size_of(records: dict[str, Any]) -> int:
    """Return the bytes of what was kept of the samples, as plain arrays."""
    return sum(array.nbytes for record in records.values() for array in record.arrays().values())


@dataclass(frozen=True)
class Training:
    """A trained model.

    Attributes:
        family: the module of its family.
        model: of the family.
        facts: its provenance.
        seconds: of one training that keeps nothing.
        records: what another one, and predicting the validation samples, kept of the samples, by part; see
            `datagradient.refine.scoring.Work`.
        ratio: the seconds of that other training ÷ those of the one that keeps nothing; 1 if there was none.
    """

    family: ModuleType
    model: Any
    facts: dict
    seconds: float
    records: dict[str, Any]
    ratio: float

    def work(self, samples: TrainingSet, validation: tuple, solver: dict) -> Work:
        """Return the model to be scored by a solver; what was kept of the samples is for `record` alone."""
        records = self.records if solver["name"] == RECORD else {}
        return Work(self.family, self.model, self.facts, samples, validation, solver, records=records)

    def save(self, model_file: Path) -> None:
        """Write the model, and next to it what was kept of the samples, a file for each part."""
        self.family.save(model_file, self.model, self.facts)
        for part in PARTS:
            record_file(model_file, part).unlink(missing_ok=True)  # of an earlier run
        for part, record in self.records.items():
            write_arrays(record_file(model_file, part), self.facts, **record.arrays())


def record_file(model_file: Path, part: str) -> Path:
    """Return the file of what was kept of a part's samples."""
    return model_file.with_name(f"{part}-{model_file.name}")


def train(
    name: str, samples: TrainingSet, validation: tuple, settings: dict, record: dict | None, repeats: int
) -> Training:
    """Train a model, and once more with what the solver `record` goes by, unless that is None.

    If training is quick, both are repeated in turn, and the medians count.
    """
    module, ratios, records = family(name), [], {}
    model, about, _ = fit(module, samples, settings, None)
    plain, is_quick = [about["seconds"]], about["seconds"] < QUICK
    for _ in range(repeats if is_quick else 1):
        if is_quick:
            plain.append(fit(module, samples, settings, None)[1]["seconds"])
        if record:
            model, about, records = fit(module, samples, settings, record)
            ratios.append(about["seconds"] / plain[-1])
    if record:
        kept = predict(module, model, validation[0], record)[1]
        records |= {} if kept is validation[0] else {"influence": kept}
    facts = stamp(seed=samples.seed, dataset=samples.dataset, model=name, settings=settings, n=len(samples.labels))
    seconds = float(np.median(plain[1:] or plain))
    return Training(module, model, facts, seconds, records, float(np.median(ratios or [1.0])))


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

    What training kept of the samples is there before. The values are NaN if the system does not report them.
    """
    module = family(name)
    model, facts = module.load(model_file)
    samples, validation = samples_of(declared(name).inputs, data, n)
    files = {part: record_file(model_file, part) for part in PARTS} if solver["name"] == RECORD else {}
    records = {part: module.record_of(model, read_arrays(file)[0]) for part, file in files.items() if file.exists()}
    work = Work(module, model, facts, samples, validation, solver, records=records)
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
    table = sorted(measured, key=lambda row: (row["dataset"], row["model"], row["n"]))  # solvers keep their order
    write_rows(out, COLUMNS, table)
    write_rows(out.with_name("slopes.csv"), SLOPES, slope_rows(read_rows(out)))
    write_json(out.with_suffix(".json"), {"runs": [facts for content in contents for facts in content["provenance"]]})


def slope_rows(table: list[dict]) -> list[dict]:
    """Return slopes of log seconds against log n, with t intervals, for each data set, model and solver.

    Training has one slope for each data set and model, and no solver. If curvature is averaged over a subsample, the
    slopes of single steps use only sizes above it: below, work moves between steps. Rows of the solver `record` in
    which a pass took the place of a record do not count.
    """
    rows: list[dict] = []

    def add(keys: tuple[str, str, str], what: str, used_rows: list[dict]) -> None:
        values = [float(row[f"{what}_seconds"]) for row in used_rows]
        if len(used_rows) > 2 and min(values) > 0:
            slope, low, high = log_slope([int(row["n"]) for row in used_rows], values)
            rows.append(dict(zip(SLOPES, (*keys, what, slope, low, high, len(used_rows)), strict=True)))

    for dataset, model in dict.fromkeys((row["dataset"], row["model"]) for row in table):
        cell_rows = [row for row in table if (row["dataset"], row["model"]) == (dataset, model)]
        add((dataset, model, ""), "train", list({row["n"]: row for row in cell_rows}.values()))
        for solver in dict.fromkeys(row["solver"] for row in cell_rows):
            own = [row for row in cell_rows if row["solver"] == solver and not row["solver_status"].endswith(BY_PASS)]
            beyond = [row for row in own if int(row["n_curvature"]) < int(row["n"])] or own
            add((dataset, model, solver), "influence", own)
            for step in STEPS:
                add((dataset, model, solver), step, beyond)
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
    solver = solver_for(solver, meta["modality"])
    training = train(name, samples, validation, settings, None, 1)
    work = training.work(samples, validation, solver)
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
