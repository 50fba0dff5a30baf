"""Scoring a model's training samples: S once, then the projection, over all samples or over shards that run apart."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from datagradient.data.training_set import TrainingSet
from datagradient.errors import UserError
from datagradient.files import read_arrays, read_meta, write_arrays, write_json
from datagradient.influence.glm import ROWS
from datagradient.influence.options import PROBLEM_OPTIONS
from datagradient.influence.scores import (
    Direction,
    curvature_rows,
    dataset_contribution,
    find_direction,
    influence_along,
    score,
)
from datagradient.models import declared, family, load
from datagradient.pipeline.layout import solver_for
from datagradient.pipeline.provenance import check_shared
from datagradient.pipeline.training import load_part, load_training_set
from datagradient.refine.policies import SCORES, Basis

EVERY = slice(None)


@dataclass(frozen=True)
class Work:
    """A trained model with its training set, the validation samples and labels, and how S is solved for.

    ``solver`` is for the kind of the data: no more overrides by kind.
    """

    family: ModuleType
    model: Any
    facts: dict
    samples: TrainingSet
    validation: tuple[Any, np.ndarray]
    solver: dict

    def problem(self, shard: slice = EVERY) -> Any:
        """Return the influence problem of the training samples, or of a shard, which is for projection alone."""
        form = {key: self.solver[key] for key in PROBLEM_OPTIONS[1:] if key in self.solver}
        whole = shard == EVERY
        n, seed = len(self.samples.labels), self.samples.seed
        rows = curvature_rows(n, self.solver.get("samples"), seed) if whole else None
        inputs, labels = (self.samples.inputs, self.samples.labels) if whole else (
            self.samples.inputs[shard], self.samples.labels[shard])  # fmt: skip
        return self.family.problem(self.model, inputs, labels, rows, **form)


def load_work(model: str, solver: dict, model_file: str, data: str, labels: str, kept: str | None) -> Work:
    """Read what a model is scored with; `solver` may hold overrides by the kind of the data.

    Raises:
        UserError: the model was trained on other samples or labels than these.
    """
    form, (trained, facts) = declared(model).inputs, load(model, model_file, data)
    samples = load_training_set(form, data, labels, kept)
    check_shared({model_file: facts, f"{labels} with {kept}" if kept else labels: samples.facts})
    validation = load_part(form, data, "influence")
    return Work(family(model), trained, facts, samples, validation, solver_for(solver, read_meta(data)["modality"]))


@dataclass(frozen=True)
class Scored:
    """Arrays of one number a sample (as in scores.npz), the solver's record, seconds by step, and of other scores."""

    arrays: dict[str, np.ndarray]
    solver: dict
    seconds: dict[str, float]
    other_seconds: float
    direction: Direction | None = None  # of a shard it stands in a file


def solve_direction(work: Work) -> Direction:
    """Return S; its seconds count the setting up too."""
    problem, setup = _set_up(work)
    found = find_direction(problem, *work.validation, seed=work.samples.seed, **_solver_options(work))
    return replace(found, seconds={"setup": setup, **found.seconds})


def score_all(work: Work, also: Sequence[str] = ()) -> Scored:
    """Score all training samples of a model; `also` names other scores, of `datagradient.refine.policies.SCORES`."""
    problem, setup = _set_up(work)
    found = score(problem, *work.validation, seed=work.samples.seed, **_solver_options(work))
    seconds = {"setup": setup, **found.seconds}
    arrays, other_seconds = _with_others(work, problem, found.influence, found.direction.validation_gradient, also)
    direction = replace(found.direction, seconds={"setup": setup, **found.direction.seconds})
    return Scored(arrays, found.record.as_dict(), seconds, other_seconds, direction)


def score_further(work: Work, solution: np.ndarray, inputs: Any, labels: np.ndarray, first: int = 0) -> np.ndarray:
    """Score samples that a model was not trained on, along the S of its training samples.

    Args:
        work: the trained model.
        solution: S, which stands beside the scores in direction.npz.
        inputs: m samples, in the form that the model family takes.
        labels: (m,) class numbers.
        first: the number of the first sample, for messages.
    """
    further = replace(work, samples=replace(work.samples, inputs=inputs, labels=labels))
    return influence_along(further.problem(slice(0, len(labels))), solution, first)


def _set_up(work: Work, shard: slice = EVERY) -> tuple[Any, float]:
    """Return the influence problem, and the seconds that it took to set up."""
    start = time.perf_counter()
    problem = work.problem(shard)
    return problem, time.perf_counter() - start


def _solver_options(work: Work) -> dict:
    return {key: value for key, value in work.solver.items() if key not in PROBLEM_OPTIONS}


def _with_others(
    work: Work, problem: Any, influence: np.ndarray, gradient: np.ndarray, also: Sequence[str], shard: slice = EVERY
) -> tuple[dict[str, np.ndarray], float]:
    """Return the arrays of scores.npz, and the seconds that other scores than influence took."""
    start = time.perf_counter()
    arrays = {name: getattr(work.samples, name)[shard] for name in ("positions", "labels", "flipped")}
    arrays["influence"] = influence
    if also:
        inputs = work.samples.inputs if shard == EVERY else work.samples.inputs[shard]
        basis = Basis(work.family, work.model, inputs, arrays["labels"], work.validation, problem, gradient)
        arrays |= {name: SCORES[name](basis) for name in also}
    return arrays, time.perf_counter() - start


def warn_unconverged(record: dict, out: Path) -> None:
    """Say on standard error that a solve ended before its tolerance."""
    if record["status"] == "unconverged":
        print(f"warning: {out}: the solve is unconverged: {record}", file=sys.stderr)


def write_scores(scored: Scored, options: dict, facts: dict, out: Path) -> None:
    """Write scores.npz, and influence.json beside it; `options` are the solver's, `facts` the model's."""
    write_arrays(out, facts, **scored.arrays)
    content = {
        "solver": scored.solver, "options": options, "seconds": scored.seconds,
        "other_scores_seconds": scored.other_seconds,
        "contribution": dataset_contribution(scored.arrays["influence"]), "provenance": facts,
    }  # fmt: skip
    write_json(out.with_name("influence.json"), content)


def write_direction(work: Work, found: Direction, out: Path) -> None:
    """Write direction.npz: S and ∇L_V, and in its facts what influence.json takes from here."""
    about = {"solver": found.record.as_dict(), "options": work.solver, "seconds": found.seconds, "facts": work.facts,
             "n": len(work.samples.labels)}  # fmt: skip
    write_arrays(out, about, solution=found.solution, gradient=found.validation_gradient)


def shard_of(n: int, number: int, count: int) -> slice:
    """Return the samples of a shard, from a multiple of `ROWS` on: batches, and so bytes, are those of one pass.

    Where n is small, some shards are empty.
    """
    blocks = -(-n // ROWS)
    first, last = (ROWS * (blocks * k // count) for k in (number, number + 1))
    return slice(first, min(last, n))


def score_shard(work: Work, direction: Path, shard: tuple[int, int], also: Sequence[str], out: Path) -> None:
    """Score one shard of the training samples with the S of a file, and write the same arrays as scores.npz has."""
    arrays, about = read_arrays(direction)
    if about["facts"] != work.facts:
        raise UserError(f"{direction}: is of another model or training set; make it again with 'direction'")
    rows, work = shard_of(len(work.samples.labels), *shard), replace(work, solver=about["options"])
    scored, setup, projection, others = {}, 0.0, 0.0, 0.0
    if rows.start < rows.stop:
        problem, setup = _set_up(work, rows)
        start = time.perf_counter()
        influence = influence_along(problem, arrays["solution"], rows.start)
        projection = time.perf_counter() - start
        scored, others = _with_others(work, problem, influence, arrays["gradient"], also, rows)
    facts = {"direction": about, "first": rows.start, "rows": rows.stop - rows.start, "setup": setup,
             "projection": projection, "others": others}  # fmt: skip
    write_arrays(out, facts, **scored)


def gather_shards(direction: Path, shards: list[Path], out: Path) -> None:
    """Write scores.npz and influence.json from all shards, in any order, as one pass would have."""
    about, parts = read_meta(direction), [read_arrays(shard) for shard in shards]
    for shard, (_, facts) in zip(shards, parts, strict=True):
        if facts["direction"] != about:
            raise UserError(f"{shard}: was scored with another S than {direction}; make it again with 'project'")
    parts = sorted((part for part in parts if part[0]), key=lambda part: part[1]["first"])
    ends = [0]
    for _, facts in parts:
        if facts["first"] != ends[-1]:
            break
        ends.append(facts["first"] + facts["rows"])
    if len(ends) != len(parts) + 1 or ends[-1] != about["n"]:
        raise UserError(
            f"{out}: the shards are not all samples from 0 to {about['n']}, each once: one misses or repeats"
        )
    arrays = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    spent = {key: sum(facts[key] for _, facts in parts) for key in ("setup", "projection", "others")}
    seconds = {
        **about["seconds"],
        "setup": about["seconds"]["setup"] + spent["setup"],
        "projection": spent["projection"],
    }
    scored = Scored(arrays, about["solver"], seconds, spent["others"])
    write_scores(scored, about["options"], about["facts"], out)
