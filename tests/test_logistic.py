import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from conftest import blobs
from datagradient.errors import UserError
from datagradient.influence.scores import score
from datagradient.influence.solvers import SolverError
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


def unequal(random, n_classes, sparse):
    """Classes of different size, of features that are not centred."""
    features, labels = blobs(random, 400, 4, n_classes)
    kept = np.flatnonzero((labels > 0) | (random.random(400) < 0.4))
    features, labels = features[kept] + 0.3, labels[kept]
    return (csr_matrix(features) if sparse else features), labels


def scored(features, labels, l2=None, c=1.0, **options):
    """The solver's record for scikit-learn's own model; l2 belongs to its C unless one is given."""
    model = LogisticRegression(C=c, max_iter=5000, **options).fit(features, labels)
    intercept = np.broadcast_to(model.intercept_, len(model.coef_)).astype(float)
    represented = logistic.LogisticModel(model.coef_, intercept, 1 / (c * len(labels)) if l2 is None else l2)
    return score(logistic.problem(represented, features, labels), features, labels).record


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("c", [0.01, 1.0, 1e4])
def test_scikit_learns_own_fits_are_at_the_minimum(random, n_classes, sparse, c):
    assert scored(*unequal(random, n_classes, sparse), c=c).status == "converged"


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "other",
    [
        {"fit_intercept": False},
        {"l1_ratio": 1.0, "solver": "saga", "c": 0.05},
        {"l1_ratio": 0.5, "solver": "saga", "c": 0.05},
        {"class_weight": "balanced"},
        {"l2": 1.0},
        {"l2": 0.0, "c": 0.01},
    ],
)
def test_models_that_are_not_at_the_minimum_are_refused(random, n_classes, sparse, other):
    features, labels = unequal(random, n_classes, sparse)
    with pytest.raises(SolverError, match=r"not at the minimum of mean loss .*l2 = 1 / \(C n\).*intercept.*L1 penalty"):
        scored(features, labels, **other)


def test_a_weak_l1_penalty_is_known_by_weights_of_zero(random):
    features, labels = unequal(random, 2, sparse=False)
    features = np.hstack([features, np.zeros((len(features), 1))])
    assert scored(features, labels).status == "converged"  # an empty feature has a weight of 0 by right
    model = LogisticRegression(C=1e4, max_iter=5000, tol=1e-8).fit(features, labels)
    model.coef_[0, 1] = 0
    moved = np.delete(features, 1, axis=1)
    refit = LogisticRegression(C=1e4, max_iter=5000, tol=1e-8).fit(moved, labels)
    noise = random.normal(size=len(labels)) * 1e-4
    pinned = logistic.LogisticModel(np.insert(refit.coef_, 1, 0, axis=1), refit.intercept_, 1e-4 / len(labels))
    features[:, 1] = noise
    with pytest.raises(SolverError, match="weights are exactly 0"):
        score(logistic.problem(pinned, features, labels), features, labels)


@pytest.mark.parametrize("sparse", [False, True])
def test_weights_that_are_0_by_symmetry_are_at_the_minimum(sparse):
    """Signs whose product is the class, a sign that is the class beside others, and a word that both classes have."""
    signs = np.array([[a, b, c] for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-1.0, 1.0)])
    words = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    product = signs[:, 0] * signs[:, 1]
    cases = (signs, product, 3), (signs, signs[:, 2], 2), (words, np.array([-1, 1, -1, 1]), 1)
    for features, sides, zeros in cases:
        labels = (sides > 0).astype(int)
        assert (LogisticRegression().fit(features, labels).coef_ == 0).sum() == zeros
        assert scored(csr_matrix(features) if sparse else features, labels).status == "converged"


def test_other_training_samples_than_the_models_are_refused(random):
    features, labels = unequal(random, 2, sparse=False)
    model, _ = logistic.fit(features, labels, 2, SETTINGS, seed=0)
    worst = np.argsort(logistic.probabilities(model, features)[np.arange(len(labels)), labels])
    with pytest.raises(SolverError, match="not at the minimum"):
        score(logistic.problem(model, features[worst[20:]], labels[worst[20:]]), features, labels)
    with pytest.raises(SolverError, match="samples have 3 features, and the model 4 weights"):
        score(logistic.problem(model, features[:, :3], labels), features, labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda y: y + 1, " 2 at sample 1 is no class: the model's 2 classes are 0 to 1; pass positions"),
        (lambda y: 2 * y - 1, " -1 at sample 0 is no class"),
        (lambda y: y.astype(float), "s are of type float64, 0.0 at sample 0"),
        (lambda y: np.where(np.arange(30) == 3, np.nan, y), "s are of type float64, nan at sample 3"),
        (lambda y: y.astype(str), "s are of type <U21, 0 at sample 0"),
        (lambda y: y == 1, "s are of type bool"),
        (lambda y: y[:-1], r"s have the shape \(29,\) for 30 samples"),
        (lambda y: np.eye(2, dtype=int)[y], r"s have the shape \(30, 2\) for 30 samples"),
    ],
)
def test_labels_that_are_no_classes_are_refused(random, labels, message):
    features, right = blobs(random, 30, 2, 2)
    model, _ = logistic.fit(features, right, 2, SETTINGS, seed=0)
    with pytest.raises(SolverError, match=f"training label{message}"):
        logistic.problem(model, features, labels(right))
    with pytest.raises(SolverError, match=f"validation label{message}"):
        score(logistic.problem(model, features, right), features, labels(right))


def test_parameters_that_are_not_finite_are_refused(random):
    features, labels = blobs(random, 30, 2, 2)
    with pytest.raises(SolverError, match="parameter 2 of the model is not finite"):
        logistic.problem(logistic.LogisticModel(np.ones((1, 2)), np.full(1, np.nan), 0.1), features, labels)
