"""Solvers of (H + δI) x = b. They know nothing of models: ``(matvec, b, options) -> (x, record)``.

Damping δ is added here, once, and means the same for every solver.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from datagradient.errors import UserError

Matvec = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class SolverRecord:
    """What a solver did; it is saved beside the scores.

    Attributes:
        solver: the solver's name.
        status: ``"converged"``, or ``"unconverged"`` when the budget ended first.
        iterations: steps taken.
        products: Hessian-vector products computed, the final check of the residual included.
        residual: ‖b − (H + δI)x‖ / ‖b‖, computed afresh at the end.
        damping: δ.
        tolerance: the residual that counts as converged.
    """

    solver: str
    status: str
    iterations: int
    products: int
    residual: float
    damping: float
    tolerance: float

    def as_dict(self) -> dict:
        """Return the fields as a dict for JSON."""
        return asdict(self)


class SolverError(UserError):
    """A solve that cannot give a meaningful result."""


def explicit(
    matvec: Matvec, b: np.ndarray, *, damping: float = 0.0, tolerance: float = 1e-8
) -> tuple[np.ndarray, SolverRecord]:
    """Form the matrix with one product per parameter and solve directly: the oracle for small problems.

    Directions in which H + δI is zero (the common shift of all biases of a multinomial model) are left
    out of x, as in a pseudo-inverse.

    Raises:
        SolverError: b has a part in those directions, so that no solution exists.
    """
    columns = [matvec(unit) + damping * unit for unit in np.eye(len(b))]
    x = np.linalg.lstsq(np.array(columns).T, b, rcond=1e-12)[0]
    residual = _relative_residual(matvec, b, x, damping)
    if not residual <= tolerance:
        raise SolverError(f"explicit solve: relative residual {residual:.1e} at damping {damping:g}; raise the damping")
    return x, SolverRecord("explicit", "converged", 1, len(b) + 1, residual, damping, tolerance)


def cg(
    matvec: Matvec,
    b: np.ndarray,
    *,
    damping: float = 0.0,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    preconditioner: Matvec | None = None,
) -> tuple[np.ndarray, SolverRecord]:
    """Conjugate gradients (Hestenes and Stiefel 1952), preconditioned where an approximate inverse is given.

    Args:
        matvec: the product with the symmetric positive semi-definite H, without damping.
        b: right-hand side.
        damping: δ ≥ 0, added to the operator.
        tolerance: relative residual to reach.
        max_iterations: the budget; a solve that ends there is marked unconverged.
        preconditioner: the product with a symmetric positive definite approximation of (H + δI)⁻¹.

    Raises:
        SolverError: a product is not finite, or a direction of non-positive curvature was met.
    """
    precondition = preconditioner or (lambda vector: vector)
    x, residual = np.zeros_like(b), b
    direction = precondition(residual)
    energy = residual @ direction
    target, iterations = tolerance * np.linalg.norm(b), 0
    while iterations < max_iterations and np.linalg.norm(residual) > target:
        product = matvec(direction) + damping * direction
        curvature = direction @ product
        if not np.isfinite(curvature) or curvature <= 0:
            raise SolverError(f"cg: curvature {curvature:.3g} in step {iterations + 1}, damping {damping:g}: raise it")
        step = energy / curvature
        x += step * direction
        residual = residual - step * product
        preconditioned = precondition(residual)
        energy, previous = residual @ preconditioned, energy
        direction = preconditioned + (energy / previous) * direction
        iterations += 1
    reached = _relative_residual(matvec, b, x, damping)
    # The residual that CG updates drifts from the true one by rounding: allow that and no more.
    status = "converged" if reached <= 2 * tolerance else "unconverged"
    return x, SolverRecord("cg", status, iterations, iterations + 1, reached, damping, tolerance)


def _relative_residual(matvec: Matvec, b: np.ndarray, x: np.ndarray, damping: float) -> float:
    size = np.linalg.norm(b)
    return float(np.linalg.norm(b - matvec(x) - damping * x) / size) if size > 0 else 0.0
