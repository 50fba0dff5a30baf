"""What the record of a data set refuses, and that each refusal names what is wrong and the remedy."""

import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagradient.data import sets
from datagradient.data.fetch import CheckedFile
from datagradient.data.record import Dataset, class_labels, fingerprint, sample_keys
from datagradient.data.sets import adult
from datagradient.data.splits import SplitPlan
from datagradient.errors import UserError
from datagradient.files import write_arrays
from datagradient.pipeline.prepare import prepare_seeds, write_prepared
from datagradient.report.gallery import write_gallery

N = 40


def table(n=N):
    random = np.random.default_rng(0)
    return pd.DataFrame({"a": random.normal(size=n), "word": random.choice(["red", "green"], n)})


def made(samples=None, labels=None, modality="table", class_names=("no", "yes"), name="made", **more):
    samples = table() if samples is None else samples
    labels = np.arange(len(samples)) % 2 if labels is None else labels
    return Dataset(name, "Made", modality, samples, labels, class_names, **more)


def images(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, size=shape).astype(dtype)


Y = np.arange(N) % 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pd.Series(Y), "labels are a pandas Series, .* pass labels.to_numpy()"),
        (pd.Series(Y, index=range(N)[::-1]), "pandas Series"),
        (pd.Index(Y), "pandas Index"),
        (pd.DataFrame({"y": Y}), "pandas DataFrame"),
        (Y.tolist(), "labels are a builtins list: pass numpy.asarray"),
        (np.ma.masked_equal(Y, 1), "masked array"),
        (np.where(Y, "yes", "no"), "labels are text: 'no' in 20 rows .first: row 0.*map them to 0 … 1 .*class_names"),
        (np.where(Y, "yes", "no").astype(object), "'yes' in 20 rows .first: row 1"),
        (np.where(np.arange(N) == 7, None, Y), "None in 1 row .first: row 7.: leave rows without a label out"),
        (np.where(np.arange(N) > 35, np.nan, Y), "nan in 4 rows .first: row 36.: leave rows without a label out"),
        (Y.astype(bool), "labels are bool .*astype.numpy.int64"),
        (Y.astype(float), "labels are float64 .*astype.numpy.int64"),
        (Y / 2, "0.5 in 20 rows .first: row 1.*map them"),
        (Y + 1, "2 in 20 rows .first: row 1., and 2 class_names ask for 0 … 1: map them to 0 … 1 in the order"),
        (2 * Y - 1, "-1 in 20 rows .first: row 0.*map them to 0 … 1"),
        (np.where(np.arange(N) < 3, -1, Y), "-1 in 3 rows .first: row 0.*leave unlabelled rows out"),
        (np.where(np.arange(N) == 5, np.iinfo(np.int64).min, Y), "-9223372036854775808 in 1 row .*leave unlabelled"),
        (np.arange(N) % 3 + 3, "3 in 14 rows .* name all 3 classes"),
        (np.zeros(N, int), "class yes has no row"),
        (Y[:, None], r"shape \(40, 1\), and one a row is needed: pass labels.ravel"),
        (np.eye(2, dtype=int)[Y], "argmax"),
        (Y[1:], "39 labels and 40 samples"),
    ],
)
def test_labels_that_would_be_wrong_are_refused(labels, message):
    with pytest.raises(UserError, match=f"^data set made: .*{message}") as caught:
        made(labels=labels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64, ">i4"])
def test_integer_labels_of_any_width_are_taken(kind):
    labels = made(labels=Y.astype(kind)).labels
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, Y)


@given(st.lists(st.one_of(st.integers(-3, 4), st.none(), st.booleans(), st.floats(), st.text(max_size=2)), min_size=1))
def test_any_list_of_labels_is_taken_as_it_is_or_refused_in_a_line(values):
    try:
        labels = np.array(values)
    except (ValueError, OverflowError):
        labels = np.array(values, dtype=object)
    try:
        dataset = made(["x"] * len(values), labels, "text")
    except UserError as error:
        assert "\n" not in str(error) and str(error).startswith("data set made: ")
    else:
        assert dataset.labels.tolist() == values and set(values) == {0, 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "own data"}, "name must be that of its module"),
        ({"name": "class"}, "name must be"),
        ({"modality": "audio"}, "modality is 'audio': give one of table, text, image"),
        ({"class_names": "ab"}, "class_names is 'ab'"),
        ({"class_names": ("a", "a")}, "'a' appears twice"),
        ({"class_names": (0, 1)}, "number 0 is 0: .* a text such as '0'"),
        ({"class_names": ("a",)}, "at least two classes"),
        ({"class_names": ("no", "yes", "rare")}, "class rare has no row"),
        ({"is_test": Y}, "is_test is int64: pass is_test.astype"),
        ({"is_test": pd.Series(Y == 1)}, "is_test are a pandas Series"),
        ({"is_test": (Y == 1)[1:]}, r"is_test has shape \(39,\), and there are 40 samples"),
        ({"is_test": Y > 2}, "no row is a test row: pass None"),
        ({"source": {"file": 3}}, "source is"),
        ({"samples": table().to_numpy()}, "must be a pandas DataFrame"),
        ({"samples": table()[[]]}, "the table has no column"),
        ({"samples": table().set_axis(["a", "a"], axis=1)}, "columns 0 and 1 are both named 'a'"),
        ({"samples": table().set_axis([0, "b"], axis=1)}, "the name of column 0 is 0"),
        ({"samples": table().set_axis(["a", " "], axis=1)}, "the name of column 1 is ' '"),
        ({"kinds": {"b": "number"}}, "there is no column 'b'; columns are a, word"),
        ({"kinds": {"a": "float"}}, "column 'a': 'float' is not one of number, category, date, ignore"),
        ({"kinds": ["a"]}, "kinds is"),
        ({"kinds": {"word": "number"}}, "column 'word', row 0: '.*' is not a number"),
        ({"kinds": {"a": "date"}}, "column 'a' holds numbers, not dates"),
        ({"samples": ["x"] * N, "modality": "text", "kinds": {"a": "number"}}, "kinds are of a table's columns"),
        ({"samples": ("x",) * N, "modality": "text"}, "must be a list of str: pass list.samples"),
        ({"samples": pd.Series(["x"] * N), "modality": "text"}, "must be a list of str"),
        ({"samples": [*["x"] * 39, None], "modality": "text"}, "row 39 is None"),
        ({"samples": [*["x"] * 38, np.nan, ""], "modality": "text"}, "row 38 is nan"),
        ({"samples": ["x", b"x"] * 20, "modality": "text"}, "row 1 is bytes: decode"),
        ({"samples": ["x", "a\ud83d"] * 20, "modality": "text"}, r"row 1 holds '\\ud83d', half of a surrogate"),
    ],
)
def test_what_else_is_wrong_with_a_data_set_is_named(change, message):
    with pytest.raises(UserError, match=message):
        made(**change)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (images(N, 8, 8), r"add a channel axis: samples\[..., None\]"),
        (images(N, 64), "reshape"),
        (images(N, 3, 8, 8), r"channels come first: pass samples.transpose\(0, 2, 3, 1\)"),
        (images(N, 8, 8, 4), r"opacity: samples\[..., :3\]"),
        (images(N, 8, 8, 5), "5 channels, and 1 .grey. or 3"),
        (images(N, 8, 7, 1), "8 × 7 pixels are too small, at least 8 × 8"),
        (images(N, 8, 8, 1) > 128, r"images are bool.* \* 255"),
        (images(N, 8, 8, 1) / 255, r"images are float64.*from 0 to 1: pass \(samples \* 255\).round"),
        (images(N, 8, 8, 1).astype(np.float32), "from 0 to 255: pass samples.round"),
        (images(N, 8, 8, 1) / 255 - 0.5, "from -0.5 to 0.5"),
        (np.where(np.arange(N * 64).reshape(N, 8, 8, 1) == 70, np.nan, 1.0), "row 1 holds a value that is not finite"),
        (images(N, 8, 8, 1).astype(np.uint16) * 257, r"samples // 257"),
        (images(N, 8, 8, 1).astype(np.int64), r"pass samples.astype\(numpy.uint8"),
        (list(images(N, 8, 8, 1)), r"pass numpy.stack\(samples\)"),
        ([images(8, 8, 1), images(9, 8, 1)] * 20, r"differ in shape: \(8, 8, 1\) in row 0, \(9, 8, 1\) in row 1"),
        (np.array([images(8, 8), images(9, 8)] * 20, dtype=object), "differ in shape"),
        (["a.png"] * N, "row 0 is a str"),
    ],
)
def test_images_that_no_network_takes_are_refused_with_their_remedy(samples, message):
    with pytest.raises(UserError, match=message):
        made(samples, Y, "image")


def test_sound_images_and_texts_are_taken_and_left_alone():
    for shape in ((N, 8, 8, 1), (N, 9, 11, 3)):
        samples = images(*shape)
        assert made(samples, Y, "image").samples is samples
    texts = [f"text {i} 😀" for i in range(N)]
    assert made(texts, Y, "text").samples is texts


def test_a_missing_answer_becomes_no_class():
    answers = pd.Series(np.where(Y, "yes", "no"), dtype=object)
    np.testing.assert_array_equal(class_labels(answers, ("no", "yes"), "file"), Y)
    answers[4] = answers[9] = np.nan
    with pytest.raises(UserError, match=r"file, column y: nan in 2 rows \(first: row 4\) is none of .*'no', 'yes'"):
        class_labels(answers, ("no", "yes"), "file, column y")
    with pytest.raises(UserError, match=r"-1 in 1 row \(first: row 2\)"):
        class_labels([0, 1, -1], range(2), "file")


@pytest.mark.parametrize("income", ["", ">60K."])
def test_adult_takes_no_income_that_it_does_not_know(tmp_path, monkeypatch, income):
    record = "39, Private, 1, Bachelors, 13, Single, Sales, Wife, White, Male, 0, 0, 40, Cuba, "
    (tmp_path / "adult.data").write_text(f"{record}<=50K\n{record}>50K\n")
    (tmp_path / "adult.test").write_text(f"|\n{record}<=50K.\n{record}{income}\n")
    monkeypatch.setattr(adult, "fetch", lambda file: CheckedFile(tmp_path / Path(file.path).name, "Adult", "md5:0"))
    with pytest.raises(UserError, match=r"column income: .* in 1 row \(first: row 3\)"):
        adult.load()


@pytest.fixture
def module(monkeypatch):
    """Put a module among the data sets whose ``load`` is the given function."""

    def add(name, load, **more):
        new = types.ModuleType(f"datagradient.data.sets.{name}")
        new.__dict__.update(load=load, __file__=__file__, **more)
        monkeypatch.setitem(sys.modules, new.__name__, new)

    return add


def missing_file():
    return pd.read_csv("no/such/file.csv")


def missing_label():
    return made(labels=pd.Series([0, 1, None, 1] * 10).astype("int64"))


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda: made(name="other"), "load.. returns a data set named 'other': the name must be the module's, 'made'"),
        (table, "returns a DataFrame, and a Dataset is needed"),
        (missing_file, r"data set made: cannot be read .*: FileNotFoundError: .*no/such/file\.csv"),
        (missing_label, "data set made: cannot be read .*test_record.py, line .*Error: .*to integer"),
        (lambda: table()["label"], "data set made: cannot be read .*: KeyError: 'label'"),
    ],
)
def test_a_module_whose_load_returns_something_else_is_refused(module, load, message):
    module("made", load)
    with pytest.raises(UserError, match=message):
        sets.load("made")


def test_files_that_a_module_declares_must_exist(module, tmp_path):
    module("made", made, FILES=(tmp_path / "x.parquet",))
    with pytest.raises(UserError, match=r"FILES: .*x\.parquet: not found"):
        sets.declared_files("made")
    (tmp_path / "x.parquet").touch()
    assert sets.declared_files("made") == [tmp_path / "x.parquet"]


def test_the_fingerprint_sees_samples_order_labels_and_names():
    first = made()
    others = [
        made(table().iloc[::-1]), made(labels=1 - Y), made(class_names=("no", "maybe")),
        made(table().rename(columns={"a": "b"})), made(table().assign(a=0.0)),
    ]  # fmt: skip
    prints = [fingerprint(dataset, sample_keys(dataset)) for dataset in (first, *others)]
    assert len(set(prints)) == len(prints)
    again = made(table().set_axis(range(5, N + 5)))
    assert fingerprint(again, sample_keys(again)) == prints[0]  # an index is no part of the samples


def test_the_gallery_shows_no_rows_of_other_data(module, tmp_path):
    module("made", lambda: made(table(), Y))
    dataset = sets.load("made")
    plan = SplitPlan(0.2, 0.2, 0.2)
    write_prepared(dataset, sample_keys(dataset), 0, plan, tmp_path / "features.npz")
    n = 19
    scores = {"influence": np.arange(n) / n, "positions": np.arange(n), "labels": np.arange(n) % 2,
              "flipped": np.zeros(n, bool)}  # fmt: skip
    write_arrays(tmp_path / "scores.npz", {"dataset": "made", "seed": 0, "model": "logistic"}, **scores)
    files = (tmp_path / "scores.npz", tmp_path / "features.npz")
    write_gallery(*files, tmp_path / "gallery.png")
    assert (tmp_path / "gallery.png").exists()
    module("made", lambda: made(table().assign(a=1.0), Y))  # the source has changed
    with pytest.raises(UserError, match=r"features.npz: was prepared from other samples than data set made holds now"):
        write_gallery(*files, tmp_path / "other.png")
    assert not (tmp_path / "other.png").exists()


def test_a_refused_data_set_leaves_no_file(module, tmp_path):
    module("made", lambda: made(labels=np.arange(N) % 20 == 3, class_names=("no", "yes")))
    made_from = ("made", SplitPlan(), {0: tmp_path / "f.npz"})
    with pytest.raises(UserError, match="labels are bool"):
        prepare_seeds(*made_from)
    module("made", lambda: made(labels=(np.arange(N) % 20 == 3).astype(int)))
    with pytest.raises(UserError, match="class yes has 2 rows"):
        prepare_seeds(*made_from)
    assert not list(tmp_path.iterdir())
