"""What removing one sample really does near the trained parameters θ₀: a proximal refit.

It minimises

    mean_i D_i(θ, θ₀) + δ/2 ‖θ − θ₀‖² + Σ_j penalty_j/2 (θ_j − θ₀_j)² − (1/n) [ℓ(z, θ) + penalty's share of z],

D_i being the Bregman divergence of the loss in the outputs, for cross-entropy the Kullback–Leibler divergence of the
predictions from those of θ₀, over the samples that curvature is averaged over. A converged S gives its first order (Bae
et al. 2022, arXiv 2209.05364). Where θ₀ is a minimum, δ = 0 and curvature is averaged over all samples, as for logistic
regression, it is the exact refit without z.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagradient.influence.glm import GeneralisedLinearProblem, LinearProblem, probabilities_of, residuals_of
from datagradient.influence.scores import solve
from datagradient.influence.solvers import SolverError

# Steps of Newton's method with the curvature at θ₀, mixed by Anderson (1965): the curvature that goes with the sample
# is of low rank. Then the share of the first gradient that counts as converged, and how well each step is solved for.
STEPS, MIXED, CONVERGED = 60, 10, 1e-6
SOLVER = {"name": "cg", "tolerance": 1e-3, "max_iterations": 3000}
Gradient, Loss = Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Refit:
    """The change of the mean validation loss, and whether the gradient came down to `CONVERGED` of the first."""

    change: float
    converged: bool


def proximal_refit(problem: Any, validation: tuple[Any, np.ndarray], sample: int, damping: float) -> Refit:
    """Return what removing one training sample does to the mean validation loss, near the trained parameters.

    Not a number, and not converged, for a problem that is neither of cross-entropy in closed form nor a network.
    """
    from scipy.linalg import LinAlgWarning
    from scipy.optimize import NoConvergence, anderson

    if isinstance(problem, GeneralisedLinearProblem):
        make = _linear
    elif hasattr(problem, "network"):
        make = _network
    else:
        return Refit(float("nan"), False)
    theta, gradient, loss = make(problem, validation, sample, damping)

    def newton(slope: np.ndarray) -> np.ndarray:
        return solve(problem, slope, damping=damping, **SOLVER)[0]

    slope = gradient(theta)
    unit = np.linalg.norm(newton(slope))  # what one sample of thousands moves is far below the minimiser's own limits
    if unit == 0:
        return Refit(0.0, True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LinAlgWarning)  # from the last steps, which are all alike
            moved = anderson(lambda x: newton(gradient(theta + unit * x)) / unit, np.zeros_like(theta), alpha=-1.0,
                             M=MIXED, maxiter=STEPS, f_tol=CONVERGED / 10)  # fmt: skip
    except NoConvergence as found:
        moved = found.args[0]
    except SolverError:
        return Refit(float("nan"), False)
    refit = theta + unit * moved
    converged = np.linalg.norm(gradient(refit)) <= CONVERGED * np.linalg.norm(slope)
    return Refit(loss(refit) - loss(theta), bool(converged))


def _linear(
    problem: GeneralisedLinearProblem, validation: tuple, sample: int, damping: float
) -> tuple[np.ndarray, Gradient, Loss]:
    theta0, n = problem.theta, len(problem.labels)
    known, before = problem.curvature_inputs, problem.curvature_probabilities
    own, label = problem.inputs(problem.features[[sample]]), np.asarray(problem.labels)[[sample]]
    share = problem.penalty if isinstance(problem, LinearProblem) else 0.0
    inputs, labels = problem.inputs(validation[0]), validation[1]

    def gradient(theta: np.ndarray) -> np.ndarray:
        moved = probabilities_of(problem.margins(theta, known)) - before
        removed = residuals_of(probabilities_of(problem.margins(theta, own)), label)
        whole = problem.adjoint(moved, known) / len(before) + (damping + problem.penalty) * (theta - theta0)
        return whole - (problem.adjoint(removed, own) + share * theta) / n

    def loss(theta: np.ndarray) -> float:
        margins = problem.margins(theta, inputs)
        logits = np.hstack([np.zeros_like(margins), margins]) if margins.shape[1] == 1 else margins
        true = logits[np.arange(len(labels)), labels]
        return float((np.logaddexp.reduce(logits, axis=1) - true).mean())

    return theta0, gradient, loss


def _network(problem: Any, validation: tuple, sample: int, damping: float) -> tuple[np.ndarray, Gradient, Loss]:
    """All parameters of a network, in double precision."""
    import copy

    import torch
    from torch import Tensor
    from torch.func import functional_call
    from torch.nn.functional import cross_entropy, log_softmax

    network, device, size = copy.deepcopy(problem.network).double(), problem.device, problem.batch_size
    parameters = dict(network.named_parameters())
    sizes, shapes = [p.numel() for p in parameters.values()], [p.shape for p in parameters.values()]
    theta0 = torch.cat([p.detach().reshape(-1) for p in parameters.values()])

    def on_device(samples: Tensor) -> Tensor:
        return samples.to(device, torch.float64 if samples.is_floating_point() else samples.dtype)

    known, own = (on_device(problem.inputs[rows]) for rows in (problem.rows, [sample]))
    label, n = problem.labels[[sample]].to(device), len(problem.labels)
    inputs, labels = on_device(problem.to_tensor(validation[0])), torch.from_numpy(validation[1]).to(device)

    def outputs(theta: Tensor, x: Tensor) -> Tensor:
        pieces = (piece.view(shape) for piece, shape in zip(theta.split(sizes), shapes, strict=True))
        return functional_call(network, dict(zip(parameters, pieces, strict=True)), (x,))

    with torch.no_grad():
        before = [log_softmax(outputs(theta0, x), dim=1) for x in known.split(size)]

    def gradient(theta: np.ndarray) -> np.ndarray:
        at = torch.from_numpy(theta).to(device).requires_grad_()
        for x, old in zip(known.split(size), before, strict=True):
            divergence = (old.exp() * (old - log_softmax(outputs(at, x), dim=1))).sum()
            (divergence / len(known)).backward()
        (damping * (at - theta0).square().sum() / 2 - cross_entropy(outputs(at, own), label) / n).backward()
        return at.grad.cpu().numpy()

    @torch.no_grad()
    def loss(theta: np.ndarray) -> float:
        at = torch.from_numpy(theta).to(device)
        parts = [cross_entropy(outputs(at, x), y, reduction="sum")
                 for x, y in zip(inputs.split(size), labels.split(size), strict=True)]  # fmt: skip
        return float(sum(parts)) / len(labels)

    return theta0.cpu().numpy(), gradient, loss
