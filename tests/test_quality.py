"""Label quality from models that have not seen the sample."""

import numpy as np
import pytest
from scipy.stats import rankdata

from conftest import blobs
from datagradient.data.splits import flip_labels
from datagradient.data.training_set import TrainingSet
from datagradient.models import logistic
from datagradient.refine.quality import FOLDS, label_quality, out_of_fold

SETTINGS = {"l2": 1e-2, "tolerance": 1e-6, "max_iterations": 1000}


@pytest.fixture
def samples(random):
    inputs, clean = blobs(random, 300, 4, 3, spread=0.7)
    labels, flipped = flip_labels(clean, 0.2, 3, 0)
    return TrainingSet(inputs, labels, flipped, np.arange(300), 3, 0, "blobs")


def test_no_model_predicts_a_sample_that_it_was_trained_on(samples):
    seen = []

    class Recorder:
        @staticmethod
        def fit(inputs, labels, n_classes, settings, seed):
            seen.append({tuple(row) for row in inputs})
            return logistic.fit(inputs, labels, n_classes, settings, seed)

        @staticmethod
        def probabilities(model, inputs):
            assert not seen[-1] & {tuple(row) for row in inputs}
            return logistic.probabilities(model, inputs)

    probabilities = out_of_fold(Recorder, samples, SETTINGS)
    assert len(seen) == FOLDS
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(probabilities, out_of_fold(logistic, samples, SETTINGS))


def test_flipped_labels_have_low_quality(samples):
    quality = label_quality(samples.labels, out_of_fold(logistic, samples, SETTINGS))
    assert quality.shape == (300,)
    assert 0 <= quality.min() <= quality.max() <= 1
    ranks = rankdata(-quality)
    assert ranks[samples.flipped].mean() > ranks[~samples.flipped].mean() + 60
