"""Cross-fitting: who judges whom, the numbers by hand, and label quality by models that have not seen the sample."""

import types
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata

from conftest import blobs
from datagradient.data.splits import flip_labels
from datagradient.data.training_set import TrainingSet
from datagradient.errors import UserError
from datagradient.influence.glm import LinearProblem
from datagradient.models import logistic
from datagradient.refine import crossfit
from datagradient.refine.crossfit import FOLDS, cross_fit, stratified_folds
from datagradient.refine.quality import label_quality
from datagradient.seeds import integer_seed

SETTINGS = {"l2": 1e-2, "tolerance": 1e-8, "max_iterations": 10_000}
SOLVER = {"name": "cg", "damping": 0.01, "tolerance": 1e-10, "max_iterations": 1000}
N = 300


@pytest.fixture
def parts(random):
    """The training set, a fifth of its labels flipped, and two validation parts."""
    inputs, clean = blobs(random, N + 90, 4, 3, spread=0.7)
    labels, flipped = flip_labels(clean[:N], 0.2, 3, 0)
    samples = TrainingSet(inputs[:N], labels, flipped, np.arange(N), 3, 0, "blobs", 0.2, clean[:N])
    return samples, [(inputs[rows], clean[rows]) for rows in (slice(N, N + 60), slice(N + 60, N + 90))]


def recorder(samples, monkeypatch):
    """A family that notes by which model each sample was seen, predicted and scored: positions, call by call."""
    place = {row.tobytes(): i for i, row in enumerate(samples.inputs)}
    seen, predicted, scored = [], [], []

    def places(inputs):
        return [place[row.tobytes()] for row in inputs if row.tobytes() in place]

    def fit(inputs, labels, n_classes, settings, seed):
        seen.append(places(inputs))
        np.testing.assert_array_equal(labels, samples.labels[seen[-1]])
        return logistic.fit(inputs, labels, n_classes, settings, seed)

    def probabilities(model, inputs):
        predicted.append((len(seen) - 1, places(inputs)))
        return logistic.probabilities(model, inputs)

    def problem(model, inputs, labels, rows):
        scored.append((len(seen) - 1, places(inputs)))
        return logistic.problem(model, inputs, labels, rows)

    made = types.SimpleNamespace(fit=fit, probabilities=probabilities, problem=problem)
    monkeypatch.setattr(crossfit, "family", lambda name: made)
    return seen, predicted, scored


def test_every_sample_is_predicted_once_by_a_model_that_has_not_seen_it_and_scored_by_all_others(parts, monkeypatch):
    samples, validation = parts
    seen, predicted, scored = recorder(samples, monkeypatch)
    found = cross_fit("logistic", samples, validation, SETTINGS, SOLVER)
    assert len(seen) == FOLDS
    trained_on = [set(places) for places in seen]
    assert all(not trained_on[model] & set(places) for model, places in predicted)
    assert sorted(place for _, places in predicted for place in places) == list(range(N))
    assert all(trained_on[model] >= set(places) for model, places in scored)
    times = np.bincount([place for _, places in scored for place in places], minlength=N)
    assert times.tolist() == [FOLDS - 1] * N
    for rest in seen:  # classes in equal proportion
        assert np.abs(np.bincount(samples.labels[rest]) - np.bincount(samples.labels) * (1 - 1 / FOLDS)).max() <= 1
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(found.validation.sum(axis=1), 1)
    np.testing.assert_array_equal(found.validation_labels, np.concatenate([labels for _, labels in validation] * FOLDS))


def folds_of(samples):
    return stratified_folds(samples.labels, FOLDS, integer_seed(samples.seed, "folds"))


def by_hand(samples, validation):
    """Probabilities, influence and validation probabilities from dense matrices, label by label."""
    probabilities, influence, models = np.zeros((N, 3)), np.zeros((N, 3)), []
    for fold in folds_of(samples):
        rest = np.setdiff1d(np.arange(N), fold)
        model, _ = logistic.fit(samples.inputs[rest], samples.labels[rest], 3, SETTINGS, samples.seed)
        models.append(model)

        def made(rows, labels, weights=model.weights, bias=model.bias):
            return LinearProblem(samples.inputs[rows], labels, weights, bias, SETTINGS["l2"])

        problem = made(rest, samples.labels[rest])
        judges = [*validation, (samples.inputs[fold], samples.labels[fold])]
        gradient = sum(problem.mean_gradient(*part) for part in judges) / len(judges)
        matrix = np.array([problem.matvec(unit) for unit in np.eye(len(gradient))])
        direction = np.linalg.solve(matrix + SOLVER["damping"] * np.eye(len(gradient)), gradient)
        for label in range(3):
            influence[rest, label] -= made(rest, np.full(len(rest), label)).project(direction) / (FOLDS - 1)
        probabilities[fold] = logistic.probabilities(model, samples.inputs[fold])
    predicted = [logistic.probabilities(model, inputs) for model in models for inputs, _ in validation]
    return probabilities, influence, predicted


@pytest.mark.parametrize("judged_by", [2, 1, 0])
def test_the_numbers_are_those_computed_by_hand(parts, judged_by):
    samples, validation = parts[0], parts[1][:judged_by]
    found = cross_fit("logistic", samples, validation, SETTINGS, SOLVER)
    probabilities, influence, predicted = by_hand(samples, validation)
    np.testing.assert_array_equal(found.probabilities, probabilities)
    np.testing.assert_allclose(found.influence, influence, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(found.validation, np.concatenate([np.empty((0, 3)), *predicted]))
    assert found.validation_labels.shape == (len(found.validation),)
    assert found.seconds.keys() == {"fit", "score"} and min(found.seconds.values()) > 0


def test_the_seed_draws_the_folds(parts):
    samples, _ = parts
    first, again, other = (folds_of(replace(samples, seed=seed)) for seed in (0, 0, 1))
    for fold, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(fold, same)
        assert set(fold) != set(different)


def test_groups_stay_together_and_strata_are_divided_evenly(random):
    groups = random.integers(0, 60, 200)
    strata = groups % 3
    folds = stratified_folds(strata, 5, 0, groups)
    assert np.array_equal(np.sort(np.concatenate(folds)), np.arange(200))
    assert sum(len(set(groups[fold])) for fold in folds) == len(set(groups))
    assert all(len({g for g in groups[fold] if g % 3 == label}) in (3, 4) for fold in folds for label in range(3))
    alone = stratified_folds(strata, 5, 0)
    assert [fold.tolist() for fold in alone] == [
        fold.tolist() for fold in stratified_folds(strata, 5, 0, np.arange(200))
    ]


def test_copies_are_judged_by_models_that_have_not_seen_them(parts):
    samples, _ = parts
    rows = np.repeat(np.arange(60), 5)
    copies = replace(samples.take(rows), labels=samples.labels[rows])
    found = cross_fit("logistic", copies, [], SETTINGS, SOLVER, groups=rows)
    assert np.ptp(found.probabilities.reshape(60, 5, 3), axis=1).max() == 0  # by the same model


def test_without_influence_the_probabilities_are_the_same(parts):
    samples, validation = parts
    with_it, without = (
        cross_fit("logistic", samples, validation, SETTINGS, SOLVER, wanted) for wanted in (True, False)
    )
    np.testing.assert_array_equal(without.probabilities, with_it.probabilities)
    assert np.isnan(without.influence).all() and np.isfinite(with_it.influence).all()


def test_a_class_with_fewer_samples_than_folds_is_refused_by_name(parts):
    samples, validation = parts
    few = np.flatnonzero(samples.labels == 1)[: FOLDS - 1]
    rest = samples.take(np.sort(np.r_[few, np.flatnonzero(samples.labels != 1)]))
    with pytest.raises(UserError, match=f"data set blobs: class 1 has 4 training samples, .* needs {FOLDS}: leave out"):
        cross_fit("logistic", rest, validation, SETTINGS, SOLVER)


def test_flipped_labels_have_low_quality_and_large_influence(parts):
    samples, validation = parts
    found = cross_fit("logistic", samples, validation, SETTINGS, SOLVER)
    quality = label_quality(samples.labels, found.probabilities)
    assert quality.shape == (N,)
    assert 0 <= quality.min() <= quality.max() <= 1
    for suspicion in (-quality, found.influence[np.arange(N), samples.labels]):
        ranks = rankdata(suspicion)
        assert ranks[samples.flipped].mean() > ranks[~samples.flipped].mean() + 60
    wrong = np.flatnonzero(samples.flipped)  # for most of them the right label is the better one
    assert (found.influence[wrong, samples.right[wrong]] < found.influence[wrong, samples.labels[wrong]]).mean() > 0.75
