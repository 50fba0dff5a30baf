"""The actual effect of removing one sample near the trained parameters θ₀: a proximal refit.

It minimises

    mean_i D_i(θ, θ₀) + δ/2 ‖θ − θ₀‖² + Σ_j penalty_j/2 (θ_j − θ₀_j)² − (1/n) [ℓ(z, θ) + penalty's share of z],

where D_i is the Bregman divergence of the weighted loss in the outputs (for cross-entropy the Kullback–Leibler
divergence of the predictions from those of θ₀), averaged over the samples that curvature is averaged over. A converged
S is its first-order approximation (Bae et al. 2022, arXiv 2209.05364). If θ₀ is a minimum, δ = 0 and curvature is
averaged over all samples, as for logistic regression, it is the exact refit without z.
"""

import copy
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagradient.influence.glm import (
    GeneralisedLinearProblem,
    LinearProblem,
    mean_loss,
    probabilities_of,
    residuals_of,
    weighted,
)
from datagradient.influence.labels import count
from datagradient.influence.scores import solve
from datagradient.influence.solvers import SolverError

# Newton steps with the curvature at θ₀, and the number of them that Anderson mixing (1965) combines: the removed
# sample's curvature has low rank. Then the share of the first gradient that counts as converged.
STEPS, MIXED, CONVERGED = 60, 10, 1e-6
SOLVER = {"name": "cg", "tolerance": 1e-3, "max_iterations": 3000}  # for each Newton step
Gradient, Loss = Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Refit:
    """The change of the mean validation loss, and whether the gradient fell to `CONVERGED` of the first one."""

    change: float
    converged: bool


def proximal_refit(
    problem: Any, validation: tuple[Any, Any], sample: int, damping: float, weights: np.ndarray | None = None
) -> Refit:
    """Return how removing one training sample changes the mean validation loss, near the trained parameters.

    The result is NaN and not converged for a problem that is neither cross-entropy in closed form nor a network.

    Args:
        problem: the trained model on its training set.
        validation: features and labels, as `datagradient.influence.scores.score` takes them.
        sample: position of the training sample.
        damping: δ.
        weights: factors of the validation samples' losses; None for 1.
    """
    from scipy.linalg import LinAlgWarning
    from scipy.optimize import NoConvergence, anderson

    if isinstance(problem, GeneralisedLinearProblem):
        make = _linear
    elif hasattr(problem, "curvature_samples"):  # a network, by its own parameters
        make = _network
    else:
        return Refit(float("nan"), False)
    theta, gradient, loss = make(problem, validation, sample, damping, weights)

    def newton(slope: np.ndarray) -> np.ndarray:
        return solve(problem, slope, damping=damping, **SOLVER)[0]

    slope = gradient(theta)
    unit = np.linalg.norm(newton(slope))  # one sample of thousands moves θ by far less than the minimiser's own limits
    if unit == 0:
        return Refit(0.0, True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LinAlgWarning)  # raised by the last steps, which are nearly equal
            moved = anderson(lambda x: newton(gradient(theta + unit * x)) / unit, np.zeros_like(theta), alpha=-1.0,
                             M=MIXED, maxiter=STEPS, f_tol=CONVERGED / 10)  # fmt: skip
    except NoConvergence as unfinished:
        moved = unfinished.args[0]
    except SolverError:
        return Refit(float("nan"), False)
    refit = theta + unit * moved
    converged = np.linalg.norm(gradient(refit)) <= CONVERGED * np.linalg.norm(slope)
    return Refit(loss(refit) - loss(theta), bool(converged))


def _linear(
    problem: GeneralisedLinearProblem, validation: tuple, sample: int, damping: float, weights: np.ndarray | None
) -> tuple[np.ndarray, Gradient, Loss]:
    theta0, n, rows = problem.theta, len(problem.labels), slice(sample, sample + 1)
    curvature_inputs, factors = problem.curvature_inputs, problem.curvature_weights
    before = problem.curvature_probabilities
    removed, label = problem.inputs(problem.features[rows]), np.asarray(problem.labels)[rows]
    factor = None if problem.weights is None else problem.weights[rows]
    share = problem.penalty if isinstance(problem, LinearProblem) and problem.shared_penalty else 0.0
    inputs, labels = (
        problem.inputs(validation[0]),
        problem.class_numbers(validation[1], count(validation[0]), "validation"),
    )

    def probabilities(theta: np.ndarray, inputs: Any) -> np.ndarray:
        return probabilities_of(problem.margins(theta, inputs) + problem.offset)

    def gradient(theta: np.ndarray) -> np.ndarray:
        moved = weighted(probabilities(theta, curvature_inputs) - before, factors)
        residuals = weighted(residuals_of(probabilities(theta, removed), label), factor)
        whole = problem.adjoint(moved, curvature_inputs) / len(before) + (damping + problem.penalty) * (theta - theta0)
        return whole - (problem.adjoint(residuals, removed) + share * theta) / n

    def loss(theta: np.ndarray) -> float:
        return mean_loss(problem.margins(theta, inputs) + problem.offset, labels, weights)

    return theta0, gradient, loss


def _network(
    problem: Any, validation: tuple, sample: int, damping: float, weights: np.ndarray | None
) -> tuple[np.ndarray, Gradient, Loss]:
    """Return start, gradient and loss in a network's scored parameters, computed in double precision."""
    import torch
    from torch import Tensor

    from datagradient.influence.batches import Batch, mapped

    exact = copy.copy(problem)
    exact.network = copy.deepcopy(problem.network).double()
    theta0 = {name: value.double() for name, value in problem.parameters.items()}
    sizes, start = [value.numel() for value in theta0.values()], torch.cat([v.reshape(-1) for v in theta0.values()])

    def doubled(batches: Iterable[Batch]) -> list[Batch]:
        return [batch._replace(inputs=mapped(lambda x: x.double() if x.is_floating_point() else x, batch.inputs))
                for batch in batches]  # fmt: skip

    row, n = np.array([sample]), len(problem.labels)
    curvature_batches, removed = (doubled(problem.train_batches(samples, rows)) for samples, rows in
                      ((problem.curvature_samples, problem.rows), (problem.inputs[row], row)))  # fmt: skip
    held_out = doubled(problem.validation_batches(*validation, weights))

    def parts(theta: Tensor) -> dict[str, Tensor]:
        pieces = theta.split(sizes)
        return {name: piece.view_as(value) for (name, value), piece in zip(theta0.items(), pieces, strict=True)}

    def output_slope(batch: Batch) -> Tensor:
        outputs = exact.outputs(theta0, batch.inputs).detach().requires_grad_()
        return torch.autograd.grad(exact.losses_of(outputs, batch).sum(), outputs)[0]

    slopes = [output_slope(batch) for batch in curvature_batches]

    def gradient(theta: np.ndarray) -> np.ndarray:
        at = torch.from_numpy(theta).to(start.device).requires_grad_()
        for batch, slope in zip(curvature_batches, slopes, strict=True):
            outputs = exact.outputs(parts(at), batch.inputs)
            # The Bregman divergence, without the terms that do not depend on θ.
            ((exact.losses_of(outputs, batch).sum() - (slope * outputs).sum()) / len(problem.rows)).backward()
        gone = sum(exact.losses(parts(at), batch).sum() for batch in removed)
        (damping * (at - start).square().sum() / 2 - gone / n).backward()
        return at.grad.cpu().numpy()

    @torch.no_grad()
    def loss(theta: np.ndarray) -> float:
        at = parts(torch.from_numpy(theta).to(start.device))
        return float(sum(exact.losses(at, batch).sum() for batch in held_out)) / sum(len(b.targets) for b in held_out)

    return start.cpu().numpy(), gradient, loss
