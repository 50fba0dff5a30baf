"""The data sets that there are, splits, label noise, and the prepared file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import OFFLINE
from datagradient.data import sets
from datagradient.data.record import Dataset, sample_keys
from datagradient.data.splits import PARTS, SplitPlan, flip_labels, split
from datagradient.errors import UserError
from datagradient.files import read_arrays, read_json
from datagradient.pipeline.prepare import write_prepared

PLAN = SplitPlan(max_development=300, max_test=200)


@pytest.fixture(scope="module", params=OFFLINE)
def dataset(request):
    return sets.load(request.param)


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
    is_small = len(dataset.labels) < 1500  # the limits of the plan do not bind
    sizes = sum(len(parts[name]) for name in PARTS[:3]), len(parts["test"])
    assert sizes == (300, 200) or (is_small and sizes[0] <= 300 and sizes[1] <= 200)
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


def test_each_part_has_its_own_share():
    parts = split(official(), 0, SplitPlan(influence=0.25, selection=0.15))
    assert [len(parts[name]) for name in PARTS] == [180, 75, 45, 100]


def texts(labels, class_names, is_test=None):
    return Dataset("made", "Made", "text", ["x"] * len(labels), np.asarray(labels), class_names, is_test)


@pytest.mark.parametrize(
    ("rare", "part"),
    [(1, "all parts but one"), (2, "the .* part"), (3, "the .* part"), (5, "the (influence|selection|.* or .*) part")],
)
def test_a_class_too_small_for_every_part_is_refused_in_one_sentence(rare, part):
    dataset = texts([0] * (200 - rare) + [1] * rare, ("a", "rare"))
    message = (f"^data set made: class rare has {rare} rows?, and with seed 3 is missing from {part}: whatever the "
               "seed, every part contains a class that has 13 rows: bring more rows of it, leave it out, join "
               "it with another, or enlarge shares or limits of the split plan$")  # fmt: skip
    with pytest.raises(UserError, match=message):
        split(dataset, 3, SplitPlan())


@pytest.mark.parametrize("n", [500, 3000])
@pytest.mark.parametrize("rare", [10, 11, 12])
def test_a_class_that_stratification_puts_into_every_part_is_taken(n, rare):
    labels = np.arange(n) < rare
    dataset = texts(labels.astype(int), ("a", "rare"))
    for seed in range(5):
        assert all(labels[rows].any() for rows in split(dataset, seed, SplitPlan()).values())


def test_all_small_classes_and_the_official_test_set_are_named():
    labels = np.r_[np.zeros(300, int), np.ones(4, int), np.full(2, 2)]
    with pytest.raises(UserError, match=r"class b has 4 rows, and .* 19 rows \(class c has 2 rows, too\): bring"):
        split(texts(labels, ("a", "b", "c")), 0, SplitPlan())
    is_test = np.arange(306) % 3 == 0
    message = (
        "class b has 2 rows outside the official test set and 2 in it, and with seed 0 is missing from the .*: "
        ".* contains .* "
        r"15 rows outside the official test set and 1 in it \(class c has 2 rows outside .* and 0 in it, too\)"
    )
    with pytest.raises(UserError, match=message):
        split(texts(labels, ("a", "b", "c"), is_test), 0, SplitPlan())
    is_test = np.arange(324) < 100
    labels = np.r_[np.zeros(300, int), np.ones(24, int)]
    with pytest.raises(UserError, match=r"class b has 24 rows outside .* and 0 in it, .* missing from the test part"):
        split(texts(labels, ("a", "b"), is_test), 0, SplitPlan())


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"influence": 1.5}, "influence is 1.5: give a number in"),
        ({"test": float("nan")}, "test is nan"),
        ({"selection": "0.1"}, "selection is '0.1'"),
        ({"test": True}, "test is True"),
        ({"max_test": 0}, "max_test is 0: give a whole number above 0"),
        ({"max_development": 2.5}, "max_development is 2.5"),
        ({"influence": 0.5, "selection": 0.5}, "leave nothing to train on"),
        ({"influence": 0.01}, "influence part 0 of 100 samples, too few for 2 classes: enlarge its share, or max_dev"),
        ({"test": 0.01}, "test part 1 of 100 samples, too few for 2 classes: enlarge its share, or max_test"),
        ({"max_development": 12}, "too few for 2 classes"),
        ({"max_test": 1}, "test part 1 of 100 samples"),
    ],
)
def test_a_plan_that_leaves_a_part_without_samples_is_refused(plan, message):
    dataset = texts(np.arange(100) % 2, ("a", "b"))
    with pytest.raises(UserError, match=message):
        split(dataset, 0, SplitPlan(**plan))


SHARES = st.sampled_from([0.02, 0.1, 0.25, 0.4])


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=5), influence=SHARES, selection=SHARES, test=SHARES,
    limits=st.tuples(*[st.one_of(st.none(), st.integers(1, 150))] * 2), official=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_split_has_every_class_in_every_part_or_is_refused(
    counts, influence, selection, test, limits, official, seed
):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    is_test = np.arange(len(labels)) % 3 == 0 if official and len(labels) > 3 else None
    dataset, plan = (
        texts(labels, tuple("abcde"[: len(counts)]), is_test),
        SplitPlan(influence, selection, test, *limits),
    )
    try:
        parts = split(dataset, seed, plan)
    except UserError as error:
        assert "\n" not in str(error) and "made: " in str(error)
        return
    rows = np.concatenate(list(parts.values()))
    assert len(rows) == len(set(rows.tolist())) and all((np.diff(part) > 0).all() for part in parts.values())
    if limits == (None, None):
        assert len(rows) == len(labels)
    for part, limit in (("test", limits[1]), (PARTS[:3], limits[0])):
        size = sum(len(parts[name]) for name in ([part] if part == "test" else part))
        assert limit is None or size <= limit
    if is_test is not None:
        assert is_test[parts["test"]].all() and not is_test[np.concatenate([parts[name] for name in PARTS[:3]])].any()
    for part in parts.values():
        assert (np.bincount(labels[part], minlength=len(counts)) > 0).all()
    again = split(dataset, seed, plan)
    assert all((again[name] == parts[name]).all() for name in PARTS)
    develop = np.concatenate([parts[name] for name in PARTS[:3]])
    share = np.bincount(labels[develop]) / len(develop)
    for name, steps in (("train", 1), ("influence", 2), ("selection", 2)):  # each division rounds once
        expected = share * len(parts[name])
        assert np.abs(np.bincount(labels[parts[name]]) - expected).max() < steps + 1e-9


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_a_limit_just_below_the_size_is_kept(limit):
    dataset = texts(np.arange(300) % 3, ("a", "b", "c"))
    parts = split(dataset, 0, SplitPlan(max_development=240 - limit, max_test=60 - limit))
    assert (sum(len(parts[name]) for name in PARTS[:3]), len(parts["test"])) == (240 - limit, 60 - limit)


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


@pytest.mark.parametrize(("name", "sizes"), [("adult", (32561, 16281)), ("imdb", (25000, 25000)),
                                            ("cifar10", (50000, 10000))])  # fmt: skip
@pytest.mark.usefixtures("real_data")
def test_real_data_sets_are_sound(name, sizes):
    dataset = sets.load(name)
    check_record(dataset)
    assert (int((~dataset.is_test).sum()), int(dataset.is_test.sum())) == sizes
