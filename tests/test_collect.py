"""The small tables of a preset from its result files."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from datagradient.evidence.collect import LOOKED_AT, auroc, detection_rows
from datagradient.files import write_arrays
from datagradient.pipeline import layout

KEYS = {"dataset": "made", "model": "logistic", "noise": "0.2", "seed": 0}
CONFIG = {"datasets": {"made": {}}, "models": ["logistic"], "noise": [0.2], "policies": ["influence"], "iterations": 1,
          "seeds": [0]}  # fmt: skip


@pytest.mark.parametrize(("removed", "precision", "recall"), [(0, 0, 0), (1, 1, 1 / 4), (3, 2 / 3, 1 / 2)])
def test_detection_looks_at_as_many_as_the_first_round_removes(tmp_path, removed, precision, recall):
    def folder(policy, iteration):
        return layout.Cell(tmp_path, policy=policy, iteration=iteration, **KEYS).folder

    scores, flipped = np.arange(10.0)[::-1], np.isin(np.arange(10), [0, 2, 3, 9])  # ranks of the four flipped ones
    write_arrays(
        folder("baseline", 0) / "scores.npz", {}, influence=scores, loss=scores, gradient=-scores, flipped=flipped
    )
    kept = {"removed": {"count": removed, "flipped": 0}}
    write_arrays(folder("influence", 1) / "kept.npz", kept, positions=np.arange(10 - removed))
    rows, curves = detection_rows(CONFIG, tmp_path)
    row = next(row for row in rows if row["score"] == "influence")
    assert (row["n"], row["removed"]) == (10, removed)
    assert (row["precision"], row["recall"]) == pytest.approx((precision, recall))
    assert row["auroc"] == pytest.approx(roc_auc_score(flipped, scores))
    found = [row["found"] for row in curves if row["score"] == "influence"]
    assert found[:: (len(LOOKED_AT) - 1) // 10] == [0, 0.25, 0.25, 0.5, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 1]


def test_auroc_equals_scikit_learns_with_ties(random):
    scores, positive = random.integers(5, size=60), random.random(60) < 0.3
    assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
