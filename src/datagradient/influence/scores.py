"""From S to scores and the dataset contribution score. The sign of influence is defined only here."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from datagradient.influence.options import PRECONDITIONERS, SOLVERS
from datagradient.influence.solvers import Matvec, SolverError, SolverRecord, cg, direct, explicit, lissa
from datagradient.seeds import generator


class Problem(Protocol):
    """What a model family must provide for scoring.

    `labels` are those of the n training samples; `rows` are the samples that H is averaged over (None for all).
    """

    labels: Any

    @property
    def rows(self) -> np.ndarray | None:
        """The samples that H is averaged over."""

    def check(self) -> None:
        """Raise a `SolverError` if the gradients are not those of the trained model's own objective."""

    def matvec(self, vector: np.ndarray) -> np.ndarray:
        """Return the product with the curvature H of the training objective."""

    def preconditioner(self, damping: float) -> Matvec | None:
        """Return the product with an approximation of (H + δI)⁻¹, or None if a preconditioner would not save time."""

    def sampled(self, rows: np.ndarray) -> Matvec:
        """Return the product with the curvature averaged over the given training samples."""

    def mean_gradient(self, features: Any, labels: np.ndarray) -> np.ndarray:
        """Return the gradient of the mean loss on the given samples; problems with weights also take `weights`."""

    def project(self, direction: np.ndarray) -> np.ndarray:
        """Return g_iᵀ·direction for every training sample."""

    def project_labels(self, direction: np.ndarray) -> np.ndarray:
        """Return g_iᵀ·direction of every training sample for each label that it could have: (n, classes)."""


@dataclass(frozen=True)
class Direction:
    """S = (H + δI)⁻¹ ∇L_V, together with ∇L_V, the solver's record and the seconds of each step."""

    solution: np.ndarray
    validation_gradient: np.ndarray
    record: SolverRecord
    seconds: dict[str, float]


@dataclass(frozen=True)
class Scores:
    """Influence of every training sample (n,), and S, with which further samples can be scored."""

    influence: np.ndarray
    direction: Direction
    seconds: dict[str, float]

    @property
    def record(self) -> SolverRecord:
        """What the solver did."""
        return self.direction.record


def score(
    problem: Problem,
    features: Any,
    labels: np.ndarray,
    name: str = "cg",
    seed: int = 0,
    weights: np.ndarray | None = None,
    **options: float,
) -> Scores:
    """Return the influence of every training sample on the mean loss of validation samples.

    I_i = −g_iᵀ S with S = (H + δI)⁻¹ ∇L_V: the change of the validation loss per unit of extra
    weight on sample i (Koh and Liang 2017, eq. 2). **I_i > 0: harmful, I_i < 0: helpful.** Removing
    sample i changes the validation loss by about −I_i / n. g_i is the gradient of the sample's part of the
    training objective: of its loss and of its share of a penalty on the mean loss.

    Args:
        problem: the trained model on its training set.
        features: validation features.
        labels: validation labels.
        name: the solver, one of `SOLVERS`.
        seed: drives the mini-batches of ``"lissa"``.
        weights: factors of the validation samples' losses; None for 1.
        options: options of the solver, see `SOLVERS`.

    Raises:
        SolverError: there is no validation sample, a label is not a class of the model, a gradient or score is not
            finite, or the problem is not that of the trained model (see its `check`).
    """
    direction = find_direction(problem, features, labels, name, seed, weights, **options)
    start = time.perf_counter()
    influence = influence_along(problem, direction.solution)
    return Scores(influence, direction, {**direction.seconds, "projection": time.perf_counter() - start})


def find_direction(
    problem: Problem,
    features: Any,
    labels: np.ndarray,
    name: str = "cg",
    seed: int = 0,
    weights: np.ndarray | None = None,
    **options: float,
) -> Direction:
    """Return S, the part of `score` shared by all training samples; arguments and errors are those of `score`."""
    if not len(labels):
        raise SolverError("no validation sample to compute influence against")
    clock = [time.perf_counter()]
    weight_argument = {} if weights is None else {"weights": weights}
    gradient = problem.mean_gradient(features, labels, **weight_argument)
    if not np.all(np.isfinite(gradient)):
        raise SolverError("the gradient of the validation loss is not finite: a validation sample or the model is not; "
                          "look for missing and huge values, or train again")  # fmt: skip
    clock.append(time.perf_counter())
    problem.check()
    solution, record = solve(problem, gradient, name, seed, **options)
    clock.append(time.perf_counter())
    return Direction(
        solution, gradient, record, dict(zip(("val_gradient", "solve"), np.diff(clock).tolist(), strict=True))
    )


def influence_along(problem: Problem, solution: np.ndarray, first: int = 0) -> np.ndarray:
    """Return I_i = −g_iᵀS of every training sample of a problem; `first` is the position of its first sample."""
    products = problem.project(solution)
    if hasattr(problem, "check_age"):
        problem.check_age(solution, products)
    influence = -products
    if not np.all(np.isfinite(influence)):
        sample = first + int(np.argmin(np.isfinite(influence)))
        raise SolverError(f"influence of training sample {sample} is not finite: look at its values, or train again")
    return influence


def influence_by_label(problem: Problem, solution: np.ndarray) -> np.ndarray:
    """Return the influence (n, classes) that every training sample would have with each label, along S.

    In the column of its own label stands I_i of `influence_along`; relabelling sample i from y to c changes the
    validation loss by about (I_ic − I_iy) / n. Through all of a model's parameters this holds as long as the sample
    does not change the model much.
    """
    influence = -problem.project_labels(solution)
    if hasattr(problem, "check_age"):
        problem.check_age(solution, -influence[np.arange(len(influence)), problem.labels])
    if not np.all(np.isfinite(influence)):
        sample = int(np.argmin(np.isfinite(influence).all(axis=1)))
        raise SolverError(f"influence of training sample {sample} is not finite: look at its values, or train again")
    return influence


def curvature_rows(n: int, samples: int | None, seed: int) -> np.ndarray | None:
    """Return the training samples that curvature is averaged over: `samples` of the n at random, or None for all."""
    if samples is None or samples >= n:
        return None
    return np.sort(generator(seed, "curvature").choice(n, size=samples, replace=False))


def solve(
    problem: Problem, b: np.ndarray, name: str, seed: int = 0, **options: float
) -> tuple[np.ndarray, SolverRecord]:
    """Solve (H + δI) x = b for a problem's curvature H by the named solver, with its options of `SOLVERS`."""
    if name not in SOLVERS:
        raise SolverError(f"no solver {name!r}; legal: {', '.join(SOLVERS)}")
    unknown = set(options) - set(SOLVERS[name])
    if unknown:
        raise SolverError(f"{name}: no option {', '.join(sorted(unknown))}; legal: {', '.join(SOLVERS[name])}")
    on_device = getattr(problem, "on_device", None)
    x, record = SOLVES[name](problem, on_device(b) if on_device else b, seed, **options)
    return x if isinstance(x, np.ndarray) else x.double().cpu().numpy(), record


def _by_cg(
    problem: Problem, b: np.ndarray, seed: int, preconditioner: str = "own", **options: float
) -> tuple[np.ndarray, SolverRecord]:
    if preconditioner not in PRECONDITIONERS:
        raise SolverError(f"cg: no preconditioner {preconditioner!r}; legal: {', '.join(PRECONDITIONERS)}")
    damping = options.get("damping", 0.0)
    if preconditioner == "ekfac":
        x, record = cg(problem.matvec, b, preconditioner=_ekfac(problem, damping), **options)
        return x, replace(record, solver="ekfac+cg")
    return cg(problem.matvec, b, preconditioner=problem.preconditioner(damping), **options)


def _by_record(problem: Problem, b: np.ndarray, seed: int, **options: float) -> tuple[np.ndarray, SolverRecord]:
    x, record = _by_cg(problem, b, seed, **options)
    return x, replace(record, solver="record")


def _explicitly(problem: Problem, b: np.ndarray, seed: int, **options: float) -> tuple[np.ndarray, SolverRecord]:
    return explicit(problem.matvec, b if isinstance(b, np.ndarray) else b.double().cpu().numpy(), **options)


def _by_ekfac(problem: Problem, b: np.ndarray, seed: int, **options: float) -> tuple[np.ndarray, SolverRecord]:
    return direct(problem.matvec, b, _ekfac(problem, options.get("damping", 0.0)), "ekfac", **options)


def _by_lissa(
    problem: Problem, b: np.ndarray, seed: int, batch_size: int = 64, **options: float
) -> tuple[np.ndarray, SolverRecord]:
    random = generator(seed, "lissa")
    return lissa(problem.matvec, b, _minibatches(problem, batch_size, random), random, **options)


# Solver -> the function that solves (H + δI) x = b for a problem; its options are listed in `SOLVERS`.
SOLVES = {"cg": _by_cg, "record": _by_record, "explicit": _explicitly, "lissa": _by_lissa, "ekfac": _by_ekfac}


def _ekfac(problem: Problem, damping: float) -> Matvec:
    if not hasattr(problem, "ekfac"):
        raise SolverError("ekfac: is for all parameters of a neural network; use cg without it")
    return problem.ekfac(damping)


def _minibatches(problem: Problem, size: int, random: np.random.Generator) -> Iterator[Matvec]:
    """Yield products with the curvature of mini-batches, drawn without the samples used for the residuals."""
    samples, rows = np.arange(len(problem.labels)), problem.rows
    others = samples if rows is None or len(rows) == len(samples) else np.setdiff1d(samples, rows)
    if len(others) < size:
        raise SolverError(f"lissa: {len(others)} training samples besides the held-out ones, for batches of {size}")
    while True:
        order = random.permutation(others)
        for start in range(0, len(others) - size + 1, size):
            # In their order: the caller's samples may lie in batches, which are passed one after the other.
            yield problem.sampled(np.sort(order[start : start + size]))


def dataset_contribution(influence: np.ndarray) -> dict[str, float]:
    """Return the summaries of one iteration's scores.

    ``dcs``: mean of tanh(−I_i / s), s the standard deviation, in [−1, 1]; positive if a few harmful
    samples are outnumbered by many mildly helpful ones. ``helpful_share``: share of samples with I_i < 0.
    ``mean_harm``: mean of max(I_i, 0). ``stationarity``: |Σ I_i| / Σ |I_i|, near 0 at an optimum.
    These are our definitions; the paper's abstract says only "a normalized aggregate".
    """
    spread, total = influence.std(), np.abs(influence).sum()
    return {
        "dcs": float(np.tanh(-influence / spread).mean()) if spread > 0 else 0.0,
        "helpful_share": float((influence < 0).mean()),
        "mean_harm": float(np.maximum(influence, 0).mean()),
        "stationarity": float(abs(influence.sum()) / total) if total > 0 else 0.0,
    }
