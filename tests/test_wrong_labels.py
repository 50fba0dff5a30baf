"""How likely labels are right: against other optimisers, numbers by hand, and made-up data whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from datagradient.refine.wrong_labels import (
    PRIOR,
    anchored,
    confusion,
    posterior,
    recalibrated,
    right_label_probabilities,
)

FLIPS = 0.8 * np.eye(3) + 0.1 * (1 - np.eye(3))  # a fifth of the labels, to each other class alike


def drawn(random, rows):
    """One class for each row of probabilities."""
    return (random.random((len(rows), 1)) > np.cumsum(rows, axis=1)[:, :-1]).sum(axis=1)


def made_up(random, n, spread=4.0):
    """p(x) (n, 3), and right labels that are drawn from it."""
    p = softmax(spread * random.normal(size=(n, 3)), axis=1)
    return p, drawn(random, p)


def flat(p, power=0.5, tilt=(0.5, 0.0, -0.5)):
    """The probabilities of a model that is not sure enough of itself, and likes some classes."""
    return softmax(power * np.log(p) + np.array(tilt), axis=1)


@pytest.mark.parametrize("kinds", [1, 2])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_recalibration_minimises_the_loss_on_the_validation_samples(random, n_classes, kinds):
    p = softmax(2 * random.normal(size=(400, n_classes)), axis=1)
    labels = drawn(random, p)
    validation = [softmax(np.log(p) * power + random.normal(size=p.shape), axis=1) for power in (0.5, 2.0)][:kinds]
    train = [softmax(random.normal(size=(50, n_classes)), axis=1) for _ in range(kinds)]

    def chances(weights, parts):
        logits = np.tile(weights[kinds:], (len(parts[0]), 1))
        for weight, part in zip(weights[:kinds], parts, strict=True):
            logits += weight * np.log(part)
        return log_softmax(logits, axis=1)

    def loss(weights):
        return -np.mean([row[y] for row, y in zip(chances(weights, validation), labels, strict=True)]) + PRIOR / len(
            labels
        ) * sum(weights[kinds:] ** 2)

    best = minimize(loss, np.zeros(kinds + n_classes), method="BFGS", options={"gtol": 1e-6})
    expected = np.exp(chances(best.x, train))
    np.testing.assert_allclose(recalibrated(train, validation, labels), expected, atol=2e-3)


def test_recalibration_of_two_classes_is_scikit_learns_logistic_regression(random):
    p = softmax(2 * random.normal(size=(2000, 2)), axis=1)
    labels, parts = drawn(random, p), [flat(p, tilt=(0.3, 0.0)), flat(p, power=2.0, tilt=(0.0, 0.2))[:, ::-1]]
    parts[1] = softmax(np.log(parts[1]) + random.normal(size=p.shape), axis=1)
    odds = np.stack([np.log(part[:, 1] / part[:, 0]) for part in parts], axis=1)
    model = LogisticRegression(C=np.inf, tol=1e-8).fit(odds, labels)
    np.testing.assert_allclose(recalibrated(parts, parts, labels), model.predict_proba(odds), atol=0.01)


def test_recalibrated_probabilities_are_those_that_labels_are_drawn_from(random):
    p, _ = made_up(random, 500)
    other, labels = made_up(random, 20_000)
    np.testing.assert_allclose(recalibrated([flat(p)], [flat(other)], labels), p, atol=0.03)


def test_rates_of_given_labels_are_found_where_the_probabilities_are_known(random):
    p, right = made_up(random, 40_000)
    rates = np.array([[0.7, 0.3, 0.0], [0.05, 0.9, 0.05], [0.1, 0.3, 0.6]])
    np.testing.assert_allclose(confusion(p, drawn(random, rates[right])), rates, atol=0.02)
    np.testing.assert_allclose(confusion(p, right), np.eye(3), atol=0.01)


def test_rates_of_labels_whose_most_doubtful_were_checked_need_what_the_check_showed(random):
    p, right = made_up(random, 20_000)
    labels = drawn(random, FLIPS[right])
    doubtful = np.argsort(p[np.arange(len(p)), labels])[:4000]
    left = np.delete(np.arange(len(p)), doubtful)
    checked = np.zeros((3, 3))
    np.add.at(checked, (right[doubtful], labels[doubtful]), 1)
    assert confusion(p[left], labels[left]).diagonal().min() > 0.97
    np.testing.assert_allclose(confusion(p[left], labels[left], checked), FLIPS, atol=0.02)
    for trusted in (True, False):
        sure = p if trusted else p @ FLIPS
        found = right_label_probabilities([sure[left]], labels[left], [sure], right if trusted else labels, trusted,
                                          checked)  # fmt: skip
        doubt = 1 - found[np.arange(len(left)), labels[left]]
        np.testing.assert_allclose(doubt.mean(), (labels != right)[left].mean(), atol=0.02)


def test_anchors_find_flips_to_all_classes_alike(random):
    p, right = made_up(random, 5000)
    np.testing.assert_allclose(anchored(p @ FLIPS, drawn(random, FLIPS[right])), FLIPS, atol=0.01)


def test_a_class_that_models_are_never_sure_of_has_no_wrong_labels(random):
    """Sixty samples of another class among three thousand, at random: nobody can tell which they are."""
    labels = (random.random(3000) < 0.5).astype(int)
    labels[random.permutation(3000)[:60]] = 2
    sure = np.eye(3)[labels] + np.array([0.01, 0.01, 0.0])
    sure[labels == 2] = [0.49, 0.49, 0.02]
    sure = 0.98 * sure / sure.sum(axis=1, keepdims=True) + 0.02 * np.array([0.0, 0.0, 1.0])
    np.testing.assert_array_equal(anchored(sure, labels)[2], [0, 0, 1])
    found = right_label_probabilities([sure], labels, [sure], labels, trusted=False)
    assert found[:, 2].sum() <= 61


def test_bayes_rule_by_hand():
    right = np.array([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0]])
    rates = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.05, 0.65]])
    found = posterior(right, np.array([1, 0]), rates)
    np.testing.assert_allclose(found, [[0.07 / 0.215, 0.14 / 0.215, 0.005 / 0.215], [0.8, 0.2, 0.0]])


@pytest.mark.parametrize(("trusted", "within"), [(True, 0.1), (False, 0.25)])
@pytest.mark.parametrize("rate", [0.2, 0.0])
def test_the_expected_number_of_wrong_labels_is_near_the_truth(random, rate, trusted, within):
    n, mixing = 4000, np.eye(3) if rate == 0 else FLIPS
    p, right = made_up(random, n)
    labels, (other, clean) = drawn(random, mixing[right]), made_up(random, 2000)
    if trusted:  # models trained on labels of which some are wrong are less sure; right labels sharpen them
        train, validation, theirs = flat(p), flat(other), clean
    else:  # models tell the given labels, and so do the validation samples
        train, validation, theirs = flat(p @ mixing), flat(other @ mixing), drawn(random, mixing[clean])
    found = right_label_probabilities([train], labels, [validation], theirs, trusted)
    expected, wrong = (1 - found[np.arange(n), labels]).sum(), (labels != right).sum()
    assert abs(expected - wrong) < (within * wrong if rate else 0.03 * n)
    if rate:
        doubtful = np.argsort(found[np.arange(n), labels])[: wrong // 2]
        assert (labels != right)[doubtful].mean() > 0.85
        assert (found.argmax(axis=1) == right)[doubtful].mean() > 0.75


@settings(max_examples=40)
@given(
    n=st.integers(1, 40), m=st.integers(1, 20), classes=st.integers(2, 4), kinds=st.integers(1, 2),
    trusted=st.booleans(), spread=st.sampled_from([0.0, 1.0, 30.0]), seed=st.integers(0, 999),
)  # fmt: skip
def test_rows_are_probabilities_whatever_the_models_say(n, m, classes, kinds, trusted, spread, seed):
    random = np.random.default_rng(seed)
    parts = [[softmax(spread * random.normal(size=(size, classes)), axis=1) for _ in range(kinds)] for size in (n, m)]
    labels, theirs = (random.integers(classes, size=size) for size in (n, m))
    found = right_label_probabilities(parts[0], labels, parts[1], theirs, trusted)
    assert found.shape == (n, classes) and (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
