"""What an audit measures: against scikit-learn, and standard errors against resampling."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from datagradient.auditing.measures import ACCURACY, AREA, MEASURES, accuracy, area, difference, suited
from test_audit import made_up, task_of


def predictions(random, n, classes):
    """Labels (n,) of rare and frequent classes, and probabilities (n, classes) of two models, with ties."""
    labels = random.choice(classes, n, p=np.array([0.7, *[0.3 / (classes - 1)] * (classes - 1)]))
    found = []
    for skill in (1.0, 1.3):
        odds = skill * np.eye(classes)[labels] + random.normal(size=(n, classes)).round(1)
        found.append(np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True))
    return labels, found


@pytest.mark.parametrize("classes", [2, 4])
def test_measures_are_those_of_scikit_learn(random, classes):
    labels, (p, _) = predictions(random, 400, classes)
    expected = roc_auc_score(labels, p[:, 1] if classes == 2 else p, multi_class="ovr", average="macro")
    assert area(labels, p).value == pytest.approx(expected)
    assert accuracy(labels, p).value == pytest.approx(accuracy_score(labels, p.argmax(axis=1)))


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("classes", [2, 4])
def test_the_error_of_a_difference_is_that_of_resampled_rows(random, name, classes):
    labels, (p, q) = predictions(random, 300, classes)
    measure, drawn = MEASURES[name], []
    for _ in range(400):
        rows = random.integers(0, len(labels), len(labels))
        drawn.append(measure(labels[rows], q[rows]).value - measure(labels[rows], p[rows]).value)
    shares = measure(labels, q).shares - measure(labels, p).shares
    assert np.sqrt((shares**2).sum()) == pytest.approx(np.std(drawn), rel=0.15)


def test_copies_of_a_row_err_together(random):
    dataset, _ = made_up(40)
    copies = np.repeat(np.arange(40), 3)
    thrice = replace(
        dataset, samples=dataset.samples.iloc[copies].reset_index(drop=True), labels=dataset.labels[copies]
    )
    found = []
    for data in (dataset, thrice):
        labels, n = data.labels, len(data.labels)
        p, q = (np.eye(2)[np.where(np.arange(40) % step == 0, 1 - dataset.labels, dataset.labels)] for step in (3, 7))
        times = n // 40
        these, those = (accuracy(labels, np.repeat(values, times, axis=0)) for values in (q, p))
        found.append(difference(task_of(data), [np.arange(n)], [these], [those]))
    assert found[0] == pytest.approx(found[1])


def test_one_class_of_most_rows_is_measured_by_area(random):
    dataset, _ = made_up(100)
    rare = replace(dataset, labels=(np.arange(100) % 10 == 0).astype(np.int64))
    halves = [np.arange(50), np.arange(50, 100)]
    assert suited(task_of(dataset), halves) == ACCURACY
    assert suited(task_of(rare), halves) == AREA
    assert suited(task_of(rare), [np.array([1, 2]), halves[1]]) == ACCURACY  # of rows of one class there is no area


@pytest.mark.parametrize("seed", [0, 1])
def test_a_clean_rare_class_is_no_gain(seed):
    """Removing rows of the frequent class near the border moves the border, and that is not what is asked for."""
    import pandas as pd

    from datagradient import audit

    random = np.random.default_rng(seed)
    x = random.normal(size=(600, 4))
    labels = random.random(600) < 1 / (1 + np.exp(3 - x.sum(axis=1)))
    result = audit(pd.DataFrame(x, columns=list("abcd")).assign(y=labels), "y", model="logistic")
    assert result.effect["metric"] == AREA
    assert result.effect["verdict"] in ("nothing", "too few")
