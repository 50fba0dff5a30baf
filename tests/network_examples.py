"""Small networks, tables and dense matrices that the tests of networks share."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from datagradient.influence.network import NetworkProblem
from datagradient.models.networks import MLP, PooledEmbedding, cnn

N = 23  # no batch size below divides it


def mlp(n_classes=3, width=5, d=4):
    torch.manual_seed(0)
    return MLP((d,), n_classes, {"width": width}).double()


def table(random, n=N, d=4, n_classes=3):
    return random.normal(size=(n, d)), random.integers(n_classes, size=n)


def network_and_samples(random, kind):
    """A small network for tables, texts or images, and N samples for it."""
    torch.manual_seed(0)
    if kind == "table":
        return mlp(), table(random)
    if kind == "text":
        network = PooledEmbedding((6,), 3, {"width": 4, "vocabulary": 12}).double()
        return network, (random.integers(0, 15, size=(N, 6)), random.integers(3, size=N))
    network = cnn((3, 8, 8), 3, {"width": 8}).network.double()
    return network, (random.normal(size=(N, 3, 8, 8)), random.integers(3, size=N))


def problem_of(network, inputs, labels, **options):
    return NetworkProblem(network, torch.from_numpy, inputs, labels, **{"batch_size": 7, **options})


def flat(network):
    return torch.cat([value.detach().reshape(-1) for value in network.parameters()])


def dense(problem):
    """The matrix that a problem's products are with."""
    return np.array([problem.matvec(unit) for unit in np.eye(len(flat(problem.network)))])


def objective(network, inputs, labels):
    """The mean loss as a function of one flat parameter vector, by nothing but torch."""
    names, shapes = zip(*((name, value.shape) for name, value in network.named_parameters()), strict=True)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)

    def parts(theta):
        pieces = theta.split([shape.numel() for shape in shapes])
        return {name: piece.view(shape) for name, piece, shape in zip(names, pieces, shapes, strict=True)}

    def logits(theta):
        return torch.func.functional_call(network, parts(theta), (x,))

    return logits, lambda theta: cross_entropy(logits(theta), y)


def dense_ggn(network, inputs, labels):
    """(1/n) Σ J_iᵀ M_i J_i from full Jacobians."""
    logits, _ = objective(network, inputs, labels)
    jacobian = torch.autograd.functional.jacobian(logits, flat(network))
    p = torch.softmax(logits(flat(network)), dim=1)
    middle = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
    return torch.einsum("nck,ncd,ndl->kl", jacobian, middle, jacobian).numpy() / len(labels)


def trained(inputs, labels, decay=1e-2):
    """Full-batch training to convergence on the mean loss plus a penalty decay/2 ‖θ‖²."""
    network = mlp(n_classes=int(labels.max()) + 1)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    minimise(network, lambda theta: cross_entropy(network(x), y) + decay / 2 * theta @ theta)
    return network


def minimise(network, objective):
    optimiser = torch.optim.LBFGS(network.parameters(), max_iter=1000, line_search_fn="strong_wolfe",
                                  tolerance_grad=1e-10, tolerance_change=1e-14)  # fmt: skip

    def closure():
        optimiser.zero_grad()
        loss = objective(torch.cat([value.reshape(-1) for value in network.parameters()]))
        loss.backward()
        return loss

    optimiser.step(closure)


def flipped_table(random, n=240):
    """Three Gaussian classes, the first tenth of the labels flipped."""
    centres, labels = random.normal(size=(3, 4)) * 1.5, np.arange(n) % 3
    inputs = centres[labels] + random.normal(size=(n, 4))
    noisy = labels.copy()
    noisy[: n // 10] = (labels[: n // 10] + 1) % 3
    return inputs, labels, noisy


def approximated(problem, damping=1e-2):
    """The matrix that EK-FAC's inverse is the inverse of, without damping."""
    inverse, size = problem.ekfac(damping), sum(value.numel() for value in problem.parameters.values())
    return np.linalg.inv(np.array([inverse(unit) for unit in np.eye(size)])) - damping * np.eye(size)
