"""Projected gradients by all layers, recorded in training or by a pass."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn.functional import cross_entropy

from datagradient import Recorder, influence_scores
from datagradient.influence.projected import ProjectedProblem
from datagradient.influence.record import record_from
from datagradient.influence.recording import Recording
from recording_examples import CLASSES, N, network, own_loop, samples


@pytest.fixture
def blobs():
    return samples()


def images(n=120):
    random = np.random.default_rng(0)
    labels = random.integers(3, size=n)
    pixels = random.standard_normal((n, 2, 6, 6)) + labels[:, None, None, None]
    return torch.from_numpy(pixels.astype(np.float32)), torch.from_numpy(labels)


class Small(nn.Module):
    """Convolutions with and without a bias, one with a stride, and two linear layers; all directions are kept."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 2, padding=1), nn.Conv2d(3, 2, 2, stride=2, bias=False)
        self.hidden, self.last = nn.Linear(18, 5), nn.Linear(5, 3)

    def forward(self, x):
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.last(torch.tanh(self.hidden(x.flatten(1))))


class Words(nn.Module):
    """An embedding, whose one-hot inputs are projected at random, a layer on positions, and the last one."""

    def __init__(self):
        super().__init__()
        self.words, self.mixed, self.last = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.mixed(self.words(x))).mean(dim=1))


def per_sample(model, projections, x, y):
    """Return the projected gradients of single samples, from torch's own gradients of the whole weights."""
    rows = []
    for inputs, label in zip(x, y, strict=True):
        model.zero_grad()
        cross_entropy(model(inputs[None]), label[None]).backward()
        parts = []
        for projection in projections.values():
            weight = projection.layer.weight.grad
            bias = getattr(projection.layer, "bias", None)
            joint = weight.T if isinstance(projection.layer, nn.Embedding) else weight.flatten(1)
            joint = joint if bias is None else torch.cat([joint, bias.grad[:, None]], dim=1)
            parts.append((projection.left.T @ joint @ projection.right).flatten())
        rows.append(torch.cat(parts))
    return torch.stack(rows)


@pytest.mark.parametrize("kind", ["images", "words"])
def test_projected_gradients_are_projections_of_torchs_gradients(kind):
    torch.manual_seed(0)
    model = Small() if kind == "images" else Words()
    x = images()[0] if kind == "images" else torch.randint(9, (120, 7))
    y = images()[1]
    recording = Recording(model, 120, "projected")
    with recording:
        for rows in torch.randperm(120).split(32):
            recording.batch(rows, y[rows])
            (7 * cross_entropy(model(x[rows]), y[rows], reduction="sum")).backward()
    record = recording.record()
    expected = per_sample(model, record.projections, x, y)
    torch.testing.assert_close(record.values, expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(record.checked.values, expected[record.checked.samples], rtol=1e-3, atol=1e-5)
    again = record_from(record.arrays(), model)
    torch.testing.assert_close(again.values, record.values)
    by_pass = ProjectedProblem(model, lambda x: x, x, y, projections=again.projections)
    np.testing.assert_allclose(by_pass.gradients, expected.numpy(), rtol=1e-3, atol=1e-5)


def test_with_all_directions_the_scores_are_those_of_the_empirical_fisher(blobs):
    (x, y), (v, w) = blobs
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, CLASSES))
    recorder = Recorder(model, n=N, parameters="projected")
    own_loop(model, recorder, x, y, torch.randperm(N))
    found = recorder.scores((v, w), solver={"damping": 0.01, "samples": None, "tolerance": 1e-8})

    def gradients(x, y):
        rows = []
        for inputs, label in zip(x, y, strict=True):
            model.zero_grad()
            cross_entropy(model(inputs[None]), label[None]).backward()
            rows.append(torch.cat([value.grad.flatten() for value in model.parameters()]))
        return torch.stack(rows).double().numpy()

    own, mean = gradients(x, y), gradients(v, w).mean(axis=0)
    fisher = own.T @ own / N + 0.01 * np.eye(own.shape[1])
    np.testing.assert_allclose(found.values, -own @ np.linalg.solve(fisher, mean), rtol=1e-3, atol=1e-4)
    assert found.record["agreement"] > 0.9999
    posthoc = influence_scores(
        model, (x, y), (v, w), solver={"damping": 0.01, "samples": None, "parameters": "projected"}
    )
    np.testing.assert_allclose(posthoc.values, found.values, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.score((x[:9], y[:9])), found.values[:9], rtol=1e-3, atol=1e-4)


def test_a_layer_that_runs_twice_is_refused_and_one_that_never_runs_is_left_out(blobs):
    class Twice(nn.Module):
        def __init__(self, other):
            super().__init__()
            self.body, self.last, self.other = nn.Linear(8, 8), nn.Linear(8, CLASSES), other

        def forward(self, x):
            return self.last(self.body(x) if self.other else self.body(self.body(x)))

    recorder = Recorder(Twice(None), n=N, parameters="projected")
    own_loop(recorder._model, recorder, *blobs[0], torch.arange(N))
    with pytest.raises(ValueError, match="layer body runs twice"):
        recorder.scores(blobs[1])
    recorder = Recorder(Twice(nn.Linear(2, 2)), n=N, parameters="projected")
    own_loop(recorder._model, recorder, *blobs[0], torch.arange(N))
    assert recorder.scores(blobs[1]).record["left_out"] == ["other.weight", "other.bias"]


def test_projected_gradients_need_a_backward_pass(blobs):
    model = network()
    recorder = Recorder(model, n=N, parameters="projected")
    with recorder:
        recorder.batch(range(N), blobs[0][1])
        model(blobs[0][0])
    with pytest.raises(ValueError, match="sample 0 had no backward pass"):
        recorder.scores(blobs[1])


class InPlace(nn.Module):
    """Its activation writes into what a layer gave."""

    def __init__(self, in_place):
        super().__init__()
        self.body, self.relu, self.last = nn.Linear(8, 6), nn.ReLU(inplace=in_place), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.last(self.relu(self.body(x)))


@pytest.mark.parametrize("size", [N, 7, 1])
def test_projected_gradients_are_those_before_an_operation_in_place_whatever_the_size_of_a_pass(blobs, size):
    found = []
    for in_place, parts in ((False, 1), (True, -(-50 // size))):
        torch.manual_seed(0)
        model = InPlace(in_place)
        recorder = Recorder(model, n=N, parameters="projected")
        own_loop(model, recorder, *blobs[0], torch.arange(N), parts=parts)
        by_record = recorder.scores(blobs[1], solver={"damping": 0.05}).values
        by_pass = influence_scores(model, *blobs, solver={"parameters": "projected", "damping": 0.05}).values
        np.testing.assert_allclose(by_record, by_pass, rtol=1e-3, atol=1e-4)
        found.append(by_record)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-4)


def test_directions_do_not_hang_on_the_size_of_the_first_pass():
    torch.manual_seed(0)
    x, y = torch.randn(600, 64) * torch.linspace(2, 0.02, 64), torch.randint(3, (600,))
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    found = []
    for size in (600, 8):
        recorder = Recorder(model, n=600, parameters="projected")
        own_loop(model, recorder, x, y, torch.arange(600), size=size)
        found.append(recorder.scores((x[:100], y[:100]), solver={"damping": 0.01}).values)
    assert spearmanr(*found).statistic > 0.9  # 0.7 by the first eight samples alone


def test_mixed_precision_has_projected_gradients_too(blobs):
    (x, y), validation = blobs
    model = network()
    recorder = Recorder(model, n=N, parameters="projected")
    with recorder:
        for rows in torch.arange(N).split(50):
            recorder.batch(rows, y[rows])
            with torch.autocast("cpu", torch.bfloat16):
                loss = 1000 * cross_entropy(model(x[rows]), y[rows])
            loss.backward()
    found = recorder.scores(validation, solver={"damping": 0.05})
    expected = influence_scores(model, *blobs, solver={"parameters": "projected", "damping": 0.05})
    assert spearmanr(found.values, expected.values).statistic > 0.99


def test_the_weighted_second_moment_is_that_of_repeated_samples(blobs):
    (x, y), validation = blobs
    model = network()
    weights = torch.ones(N)
    weights[:60] = 2
    rows = torch.cat([torch.arange(N), torch.arange(60)])
    options = {"parameters": "projected", "damping": 0.05, "samples": None}
    found = influence_scores(model, (x, y), validation, solver=options, sample_weight=weights)
    options["damping"] *= N / (N + 60)
    repeated = influence_scores(model, (x[rows], y[rows]), validation, solver=options)
    # The directions are those of slightly different samples.
    assert spearmanr(found.values[60:], repeated.values[60:N]).statistic > 0.999
