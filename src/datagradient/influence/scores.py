"""From S to scores and the dataset contribution score. The sign of influence is stated here, once."""

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from datagradient.influence.solvers import Matvec, SolverError, SolverRecord, cg, explicit
from datagradient.layout import SOLVERS


class Problem(Protocol):
    """What a model family provides to be scored."""

    def matvec(self, vector: np.ndarray) -> np.ndarray:
        """Return the product with the curvature H of the training objective."""

    def preconditioner(self, damping: float) -> Matvec | None:
        """Return the product with an approximation of (H + δI)⁻¹ for CG, or None where none pays."""

    def mean_gradient(self, features: Any, labels: np.ndarray) -> np.ndarray:
        """Return the gradient of the mean loss on the given samples."""

    def project(self, direction: np.ndarray) -> np.ndarray:
        """Return g_iᵀ·direction for every training sample."""


OPTIONS = ("damping", "tolerance", "max_iterations")


@dataclass(frozen=True)
class Scores:
    """Influence of every training sample (n,), the solver's record, and seconds by step."""

    influence: np.ndarray
    record: SolverRecord
    seconds: dict[str, float]


def score(problem: Problem, features: Any, labels: np.ndarray, name: str = "cg", **options: float) -> Scores:
    """Return the influence of every training sample on the mean loss of validation samples.

    I_i = −g_iᵀ S with S = (H + δI)⁻¹ ∇L_V: the change of the validation loss per unit of extra
    weight on sample i (Koh and Liang 2017, eq. 2). **I_i > 0: harmful, I_i < 0: helpful.** Removing
    sample i changes the validation loss by about −I_i / n.

    Args:
        problem: the trained model on its training set.
        features: validation features.
        labels: validation labels.
        name: the solver, ``"cg"`` or ``"explicit"``.
        options: the solver's own, e.g. ``damping``, ``tolerance``, ``max_iterations``.

    Raises:
        SolverError: a score is not finite.
    """
    clock = [time.perf_counter()]
    gradient = problem.mean_gradient(features, labels)
    clock.append(time.perf_counter())
    solution, record = solve(problem, gradient, name, **options)
    clock.append(time.perf_counter())
    influence = -problem.project(solution)
    clock.append(time.perf_counter())
    if not np.all(np.isfinite(influence)):
        raise SolverError(f"influence of training sample {int(np.argmin(np.isfinite(influence)))} is not finite")
    seconds = dict(zip(("val_gradient", "solve", "projection"), np.diff(clock).tolist(), strict=True))
    return Scores(influence, record, seconds)


def solve(problem: Problem, b: np.ndarray, name: str, **options: float) -> tuple[np.ndarray, SolverRecord]:
    """Solve (H + δI) x = b for a problem's curvature H by the named solver, with some of `OPTIONS`."""
    if name not in SOLVERS:
        raise SolverError(f"no solver {name!r}; legal: {', '.join(SOLVERS)}")
    if name == "explicit":
        options.pop("max_iterations", None)  # a direct solve has no budget to keep to
        return explicit(problem.matvec, b, **options)
    return cg(problem.matvec, b, preconditioner=problem.preconditioner(options.get("damping", 0.0)), **options)


def dataset_contribution(influence: np.ndarray) -> dict[str, float]:
    """Return the summaries of one iteration's scores.

    ``dcs``: mean of tanh(−I_i / s), s the standard deviation, in [−1, 1]; positive when few harmful
    samples stand against many mildly helpful ones. ``helpful_share``: share of samples with I_i < 0.
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
