"""The contract that every model family keeps on every data set."""

import functools
import json

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from conftest import FETCHED
from datagradient import models
from datagradient.data import sets
from datagradient.data.record import sample_keys
from datagradient.data.splits import SplitPlan, flip_labels
from datagradient.errors import UserError
from datagradient.files import read_meta, write_arrays
from datagradient.influence.options import PROBLEM_OPTIONS, SOLVERS
from datagradient.influence.scores import curvature_rows, score
from datagradient.pipeline.layout import modules, solver_for
from datagradient.pipeline.prepare import write_prepared
from datagradient.pipeline.provenance import stamp
from datagradient.pipeline.training import load_part, load_training_set

QUICK = {
    "logistic": {"l2": 0.01},
    "boosted": {"rounds": 30, "depth": 3, "learning_rate": 0.3},
    "neural": {"width": 16, "epochs": 10, "batch_size": 32, "learning_rate": 1e-2},
}


@functools.cache
def data_set(name):
    dataset = sets.load(name)
    return dataset, sample_keys(dataset)


@pytest.fixture(params=modules("data/sets"))
def prepared(request, tmp_path_factory):
    """Folder with features.npz and labels.npz of a data set cut to 1,500 samples, a fifth of the labels flipped."""
    if request.param in FETCHED:
        request.getfixturevalue("real_data")
    dataset, keys = data_set(request.param)
    folder = tmp_path_factory.getbasetemp() / request.param
    if not (folder / "labels.npz").exists():
        folder.mkdir(exist_ok=True)
        plan = SplitPlan(influence=0.2, max_development=1500, max_test=300)
        write_prepared(dataset, keys, 0, plan, folder / "features.npz")
        clean = load_part("features", folder / "features.npz", "train")[1]
        labels, flipped = flip_labels(clean, 0.2, len(dataset.class_names), 0)
        write_arrays(folder / "labels.npz", stamp(seed=0, dataset=dataset.name), labels=labels, flipped=flipped)
    return folder


def fitted(name, folder):
    family = models.family(name)
    samples = load_training_set(models.declared(name).inputs, folder / "features.npz", folder / "labels.npz", None)
    settings = {**models.declared(name).defaults, **QUICK.get(name, {})}
    model, record = family.fit(samples.inputs, samples.labels, samples.n_classes, settings, samples.seed)
    return family, samples, model, record


@pytest.mark.parametrize("name", modules("models"))
def test_every_family_keeps_the_contract_on_every_data_set(name, prepared, tmp_path):
    family, samples, model, record = fitted(name, prepared)
    assert record["seconds"] > 0
    assert record["iterations"] > 0
    json.dumps(record)

    inputs, labels = load_part(models.declared(name).inputs, prepared / "features.npz", "influence")
    probabilities = family.probabilities(model, inputs)
    assert probabilities.shape == (len(labels), samples.n_classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert (probabilities.argmax(axis=1) == labels).mean() > 1.2 / samples.n_classes

    facts = stamp(seed=0, dataset=samples.dataset, model=name)
    family.save(tmp_path / "model.npz", model, facts)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as archive:
        assert all(archive[key].dtype != object for key in archive.files)
    loaded, found = models.load(name, tmp_path / "model.npz", prepared / "features.npz")
    assert found["dataset"] == samples.dataset
    np.testing.assert_array_equal(family.probabilities(loaded, inputs), probabilities)

    solver = solver_for(models.declared(name).solver, read_meta(prepared / "features.npz")["modality"])
    options = {key: value for key, value in solver.items() if key in ("name", *SOLVERS[solver["name"]])}
    form = {key: solver[key] for key in PROBLEM_OPTIONS[1:] if key in solver}
    rows = curvature_rows(len(samples.labels), solver.get("samples"), 0)
    influence = score(
        family.problem(loaded, samples.inputs, samples.labels, rows, **form), inputs, labels, **options
    ).influence
    flipped = influence[samples.flipped].mean()
    assert flipped > max(0, influence[~samples.flipped].mean())
    again = fitted(name, prepared)[2]
    np.testing.assert_array_equal(family.probabilities(again, inputs), probabilities)


@pytest.mark.parametrize("name", modules("models"))
@pytest.mark.parametrize("changed", [{"model": "other"}, {"version": "0"}, {"dataset": "other"}, {"seed": 9}])
def test_models_of_other_data_versions_and_families_are_refused(name, changed, tmp_path):
    facts = {"model": name, "dataset": "digits", "seed": 0, "version": models.__version__}
    write_arrays(tmp_path / "features.npz", {"dataset": "digits", "seed": 0}, x=np.zeros(1))
    write_arrays(tmp_path / "model.npz", {**facts, **changed}, x=np.zeros(1))
    (key, value) = next(iter(changed.items()))
    with pytest.raises(UserError, match=f"model.npz: {key} is {value}, and .* is needed for .*train it again"):
        models.load(name, tmp_path / "model.npz", tmp_path / "features.npz")


@pytest.mark.parametrize("form", ["features", "raw"])
def test_a_class_emptied_by_pruning_is_refused_with_the_numbers(form, tmp_path):
    write_prepared(*data_set("affairs"), 0, SplitPlan(max_development=200, max_test=50), tmp_path / "features.npz")
    labels = load_part(form, tmp_path / "features.npz", "train")[1]
    write_arrays(
        tmp_path / "labels.npz", stamp(seed=0, dataset="affairs"), labels=labels, flipped=np.zeros(len(labels), bool)
    )
    write_arrays(tmp_path / "kept.npz", {}, positions=np.flatnonzero(labels == 0))
    with pytest.raises(UserError, match=r"kept.npz: a class has no training sample: .* \d+, .* 0; lower"):
        load_training_set(form, *(tmp_path / name for name in ("features.npz", "labels.npz", "kept.npz")))


def test_a_loss_that_is_not_finite_in_training_names_the_epoch(random):
    settings = {**models.declared("neural").defaults, "epochs": 3, "batch_size": 8}
    inputs = random.normal(size=(40, 3))
    inputs[5] = np.inf
    with pytest.raises(UserError, match="the loss is nan in epoch 1"):
        models.family("neural").fit(inputs, np.arange(40) % 2, 2, settings, 0)


def test_networks_of_another_kind_of_data_are_refused(random):
    settings = {**models.declared("neural").defaults, "network": "resnet18"}
    with pytest.raises(UserError, match="network resnet18 takes images, and this data set holds tables"):
        models.family("neural").fit(random.normal(size=(40, 3)), np.arange(40) % 2, 2, settings, 0)


def test_training_of_a_few_steps_is_possible_and_of_fewer_refused(random):
    settings = {**models.declared("neural").defaults, "epochs": 1, "batch_size": 8}
    inputs, labels = random.normal(size=(24, 3)), np.arange(24) % 2
    _, record = models.family("neural").fit(inputs, labels, 2, settings, 0)
    assert record["iterations"] == 3
    with pytest.raises(UserError, match="24 samples in batches of 12 for 1 epochs are 2 steps: too few"):
        models.family("neural").fit(inputs, labels, 2, {**settings, "batch_size": 12}, 0)


@pytest.fixture
def trained_with(random):
    """A function that trains a tiny network: the model, its record, and the weights and the rate of every step."""
    inputs, labels = random.normal(size=(60, 3)), np.arange(60) % 2
    tiny = {**models.declared("neural").defaults, "width": 4, "epochs": 4, "batch_size": 8}

    def train(seed=0, **changed):
        steps, rates = [], []

        def note(optimiser, *_):
            (group,) = optimiser.param_groups
            steps.append(weights_of(group["params"]))
            rates.append(group["lr"])

        hook = register_optimizer_step_post_hook(note)
        try:
            model, record = models.family("neural").fit(inputs, labels, 2, {**tiny, **changed}, seed)
        finally:
            hook.remove()
        return model, record, np.stack(steps), np.array(rates)

    return train


def weights_of(parameters):
    return np.concatenate([value.detach().numpy().ravel() for value in parameters])


def test_without_averaging_the_weights_are_those_of_the_last_step_of_the_cycle(trained_with):
    model, record, steps, rates = trained_with(averaging=0)
    assert weights_of(model.network.parameters()).tobytes() == steps[-1].tobytes()
    assert (record["iterations"], record["averaged_steps"], len(steps)) == (32, 0, 32)
    assert rates[-1] < 1e-4 * rates.max()


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.25, 8), (0.5, 16), (0.75, 24), (0.999, 32)])
def test_averaged_weights_are_the_mean_of_those_after_the_last_steps(trained_with, share, count):
    model, record, steps, _ = trained_with(averaging=share)
    assert (record["iterations"], record["averaged_steps"]) == (32, count)
    np.testing.assert_allclose(weights_of(model.network.parameters()), steps[-count:].mean(axis=0), atol=1e-6)
    assert not model.network.training


@pytest.mark.parametrize("epochs", [1, 4, 13])
def test_with_averaging_the_rate_stays_at_its_highest_after_the_warm_up(trained_with, epochs):
    highest = models.declared("neural").defaults["learning_rate"]
    rates, usual = (trained_with(averaging=share, epochs=epochs)[3] for share in (0.5, 0))
    warm_up = usual.argmax()
    np.testing.assert_array_equal(rates[:warm_up], usual[:warm_up])
    np.testing.assert_array_equal(rates[warm_up:], rates[-1])
    np.testing.assert_allclose(rates[-1], highest, rtol=0.05)


def test_the_same_seed_gives_the_same_averaged_bytes_and_a_file_keeps_them(trained_with, tmp_path):
    (one, *_), (same, *_), (other, *_) = (trained_with(seed, averaging=0.5) for seed in (0, 0, 1))
    found = [weights_of(model.network.parameters()).tobytes() for model in (one, same, other)]
    assert found[0] == found[1] != found[2]
    models.family("neural").save(tmp_path / "model.npz", one, {})
    read, facts = models.family("neural").load(tmp_path / "model.npz")
    assert weights_of(read.network.parameters()).tobytes() == found[0]
    assert facts["settings"]["averaging"] == 0.5


def test_a_network_stays_on_its_owners_device():
    network = torch.nn.Linear(2, 2)
    on_device = models.family("neural")._on
    assert on_device(torch.device("cpu"), network) is network
    assert on_device(torch.device("meta"), network).weight.device.type == "meta"  # stands for a GPU
    assert network.weight.device.type == "cpu"
