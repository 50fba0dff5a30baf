"""Scores on a GPU are those on the processor, and a record leaves training there as it is."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from datagradient import Recorder, influence_scores
from datagradient.influence.scores import score
from datagradient.models import declared, neural
from recording_examples import SOLVER, network, samples, shuffled, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is visible")

N = 300
NETWORKS = {"CNN": {"width": 8}, "ResNet-18": {"network": "resnet18"},
            "CNN in mixed precision": {"width": 8, "precision": "bfloat16"}}  # fmt: skip


@pytest.fixture(scope="module")
def images():
    """Images of three classes that differ in brightness, and their labels: to train with, and to validate."""
    random = np.random.default_rng(0)
    labels = random.integers(3, size=N + 200)
    pixels = 60 * labels[:, None, None, None] + random.integers(120, size=(len(labels), 16, 16, 3))
    labels[: N // 5] = (labels[: N // 5] + 1) % 3
    pixels = pixels.astype(np.uint8)
    return (pixels[:N], labels[:N]), (pixels[N:], labels[N:])


@pytest.fixture
def to_processor(monkeypatch):
    """A function; the family computes on the processor from its call on."""
    return lambda: monkeypatch.setattr(neural, "best_device", lambda: torch.device("cpu"))


def settings(**changes):
    return {**declared("neural").defaults, "epochs": 5, "batch_size": 50, **changes}


def scored(model, train_set, validation, parameters):
    problem = neural.problem(model, *train_set, parameters=parameters)
    name = "record" if parameters == "projected" else "cg"
    return score(problem, *validation, name=name, damping=0.1, tolerance=1e-3).influence


@pytest.mark.parametrize(
    ("parameters", "which"),
    [
        (parameters, which)
        for parameters in ("last", "all", "projected")
        for which in NETWORKS
        if (parameters, which) != ("all", "ResNet-18")
    ],  # too long on a processor
)
def test_a_network_is_scored_as_on_the_processor(images, parameters, which, to_processor):
    model = neural.fit(*images[0], 3, settings(**NETWORKS[which]), 0)[0]
    found = scored(model, *images, parameters)
    to_processor()
    expected = scored(model, *images, parameters)
    assert spearmanr(found, expected).statistic > 0.99
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05 * expected.std())


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("parameters", ["last", "projected"])
def test_a_record_gives_the_scores_of_a_pass(images, parameters, changes):
    (x, y), validation = images
    model, _, record = neural.fit_recorded(x, y, 3, settings(**changes), 0, parameters=parameters)
    found = scored(model, (record, y), validation, parameters)
    assert spearmanr(found, scored(model, (x, y), validation, parameters)).statistic > 0.95


@pytest.mark.parametrize("parameters", ["last", "projected"])
def test_training_with_a_record_gives_the_same_weights(images, parameters, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    plain = neural.fit(*images[0], 3, settings(width=8), 0)[0].network.state_dict()
    recorded = neural.fit_recorded(*images[0], 3, settings(width=8), 0, parameters=parameters)[0].network.state_dict()
    assert all(torch.equal(plain[name], recorded[name]) for name in plain)


def convolutions():
    torch.manual_seed(0)
    return nn.Sequential(nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))


@pytest.mark.parametrize("make", [network, convolutions])
@pytest.mark.parametrize("parameters", ["last", "all"])
def test_a_network_of_ones_own_is_scored_where_it_is(make, parameters):
    (x, y), validation = samples()
    model, solver = make().cuda(), {**SOLVER, "parameters": parameters}
    recorder = Recorder(model)
    train(model, shuffled((x.cuda(), y.cuda())), recorder)
    expected = influence_scores(copy.deepcopy(model).cpu(), (x, y), validation, solver=solver).values
    found = [influence_scores(model, (x, y), validation, solver=solver).values]
    if parameters == "last":
        found.append(recorder.scores(validation, solver=SOLVER).values)
    for values in found:
        np.testing.assert_allclose(values, expected, rtol=1e-2, atol=1e-2 * expected.std())
    assert next(model.parameters()).is_cuda
