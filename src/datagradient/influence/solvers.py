"""Solvers of (H + δI) x = b, independent of models: ``(matvec, b, options) -> (x, record)``.

Damping δ is added only here and means the same for every solver. Vectors are NumPy arrays, or torch tensors on whatever
device, where they stay through a solve.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from datagradient.errors import UserError

Vector = Any
Matvec = Callable[[Vector], Vector]
INDEFINITE = 1e-6  # share of the largest eigenvalue; a more negative one is not rounding error of single precision
# LiSSA: steps of the power iteration, checks of the residual per repeat, the largest tolerated rise, restarts.
POWER_ITERATIONS, CHECKS, RISE, RESTARTS = 10, 4, 1.1, 6


@dataclass(frozen=True)
class SolverRecord:
    """What a solver did; it is saved with the scores.

    Attributes:
        solver: the solver's name.
        status: ``"converged"``; ``"unconverged"`` if the budget ran out first; ``"truncated"`` after a number of
            steps fixed in advance, which regularises; ``"approximate"`` for an approximate inverse.
        iterations: steps taken; of LiSSA those of the repeats that were kept, without what a restart gave up.
        products: Hessian-vector products computed, including the final check of the residual.
        residual: ‖b − (H + δI)x‖ / ‖b‖, recomputed at the end.
        damping: δ.
        tolerance: the residual that counts as converged.
        note: what else there is to say, such as why a record was not used.
    """

    solver: str
    status: str
    iterations: int
    products: int
    residual: float
    damping: float
    tolerance: float
    note: str = ""

    def as_dict(self) -> dict:
        """Return the fields as a dict for JSON."""
        return asdict(self)


class SolverError(UserError):
    """A solve that cannot give a meaningful result."""


class AgedRecord(SolverError):
    """What training kept of the samples is of too different weights than the trained ones: let them pass again.

    Args:
        message: what is wrong.
        agreement: the rank correlation of scores that was too low.
    """

    def __init__(self, message: str, agreement: float = float("nan")):
        super().__init__(message)
        self.agreement = agreement


def explicit(
    matvec: Matvec, b: np.ndarray, *, damping: float = 0.0, tolerance: float = 1e-8
) -> tuple[np.ndarray, SolverRecord]:
    """Form the matrix with one product per parameter and solve directly: the reference for small problems.

    Directions in which H + δI is zero (the common shift of all biases of a multinomial model) are left
    out of x, as in a pseudo-inverse.

    Raises:
        SolverError: b has a component in those directions, so that no solution exists; H + δI has a negative
            eigenvalue; or a number is not finite.
    """
    _check(b, "explicit", damping, tolerance)
    matrix = np.array([matvec(unit) + damping * unit for unit in np.eye(len(b))]).T
    if not np.isfinite(matrix).all():
        raise SolverError(
            "explicit solve: a product with the curvature is not finite: look for samples with huge values"
        )
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    if values[0] < -INDEFINITE * values[-1]:
        raise SolverError(f"explicit solve: curvature {values[0]:.3g} in a direction, damping {damping:g}: raise it")
    x = np.linalg.lstsq(matrix, b, rcond=1e-12)[0]
    residual = _relative_residual(matvec, b, x, damping)
    if not residual <= tolerance:
        raise SolverError(f"explicit solve: relative residual {residual:.1e} at damping {damping:g}; raise the damping")
    return x, SolverRecord("explicit", "converged", 1, len(b) + 1, residual, damping, tolerance)


@np.errstate(over="ignore", invalid="ignore")  # non-finite numbers raise an error below
def cg(
    matvec: Matvec,
    b: Vector,
    *,
    damping: float = 0.0,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    preconditioner: Matvec | None = None,
) -> tuple[Vector, SolverRecord]:
    """Conjugate gradients (Hestenes and Stiefel 1952), preconditioned if an approximate inverse is given.

    Args:
        matvec: the product with the symmetric positive semi-definite H, without damping.
        b: right-hand side.
        damping: δ ≥ 0, added to the operator.
        tolerance: relative residual to reach; 0 to take `max_iterations` steps whatever the residual: stopping
            early leaves out directions of small curvature, as damping does.
        max_iterations: the budget; a solve that reaches it before the tolerance is marked unconverged.
        preconditioner: the product with a symmetric positive definite approximation of (H + δI)⁻¹.

    Raises:
        SolverError: a number is not finite, or a direction has non-positive curvature.
    """
    _check(b, "cg", damping, tolerance, max_iterations)
    precondition = preconditioner or (lambda vector: vector)
    x, residual = 0 * b, b
    direction = precondition(residual)
    energy = float(residual @ direction)
    target, iterations = tolerance * _norm(b), 0
    while iterations < max_iterations and _norm(residual) > target:
        if energy == 0:  # the residual is below the smallest representable number
            break
        if not np.isfinite(energy):
            raise SolverError(
                f"cg: curvature near 0 in step {iterations + 1}, damping {damping:g}: raise it, or train with l2 > 0"
            )
        if energy < 0:
            raise SolverError(f"cg: the preconditioner is not positive definite in step {iterations + 1}: use another")
        product = matvec(direction) + damping * direction
        curvature = float(direction @ product)
        if not np.isfinite(curvature) or curvature <= 0:
            raise SolverError(f"cg: curvature {curvature:.3g} in step {iterations + 1}, damping {damping:g}: raise it")
        step = energy / curvature
        x = x + step * direction
        residual = residual - step * product
        preconditioned = precondition(residual)
        energy, previous = float(residual @ preconditioned), energy
        direction = preconditioned + (energy / previous) * direction
        iterations += 1
    reached = _relative_residual(matvec, b, x, damping)
    # The residual that CG updates drifts from the true one by rounding: allow for that, but no more.
    status = "truncated" if tolerance == 0 else "converged" if reached <= 2 * tolerance else "unconverged"
    _check_solution(x, "cg", damping)
    return x, SolverRecord("cg", status, iterations, iterations + 1, reached, damping, tolerance)


def lissa(
    matvec: Matvec,
    b: Vector,
    minibatches: Iterator[Matvec],
    random: np.random.Generator,
    *,
    damping: float = 0.0,
    tolerance: float = 0.1,
    max_iterations: int = 100,
    repeats: int = 1,
) -> tuple[Vector, SolverRecord]:
    """LiSSA (Agarwal, Bullins and Hazan 2017): x ← x + (b − (H_B + δI) x) / σ over mini-batches B.

    The scale σ is the largest eigenvalue of H + δI, found by power iteration. If the residual rises, σ is
    doubled and the repeat restarts. In Koh and Liang's code and its descendants damping means H + δσI;
    here it is δ, as for the other solvers.

    Args:
        matvec: the product with H on a fixed held-out part of the training set, used for σ and the residuals.
        b: right-hand side.
        minibatches: products with the H of mini-batches, drawn from the rest of the training set.
        random: draws the starting vector of the power iteration.
        damping: δ ≥ 0.
        tolerance: relative residual that counts as converged.
        max_iterations: steps in each repeat.
        repeats: independent runs, whose results are averaged.

    Raises:
        SolverError: the residual still rises after `RESTARTS` doublings of σ, the curvature is negative, or a number is
            not finite.
    """
    _check(b, "lissa", damping, tolerance, max_iterations, repeats)
    start = random.standard_normal(len(b))
    start = start if isinstance(b, np.ndarray) else b.new_tensor(start)
    scale, products = _largest_eigenvalue(matvec, start, damping), POWER_ITERATIONS
    checks = set(np.linspace(0, max_iterations, CHECKS + 1, dtype=int)[1:].tolist())
    results, restarts = [], 0
    while len(results) < repeats:
        x, best = 0 * b, 1.0
        for step in range(1, max_iterations + 1):
            x = x + (b - next(minibatches)(x) - damping * x) / scale
            if step in checks:
                residual, products = _relative_residual(matvec, b, x, damping), products + 1
                best = min(best, residual)
                if not residual <= RISE * best:
                    break
        products += step
        if residual <= RISE * best and residual < 1:
            results.append(x)
            continue
        scale, restarts = 2 * scale, restarts + 1
        if restarts > RESTARTS:
            raise SolverError(
                f"lissa: diverges: relative residual {residual:.2g} at damping {damping:g} after {RESTARTS} doublings "
                f"of sigma to {scale / 2:.3g}; raise damping or batch_size"
            )
    x = sum(results) / len(results)
    reached = _relative_residual(matvec, b, x, damping)
    status = "converged" if reached <= tolerance else "unconverged"
    return x, SolverRecord("lissa", status, max_iterations * repeats, products + 1, reached, damping, tolerance)


def direct(
    matvec: Matvec, b: Vector, inverse: Matvec, name: str, *, damping: float = 0.0
) -> tuple[Vector, SolverRecord]:
    """Apply an approximate inverse of H + δI once; the record says how far the result is from the exact solution.

    The residual does not measure the quality of the scores: an approximate inverse can rank samples better than an
    exact one.
    """
    _check(b, name, damping)
    x = inverse(b)
    _check_solution(x, name, damping)
    return x, SolverRecord(name, "approximate", 1, 1, _relative_residual(matvec, b, x, damping), damping, 0.0)


def _norm(vector: Vector) -> float:
    return math.sqrt(float(vector @ vector))


def _is_finite(vector: Vector) -> bool:
    return bool((abs(vector) < math.inf).all())


def _largest_eigenvalue(matvec: Matvec, start: Vector, damping: float) -> float:
    vector, value = start / _norm(start), 0.0
    for _ in range(POWER_ITERATIONS):
        product = matvec(vector) + damping * vector
        value = _norm(product)
        if not np.isfinite(value) or value == 0:
            raise SolverError(f"lissa: power iteration found an eigenvalue of {value}: where it is 0 raise the "
                              "damping, otherwise look for samples with huge values")  # fmt: skip
        curvature = float(vector @ product)
        if curvature < -INDEFINITE * value:
            raise SolverError(f"lissa: curvature {curvature:.3g}, damping {damping:g}: raise it")
        vector = product / value
    return value


def _check(b: Vector, name: str, damping: float, tolerance: float = 0.0, *counts: int) -> None:
    """Refuse a right-hand side or options for which the status would be meaningless."""
    if not _is_finite(b):
        parameter = next(place for place, value in enumerate(b.tolist()) if not math.isfinite(value))
        raise SolverError(f"{name}: the right-hand side is not finite at parameter {parameter}")
    if not 0 <= damping < np.inf:
        raise SolverError(f"{name}: damping {damping:g}; it is a number from 0 on")
    if not 0 <= tolerance < 1:
        raise SolverError(f"{name}: tolerance {tolerance:g}; it is a relative residual, from 0 to below 1")
    if any(count < 1 for count in counts):
        raise SolverError(f"{name}: max_iterations and repeats are at least 1")


def _check_solution(x: Vector, name: str, damping: float) -> None:
    if not _is_finite(x):
        raise SolverError(f"{name}: the solution is not finite at damping {damping:g}; raise the damping")


def _relative_residual(matvec: Matvec, b: Vector, x: Vector, damping: float) -> float:
    size, residual = _norm(b), _norm(b - matvec(x) - damping * x)
    return float(residual / size) if size else float(np.inf if residual else 0.0)
