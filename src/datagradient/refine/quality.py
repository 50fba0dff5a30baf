"""Label quality by confident learning (Northcutt, Jiang and Chuang 2021), with cleanlab."""

from types import ModuleType

import numpy as np

from datagradient.data.training_set import TrainingSet
from datagradient.models import family
from datagradient.seeds import integer_seed

FOLDS = 3


def rated(model: str, samples: TrainingSet, settings: dict) -> np.ndarray:
    """Return the label quality (n,) of training samples by confident learning, from models that have not seen them."""
    return label_quality(samples.labels, out_of_fold(family(model), samples, settings))


def out_of_fold(module: ModuleType, samples: TrainingSet, settings: dict) -> np.ndarray:
    """Return for every training sample the class probabilities (n, classes) of a model that has not seen it.

    Args:
        module: the model family.
        samples: the training set, labels as the model sees them.
        settings: of the family; the same in every fold.
    """
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=integer_seed(samples.seed, "folds"))
    labels = samples.labels
    probabilities = np.empty((len(labels), samples.n_classes))
    for rest, fold in folds.split(np.zeros(len(labels)), labels):
        model, _ = module.fit(samples.inputs[rest], labels[rest], samples.n_classes, settings, samples.seed)
        probabilities[fold] = module.probabilities(model, samples.inputs[fold])
    return probabilities


def label_quality(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return how likely each label is right, (n,) in [0, 1]: the margin over the most likely other class.

    Probabilities are first measured against each class's mean self-confidence, as confident learning does.

    Args:
        labels: (n,) as the model sees them.
        probabilities: (n, classes), of models that have not seen the sample.
    """
    from cleanlab.rank import get_label_quality_scores

    return get_label_quality_scores(labels, probabilities, method="normalized_margin", adjust_pred_probs=True)
