"""Sensitivity of scores to damping, solver, curvature and validation size, and of removals to their size."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datagradient.evidence.collect import auroc
from datagradient.experiments.datamodeling import agreement, datamodeling_intervals, datamodeling_score
from datagradient.experiments.fidelity import read_halves
from datagradient.files import read_arrays, read_json, read_meta, write_json, write_rows
from datagradient.influence.solvers import SolverError
from datagradient.metrics import measure
from datagradient.models import Family, declared
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.jobs.scores import load
from datagradient.pipeline.layout import Cell
from datagradient.pipeline.provenance import check_shared, stamp
from datagradient.pipeline.training import load_held
from datagradient.refine.removal import as_many, by_influence
from datagradient.refine.scoring import Work, score_all
from datagradient.seeds import generator

COLUMNS = (
    "dataset", "model", "noise", "what", "value", "default", "status", "residual", "steps", "kendall", "jaccard", "lds",
    "lds_low", "lds_high", "auroc",
)  # fmt: skip
FRACTIONS = ("dataset", "model", "noise", "seed", "policy", "fraction", "removed", "accuracy_change",
             "selection_accuracy_change")  # fmt: skip
DAMPINGS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
SAMPLES = (250, 1000, 4000, None)
VALIDATION = (50, 200, 800, None)
LISSA = {"name": "lissa", "tolerance": 0.1, "max_iterations": 100, "batch_size": 64}
LISSA_DAMPING, LISSA_SAMPLES = 0.1, 500  # at least: with less damping LiSSA takes too many steps to be useful
CG = {"name": "cg", "max_iterations": 3000}
PRECISION = {True: 1e-4, False: 1e-8}  # tolerance of a converged solve, in single and in double precision
HESSIAN_STEPS = 3  # of CG; a network's exact Hessian is not positive definite: CG soon meets negative curvature
LARGEST_EXPLICIT = 2500  # parameters; the dense matrix has the square of this number of entries
POLICIES = ("influence", "uniform")


@dataclass(frozen=True)
class Variation:
    """One setting of the scores: what is varied, its value in words, the solver, the number of validation samples.

    ``alike`` marks variations that are compared with the first variation of the same kind, not with the default.
    """

    what: str
    value: str
    solver: dict
    validation: int | None = None
    alike: bool = False


def variations(solver: dict, family: Family, n_parameters: int, n: int, n_validation: int) -> list[Variation]:
    """Return the variations for a model of the given size and with the given default solver.

    Curvatures are compared only if the family declares a choice.
    """
    precision = PRECISION[family.single_precision]
    form = {key: solver[key] for key in ("samples", "parameters", "curvature", "damping") if key in solver}
    tried = [Variation("damping", f"{damping:g}", {**solver, "damping": damping})
             for damping in dict.fromkeys((*DAMPINGS, solver["damping"]))]  # fmt: skip
    tried += [Variation("curvature samples", _or_all(samples), {**solver, "samples": samples})
              for samples in dict.fromkeys((*_below(n, SAMPLES), solver.get("samples")))]  # fmt: skip
    tried += [Variation("validation samples", _or_all(size), solver, size) for size in _below(n_validation, VALIDATION)]
    tried += [Variation("solver", "default", solver),
              Variation("solver", "converged cg", {**form, **CG, "tolerance": precision})]  # fmt: skip
    if n_parameters <= LARGEST_EXPLICIT:
        tried.append(Variation("solver", "explicit", {**form, "name": "explicit", "tolerance": precision}))
    gentle = {**form, "damping": max(solver["damping"], LISSA_DAMPING), "samples": LISSA_SAMPLES}
    for what, option, values in (("LiSSA steps", "max_iterations", (25, 100, 400)),
                                 ("LiSSA batch", "batch_size", (16, 64, 256))):  # fmt: skip
        # LiSSA draws from all samples except those used for its residuals.
        exact = {**gentle, **CG, "samples": None, "tolerance": precision}
        tried.append(Variation(what, "converged cg", exact, alike=True))
        tried += [Variation(what, str(value), {**gentle, **LISSA, option: value}, alike=True) for value in values]
    if "curvature" in family.solver:
        both = {**form, "name": "cg", "samples": LISSA_SAMPLES, "parameters": "all", "tolerance": 0,
                "max_iterations": HESSIAN_STEPS}  # fmt: skip
        tried += [Variation("curvature", name, {**both, "curvature": name}, alike=True) for name in ("ggn", "hessian")]
    return tried


def _below(size: int, numbers: tuple[int | None, ...]) -> list[int | None]:
    return [number for number in numbers if number is None or number < size]


def _or_all(number: int | None) -> str:
    return "all" if number is None else str(number)


def write_variations(config: dict, cell: Cell) -> None:
    """Score a model's training set in every variation, and write one row for each as JSON.

    Quality is measured as in fidelity.csv. Agreement is with the scores of the default, or, if other settings differ
    from the default as well, with those of the first variation of the same kind.
    """
    work, halves = load(config, cell), cell.file("halves.npz")
    check_shared({cell.file("model.npz"): work.facts, halves: read_meta(halves)})
    work = replace(work, solver={"damping": 0.0, **work.solver}, selection=None)
    noise, removal_fraction = cell.noise, config["removal_fraction"]
    samples, (inputs, labels) = work.samples, work.validation
    name, n_parameters = work.facts["model"], len(work.problem().mean_gradient(inputs[:1], labels[:1]))
    order = generator(samples.seed, "fewer validation samples").permutation(len(labels))
    kept, losses = read_halves(halves, len(samples.labels))
    default, first = score_all(work).arrays["influence"], {}
    rows, scores = [], []
    sizes = (n_parameters, len(samples.labels), len(labels))
    for variation in tqdm(variations(work.solver, declared(name), *sizes), "variations", disable=None):
        subset = order[: variation.validation]
        is_default = _full(variation.solver) == _full(work.solver) and variation.validation is None
        row = dict.fromkeys(COLUMNS, "") | {"dataset": samples.dataset, "model": name, "noise": noise,
                                            "what": variation.what, "value": variation.value,
                                            "default": int(is_default)}  # fmt: skip
        rows.append(row)
        try:
            scored = score_all(replace(work, solver=variation.solver, validation=(inputs[subset], labels[subset])))
        except SolverError as error:  # also a result: there are no scores with these options
            row["status"] = f"failed: {error}"
            continue
        influence = scored.arrays["influence"]
        reference = first.setdefault(variation.what, influence) if variation.alike else default
        row |= {"status": scored.solver["status"], "residual": scored.solver["residual"],
                "steps": scored.solver["iterations"],
                **agreement(influence, reference, samples.labels, removal_fraction),
                "lds": datamodeling_score(influence, kept, losses),
                "auroc": auroc(influence, samples.flipped) if samples.flipped.any() else ""}  # fmt: skip
        scores.append((row, influence))
    intervals = datamodeling_intervals([influence for _, influence in scores], kept, losses)
    for (row, _), (low, high, *_) in zip(scores, intervals, strict=True):
        row |= {"lds_low": low, "lds_high": high}
    facts = stamp(seed=samples.seed, dataset=samples.dataset)
    write_json(cell.file("sensitivity.json"), {"rows": rows, "provenance": facts})


def _full(solver: dict) -> dict:
    return {"samples": None, **solver}


def write_fractions(config: dict, cell: Cell, fractions: list[float]) -> None:
    """Remove different shares of the training set once, retrain, and write the changes of accuracy as JSON.

    Samples are removed by influence, and the same number at random. Nothing is chosen from the results: the test part
    is only used for measurement.
    """
    work, settings = load(config, cell), model_settings(config, cell.dataset, cell.model, cell.noise)
    files = cell.file("scores.npz"), cell.file("predictions.npz")
    check_shared({cell.file("model.npz"): work.facts} | {file: read_meta(file) for file in (*files, cell.data)})
    samples, (arrays, before) = work.samples, (read_arrays(file)[0] for file in files)
    form = declared(cell.model).inputs
    parts = {name: load_held(form, cell.data, cell.labels, name) for name in ("test", "selection")}
    start = {name: measure(before[f"probabilities_{name}"], before[f"labels_{name}"])["accuracy"] for name in parts}
    rows = []
    for fraction in tqdm(fractions, "fractions", disable=None):
        removal = by_influence(arrays["influence"], samples.labels, fraction)
        counts = np.bincount(samples.labels[removal.positions], minlength=samples.n_classes)
        for policy in POLICIES:
            gone = removal if policy == "influence" else as_many(policy, counts, arrays, samples.seed, 1)
            rest = np.delete(np.arange(len(samples.labels)), gone.positions)
            after = _accuracies(work, settings, rest, parts)
            rows.append({
                "dataset": samples.dataset, "model": cell.model, "noise": cell.noise, "seed": samples.seed,
                "policy": policy, "fraction": fraction, "removed": len(gone.positions),
                "accuracy_change": after["test"] - start["test"],
                "selection_accuracy_change": after["selection"] - start["selection"],
            })  # fmt: skip
    facts = stamp(seed=samples.seed, dataset=samples.dataset, settings=settings)
    write_json(cell.file("fractions.json"), {"rows": rows, "provenance": facts})


def _accuracies(work: Work, settings: dict, rest: np.ndarray, parts: dict) -> dict[str, float]:
    samples = work.samples
    model, _ = work.family.fit(samples.inputs[rest], samples.labels[rest], samples.n_classes, settings, samples.seed)
    return {name: measure(work.family.probabilities(model, inputs), labels)["accuracy"]
            for name, (inputs, labels) in parts.items()}  # fmt: skip


def gather_rows(parts: list[Path], columns: tuple[str, ...], out: Path) -> None:
    """Write one table from the rows of many JSON files, and next to it their provenance."""
    contents = [read_json(part, rows=list, provenance=dict) for part in parts]
    write_rows(out, columns, [row for content in contents for row in content["rows"]])
    write_json(out.with_suffix(".json"), {"runs": [content["provenance"] for content in contents]})
