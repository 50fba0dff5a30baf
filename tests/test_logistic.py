import numpy as np
import pytest
from sklearn.metrics import f1_score

from conftest import blobs
from datagradient.errors import UserError
from datagradient.metrics import f1, measure
from datagradient.models import family, logistic

SETTINGS = {"l2": 0.01, "tolerance": 1e-8, "max_iterations": 10_000}


@pytest.mark.parametrize("n_classes", [2, 3])
def test_fit_is_stationary_in_the_penalised_objective(random, n_classes):
    features, labels = blobs(random, 90, 4, n_classes)
    model, record = logistic.fit(features, labels, n_classes, SETTINGS, seed=0)
    problem = logistic.problem(model, features, labels)
    gradient = problem.mean_gradient(features, labels)
    gradient[: model.weights.size] += model.l2 * model.weights.ravel()
    assert np.abs(gradient).max() < 1e-6
    assert record["iterations"] > 0


@pytest.mark.parametrize("n_classes", [2, 3])
def test_saved_model_predicts_the_same_and_holds_no_pickle(random, tmp_path, n_classes):
    features, labels = blobs(random, 60, 4, n_classes)
    model, _ = logistic.fit(features, labels, n_classes, SETTINGS, seed=0)
    logistic.save(tmp_path / "model.npz", model, {"dataset": "blobs"})
    loaded, meta = family("logistic").load(tmp_path / "model.npz")
    expected = logistic.probabilities(model, features)
    np.testing.assert_array_equal(logistic.probabilities(loaded, features), expected)
    np.testing.assert_allclose(expected.sum(axis=1), 1)
    assert meta["dataset"] == "blobs"


def test_a_class_without_samples_is_refused(random):
    features, labels = blobs(random, 30, 2, 2)
    with pytest.raises(UserError, match="no training sample of class 2"):
        logistic.fit(features, labels, 3, SETTINGS, seed=0)


def test_a_fit_that_does_not_converge_is_refused(random):
    features, labels = blobs(random, 200, 10, 2)
    with pytest.raises(UserError, match="did not converge"):
        logistic.fit(features, labels, 2, {**SETTINGS, "max_iterations": 2}, seed=0)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_f1_equals_scikit_learns(random, n_classes):
    labels, predicted = random.integers(n_classes, size=(2, 200))
    average = "binary" if n_classes == 2 else "macro"
    assert f1(predicted, labels, n_classes) == pytest.approx(f1_score(labels, predicted, average=average))


def test_f1_of_a_class_nobody_has_is_zero():
    assert f1(np.zeros(4, dtype=int), np.zeros(4, dtype=int), 2) == 0


def test_measure_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    found = measure(probabilities, np.array([0, 1, 1]))
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4]).mean())
