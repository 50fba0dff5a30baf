"""Scoring the samples that a model was trained on, in memory: S once, then the projection."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np

from datagradient.data.training_set import TrainingSet
from datagradient.errors import one_line
from datagradient.influence.options import PROBLEM_OPTIONS, RECORD
from datagradient.influence.scores import Direction, curvature_rows, find_direction, influence_along, score
from datagradient.influence.solvers import AgedRecord, SolverRecord
from datagradient.refine.policies import SCORES, Basis

EVERY = slice(None)
NOT_KEPT = "training kept no record of the samples: by a pass over them"


@dataclass(frozen=True)
class Work:
    """A trained model with its training set, the validation samples and labels, and how S is solved for.

    ``solver`` is for the kind of the data: no more overrides by kind. ``selection`` are samples and labels that no
    removal goes by; the samples are scored against them too, so that the scores can be judged by samples that did not
    choose them. None: they are not. ``records`` holds what training and predicting kept of the training samples and of
    these parts, see `datagradient.refine.training.Trained`.
    """

    family: ModuleType
    model: Any
    facts: dict
    samples: TrainingSet
    validation: tuple[Any, np.ndarray]
    solver: dict
    selection: tuple[Any, np.ndarray] | None = None
    records: Mapping[str, Any] = field(default_factory=dict)

    def part(self, name: str) -> tuple[Any, np.ndarray]:
        """Return inputs, or what was kept of them, and labels of the part ``"influence"`` or ``"selection"``."""
        inputs, labels = {"influence": self.validation, "selection": self.selection}[name]
        return self.records.get(name, inputs), labels

    def problem(self, shard: slice = EVERY) -> Any:
        """Return the influence problem of the training samples, or of a shard, which is for projection alone."""
        form = {key: self.solver[key] for key in PROBLEM_OPTIONS[1:] if key in self.solver}
        whole = shard == EVERY
        n, seed = len(self.samples.labels), self.samples.seed
        rows = curvature_rows(n, self.solver.get("samples"), seed) if whole else None
        inputs, labels = self.records.get("train", self.samples.inputs), self.samples.labels
        inputs, labels = (inputs, labels) if whole else (inputs[shard], labels[shard])
        return self.family.problem(self.model, inputs, labels, rows, **form)


@dataclass(frozen=True)
class Scored:
    """Arrays of one number a sample (as in scores.npz), the solver's record, seconds by step, and of other scores."""

    arrays: dict[str, np.ndarray]
    solver: dict
    seconds: dict[str, float]
    other_seconds: float
    direction: Direction | None = None  # of a shard it stands in a file
    selection_solution: np.ndarray | None = None  # S of the selection part


def solve_direction(work: Work) -> tuple[Direction, np.ndarray | None]:
    """Return S, whose seconds count the setting up too, and that of the selection part.

    If what training kept of the samples is of too old weights, they pass through the model, and a note says so.
    """
    start = time.perf_counter()
    problem, setup = set_up(work)
    found = find_direction(problem, *work.part("influence"), seed=work.samples.seed, **solver_options(work))
    selection = selection_solution(work, problem)
    if "train" in work.records:
        try:
            for solution in (found.solution, *([] if selection is None else [selection])):
                influence_along(problem, solution)
        except AgedRecord as error:
            spent = time.perf_counter() - start
            found, selection = solve_direction(without_record(work))
            return _instead(found, error, spent), selection
    found = replace(found, record=_noted(found.record, work), seconds={"setup": setup, **found.seconds})
    return found, selection


def _instead(direction: Direction, error: AgedRecord, spent: float) -> Direction:
    """Return a direction with a note that a record was not used, and the seconds that trying it took."""
    seconds = {**direction.seconds, "setup": direction.seconds["setup"] + spent}
    return replace(direction, seconds=seconds, record=replace(direction.record, note=one_line(error)))


def _noted(record: SolverRecord, work: Work) -> SolverRecord:
    """Return a solver's record with a note if there was no record of the samples where there should be one."""
    missing = work.solver["name"] == RECORD and "train" not in work.records
    return replace(record, note=NOT_KEPT) if missing else record


def score_all(work: Work, also: Sequence[str] = ()) -> Scored:
    """Score all training samples of a model; `also` names other scores, of `datagradient.refine.policies.SCORES`.

    If what training kept of the samples is of too old weights, they pass through the model.
    """
    start = time.perf_counter()
    try:
        return _scored(work, also)
    except AgedRecord as error:
        spent = time.perf_counter() - start
        scored = _scored(without_record(work), also)
        direction = _instead(scored.direction, error, spent)
        seconds = {**scored.seconds, "setup": direction.seconds["setup"]}
        return replace(scored, seconds=seconds, solver=direction.record.as_dict(), direction=direction)


def without_record(work: Work) -> Work:
    """Return the work with training samples that pass through the model."""
    return replace(work, records={part: record for part, record in work.records.items() if part != "train"})


def _scored(work: Work, also: Sequence[str]) -> Scored:
    problem, setup = set_up(work)
    found = score(problem, *work.part("influence"), seed=work.samples.seed, **solver_options(work))
    seconds = {"setup": setup, **found.seconds}
    start = time.perf_counter()
    solution = selection_solution(work, problem)
    selection_seconds = time.perf_counter() - start
    gradient = found.direction.validation_gradient
    arrays, other_seconds = with_others(work, problem, found.influence, gradient, also, solution)
    record, steps = _noted(found.record, work), {"setup": setup, **found.direction.seconds}
    direction = replace(found.direction, record=record, seconds=steps)
    return Scored(arrays, record.as_dict(), seconds, selection_seconds + other_seconds, direction, solution)


def selection_solution(work: Work, problem: Any) -> np.ndarray | None:
    """Return S of the selection part, with the solver of the influence part; None if there is no such part."""
    if work.selection is None:
        return None
    return find_direction(problem, *work.part("selection"), seed=work.samples.seed, **solver_options(work)).solution


def score_further(work: Work, solution: np.ndarray, inputs: Any, labels: np.ndarray, first: int = 0) -> np.ndarray:
    """Score samples that a model was not trained on, along the S of its training samples.

    Args:
        work: the trained model.
        solution: S, which stands beside the scores in direction.npz.
        inputs: m samples, in the form that the model family takes.
        labels: (m,) class numbers.
        first: the number of the first sample, for messages.
    """
    further = replace(without_record(work), samples=replace(work.samples, inputs=inputs, labels=labels))
    return influence_along(further.problem(slice(0, len(labels))), solution, first)


def set_up(work: Work, shard: slice = EVERY) -> tuple[Any, float]:
    """Return the influence problem, and the seconds that it took to set up."""
    start = time.perf_counter()
    problem = work.problem(shard)
    return problem, time.perf_counter() - start


def solver_options(work: Work) -> dict:
    """Return the options of the solver itself: those of the problem left out."""
    return {key: value for key, value in work.solver.items() if key not in PROBLEM_OPTIONS}


def with_others(
    work: Work, problem: Any, influence: np.ndarray, gradient: np.ndarray, also: Sequence[str],
    solution: np.ndarray | None = None, shard: slice = EVERY,
) -> tuple[dict[str, np.ndarray], float]:  # fmt: skip
    """Return the arrays of scores.npz, and the seconds that other scores than influence took.

    `solution` is S of the selection part.
    """
    start = time.perf_counter()
    arrays = {name: getattr(work.samples, name)[shard] for name in ("positions", "labels", "flipped")}
    arrays["influence"] = influence
    if solution is not None:
        arrays["influence_selection"] = influence_along(problem, solution, shard.start or 0)
    if also:
        inputs = work.samples.inputs if shard == EVERY else work.samples.inputs[shard]
        basis = Basis(work.family, work.model, inputs, arrays["labels"], work.validation, problem, gradient)
        arrays |= {name: SCORES[name](basis) for name in also}
    return arrays, time.perf_counter() - start
