"""Products, gradients and projections of networks against dense matrices, finite differences and another library."""

import curvlinops
import numpy as np
import pytest
import torch
from torch import nn

from datagradient.data.features import UNKNOWN
from datagradient.influence.scores import score
from datagradient.influence.tangents import is_written_out, written_out_tangents
from datagradient.models import neural
from datagradient.models.networks import PooledEmbedding, cnn, layers
from network_examples import N, dense, dense_ggn, flat, mlp, network_and_samples, objective, problem_of, table


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
    network, (inputs, labels) = network_and_samples(random, kind)
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

    with written_out_tangents():
        written_out = values(own)
    for mine, other in zip(written_out, values(theirs), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(own(x), theirs(x), atol=0, rtol=0)


def test_texts_are_the_mean_of_their_words():
    torch.manual_seed(0)
    network = PooledEmbedding((5,), 2, {"width": 3, "vocabulary": 6}).double()
    tokens = torch.tensor([[2, 3, 9, 0, 0], [0, 0, 0, 0, 0], [5, 5, 2, 4, 3]])  # 9 is no word of the vocabulary
    e = network.embedding.weight
    means = torch.stack([(e[2] + e[3] + e[UNKNOWN]) / 3, torch.zeros_like(e[0]), (2 * e[5] + e[2] + e[4] + e[3]) / 5])
    torch.testing.assert_close(network(tokens), network.output(torch.relu(network.hidden(means))))


def test_training_and_gradients_use_torchs_layers_and_forward_mode_passes_ours(random, monkeypatch):
    network, inputs = cnn((1, 8, 8), 3, {"width": 4}).network.double(), random.normal(size=(9, 1, 8, 8))
    problem = problem_of(network, inputs, random.integers(3, size=9), curvature="hessian")
    calls, written_out = [], layers._Convolution.apply
    monkeypatch.setattr(layers._Convolution, "apply", lambda *args: calls.append(1) or written_out(*args))
    vector = random.normal(size=len(flat(network)))
    problem.matvec(vector)
    problem.mean_gradient(inputs, np.zeros(9, dtype=int))
    images = random.integers(0, 255, size=(30, 8, 8, 1), dtype=np.uint8)
    settings = {"network": "small", "width": 8, "vocabulary": 0, "epochs": 1, "batch_size": 8, "learning_rate": 0.01,
                "weight_decay": 0.0, "averaging": 0, "precision": "float32"}  # fmt: skip
    neural.fit(images, np.arange(30) % 3, 3, settings, 0)
    assert not calls
    problem.project(vector)
    assert calls


def test_written_out_tangents_end_with_the_outermost_context_and_with_an_error():
    with pytest.raises(RuntimeError), written_out_tangents():
        with written_out_tangents():
            pass
        assert is_written_out()
        raise RuntimeError
    assert not is_written_out()
