"""Scores against what they predict: refits without the sample, and planted label flips."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import spearmanr

from conftest import blobs
from datagradient.influence.scores import SOLVES, dataset_contribution, score, solve
from datagradient.influence.solvers import SolverError
from datagradient.metrics import measure
from datagradient.models import logistic

SETTINGS = {"l2": 0.01, "tolerance": 1e-9, "max_iterations": 10_000}


def fitted(features, labels, n_classes):
    return logistic.fit(features, labels, n_classes, SETTINGS, seed=0)[0]


def validation_loss(model, features, labels):
    return measure(logistic.probabilities(model, features), labels)["loss"]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("sparse", [False, True])
def test_scores_predict_refits_without_the_sample(random, n_classes, sparse):
    features, labels = blobs(random, 180, 4, n_classes)
    labels[:12] = (labels[:12] + 1) % n_classes
    features = csr_matrix(features) if sparse else features
    train, held_out = np.arange(120), np.arange(120, 180)
    model = fitted(features[train], labels[train], n_classes)
    scores = score(
        logistic.problem(model, features[train], labels[train]), features[held_out], labels[held_out], tolerance=1e-8
    )
    loss = validation_loss(model, features[held_out], labels[held_out])
    actual = [
        validation_loss(fitted(features[rest], labels[rest], n_classes), features[held_out], labels[held_out]) - loss
        for rest in (np.delete(train, i) for i in train)
    ]
    predicted = -scores.influence / len(train)  # removing sample i changes L_V by about −I_i / n
    assert spearmanr(predicted, actual).statistic > 0.95
    slope, offset = np.polyfit(actual, predicted, 1)
    assert slope == pytest.approx(1, abs=0.15)
    # The penalty's share in every sample: without it all predictions are off by the same amount, and signs are wrong.
    assert abs(offset) < 0.2 * np.std(actual)
    large = np.abs(actual) > 0.2 * np.std(actual)
    np.testing.assert_array_equal(np.sign(predicted)[large], np.sign(actual)[large])
    assert dataset_contribution(scores.influence)["stationarity"] < 1e-3


@pytest.mark.parametrize("n_classes", [2, 4])
def test_flipped_labels_are_harmful_on_average(random, n_classes):
    features, labels = blobs(random, 600, 6, n_classes)
    noisy, flipped = labels.copy(), np.arange(600) < 60
    noisy[flipped] = (labels[flipped] + 1) % n_classes
    train = np.arange(400)
    model = fitted(features[train], noisy[train], n_classes)
    problem = logistic.problem(model, features[train], noisy[train])
    influence = score(problem, features[400:], labels[400:]).influence
    assert influence[flipped[train]].mean() > 0 > influence[~flipped[train]].mean()


def test_explicit_and_cg_give_the_same_scores(random):
    features, labels = blobs(random, 150, 5, 3)
    problem = logistic.problem(fitted(features, labels, 3), features, labels)
    by_cg = score(problem, features[:50], labels[:50], "cg", tolerance=1e-10)
    by_hand = score(problem, features[:50], labels[:50], "explicit")
    np.testing.assert_allclose(by_cg.influence, by_hand.influence, atol=1e-7)


def test_scores_that_are_not_finite_name_the_sample(random):
    features, labels = blobs(random, 20, 2, 2)
    problem = logistic.problem(fitted(features, labels, 2), features, labels)
    problem.project = lambda direction: np.where(np.arange(20) == 7, np.nan, 0.0)
    with pytest.raises(SolverError, match="training sample 7 is not finite"):
        score(problem, features, labels)


@pytest.mark.parametrize("solver", ["cg", "explicit"])
def test_bad_validation_samples_are_refused(random, solver):
    features, labels = blobs(random, 20, 2, 2)
    problem = logistic.problem(fitted(features, labels, 2), features, labels)
    with pytest.raises(SolverError, match="no validation sample"):
        score(problem, features[:0], labels[:0], solver)
    broken = np.where(np.arange(20)[:, None] == 3, np.nan, features)
    with pytest.raises(SolverError, match="gradient of the validation loss is not finite"):
        score(problem, broken, labels, solver)


def test_contribution_by_hand():
    few_harmful = np.array([3.0, -1.0, -1.0, -1.0])
    found = dataset_contribution(few_harmful)
    spread = np.sqrt(3)
    assert found["dcs"] == pytest.approx((np.tanh(-3 / spread) + 3 * np.tanh(1 / spread)) / 4)
    assert found["dcs"] > 0
    assert found["helpful_share"] == 0.75
    assert found["mean_harm"] == 0.75
    assert found["stationarity"] == 0.0
    assert dataset_contribution(-few_harmful)["dcs"] == pytest.approx(-found["dcs"])


def test_contribution_of_equal_scores_is_finite():
    assert dataset_contribution(np.zeros(5)) == {"dcs": 0, "helpful_share": 0, "mean_harm": 0, "stationarity": 0}


@pytest.mark.parametrize("name", SOLVES)
def test_every_solver_solves_the_problem_or_says_which_it_is_for(random, name):
    features, labels = blobs(random, 400, 4, 3)
    problem = logistic.problem(fitted(features, labels, 3), features, labels)
    b = random.normal(size=len(problem.theta))
    try:
        x, record = solve(problem, b, name, seed=0, damping=0.1)
    except SolverError as error:
        assert str(error).startswith(f"{name}: is for ")
        return
    residual = np.linalg.norm(b - problem.matvec(x) - 0.1 * x) / np.linalg.norm(b)
    assert record.status == "converged" and record.damping == 0.1
    assert residual <= 1.5 * record.tolerance
