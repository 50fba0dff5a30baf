"""Networks of the caller's own: left as they are, represented, or refused by name."""

import numpy as np
import pytest
import torch
from torch import nn

from datagradient.errors import UserError
from datagradient.influence.last_layer import LastLayerProblem
from datagradient.influence.modules import FAST_ATTENTION
from datagradient.influence.network import NetworkProblem
from datagradient.influence.scores import score
from datagradient.influence.solvers import SolverError
from datagradient.models.networks import cnn
from network_examples import (
    N,
    approximated,
    dense,
    dense_ggn,
    flat,
    flipped_table,
    mlp,
    network_and_samples,
    problem_of,
    table,
    trained,
)


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


def last_layer_of(network, inputs, labels, **options):
    return LastLayerProblem(network, torch.from_numpy, inputs, labels, **{"batch_size": 7, **options})


@pytest.mark.parametrize("kind", ["table", "text", "image"])
def test_the_last_layers_problem_is_its_part_of_the_whole_networks(random, kind):
    network, (inputs, labels) = network_and_samples(random, kind)
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


def ending_in(*last, n_outputs=3, bias=None):
    torch.manual_seed(0)
    head = nn.Linear(5, n_outputs)
    if bias is not None:  # the logit is nearly this number for all samples
        nn.init.constant_(head.weight, 0.001 * bias), nn.init.constant_(head.bias, bias)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), head, *last).double()


@pytest.mark.parametrize(
    "network",
    [ending_in(nn.Sigmoid(), n_outputs=1), ending_in(nn.Sigmoid(), nn.Flatten(0), n_outputs=1),
     ending_in(nn.Softmax(dim=1)), ending_in(nn.Sigmoid())],
)  # fmt: skip
def test_networks_that_return_probabilities_are_refused(random, network):
    inputs, labels = table(random, n_classes=2)
    before = trace_of(network)
    with pytest.raises(SolverError, match=r"probabilities; return logits \(leave out the last Sigmoid/Softmax\)"):
        problem_of(network, inputs, labels)
    with pytest.raises(SolverError, match=r"not those of the last linear layer; .*leave out a last Sigmoid or Softmax"):
        last_layer_of(network, inputs, labels)
    assert trace_of(network) == before


@pytest.mark.parametrize("last", [[], [nn.ReLU()], [nn.Tanh()], [nn.LayerNorm(1)]])
@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_logits_that_lie_between_0_and_1_are_no_probabilities(random, last, bias):
    network, (inputs, labels) = ending_in(*last, n_outputs=1, bias=bias), table(random, n_classes=2)
    logits = network.double()(torch.from_numpy(inputs))
    assert (logits >= 0).all() and (logits <= 1).all()
    assert problem_of(network, inputs, labels).few_outputs.shape[1] == 1


class Sequence(nn.Module):
    """Its last linear layer runs on every element of a sample; then their logits are averaged."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(1, 3)

    def forward(self, x):
        return self.head(x[:, :, None]).mean(dim=1)


class Drawing(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


def test_the_last_layers_refusals_say_what_was_found(random):
    inputs, labels = table(random)
    with pytest.raises(SolverError, match=r"has the shape \(23, 4, 1\) for 23 samples; .*use parameters: all"):
        LastLayerProblem(Sequence().double(), torch.from_numpy, inputs, labels)
    with pytest.raises(SolverError, match=r"two passes over the same samples differ: .* random or dependent on"):
        last_layer_of(nn.Sequential(Drawing(), nn.Linear(4, 3)).double(), inputs, labels)


@pytest.mark.parametrize("make", [NetworkProblem, LastLayerProblem])
def test_arrays_that_must_not_be_written_to_give_no_warning(random, make, recwarn):
    inputs, labels = table(random)
    expected = score(make(mlp(), torch.from_numpy, inputs, labels), inputs, labels, damping=0.1).influence
    for array in (inputs, labels):
        array.setflags(write=False)
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        found = score(make(mlp(), torch.from_numpy, inputs, labels), inputs, labels, damping=0.1).influence
    finally:
        torch.set_warn_always(always)
    assert not [warning for warning in recwarn if "not writable" in str(warning.message)]
    np.testing.assert_array_equal(found, expected)


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


def test_frozen_parameters_do_not_count(random):
    network, (inputs, labels) = mlp(), table(random)
    network[0].requires_grad_(False)
    whole, free = problem_of(mlp(), inputs, labels), problem_of(network, inputs, labels)
    place = slice(25, None)
    np.testing.assert_allclose(free.mean_gradient(inputs, labels), whole.mean_gradient(inputs, labels)[place])
    np.testing.assert_allclose(approximated(free).shape, dense(whole)[place, place].shape)
    vector = random.normal(size=len(flat(network)))
    vector[:25] = 0
    np.testing.assert_allclose(free.matvec(vector[place]), whole.matvec(vector)[place], atol=1e-14)
    np.testing.assert_allclose(free.project(vector[place]), whole.project(vector), atol=1e-14)
    network.requires_grad_(False)
    with pytest.raises(SolverError, match=r"no trainable parameter; call requires_grad_\(True\)"):
        problem_of(network, inputs, labels)


class Tied(nn.Module):
    """A body and a transposed copy of it share a weight, as word vectors and output do in language models."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(4, 4, bias=False), nn.Linear(4, 4)
        self.last.weight = self.first.weight

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


def test_shared_parameters_count_once_and_in_all_their_places(random):
    network, (inputs, labels) = Tied().double(), table(random, n_classes=4)
    problem = problem_of(network, inputs, labels)
    np.testing.assert_allclose(dense(problem), dense_ggn(network, inputs, labels), atol=1e-12)
    assert score(problem, inputs, labels, damping=0.1).record.status == "converged"
    with pytest.raises(SolverError, match="ekfac: layer first shares a parameter with another; use cg"):
        problem.ekfac(0.1)
    with pytest.raises(SolverError, match="last linear layer, last, runs or appears in several places"):
        last_layer_of(network, inputs, labels)


def flat_gradient(number, values):
    return np.concatenate([g.numpy().ravel() for g in torch.autograd.grad(number, values, retain_graph=True)])


@pytest.mark.parametrize("make", [NetworkProblem, LastLayerProblem])
@pytest.mark.parametrize("form", ["integers", "floats", "column", "torch"])
def test_one_logit_is_binary_cross_entropy(random, make, form):
    torch.manual_seed(0)
    one = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    inputs, labels = table(random, n_classes=2)
    given = {
        "integers": labels, "floats": labels.astype(np.float32), "column": labels[:, None].astype(float),
        "torch": torch.from_numpy(labels),
    }[form]  # fmt: skip
    problem, x = make(one, torch.from_numpy, inputs, given), torch.from_numpy(inputs)
    values = list((one[2] if make is LastLayerProblem else one).parameters())
    logits, target = one(x)[:, 0], torch.from_numpy(labels).double()
    losses = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    gradients, slopes = (
        np.array([flat_gradient(number, values) for number in numbers]) for numbers in (losses, logits)
    )
    vector, p = random.normal(size=gradients.shape[1]), torch.sigmoid(one(x))[:, 0].detach().numpy()
    np.testing.assert_allclose(problem.project(vector), gradients @ vector, atol=1e-12)
    np.testing.assert_allclose(problem.mean_gradient(inputs, given), gradients.mean(axis=0), atol=1e-12)
    expected = slopes.T @ (p * (1 - p) * (slopes @ vector)) / N
    np.testing.assert_allclose(problem.matvec(vector), expected, atol=1e-12)
    assert score(problem, inputs, given, damping=0.1).record.status == "converged"


@pytest.mark.parametrize("make", [NetworkProblem, LastLayerProblem])
@pytest.mark.parametrize(
    ("n_logits", "labels", "message"),
    [
        (3, np.full(N, 3), " 3 at sample 0 is no class: the model's 3 classes are 0 to 2"),
        (3, np.full(N, -1), " -1 at sample 0 is no class"),
        (3, np.where(np.arange(N) == 5, np.nan, 1.0), "of type float64, nan at sample 5"),
        (3, np.ones(N), "of type float64, 1.0 at sample 0"),
        (3, np.ones((N, 3), int), r"have the shape \(23, 3\) for 23 samples"),
        (3, np.ones(N - 1, int), r"have the shape \(22,\) for 23 samples"),
        (3, np.array(["a"] * N), "of type <U1, a at sample 0"),
        (1, np.full(N, 2), " 2 at sample 0 is no class: the model's 2 classes are 0 to 1"),
        (1, np.full(N, 0.5), "of type float64, 0.5 at sample 0"),
    ],
)
def test_labels_that_are_no_classes_are_refused(random, make, n_logits, labels, message):
    network, (inputs, right) = mlp(n_classes=n_logits), table(random, n_classes=max(2, n_logits))
    with pytest.raises(SolverError, match=f"training label.*{message}"):
        make(network, torch.from_numpy, inputs, labels)
    with pytest.raises(SolverError, match=f"validation label.*{message}"):
        score(make(network, torch.from_numpy, inputs, right), inputs, labels)


class Wrapped(nn.Module):
    """A network whose output, or way to it, is of another form."""

    def __init__(self, form):
        super().__init__()
        self.head, self.body, self.form = mlp()[4], nn.Sequential(*list(mlp())[:4]), form

    def forward(self, x):
        logits = self.head(self.body(x))
        return self.form(logits)


def test_outputs_in_a_mapping_and_heads_that_are_defined_first_are_represented(random):
    inputs, labels = table(random)
    network, plain = Wrapped(lambda logits: {"logits": logits, "loss": None}), mlp()
    order = np.r_[np.arange(55, 73), np.arange(55)]  # of the plain network's parameters: the head, then the body
    vector = random.normal(size=73)
    expected = problem_of(plain, inputs, labels).project(vector)
    np.testing.assert_allclose(problem_of(network, inputs, labels).project(vector[order]), expected, atol=1e-12)
    found, last = (last_layer_of(net, inputs, labels) for net in (network, plain))
    assert found.layer is network.head
    np.testing.assert_allclose(found.project(vector[55:]), last.project(vector[55:]), atol=1e-12)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda logits: (logits, logits), "output is a tuple, neither logits nor a mapping with 'logits'; wrap it"),
        (lambda logits: {"scores": logits}, "output is a dict, neither logits"),
        (lambda logits: logits[:, :, None], r"output has the shape \(2, 3, 1\) for 2 samples"),
    ],
)
def test_other_outputs_are_refused(random, form, message):
    for make in (NetworkProblem, LastLayerProblem):
        with pytest.raises(SolverError, match=message.replace("2", "(2|23)")):
            make(Wrapped(form).double(), torch.from_numpy, *table(random))


def refusals():
    """Networks and inputs that cannot be represented, and how the sentence begins or what it names."""
    broken, half, frozen = mlp(), mlp().half(), mlp()
    broken[2].bias.data[1] = float("nan")
    frozen[4].requires_grad_(False)
    mixed = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3).double())
    return {
        "nan": (broken, "parameter 2.bias of the network is not finite: train it again"),
        "half": (half, "parameters are torch.float16 on cpu; supported is one of torch.float32"),
        "mixed": (mixed, "parameters are torch.float32 on cpu, torch.float64 on cpu"),
        "shape": (nn.Sequential(nn.Linear(7, 3)).double(), r"layer 0 \(Linear\) fails on the training samples: Run"),
        "bag": (nn.Sequential(nn.EmbeddingBag(9, 4), nn.Linear(4, 3)), r"layer 0 \(EmbeddingBag\) has no forward"),
        "lstm": (nn.Sequential(Recurrent(), nn.Linear(5, 3)), r"layer 0.inner \(LSTM\) has no forward"),
    }  # fmt: skip


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.LSTM(1, 5, batch_first=True)

    def forward(self, x):
        return self.inner(x[:, :, None])[0][:, -1]


@pytest.mark.parametrize("case", refusals())
def test_networks_that_cannot_be_represented_are_named(random, case):
    network, message = refusals()[case]
    inputs, labels = table(random)
    inputs = {"bag": random.integers(9, size=(N, 4)), "lstm": inputs.astype(np.float32)}.get(case, inputs)
    before = trace_of(network)
    with pytest.raises(SolverError, match=message):
        problem_of(network, inputs, labels)
    assert trace_of(network) == before
    if case in ("bag", "lstm"):
        assert score(last_layer_of(network, inputs, labels), inputs, labels, damping=0.1).record.status == "converged"


def test_inputs_that_are_no_tensors_are_named(random):
    inputs, labels = table(random)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(inputs)), 5)
    for make in (NetworkProblem, LastLayerProblem):
        with pytest.raises(SolverError, match="inputs are a DataLoader"):
            make(mlp(), lambda data: data, loader, labels)
        with pytest.raises(SolverError, match="inputs are a ndarray; supported are a tensor"):
            make(mlp(), lambda data: data, inputs, labels)


def test_a_frozen_last_layer_is_refused(random):
    network = mlp()
    network[4].bias.requires_grad_(False)
    with pytest.raises(SolverError, match="the last linear layer, 4, is frozen; use parameters: all"):
        last_layer_of(network, *table(random))


class Former(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.output = nn.Linear(1, 4), nn.Linear(4, 3)
        self.layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)

    def forward(self, x):
        return self.output(self.layer(self.embed(x[:, :, None])).mean(dim=1))


def test_transformer_layers_are_represented_and_torchs_switches_left_alone(random):
    network, (inputs, labels) = Former().double(), table(random)
    switches = [enabled() for enabled, _ in FAST_ATTENTION]
    problem = problem_of(network, inputs, labels, rows=np.arange(4))
    vector = random.normal(size=len(flat(network)))
    rows = [problem.mean_gradient(inputs[[i]], labels[[i]]) @ vector for i in range(N)]
    np.testing.assert_allclose(problem.project(vector), rows, atol=1e-12)
    problem.check()
    assert [enabled() for enabled, _ in FAST_ATTENTION] == switches


class Detaching(nn.Module):
    """Passes values on without their gradient, or rounds them with the gradient of what was not rounded."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        return x.detach() if self.kind == "detach" else x + (torch.round(x) - x).detach()


@pytest.mark.parametrize("kind", ["detach", "round"])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_derivatives_that_are_not_of_the_networks_own_losses_are_refused(random, kind, precision):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), Detaching(kind), nn.Linear(5, 3)).to(precision)
    inputs, labels = table(random)
    inputs = torch.from_numpy(inputs).to(precision).numpy()
    problem = problem_of(network, inputs, labels)
    with pytest.raises(SolverError, match=r"the losses of 4 samples change by .* detaches what it passes on"):
        score(problem, inputs, labels, damping=0.1)


class Constant(nn.Module):
    """Holds a constant in single precision, so that nothing can be computed in double."""

    def forward(self, x):
        return x @ torch.eye(5)


def test_networks_that_cannot_compute_in_double_precision_are_checked_in_single(random):
    torch.manual_seed(0)
    inputs, labels = table(random)
    inputs = inputs.astype(np.float32)
    right, wrong = (
        nn.Sequential(nn.Linear(4, 5), Constant(), nn.Tanh(), layer, nn.Linear(5, 3))
        for layer in (nn.Identity(), Detaching("detach"))
    )
    problem_of(right, inputs, labels).check()
    with pytest.raises(SolverError, match="detaches what it passes on"):
        problem_of(wrong, inputs, labels).check()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(torch.tanh(self.layer(x)))


def test_ekfac_refuses_layers_that_run_twice_or_never_or_are_partly_frozen(random):
    inputs, labels = table(random, d=3)
    network = Twice().double()
    with pytest.raises(SolverError, match="layer layer runs twice in a pass"):
        problem_of(network, inputs, labels).ekfac(0.1)
    network = nn.Sequential(nn.Linear(3, 3)).double()
    network[0].unused = nn.Linear(2, 2).double()
    with pytest.raises(SolverError, match=r"layer 0\.unused does not run; freeze it, or use cg"):
        problem_of(network, inputs, labels).ekfac(0.1)
    network[0].unused.requires_grad_(False)
    network[0].bias.requires_grad_(False)
    with pytest.raises(SolverError, match="layer 0 has trainable and frozen parameters; freeze all or none"):
        problem_of(network, inputs, labels).ekfac(0.1)
