import numpy as np
import pytest

from datagradient.errors import UserError
from datagradient.files import read_arrays, read_rows, write_arrays
from datagradient.refine import at_random, by_influence, prune_files


def test_the_most_harmful_go_and_helpful_ones_never():
    influence = np.array([-1.0, 5.0, 0.0, 2.0, 3.0, -4.0, 1.0, -2.0])
    labels = np.array([0, 1, 0, 1, 0, 1, 1, 0])
    assert by_influence(influence, labels, 0.25).positions.tolist() == [1, 4]
    assert by_influence(influence, labels, 0.9).positions.tolist() == [1, 4, 3]  # 6 is class 1's third: capped
    assert not by_influence(-np.ones(8), labels, 0.5).positions.size


def test_no_class_loses_more_than_half():
    labels = np.array([0] * 4 + [1] * 6)
    influence = np.where(labels == 0, 10.0, 1.0) + np.arange(10) * 1e-3
    removal = by_influence(influence, labels, 0.4)
    assert np.bincount(labels[removal.positions], minlength=2).tolist() == [2, 2]
    assert removal.capped == (0,)
    assert by_influence(influence, labels, 0.2).capped == ()


def test_random_copies_number_and_class_mix(random):
    labels = random.integers(3, size=100)
    counts = np.array([4, 0, 7])
    positions = at_random(counts, labels, seed=0, iteration=1).positions
    assert len(set(positions)) == 11
    assert np.bincount(labels[positions], minlength=3).tolist() == [4, 0, 7]
    np.testing.assert_array_equal(positions, at_random(counts, labels, seed=0, iteration=1).positions)
    assert set(positions) != set(at_random(counts, labels, seed=1, iteration=1).positions)
    assert set(positions) != set(at_random(counts, labels, seed=0, iteration=2).positions)


@pytest.fixture
def scores(tmp_path):
    arrays = {
        "positions": np.array([3, 5, 8, 9]),
        "labels": np.array([0, 1, 0, 1]),
        "flipped": np.array([False, True, False, False]),
        "influence": np.array([-1.0, 2.0, 1.0, -3.0]),
    }
    write_arrays(tmp_path / "scores.npz", {"seed": 0}, **arrays)
    return str(tmp_path / "scores.npz")


def test_prune_writes_what_is_kept_and_what_is_removed(tmp_path, scores):
    prune_files("influence", scores, None, 0.25, 1, str(tmp_path / "a" / "kept.npz"))
    kept, meta = read_arrays(tmp_path / "a" / "kept.npz")
    assert kept["positions"].tolist() == [3, 8, 9]
    assert meta["removed"] == {"count": 1, "flipped": 1}
    expected = [{"position": "5", "label": "1", "flipped": "1", "influence": "2.0"}]
    assert read_rows(tmp_path / "a" / "removed.csv") == expected
    like = str(tmp_path / "a" / "removed.csv")
    prune_files("random", scores, like, 0.25, 1, str(tmp_path / "b" / "kept.npz"))
    (removed,) = read_rows(tmp_path / "b" / "removed.csv")
    assert removed["label"] == "1"


def test_random_without_a_policy_to_copy_is_refused(tmp_path, scores):
    with pytest.raises(UserError, match="--like"):
        prune_files("random", scores, None, 0.25, 1, str(tmp_path / "kept.npz"))
    assert not (tmp_path / "kept.npz").exists()
