"""Label quality by confident learning (Northcutt, Jiang and Chuang 2021), with cleanlab."""

import numpy as np


def label_quality(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return how likely each label is right, (n,) in [0, 1]: the margin over the most likely other class.

    Probabilities are first measured against each class's mean self-confidence, as confident learning does.

    Args:
        labels: (n,) as the model sees them.
        probabilities: (n, classes), of models that have not seen the sample.
    """
    from cleanlab.rank import get_label_quality_scores

    return get_label_quality_scores(labels, probabilities, method="normalized_margin", adjust_pred_probs=True)
