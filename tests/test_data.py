"""Splits, label noise, features, and the record of a data set."""

import numpy as np
import pytest

from datagradient.data import sets
from datagradient.data.features import extract, image_statistics
from datagradient.data.prepare import write_prepared
from datagradient.data.record import Dataset, sample_keys
from datagradient.data.splits import PARTS, SplitPlan, flip_labels, split
from datagradient.errors import UserError
from datagradient.files import read_arrays, read_json
from datagradient.layout import modules

OFFLINE = ["affairs", "digits", "movie_reviews"]
PLAN = SplitPlan(max_development=300, max_test=200)


@pytest.fixture(scope="module", params=OFFLINE)
def dataset(request):
    return sets.load(request.param)


def test_every_data_set_of_the_folder_is_tested_here():
    assert sorted([*OFFLINE, "adult", "cifar10", "imdb"]) == modules("data/sets")


def check_record(dataset):
    n = len(dataset.labels)
    assert len(dataset.samples) == n
    assert set(np.unique(dataset.labels)) == set(range(len(dataset.class_names)))
    assert dataset.labels.dtype == np.int64
    assert dataset.source
    assert len(sample_keys(dataset)) == n


def test_record_is_sound(dataset):
    check_record(dataset)


def test_parts_are_disjoint_and_stratified(dataset):
    parts = split(dataset, 0, PLAN)
    rows = np.concatenate([parts[name] for name in PARTS])
    assert len(rows) == len(set(rows))
    assert (sum(len(parts[name]) for name in PARTS[:3]), len(parts["test"])) == (300, 200)
    shares = {name: np.bincount(dataset.labels[part]) / len(part) for name, part in parts.items()}
    for name in PARTS:
        assert np.abs(shares[name] - shares["train"]).max() < 0.05


def test_seed_drives_the_split_and_nothing_global_does(dataset):
    first = split(dataset, 0, PLAN)
    np.random.seed(123)  # noqa: NPY002
    again, other = split(dataset, 0, PLAN), split(dataset, 1, PLAN)
    for name in PARTS:
        np.testing.assert_array_equal(first[name], again[name])
        assert set(first[name]) != set(other[name])


def official(n=400):
    is_test = np.arange(n) >= 300
    return Dataset("made", "Made", "text", [f"text {i}" for i in range(n)], np.arange(n) % 2, ("a", "b"), is_test)


def test_an_official_test_set_is_the_test_set_of_every_seed():
    for seed in range(3):
        parts = split(official(), seed, SplitPlan())
        assert parts["test"].tolist() == list(range(300, 400))
        assert max(parts[name].max() for name in PARTS[:3]) < 300


@pytest.mark.parametrize(
    ("rare", "message"),
    [(8, "cannot be divided: The least populated class"), (12, "no sample of class rare in the influence part")],
)
def test_a_class_too_small_for_every_part_is_refused_by_name(rare, message):
    labels = np.r_[np.zeros(200 - rare, int), np.ones(rare, int)]
    dataset = Dataset("made", "Made", "text", ["x"] * 200, labels, ("a", "rare"))
    with pytest.raises(UserError, match=f"data set made: {message}"):
        split(dataset, 0, SplitPlan(influence=0.02, selection=0.2))


@pytest.mark.parametrize(("rate", "n_classes"), [(0.0, 2), (0.2, 2), (0.2, 10), (0.35, 3)])
def test_noise_flips_the_stated_share_to_other_classes(random, rate, n_classes):
    clean = random.integers(n_classes, size=1001)
    noisy, flipped = flip_labels(clean, rate, n_classes, seed=0)
    assert flipped.sum() == round(rate * 1001)
    np.testing.assert_array_equal(noisy != clean, flipped)
    assert set(noisy) <= set(range(n_classes))
    if rate and n_classes > 2:  # every other class is as likely
        shifts = np.bincount((noisy - clean)[flipped] % n_classes, minlength=n_classes)[1:]
        assert shifts.min() > 0.4 * shifts.mean()
    assert not rate or (flip_labels(clean, rate, n_classes, seed=1)[1] != flipped).any()


def test_prepared_files_are_the_same_bytes_for_the_same_seed(dataset, tmp_path):
    keys = sample_keys(dataset)
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_prepared(dataset, keys, seed, PLAN, tmp_path / folder / "features.npz")
    first, again, other = ((tmp_path / folder / "features.npz").read_bytes() for folder in "abc")
    assert first == again
    assert first != other


def test_only_the_training_part_is_noisy_and_repeats_are_counted(tmp_path):
    dataset = official()
    dataset.samples[310:314] = ["text 0", "text 1", "text 2", "text 3"]
    write_prepared(dataset, sample_keys(dataset), 0, SplitPlan(), tmp_path / "features.npz")
    arrays, meta = read_arrays(tmp_path / "features.npz")
    for name in PARTS:
        np.testing.assert_array_equal(arrays[f"labels_{name}"], dataset.labels[arrays[f"rows_{name}"]])
    repeats = read_json(tmp_path / "data.json")["repeats"]
    assert repeats["test_rows_in_train"] == np.isin([0, 1, 2, 3], arrays["rows_train"]).sum()
    assert (meta["seed"], meta["dataset"]) == (0, "made")


def test_features_are_fitted_on_the_training_part_only():
    table = sets.load("affairs")
    rows = np.arange(100)
    alone = extract(table, {"train": rows, "test": np.arange(100, 200)})
    together = extract(table, {"train": rows, "test": np.arange(100, 6000)})
    np.testing.assert_array_equal(alone["train"], together["train"])
    np.testing.assert_array_equal(alone["test"], together["test"][:100])
    numbers = alone["train"][:, :6]
    np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=1e-6)


def test_words_of_other_parts_are_no_features():
    texts = ["good film"] * 5 + ["bad film"] * 5 + ["unheard words"] * 10
    dataset = Dataset("made", "Made", "text", texts, np.arange(20) % 2, ("a", "b"))
    features = extract(dataset, {"train": np.arange(10), "test": np.arange(10, 20)})
    assert features["train"].shape[1] == 3
    assert features["test"].nnz == 0


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3)])
def test_image_statistics_see_light_and_direction(random, shape):
    images = random.integers(256, size=(4, *shape), dtype=np.uint8)
    features = image_statistics(images)
    cells = 16 * shape[2]
    np.testing.assert_allclose(features[:, -2 * cells :].mean(), features[:, -2 * cells :].mean())
    brightness = features[:, -2 * cells : -cells].mean(axis=1)
    np.testing.assert_allclose(brightness, images.mean(axis=(1, 2, 3)) / 255)
    assert features.shape == (4, 9 * 36 + 2 * cells)


@pytest.mark.parametrize(("name", "sizes"), [("adult", (32561, 16281)), ("imdb", (25000, 25000)),
                                            ("cifar10", (50000, 10000))])  # fmt: skip
@pytest.mark.usefixtures("real_data")
def test_real_data_sets_are_sound(name, sizes):
    dataset = sets.load(name)
    check_record(dataset)
    assert (int((~dataset.is_test).sum()), int(dataset.is_test.sum())) == sizes
