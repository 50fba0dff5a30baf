"""How likely each training label is right, by models that have not seen the sample.

The models' probabilities are recalibrated on validation samples with right labels (temperature and class biases, as in
Berta et al. 2025, arXiv 2501.19195), which makes them probabilities of the right label. How often the label of class c
was given as another is estimated by expectation–maximisation (Dawid and Skene 1979, with a known classifier instead of
unknown raters), and Bayes' rule joins the two. Without right labels the same rates are read off where the models are
surest (anchor points, Patrini et al. 2017).
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

SMALLEST = 1e-6  # probabilities below it count as this
PRIOR = 2.5  # penalty on the sum of the squared class biases, beside the sum of the validation losses
ROUNDS = 50  # of expectation–maximisation
ANCHORS = 0.03  # share of the samples, the surest of a class, that are taken to be of that class,
OF_A_CLASS = 0.15  # and of the samples with its label, so that a rare class has no anchors of other classes
SURE_ENOUGH = 0.5  # mean probability of a class below which its surest samples are no anchors


def right_label_probabilities(
    probabilities: Sequence[np.ndarray], labels: np.ndarray, validation: Sequence[np.ndarray],
    validation_labels: np.ndarray, trusted: bool, checked: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Return for every training sample and class the probability (n, classes) that this is the right label.

    Args:
        probabilities: of each kind of model, (n, classes), by models that have not seen the sample.
        labels: (n,) as given.
        validation: of each kind of model, (m, classes) for validation samples.
        validation_labels: (m,).
        trusted: whether the validation labels are right; otherwise they are taken to be as wrong as `labels`.
        checked: (classes, classes), how many samples of each right class had been given each label, of those that are
            no longer among these because somebody checked them; None if nobody did.
    """
    right = recalibrated(probabilities, validation, validation_labels)
    if not trusted:
        mixing = anchored(right, labels)
        right = np.clip(np.linalg.lstsq(mixing.T, right.T, rcond=None)[0].T, SMALLEST, None)
        right /= right.sum(axis=1, keepdims=True)
        if checked is None:
            return posterior(right, labels, mixing)
    return posterior(right, labels, confusion(right, labels, checked))


def recalibrated(
    probabilities: Sequence[np.ndarray], validation: Sequence[np.ndarray], labels: np.ndarray
) -> np.ndarray:
    """Return the softmax (n, classes) of the kinds' log-probabilities, weighted, plus class biases.

    Weights and biases minimise the mean loss on the validation samples; without any, the kinds count alike. Arguments
    are those of `right_label_probabilities`.
    """
    logs = [np.log(np.clip(part, SMALLEST, 1)) for part in validation]
    kinds, (m, classes) = len(logs), logs[0].shape
    start = np.concatenate([np.full(kinds, 1 / kinds), np.zeros(classes)])

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        biases = weights[kinds:]
        chances = log_softmax(_mixed(logs, weights), axis=1)
        residuals = np.exp(chances)
        residuals[np.arange(m), labels] -= 1
        loss = (PRIOR * (biases**2).sum() - chances[np.arange(m), labels].sum()) / m
        slopes = [(residuals * part).sum() / m for part in logs]
        return loss, np.concatenate([slopes, residuals.mean(axis=0) + 2 * PRIOR / m * biases])

    weights = minimize(objective, start, jac=True, method="L-BFGS-B").x if m else start
    return softmax(_mixed([np.log(np.clip(part, SMALLEST, 1)) for part in probabilities], weights), axis=1)


def _mixed(logs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    return sum(weight * part for weight, part in zip(weights, logs, strict=False)) + weights[len(logs) :]


def confusion(right: np.ndarray, labels: np.ndarray, checked: np.ndarray | None = None) -> np.ndarray:
    """Return how often samples of each class were given each label: (classes, classes), rows sum to 1.

    Args:
        right: (n, classes) probabilities of the right label, from models that have not seen the given one.
        labels: (n,) as given, independent of the sample among those of a class.
        checked: as in `right_label_probabilities`. Doubtful samples are checked first, so that the labels of those that
            are left agree with models better than they did, and by themselves would show hardly any wrong ones.
    """
    classes = right.shape[1]
    known = 0 if checked is None else checked
    rates = 0.6 * np.eye(classes) + 0.4 / classes
    for _ in range(ROUNDS):
        chances = posterior(right, labels, rates)
        counts = 1 + known + np.stack([chances[labels == label].sum(axis=0) for label in range(classes)], axis=1)
        rates = counts / counts.sum(axis=1, keepdims=True)
    return rates


def anchored(given: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how often samples of each class are given each label, from the samples that are surest of the class.

    A class that models are never sure of has no such samples: whether its labels are often wrong or hard to predict
    cannot be told, and none is taken to be wrong.

    Args:
        given: (n, classes) probabilities of the *given* label.
        labels: (n,) as given.
    """
    n, classes = given.shape
    sizes, rates = np.bincount(labels, minlength=classes), np.eye(classes)
    for label in range(classes):
        count = max(1, min(round(ANCHORS * n), int(OF_A_CLASS * sizes[label])))
        mean = given[np.argsort(-given[:, label], kind="stable")[:count]].mean(axis=0)
        if mean[label] >= SURE_ENOUGH * mean.sum():
            rates[label] = mean / mean.sum()
    return rates


def posterior(right: np.ndarray, labels: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return the probability (n, classes) of each right label, given the label that stands there, by Bayes' rule."""
    joint = right * rates[:, labels].T
    return joint / joint.sum(axis=1, keepdims=True)
