"""Products, solvers and scores of networks against dense matrices, other libraries and real refits."""

import copy

import curvlinops
import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn.functional import cross_entropy

from datagradient import layers
from datagradient.data.features import UNKNOWN
from datagradient.errors import UserError
from datagradient.influence import ekfac
from datagradient.influence.last_layer import LastLayerProblem
from datagradient.influence.network import NetworkProblem
from datagradient.influence.scores import score, solve
from datagradient.influence.solvers import SolverError
from datagradient.networks import MLP, PooledEmbedding, cnn

N = 23  # no batch size below divides it


def mlp(n_classes=3, width=5, d=4):
    torch.manual_seed(0)
    return MLP((d,), n_classes, {"width": width}).double()


def table(random, n=N, d=4, n_classes=3):
    return random.normal(size=(n, d)), random.integers(n_classes, size=n)


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


@pytest.mark.parametrize("batch_size", [1, 7, 22, 100])
def test_products_equal_dense_matrices_whatever_the_batches(random, batch_size):
    network, (inputs, labels) = mlp(), table(random)
    _, loss = objective(network, inputs, labels)
    ggn = problem_of(network, inputs, labels, batch_size=batch_size)
    np.testing.assert_allclose(dense(ggn), dense_ggn(network, inputs, labels), atol=1e-12)
    exact = problem_of(network, inputs, labels, batch_size=batch_size, curvature="hessian")
    hessian = torch.autograd.functional.hessian(loss, flat(network)).numpy()
    np.testing.assert_allclose(dense(exact), hessian, atol=1e-12)
    theta = flat(network).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(theta), theta)
    np.testing.assert_allclose(ggn.mean_gradient(inputs, labels), gradient, atol=1e-13)


def test_products_with_chosen_samples_are_their_mean(random):
    network, (inputs, labels) = mlp(), table(random)
    rows = np.array([1, 4, 5, 9, 11, 12, 13, 20])
    chosen = problem_of(network, inputs, labels, rows=rows)
    np.testing.assert_allclose(dense(chosen), dense_ggn(network, inputs[rows], labels[rows]), atol=1e-12)


def test_hessian_products_equal_finite_differences(random):
    network, (inputs, labels) = mlp(), table(random)
    problem = problem_of(network, inputs, labels, curvature="hessian")
    theta, vector, step = flat(network), random.normal(size=len(flat(network))), 1e-6

    def gradient(point):
        torch.nn.utils.vector_to_parameters(point, network.parameters())
        return problem_of(network, inputs, labels).mean_gradient(inputs, labels)

    forward, back = (gradient(theta + sign * step * torch.from_numpy(vector)) for sign in (1, -1))
    np.testing.assert_allclose(problem.matvec(vector), (forward - back) / (2 * step), atol=1e-7)


@pytest.mark.parametrize(
    ("curvature", "operator"), [("ggn", "GGNLinearOperator"), ("hessian", "HessianLinearOperator")]
)
def test_products_equal_curvlinops(random, curvature, operator):
    network, (inputs, labels) = mlp(), table(random)
    data = [(torch.from_numpy(inputs[part]), torch.from_numpy(labels[part])) for part in (slice(9), slice(9, None))]
    theirs = getattr(curvlinops, operator)(network, nn.CrossEntropyLoss(), list(network.parameters()), data)
    ours = problem_of(network, inputs, labels, curvature=curvature)
    for vector in random.normal(size=(3, len(flat(network)))):
        np.testing.assert_allclose(ours.matvec(vector), theirs @ torch.from_numpy(vector), atol=1e-12)


@pytest.mark.parametrize("kind", ["table", "text", "image"])
def test_projection_equals_every_samples_gradient(random, kind):
    torch.manual_seed(0)
    if kind == "table":
        network, (inputs, labels) = mlp(), table(random)
    elif kind == "text":
        network = PooledEmbedding((6,), 3, {"width": 4, "vocabulary": 12}).double()
        inputs, labels = random.integers(0, 15, size=(N, 6)), random.integers(3, size=N)
    else:
        network = cnn((3, 8, 8), 3, {"width": 8}).network.double()
        inputs, labels = random.normal(size=(N, 3, 8, 8)), random.integers(3, size=N)
    direction = random.normal(size=len(flat(network)))
    whole = problem_of(network, inputs, labels, batch_size=N)
    one_by_one = [whole.mean_gradient(inputs[[i]], labels[[i]]) @ direction for i in range(N)]
    for batch_size in (1, 7, 22, N):
        found = problem_of(network, inputs, labels, batch_size=batch_size).project(direction)
        np.testing.assert_allclose(found, one_by_one, atol=1e-12)


def test_scores_in_single_precision_do_not_depend_on_the_batch_size(random):
    torch.manual_seed(0)
    network = cnn((3, 16, 16), 4, {"width": 8}).network
    inputs, labels = random.normal(size=(50, 3, 16, 16)).astype(np.float32), random.integers(4, size=50)
    options = {"name": "cg", "damping": 0.03, "tolerance": 0, "max_iterations": 3}
    found = [
        score(problem_of(network, inputs, labels, batch_size=size), inputs[:20], labels[:20], **options).influence
        for size in (3, 50)
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-5 * np.abs(found[1]).max())


@pytest.mark.parametrize("layer", ["conv", "norm", "pool"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_written_out_layers_equal_torchs(random, layer, channels_last):
    torch.manual_seed(0)
    own, theirs = {
        "conv": (layers.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1, bias=False)),
        "norm": (layers.GroupNorm(2, 4), nn.GroupNorm(2, 4)),
        "pool": (layers.MaxPool2(), nn.MaxPool2d(2)),
    }[layer]
    own, theirs = own.double(), theirs.double()
    for value in own.parameters():
        value.data.normal_()
    theirs.load_state_dict(own.state_dict())
    x, dx = torch.from_numpy(random.normal(size=(2, 5, 4, 6, 6)))
    if channels_last:
        x, dx = (value.contiguous(memory_format=torch.channels_last) for value in (x, dx))
    parameters = {name: value.detach() for name, value in own.named_parameters()}
    tangents = {name: torch.randn_like(value) for name, value in parameters.items()}

    def values(module):
        return torch.func.jvp(lambda p, z: torch.func.functional_call(module, p, (z,)), (parameters, x), (tangents, dx))

    for mine, other in zip(values(own), values(theirs), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-12, rtol=1e-12)
    weights = torch.randn_like(theirs(x))
    gradients = []
    for module in (own, theirs):
        start = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad((module(start) * weights).sum(), [start, *module.parameters()]))
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(5, track_running_stats=False)])
def test_networks_whose_loss_depends_on_chance_or_batch_are_refused(random, layer):
    class AlwaysTraining(nn.Sequential):
        def train(self, mode=True):
            return super().train(True)

    network = AlwaysTraining(nn.Linear(4, 5), layer, nn.Linear(5, 3)).double()
    with pytest.raises(SolverError, match="two passes over the same samples differ"):
        problem_of(network, *table(random))


def test_a_loss_that_is_not_finite_names_the_sample(random):
    network, (inputs, labels) = mlp(), table(random)
    inputs[17] = np.nan
    with pytest.raises(SolverError, match="training sample 17 is not finite"):
        problem_of(network, inputs, labels).project(np.ones(len(flat(network))))
    with pytest.raises(SolverError, match="validation sample 17 is not finite"):
        problem_of(network, inputs, labels).mean_gradient(inputs, labels)


def trained(inputs, labels, decay=1e-2):
    """Full-batch training to convergence on the mean loss plus a penalty decay/2 ‖θ‖²."""
    network = mlp(n_classes=int(labels.max()) + 1)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    minimise(network, lambda theta: cross_entropy(network(x), y) + decay / 2 * theta @ theta)
    return network


def refitted_without(network, inputs, labels, damping, sample):
    """Minimise what influence by the GGN is the first order of (Bae et al. 2022), from the trained network on: the
    divergence from its predictions, plus damping/2 ‖θ − θ₀‖², less one sample's part of the mean loss.
    """
    fresh, start = copy.deepcopy(network), flat(network)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    before = torch.log_softmax(network(x), dim=1).detach()

    def objective(theta):
        logits, moved = fresh(x), theta - start
        divergence = (before.exp() * (before - torch.log_softmax(logits, dim=1))).sum(dim=1).mean()
        return divergence + damping / 2 * moved @ moved - cross_entropy(logits[[sample]], y[[sample]]) / len(y)

    minimise(fresh, objective)
    return fresh


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


def test_scores_predict_warm_started_damped_refits(random):
    inputs, labels, noisy = flipped_table(random, n=180)
    train, held_out, damping = slice(0, 120), slice(120, 180), 0.3
    network = trained(inputs[train], noisy[train])
    problem = problem_of(network, inputs[train], noisy[train])
    found = score(problem, inputs[held_out], labels[held_out], "explicit", damping=damping)

    def loss(model):
        with torch.no_grad():
            return float(cross_entropy(model(torch.from_numpy(inputs[held_out])), torch.from_numpy(labels[held_out])))

    start = loss(network)
    actual = [
        loss(refitted_without(network, inputs[train], noisy[train], damping, i)) - start for i in range(0, 120, 3)
    ]
    predicted = -found.influence[::3] / 120
    # Found with four seeds: Spearman 0.90 to 0.99, slopes 0.74 to 0.95.
    assert spearmanr(predicted, actual).statistic > 0.85
    assert np.polyfit(actual, predicted, 1)[0] == pytest.approx(1, abs=0.3)


def test_lissa_reaches_the_scores_of_cg_within_thirty_times_its_products(random):
    inputs, labels, noisy = flipped_table(random, n=600)
    network = trained(inputs, noisy)
    problem = problem_of(network, inputs, noisy, rows=np.sort(random.choice(600, 200, replace=False)))
    b = problem.mean_gradient(inputs, labels)
    exact = problem.project(solve(problem, b, "explicit", damping=0.3)[0])
    by_cg, of_cg = solve(problem, b, "cg", damping=0.3, tolerance=0.01)
    by_lissa, of_lissa = solve(problem, b, "lissa", damping=0.3, tolerance=0.3, batch_size=64, max_iterations=40)
    assert of_cg.status == of_lissa.status == "converged"
    assert of_lissa.products <= 30 * of_cg.products
    assert spearmanr(problem.project(by_cg), exact).statistic > 0.999
    assert spearmanr(problem.project(by_lissa), exact).statistic > 0.9


def test_lissa_that_diverges_raises(random):
    network, (inputs, labels) = mlp(), table(random, n=60)
    problem = problem_of(network, inputs, labels, rows=np.arange(20))
    products = problem.sampled
    problem.sampled = lambda rows: lambda vector: -50 * products(rows)(vector)
    with pytest.raises(SolverError, match=r"lissa: diverges.*raise damping"):
        solve(problem, problem.mean_gradient(inputs, labels), "lissa", damping=0.01, batch_size=10)


@pytest.mark.parametrize("kind", ["table", "text", "image"])
def test_ekfac_is_symmetric_and_has_the_trace_of_the_ggn(random, monkeypatch, kind):
    torch.manual_seed(0)
    n = 300
    if kind == "table":
        network, (inputs, labels) = mlp(), table(random, n=n)
    elif kind == "text":
        network = PooledEmbedding((6,), 3, {"width": 3, "vocabulary": 8}).double()
        inputs, labels = random.integers(1, 8, size=(n, 6)), random.integers(3, size=n)
    else:
        network = cnn((1, 16, 16), 3, {"width": 2}).network.double()
        inputs, labels = random.normal(size=(n, 1, 16, 16)), random.integers(3, size=n)
    problem, size = problem_of(network, inputs, labels, batch_size=50), len(flat(network))
    traces = []
    for signs in range(4):  # the random signs are unbiased, and leave some noise
        monkeypatch.setattr(ekfac, "CHANCE", signs)
        inverse = problem.ekfac(1e-2)
        matrix = np.array([inverse(unit) for unit in np.eye(size)])
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-8 * np.abs(matrix).max())
        traces.append(np.trace(np.linalg.inv(matrix)) - 1e-2 * size)
    assert np.mean(traces) == pytest.approx(np.trace(dense(problem)), rel=0.15)


def test_cg_preconditioned_by_ekfac_has_the_same_solution(random):
    network, (inputs, labels) = mlp(), table(random, n=200)
    problem = problem_of(network, inputs, labels)
    gradient, options = problem.mean_gradient(inputs, labels), {"damping": 1e-2, "tolerance": 1e-8}
    plain, record = solve(problem, gradient, "cg", **options)
    found, other = solve(problem, gradient, "cg", preconditioner="ekfac", **options)
    np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-7)
    assert (record.solver, other.solver) == ("cg", "ekfac+cg")
    with pytest.raises(SolverError, match="no preconditioner 'typo'; legal: own, ekfac"):
        solve(problem, gradient, "cg", preconditioner="typo")


def test_texts_are_the_mean_of_their_words():
    torch.manual_seed(0)
    network = PooledEmbedding((5,), 2, {"width": 3, "vocabulary": 6}).double()
    tokens = torch.tensor([[2, 3, 9, 0, 0], [0, 0, 0, 0, 0], [5, 5, 2, 4, 3]])  # 9 is no word of the vocabulary
    e = network.embedding.weight
    means = torch.stack([(e[2] + e[3] + e[UNKNOWN]) / 3, torch.zeros_like(e[0]), (2 * e[5] + e[2] + e[4] + e[3]) / 5])
    torch.testing.assert_close(network(tokens), network.output(torch.relu(network.hidden(means))))


def test_ekfac_refuses_layers_that_it_does_not_know(random):
    network = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)).double()
    with pytest.raises(SolverError, match="layer 1 is a LayerNorm"):
        problem_of(network, *table(random)).ekfac(0.1)


def test_a_fixed_number_of_steps_is_marked_truncated(random):
    network, (inputs, labels) = mlp(), table(random)
    problem = problem_of(network, inputs, labels)
    _, record = solve(problem, problem.mean_gradient(inputs, labels), "cg", damping=0.1, tolerance=0, max_iterations=3)
    assert (record.status, record.iterations) == ("truncated", 3)


def trace_of(network):
    """Everything that scoring could change in the caller's network, and torch's generator."""
    modules = [
        (name, module.training, sorted(module.__dict__), [len(hooks) for hooks in hooks_of(module)])
        for name, module in network.named_modules()
    ]
    tensors = [
        (name, id(value), value.dtype, value.device, value.requires_grad, value.grad, value.detach().numpy().tobytes())
        for name, value in [*network.named_parameters(), *network.named_buffers()]
    ]
    return modules, tensors, torch.get_rng_state().numpy().tobytes()


def hooks_of(module):
    return [value for key, value in sorted(module.__dict__.items()) if key.endswith("_hooks")]


class Counting(nn.Module):
    """Counts its passes in a buffer, whatever its mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        self.passes += 1
        return x


def callers_network():
    """A network in training mode, one module of it not, with frozen, normalised and dropped-out layers."""
    torch.manual_seed(0)
    body = cnn((1, 8, 8), 3, {"width": 4}).network
    network = nn.Sequential(Counting(), *body[:-1], nn.Dropout(0.5), body[-1]).train()
    network[2].eval()
    network[1].weight.requires_grad_(False)
    network.register_forward_hook(lambda *_: None)
    return network


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ggn", {"name": "cg", "tolerance": 0, "max_iterations": 2}),
        ("hessian", {"name": "cg", "tolerance": 0, "max_iterations": 1, "damping": 10}),
        ("ggn", {"name": "ekfac"}),
        ("ggn", {"name": "cg", "preconditioner": "ekfac", "tolerance": 0, "max_iterations": 1}),
        ("ggn", {"name": "lissa", "batch_size": 5, "max_iterations": 4}),
        ("last", {"name": "cg"}),
    ],
)
def test_scoring_leaves_no_trace_in_the_callers_network(random, kind, options):
    network = callers_network()
    inputs, labels = random.normal(size=(N, 1, 8, 8)).astype(np.float32), random.integers(3, size=N)
    form = {"rows": np.arange(0, N, 3)} | ({} if kind == "last" else {"curvature": kind})
    make = last_layer_of if kind == "last" else problem_of
    before = trace_of(network)
    score(make(network, inputs, labels, **form), inputs, labels, **{"damping": 0.1, **options})
    assert trace_of(network) == before

    # An error in the middle of a pass.
    problem = make(network, inputs, labels, **form)
    inputs[17] = np.nan
    hook = network[3].register_forward_hook(fails_from := Failing())
    before = trace_of(network)
    fails_from.now = True
    with pytest.raises(RuntimeError, match="in the middle"):
        score(problem, inputs, labels, **{"damping": 0.1, **options})
    assert trace_of(network) == before
    hook.remove()


class Failing:
    now = False

    def __call__(self, *_):
        if self.now:
            raise RuntimeError("in the middle")


def test_hessian_products_leave_later_passes_to_the_written_out_layers(random, monkeypatch):
    network, inputs = cnn((1, 8, 8), 3, {"width": 4}).network.double(), random.normal(size=(9, 1, 8, 8))
    problem = problem_of(network, inputs, random.integers(3, size=9), curvature="hessian")
    calls, written_out = [], layers._Convolution.apply
    monkeypatch.setattr(layers._Convolution, "apply", lambda *args: calls.append(1) or written_out(*args))
    vector = random.normal(size=len(flat(network)))
    problem.matvec(vector)
    assert not calls
    problem.project(vector)
    assert calls


def test_second_derivatives_end_with_the_outermost_context_and_with_an_error():
    with pytest.raises(RuntimeError), layers.second_derivatives():
        with layers.second_derivatives():
            pass
        assert layers._twice.get()
        raise RuntimeError
    assert not layers._twice.get()


def last_layer_of(network, inputs, labels, **options):
    return LastLayerProblem(network, torch.from_numpy, inputs, labels, **{"batch_size": 7, **options})


@pytest.mark.parametrize("kind", ["table", "text", "image"])
def test_the_last_layers_problem_is_its_part_of_the_whole_networks(random, kind):
    torch.manual_seed(0)
    if kind == "table":
        network, (inputs, labels) = mlp(), table(random)
    elif kind == "text":
        network = PooledEmbedding((6,), 3, {"width": 4, "vocabulary": 12}).double()
        inputs, labels = random.integers(0, 15, size=(N, 6)), random.integers(3, size=N)
    else:
        network = cnn((3, 8, 8), 3, {"width": 8}).network.double()
        inputs, labels = random.normal(size=(N, 3, 8, 8)), random.integers(3, size=N)
    rows = np.array([1, 4, 5, 9, 11, 12, 13, 20])
    whole = problem_of(network, inputs, labels, rows=rows)
    last = last_layer_of(network, inputs, labels, rows=rows)
    size, total = len(last.theta), len(flat(network))
    padded = np.zeros(total)
    padded[-size:] = vector = random.normal(size=size)
    np.testing.assert_allclose(last.theta, flat(network)[-size:], atol=1e-14)
    np.testing.assert_allclose(last.matvec(vector), whole.matvec(padded)[-size:], atol=1e-12)
    np.testing.assert_allclose(last.project(vector), whole.project(padded), atol=1e-12)
    gradients = (problem.mean_gradient(inputs[:9], labels[:9]) for problem in (last, whole))
    np.testing.assert_allclose(next(gradients), next(gradients)[-size:], atol=1e-12)
    for batch_size in (1, 22, N):
        other = last_layer_of(network, inputs, labels, batch_size=batch_size)
        np.testing.assert_allclose(other.project(vector), last.project(vector), atol=1e-12)


def test_scores_by_the_last_layer_equal_an_explicit_solve(random):
    inputs, labels, noisy = flipped_table(random)
    problem = last_layer_of(trained(inputs, noisy), inputs, noisy)
    by_cg, exact = (
        score(problem, inputs, labels, **options).influence
        for options in (
            {"name": "cg", "damping": 0.05, "tolerance": 1e-8},
            {"name": "explicit", "damping": 0.05},
        )
    )
    np.testing.assert_allclose(by_cg, exact, rtol=1e-5, atol=1e-8)
    assert exact[:24].mean() > exact[24:].mean()


def test_a_network_that_does_not_end_in_its_last_linear_layer_is_refused(random):
    inputs, labels = table(random)
    with pytest.raises(SolverError, match="the logits are not those of the last linear layer"):
        last_layer_of(nn.Sequential(nn.Linear(4, 3), nn.ReLU()).double(), inputs, labels)
    with pytest.raises(SolverError, match="no last linear layer with a bias; use parameters: all"):
        last_layer_of(nn.Sequential(nn.Linear(4, 3, bias=False)).double(), inputs, labels)
    inputs[17] = np.nan
    with pytest.raises(SolverError, match="sample 17 is not finite"):
        last_layer_of(mlp(), inputs, labels).project(np.ones(18))


def test_a_width_makes_a_cnn_or_is_refused():
    """Group normalisation asks for channels that its groups divide."""
    for width in (*range(1, 33), 40, 48, 64):
        try:
            nn.GroupNorm(max(1, width // 8), width), nn.GroupNorm(max(1, 2 * width // 8), 2 * width)
        except ValueError:
            with pytest.raises(UserError, match=rf"width {width} .* give a multiple of 8"):
                cnn((3, 8, 8), 2, {"width": width})
        else:
            assert cnn((3, 8, 8), 2, {"width": width})
