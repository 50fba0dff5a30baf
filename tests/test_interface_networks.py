"""Networks of users' own: layers, batches and options by which the same network has the same scores, or is refused."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from torch import nn

from conftest import blobs
from datagradient import Recorder, influence_scores
from interface_examples import parts, table


def tensors(random, **options):
    train, held_out = parts(*table(random, **options))
    return tuple((torch.from_numpy(x).float(), torch.from_numpy(y)) for x, y in (train, held_out))


def mlp(*between, d=4, classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(d, 6), *between, nn.Linear(6, classes))


@pytest.mark.parametrize("options", [
    {"parameters": "all", "batch_size": 8}, {"parameters": "last", "batch_size": 8},
    {"parameters": "all", "batch_size": 120, "curvature": "hessian", "damping": 5.0},
])  # fmt: skip
def test_lissa_on_batches_is_as_on_arrays(random, options):
    (x, y), held_out = tensors(random)
    solver = {"name": "lissa", "damping": 0.1, "samples": None, "max_iterations": 60, **options}
    batches = [(x[i : i + 25], y[i : i + 25]) for i in range(0, len(x), 25)]
    weights = random.uniform(0.5, 2, size=len(y))
    whole, split = (influence_scores(mlp(nn.Tanh()), train, held_out, solver=solver, sample_weight=weights).values
                    for train in ((x, y), batches))  # fmt: skip
    np.testing.assert_allclose(split, whole, rtol=1e-4, atol=1e-4 * np.abs(whole).max())


@pytest.mark.parametrize("solver", [{"name": "ekfac", "parameters": "all"}, {"parameters": "all"},
                                    {"parameters": "projected"}, {}])  # fmt: skip
def test_operations_in_place_change_no_score(random, solver):
    train, held_out = tensors(random)
    plain, in_place = (influence_scores(mlp(nn.ReLU(where)), train, held_out, solver=solver).values
                       for where in (False, True))  # fmt: skip
    np.testing.assert_allclose(in_place, plain, atol=1e-6 * np.abs(plain).max())


class Named(nn.Module):
    """Calls its layers by the name of what they take."""

    def __init__(self, layers):
        super().__init__()
        self.body, self.act, self.head = layers

    def forward(self, x):
        return self.head(input=self.act(self.body(input=x)))


@pytest.mark.parametrize("solver", [{"name": "ekfac", "parameters": "all"}, {}])
def test_layers_may_be_called_by_name(random, solver):
    train, held_out = tensors(random)
    network = mlp(nn.Tanh())
    expected, found = (influence_scores(model, train, held_out, solver=solver).values
                       for model in (network, Named(network)))  # fmt: skip
    np.testing.assert_array_equal(found, expected)


class Noisy(nn.Module):
    """Adds chance to its logits."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        logits = self.network(x)
        return logits + torch.randn_like(logits)


WRONG = {
    "probabilities": (lambda: nn.Sequential(*mlp(nn.Tanh()), nn.Softmax(1)), {}, "returns probabilities"),
    "chance": (lambda: Noisy(mlp(nn.Tanh())), {}, "differ"),
    "loss": (lambda: mlp(nn.Tanh()), {"loss": "binary_cross_entropy"}, "the network has 3 output"),
    "refits": (lambda: mlp(nn.Tanh()), {"verify": 2}, "verify: .* projected"),
}


@pytest.mark.parametrize("case", WRONG)
def test_projected_gradients_refuse_what_the_last_layer_refuses(random, case):
    make, options, message = WRONG[case]
    train, held_out = tensors(random)
    with pytest.raises(ValueError, match=message):
        influence_scores(make(), train, held_out, solver={"parameters": "projected"}, **options)


class Positions(nn.Module):
    """Ends in a mean over positions of what its last linear layer gives."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 3))

    def forward(self, x):
        return self.layers(x.view(len(x), 2, 2)).mean(dim=1) / 2


@pytest.mark.parametrize("make", [Positions, lambda: nn.Sequential(*mlp(nn.Tanh()), nn.LogSoftmax(1))])
def test_projected_gradients_take_logits_that_are_not_a_linear_layers_own(random, make):
    train, held_out = tensors(random)
    projected, whole = (influence_scores(make(), train, held_out, solver={"parameters": parameters, "damping": 0.1})
                        for parameters in ("projected", "all"))  # fmt: skip
    assert projected.record["status"] == "converged"
    assert spearmanr(projected.values, whole.values).statistic > 0.7


def test_frozen_biases_are_not_projected(random):
    train, held_out = tensors(random)
    frozen, without = mlp(nn.Tanh()), mlp(nn.Tanh())
    frozen[0].bias.requires_grad_(False)
    without[0].bias = None
    with torch.no_grad():
        frozen[0].bias.zero_()
    found, expected = (influence_scores(model, train, held_out, solver={"parameters": "projected"}).values
                       for model in (frozen, without))  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


class Words(nn.Module):
    """A mean of word vectors; word 0 fills short texts."""

    def __init__(self, padding):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(20, 6, padding_idx=0 if padding else None)
        self.head = nn.Linear(6, 3)
        with torch.no_grad():
            self.words.weight[0] = 0

    def forward(self, x):
        return self.head(torch.tanh(self.words(x)).sum(dim=1))


@pytest.mark.parametrize("parameters", ["all", "projected", "last"])
def test_the_word_that_fills_texts_is_held_fixed(random, parameters):
    _, y = table(random)
    texts = torch.from_numpy(random.integers(0, 20, size=(len(y), 5)))
    train, held_out = parts(texts, torch.from_numpy(y))
    solver = {"parameters": parameters, "damping": 0.5, "samples": None, "tolerance": 1e-6}
    filled, explicit = (influence_scores(Words(True).double(), train, held_out, solver={**solver, "name": name}).values
                        for name in ("cg", "explicit"))  # fmt: skip
    np.testing.assert_allclose(filled, explicit, atol=1e-5 * np.abs(explicit).max())
    others = influence_scores(Words(False).double(), train, held_out, solver=solver).values
    assert np.allclose(filled, others) == (parameters == "last")  # there no word vector counts


def test_a_recorder_of_projected_gradients_may_be_given_the_same_buffer(random):
    x, y = blobs(random, 320, 6, 3)
    x, y = torch.from_numpy(x).float(), torch.from_numpy(y)
    kept = []
    for buffer in (None, torch.empty(32, 6)):
        network = mlp(nn.Tanh(), d=6)
        optimiser = torch.optim.SGD(network.parameters(), lr=0.0)
        with Recorder(network, n=320, parameters="projected") as recorder:
            for start in range(0, 320, 32):
                rows = slice(start, start + 32)
                inputs = x[rows] if buffer is None else buffer.copy_(x[rows])
                recorder.batch(torch.arange(start, start + 32), y[rows])
                optimiser.zero_grad()
                nn.functional.cross_entropy(network(inputs), y[rows]).backward()
                optimiser.step()
        kept.append(recorder.scores((x, y)).values)
    np.testing.assert_array_equal(kept[1], kept[0])


def test_options_that_a_family_does_not_have_are_refused(random):
    train, held_out = parts(*table(random))
    plain = influence_scores(LogisticRegression().fit(*train), train, held_out).values
    for same in ({"parameters": "all"}, {"curvature": "hessian"}):  # what is done anyway
        told = influence_scores(LogisticRegression().fit(*train), train, held_out, solver=same)
        np.testing.assert_array_equal(told.values, plain)
        assert same.keys().isdisjoint(told.record["options"])
    for options, named in (({"parameters": "projected"}, "parameters"), ({"name": "ekfac"}, "ekfac is for")):
        with pytest.raises(ValueError, match=named):
            influence_scores(LogisticRegression().fit(*train), train, held_out, solver=options)
    with pytest.raises(ValueError, match="explicit needs a tolerance above 0"):
        influence_scores(LogisticRegression().fit(*train), train, held_out, solver={"name": "explicit", "tolerance": 0})


@pytest.mark.parametrize("weights", [[1.0, 2.0, 3.0], "balanced"])
def test_with_class_weights_a_label_that_is_no_class_is_named_with_its_sample(random, weights):
    (x, y), held_out = tensors(random)
    y = y.clone()
    y[3] = -1
    with pytest.raises(ValueError, match="training label -1 at sample 3"):
        influence_scores(mlp(nn.Tanh()), (x, y), held_out, class_weight=weights)
