"""Scoring in shards gives the bytes of one pass."""

import json

import pytest

from datagradient.arguments import shard
from datagradient.cli import main
from datagradient.files import read_json
from datagradient.influence.glm import ROWS
from datagradient.models.neural import SCORING_BATCH
from datagradient.scoring import shard_of

LOGISTIC = {"l2": 0.001, "tolerance": 1e-6, "max_iterations": 10000}
BOOSTED = {"rounds": 10, "depth": 3, "learning_rate": 0.3, "subsample": 0.5, "columns": 0.5, "max_features": 100,
           "l2": 1.0, "max_bins": 32}  # fmt: skip
NEURAL = {"network": "small", "width": 8, "vocabulary": 1000, "epochs": 1, "batch_size": 64, "learning_rate": 0.01,
          "weight_decay": 0.05, "precision": "float32"}  # fmt: skip
CG = {"name": "cg", "damping": 0.1, "tolerance": 1e-4, "max_iterations": 100, "samples": 500}
CASES = {
    "logistic": ("logistic", LOGISTIC, {**CG, "samples": None}),
    "boosted": ("boosted", BOOSTED, CG),
    "last layer": ("neural", NEURAL, {**CG, "parameters": "last"}),
    "all layers": ("neural", NEURAL, {**CG, "parameters": "all"}),
}


@pytest.fixture(scope="module")
def affairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("affairs")
    data, labels = str(folder / "features.npz"), str(folder / "labels.npz")
    assert main(["prepare", "--dataset", "affairs", "--seed", "0", "--out", data]) == 0
    assert main(["noise", "--data", data, "--rate", "0.2", "--out", labels]) == 0
    return ["--data", data, "--labels", labels]


@pytest.mark.parametrize("case", CASES)
def test_shards_give_the_bytes_of_one_pass(affairs, tmp_path, case):
    model, settings, solver = CASES[case]
    of_model = ["--model", model, "--model-file", str(tmp_path / "model.npz"), *affairs]
    solved = ["--solver", json.dumps(solver)]
    whole, direction, gathered = (str(tmp_path / name) for name in ("a/scores.npz", "direction.npz", "b/scores.npz"))
    assert main(["train", "--model", model, "--settings", json.dumps(settings), *affairs,
                 "--out", str(tmp_path / "model.npz")]) == 0  # fmt: skip
    assert main(["influence", *of_model, *solved, "--also", "all", "--out", whole]) == 0
    assert main(["direction", *of_model, *solved, "--out", direction]) == 0
    parts = [f"{number}-of-3" for number in (2, 1, 3)]
    for part in parts:
        assert main(["project", *of_model, "--direction", direction, "--shard", part, "--also", "all",
                     "--out", str(tmp_path / f"{part}.npz")]) == 0  # fmt: skip
    shards = [str(tmp_path / f"{part}.npz") for part in parts]
    assert main(["gather", "--direction", direction, "--shards", *shards, "--out", gathered]) == 0
    assert (tmp_path / "a/scores.npz").read_bytes() == (tmp_path / "b/scores.npz").read_bytes()
    expected, found = (read_json(tmp_path / f"{folder}/influence.json") for folder in "ab")
    for record in (expected, found):
        assert record.pop("seconds").keys() == {"setup", "val_gradient", "solve", "projection"}
        record.pop("other_scores_seconds")
    assert found == expected
    for wrong in (shards[1:], [shards[0], *shards]):  # one is missing, one there twice
        assert main(["gather", "--direction", direction, "--shards", *wrong, "--out", gathered]) == 2


@pytest.mark.parametrize(("n", "count"), [(1, 4), (ROWS, 2), (10 * ROWS + 1, 3), (25_000, 4)])
def test_shards_are_all_samples_from_multiples_of_the_block_on(n, count):
    every = [shard_of(n, number, count) for number in range(count)]
    assert [row for rows in every for row in range(n)[rows]] == list(range(n))
    assert all(rows.start % ROWS == 0 for rows in every if rows.start < rows.stop)
    assert all(ROWS % batch == 0 for batch in SCORING_BATCH.values())


def test_a_shard_is_one_of_so_many():
    assert shard("2-of-5") == (1, 5)
    for wrong in ("0-of-5", "6-of-5", "1", "a-of-b"):
        with pytest.raises(Exception, match="is not like 1-of-4"):
            shard(wrong)
