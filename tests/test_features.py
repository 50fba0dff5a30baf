"""What models get of tables, texts and images: every kind of column is read as what it is, or refused in a line."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagradient.data import sets
from datagradient.data.columns import parse_dates, parse_numbers, read_columns
from datagradient.data.features import (
    LIMIT,
    MANY_WORDS,
    PADDING,
    ROBUST_LIMIT,
    extract,
    image_statistics,
    raw_inputs,
)
from datagradient.data.record import Dataset, sample_keys
from datagradient.data.splits import SplitPlan
from datagradient.errors import UserError
from datagradient.files import read_arrays, read_json
from datagradient.pipeline.prepare import write_prepared

N = 400
TRAIN, OTHER = np.arange(300), np.arange(300, N)


def features(columns, **more):
    """The features of a table in the training part and in the other 100 rows."""
    dataset = Dataset("made", "Made", "table", pd.DataFrame(columns), np.arange(N) % 2, ("no", "yes"), **more)
    matrices = extract(dataset, {"train": TRAIN, "test": OTHER})
    assert all(np.isfinite(matrix).all() and matrix.dtype == np.float32 for matrix in matrices.values())
    return matrices["train"], matrices["test"]


@pytest.fixture
def numbers(random):
    return random.normal(size=N)


def test_missing_numbers_become_the_median_of_the_training_part_and_a_flag(numbers):
    gaps, later = numbers.copy(), numbers.copy()
    gaps[[7, 350]] = later[360] = np.nan
    train, test = features({"gaps": gaps, "later": later})
    assert train.shape[1] == 3  # one flag: of the column that misses a value in the training part
    np.testing.assert_array_equal(np.flatnonzero(train[:, 2]), [7])
    np.testing.assert_array_equal(np.flatnonzero(test[:, 2]), [50])
    filled = np.where(np.isnan(gaps), np.nanmedian(gaps[:300]), gaps)
    scaled = (filled - filled[:300].mean()) / filled[:300].std()
    np.testing.assert_allclose(np.r_[train[:, 0], test[:, 0]], scaled, rtol=1e-5, atol=1e-6)
    assert test[60, 1] == pytest.approx((np.median(later[:300]) - later[:300].mean()) / later[:300].std(), abs=1e-6)


def test_missing_words_are_a_category_and_unseen_ones_none(random):
    words = random.choice(["red", "blue"], N).astype(object)
    words[[3, 310]] = None
    words[5], words[320] = np.nan, "green"
    train, test = features({"words": words})
    assert train.shape[1] == 3 and (train.sum(axis=1) == 1).all()
    assert np.flatnonzero(train[:, 2]).tolist() == [3, 5] and test[10, 2] == 1
    assert test[20].sum() == 0


def test_one_extreme_cell_leaves_the_others_apart(numbers, capsys):
    without, _ = features({"x": numbers})
    spoilt = numbers.copy()
    spoilt[10], spoilt[390] = 1e30, -1e20
    train, test = features({"x": spoilt})
    others = np.arange(300) != 10
    np.testing.assert_allclose(train[others], without[others], atol=0.02)
    assert (train[10, 0], test[90, 0]) == (ROBUST_LIMIT, -ROBUST_LIMIT)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "data set made: column x: values more than 10 deviations" in said
    spoilt[10] = 0.0
    assert features({"x": spoilt})[1][90, 0] == -LIMIT  # extreme in the other part alone
    assert "column x: values more than 1000 deviations" in capsys.readouterr().err


def test_scales_of_ordinary_skewed_columns_stay_the_plain_ones(random, capsys):
    skewed = {
        "gain": np.where(np.arange(N) % 12 == 0, 5000.0, 0.0) + 99999 * (np.arange(N) % 150 == 1),  # as in UCI Adult
        "seldom": (np.arange(N) == 3).astype(float), "lognormal": random.lognormal(sigma=1.5, size=N),
    }  # fmt: skip
    train, _ = features(skewed)
    for column, values in enumerate(skewed.values()):
        plain = (values[:300] - values[:300].mean()) / values[:300].std()
        np.testing.assert_allclose(train[:, column], plain, rtol=1e-5, atol=1e-6)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("row", [7, 395])
def test_a_number_beyond_all_bounds_is_refused_by_column_and_row(numbers, value, row):
    numbers[row] = value
    for column in (numbers, numbers.astype(object), np.array([repr(float(x)) for x in numbers])):
        with pytest.raises(UserError, match=f"^data set made: column 'x', row {row}: .*1 of 400 cells.*missing"):
            features({"x": column})


DAYS = pd.date_range("2020-02-27", periods=N)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda x: f"{x:.4f}".replace(".", ","), "x holds numbers written as words → number (decimal comma)"),
        (lambda x: f" {x:.3f}".replace(".", ","), "(decimal comma)"),
        (lambda x: f"{x:.2f} ", "(decimal point)"),
        (lambda x: f"{x:e}", "(decimal point)"),
        (lambda x: f"{1e4 * x:,.1f}", "(decimal point)"),
        (lambda x: f"{1e4 * x:,.1f}".translate(str.maketrans(",.", ".,")), "(decimal comma)"),
        (lambda x: f"{1e4 * x:,.0f}".replace(",", "\u202f").replace("-", "−"), "(decimal point)"),
        (lambda x: f"{x:.1f} %", "(decimal point)"),
        (lambda x: "?" if x > 2.2 else f"{x:.2f}", "(decimal point, '?' missing)"),
    ],
)
def test_numbers_written_as_words_are_numbers(numbers, capsys, write, said):
    words = [write(x) for x in numbers]
    train, _ = features({"x": words})
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    assert train.shape[1] == 1 + ("?" in said)
    gone = np.array(words[:300]) == "?"
    assert np.corrcoef(train[~gone, 0], numbers[:300][~gone])[0, 1] > 0.99
    one_hot, _ = features({"x": words}, kinds={"x": "category"})
    different = len(set(words[:300]))
    assert one_hot.shape[1] == different
    many = f"column x: {different} different words in the training part → category, a feature for each"
    assert (many in capsys.readouterr().err) == (different > MANY_WORDS)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (DAYS, "date"), (DAYS.tz_localize("Europe/Rome"), "date"), (DAYS.date, "date"), (DAYS.astype(str), "date"),
        (DAYS.strftime("%Y-%m-%dT%H:%M:%SZ"), "date"), (DAYS.to_period("D"), "date"),
        (pd.to_timedelta(np.arange(N), unit="D"), "number"),
        ([datetime.timedelta(days=i) for i in range(N)], "number"),
    ],
)  # fmt: skip
def test_dates_and_durations_are_days(column, kind, capsys):
    (read,) = read_columns(pd.DataFrame({"x": column}), {}, "made")
    assert (read.kind, read.values[0]) == (kind, pytest.approx(18319 if kind == "date" else 0, abs=1.01))
    np.testing.assert_allclose(np.diff(read.values), 1, atol=0.05)  # a day of the change to summer time is shorter
    features({"x": column})
    assert f"x holds d{'ates' if kind == 'date' else 'urations'}" in capsys.readouterr().err


def test_names_of_rows_are_ignored_and_said_and_many_words_are_said(random, capsys):
    columns = {
        "id": [f"R{i}" for i in range(N)], "nearly": [f"R{max(i, 20)}" for i in range(N)],
        "zip": [f"0{i % 150:04d}" for i in range(N)], "few": random.choice(["a", "b"], N), "empty": [np.nan] * N,
    }  # fmt: skip
    train, _ = features(columns)
    said = capsys.readouterr().err
    for note in ("id has 400 different words in 400 rows → ignore", "nearly has 380 different words", "empty holds no",
                 "column zip: 150 different words in the training part → category, a feature for each (set kinds",
                 "; empty holds no value → ignore (set kinds in the Dataset to change that)\n"):  # fmt: skip
        assert note in said
    assert said.count("\n") == 2 and "few" not in said
    assert train.shape[1] == 150 + 2
    kinds = {"id": "category", "nearly": "ignore", "zip": "number", "few": "ignore"}
    assert features(columns, kinds=kinds)[0].shape[1] == 300 + 1
    with pytest.raises(UserError, match="no column is left to learn from"):
        features({"id": columns["id"]})


def test_a_column_without_values_in_the_training_part_is_ignored(numbers, capsys):
    late = np.where(np.arange(N) < 300, np.nan, numbers)
    train, _ = features({"x": numbers, "late": late})
    assert train.shape[1] == 1
    assert "column late: no value in the training part → ignored" in capsys.readouterr().err


@pytest.mark.parametrize("value", [3.0, 1e20, -1e-30])
def test_a_constant_column_is_zero(value, numbers):
    train, test = features({"x": numbers, "constant": np.where(np.arange(N) == 399, value + 1, value)})
    assert (train[:, 1] == 0).all() and (test[:-1, 1] == 0).all()


@pytest.mark.parametrize(
    ("column", "width"),
    [
        (pd.array([1, None] * (N // 2), dtype="Int64"), 2), (pd.array([True, None] * (N // 2), dtype="boolean"), 2),
        (pd.array(["a", None] * (N // 2), dtype="string"), 2), (np.arange(N) % 2 == 0, 2),
        (pd.Categorical([3, 1] * (N // 2)), 2), ([1, "a", 2.5, True] * (N // 4), 4),
        (pd.Series([1, 2.5] * (N // 2), dtype=object), 1),
    ],
)  # fmt: skip
def test_other_types_of_columns_are_read(column, width):
    assert features({"x": column})[0].shape[1] == width


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.ones(N) * 1j, "column 'x' holds complex numbers"),
        ([[1, 2]] * N, "column 'x', row 0 holds a list"),
        ([*["a"] * 9, {"b": 1}, *["a"] * 390], "column 'x', row 9 holds a dict"),
        ([b"a"] * N, "column 'x', row 0 holds a bytes"),
        (pd.Series([*["a"] * 5, "\ud800", *["a"] * 394], dtype=object), "column 'x', row 5 holds '.ud800', half"),
    ],
)
def test_cells_that_no_feature_can_be_made_of_are_refused(column, message):
    with pytest.raises(UserError, match=message):
        features({"x": column})


CELLS = st.one_of(
    st.floats(), st.integers(), st.booleans(), st.none(), st.text(max_size=3), st.dates(), st.datetimes(),
    st.sampled_from(["1,5", "1.5", "?", "NA", "2020-01-31", "inf", "1e400", "007", "-", "1 000", 1e30, np.nan, pd.NA]),
    st.decimals(allow_nan=False), st.timedeltas(), st.binary(max_size=2), st.complex_numbers(),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip
COLUMN = st.one_of(
    st.lists(st.floats(), min_size=30, max_size=30), st.lists(CELLS, min_size=30, max_size=30),
    st.lists(st.one_of(st.none(), st.floats(-1e38, 1e38)), min_size=30, max_size=30),
    st.lists(st.one_of(st.none(), st.text(max_size=2)), min_size=30, max_size=30),
    st.lists(st.sampled_from(["1,5", "2", "?", ""]), min_size=30, max_size=30),
)  # fmt: skip


@settings(max_examples=40)
@given(columns=st.lists(COLUMN, min_size=1, max_size=3), kind=st.sampled_from([None, "category", "number", "ignore"]))
@pytest.mark.filterwarnings("ignore")
def test_any_table_gives_finite_features_or_one_line(columns, kind, tmp_path_factory):
    samples = pd.DataFrame({f"c{i}": pd.Series(cells, dtype=object) for i, cells in enumerate(columns)})
    before, out = samples.copy(deep=True), tmp_path_factory.mktemp("any") / "features.npz"
    try:
        dataset = Dataset("made", "Made", "table", samples, np.arange(30) % 2, ("no", "yes"),
                          kinds={"c0": kind} if kind else {})  # fmt: skip
        write_prepared(dataset, sample_keys(dataset), 0, SplitPlan(0.2, 0.2, 0.2), out)
    except UserError as error:
        assert "\n" not in str(error) and str(error).startswith("data set made: ") and not out.exists()
    else:
        arrays, _ = read_arrays(out)
        matrices = [matrix for name, matrix in arrays.items() if name.startswith("features")]
        assert sum(len(matrix) for matrix in matrices) == 30
        assert all(np.isfinite(matrix).all() and matrix.shape[1] for matrix in matrices)
    pd.testing.assert_frame_equal(samples, before)


@given(st.floats(-1e30, 1e30))
def test_numbers_and_dates_are_read_back(x):
    for word in (repr(x), f"{x:,.3f}", f" {x:.3f}\t"):
        assert parse_numbers([word, "0.1"])[0][0] == pytest.approx(x, abs=6e-4)
    for word in (f"{x:.4f}".replace(".", ","), f"{x:,.3f}".translate(str.maketrans(",.", ".,"))):
        assert parse_numbers([word, "0,1"])[0][0] == pytest.approx(x, abs=6e-4)


@pytest.mark.parametrize("word", ["1,2,3", "1.2.3", "12 34", "1_000", "0x1", "a1", "1-2", "١a", "²", "1,23,456", "--1"])
def test_words_that_are_no_numbers_are_none(word):
    assert parse_numbers([word])[0] == [None]


def test_iso_dates_are_dates_if_there_is_such_a_day():
    assert parse_dates(["1970-01-02", "1969-12-31 12:00", "", "1970-01-01T00:00+24:00"])[0][:2] == [1.0, -0.5]
    assert parse_dates(["1970-13-01", "1/2/70", "1970", "2020-02-30"])[0] == [None] * 4
    assert np.isnan(parse_dates(["", "NA"])[0]).all()


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("%d.%m.%Y", "day.month.year, days"), ("%m/%d/%Y", "month/day/year, days"),
        ("%d/%m/%Y", "day/month/year, days"),
        ("%d-%m-%Y", "day-month-year, days"), ("%b %d %Y", "month day year, days"), ("%B %d, %Y", "month day, year,"),
        ("%m/%d/%Y %I:%M %p", "month/day/year, days"), ("%Y/%m/%d", "year/month/day, days"),
        ("%d %B %Y", "day month year, days"), ("%d-%b-%Y", "day-month-year, days"),
    ],
)  # fmt: skip
def test_dates_in_one_other_form_are_days(form, said, capsys):
    written = [*DAYS[:-2].strftime(form), "n.a.", " - "]
    (read,) = read_columns(pd.DataFrame({"x": written}), {}, "made")
    assert read.kind == "date" and read.values[0] == 18319 and (np.diff(read.values[:-2]) == 1).all()
    assert np.isnan(read.values[-2:]).all()
    assert f"x holds dates written as words → date ({said}" in f"x {read.note}" and "assumed" not in read.note
    (asked,) = read_columns(pd.DataFrame({"x": written}), {"x": "date"}, "made")
    np.testing.assert_array_equal(asked.values, read.values)
    assert asked.note == ""


@pytest.mark.parametrize(("mark", "days", "said"), [("/", 31, "month/day/year assumed, day/month/year would fit, too"),
                                                   ("-", 1, "day-month-year assumed")])  # fmt: skip
@pytest.mark.parametrize("kinds", [{}, {"x": "date"}])
def test_what_is_assumed_of_ambiguous_dates_is_said(mark, days, said, kinds):
    words = [mark.join(("01", "01", "1970")), mark.join(("02", "01", "1970"))]
    (read,) = read_columns(pd.DataFrame({"x": words}), kinds, "made")
    assert read.values.tolist() == [0, days] and said in read.note


def test_the_date_in_another_form_than_the_others_is_named():
    words = ["12/31/2020", "1/5/2020", "31.12.2020", "1/6/2020"]
    with pytest.raises(UserError, match=r"row 2: '31.12.2020' is not a date like 2020-12-31, or not in the form"):
        read_columns(pd.DataFrame({"x": words}), {"x": "date"}, "made")


def test_dates_in_several_forms_are_words_and_said():
    words = ["31.12.2020", "12/31/2020"] * 20
    (read,) = read_columns(pd.DataFrame({"x": words}), {}, "made")
    assert (read.kind, read.note) == ("category", "holds what may be dates, but not all in one form → category")


@pytest.mark.parametrize("stray", ["n.a.", "#DIV/0!", "empty", "<NA>"])
def test_more_ways_to_say_that_a_number_is_missing(numbers, stray):
    words = np.array([f"{x:.3f}" for x in numbers], dtype=object)
    words[17] = stray
    (read,) = read_columns(pd.DataFrame({"x": words}), {}, "made")
    assert read.note == f"holds numbers written as words → number (decimal point, {stray!r} missing)"
    assert np.flatnonzero(np.isnan(read.values)).tolist() == [17]


@pytest.mark.parametrize(("strays", "kind"), [(1, "number"), (40, "number"), (41, "ignore")])
@pytest.mark.parametrize("unit", ["", " %"])
def test_a_column_of_nearly_all_numbers_is_one(numbers, strays, kind, unit):
    words = [f"{x:.5f}{unit}" for x in numbers]
    words[17 : 17 + strays] = [f"see page {i}" for i in range(strays)]
    (read,) = read_columns(pd.DataFrame({"x": words}), {}, "made")
    assert read.kind == kind
    if kind == "number":
        cells = "1 other cell" if strays == 1 else "40 other cells"
        assert f"(decimal point, {cells} missing, first 'see page 0' in row 17)" in read.note
        assert np.isnan(read.values).sum() == strays
    with pytest.raises(UserError, match="row 17: 'see page 0' is not a number"):
        read_columns(pd.DataFrame({"x": words}), {"x": "number"}, "made")


def test_numbers_in_another_unit_than_the_others_are_missing(numbers):
    words = [f"$ {x:.5f}" for x in numbers]
    words[3], words[4] = "€ 5", "5"
    (read,) = read_columns(pd.DataFrame({"x": words}), {}, "made")
    assert read.kind == "number" and np.flatnonzero(np.isnan(read.values)).tolist() == [3, 4]


def test_rare_words_beyond_the_limit_share_a_feature(monkeypatch, capsys):
    monkeypatch.setattr("datagradient.data.features.MAX_CATEGORIES", 60)
    words = [f"w{i % 60}" if i < 280 else f"rare {i}" for i in range(N)]
    train, test = features({"x": words}, kinds={"x": "category"})
    assert train.shape[1] == 61 and (train.sum(axis=1) == 1).all()
    assert (np.flatnonzero(train[:, 60]) == np.arange(280, 300)).all() and test.sum() == 0
    assert ("column x: 80 different words in the training part → category, a feature for each of the 60 most frequent, "
            "and one for the others together") in capsys.readouterr().err  # fmt: skip


def test_how_columns_were_read_is_kept_with_the_data(tmp_path, numbers):
    table = {"x": numbers, "y": [f"{x:.3f}" for x in numbers], "z": [f"w{i % 60}" for i in range(N)]}
    dataset = Dataset("made", "Made", "table", pd.DataFrame(table), np.arange(N) % 2, ("no", "yes"))
    write_prepared(dataset, sample_keys(dataset), 0, SplitPlan(), tmp_path / "features.npz")
    assert read_json(tmp_path / "data.json")["columns"] == {
        "y": "holds numbers written as words → number (decimal point)",
        "z": "60 different words in the training part → category, a feature for each (set kinds in the Dataset to "
        "change that)",
    }


def test_features_are_fitted_on_the_training_part_only():
    table = sets.load("affairs")
    rows = np.arange(100)
    alone = extract(table, {"train": rows, "test": np.arange(100, 200)})
    together = extract(table, {"train": rows, "test": np.arange(100, 6000)})
    np.testing.assert_array_equal(alone["train"], together["train"])
    np.testing.assert_array_equal(alone["test"], together["test"][:100])
    numbers = alone["train"][:, :6]
    np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=1e-6)


def test_codes_of_occupations_are_no_amounts():
    survey = sets.load("affairs")
    columns = read_columns(survey.samples, survey.kinds, "affairs")
    assert [column.name for column in columns if column.kind == "category"] == ["occupation", "occupation_husb"]


def texts(samples):
    dataset = Dataset("made", "Made", "text", samples, np.arange(len(samples)) % 2, ("a", "b"))
    half = len(samples) // 2
    return extract(dataset, {"train": np.arange(half), "test": np.arange(half, 2 * half)})


def test_words_of_other_parts_are_no_features():
    matrices = texts(["good film"] * 5 + ["bad film"] * 5 + ["unheard words"] * 10)
    assert matrices["train"].shape[1] == 3
    assert matrices["test"].nnz == 0


def test_of_long_texts_the_beginning_and_the_end_are_kept():
    long, short = "begin " * 200 + "middle " * 100 + "end " * 200, "middle end"
    dataset = Dataset("made", "Made", "text", [long, short], np.arange(2), ("a", "b"))
    first, second = raw_inputs(dataset, {"train": np.arange(2)})["train"]
    end, begin, middle = 2, 3, 4  # the most frequent first
    assert first.tolist() == [begin] * 128 + [end] * 128
    assert second.tolist() == [middle, end] + [PADDING] * 254


@pytest.mark.parametrize("words", [[f"word{i}" for i in range(20)], [""] * 20, ["a b"] * 20])
def test_texts_without_a_common_word_are_refused_in_a_sentence(words):
    with pytest.raises(UserError, match="data set made: no word occurs in at least 3 of the 10 training texts: bring"):
        texts(words)


def slope(axis, step, shape):
    """An image that becomes brighter by so much a pixel along one axis."""
    return np.repeat((np.indices(shape[:2])[axis] * step)[..., None], shape[2], axis=2).astype(np.uint8)


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3)])
def test_image_statistics_see_light_and_direction(random, shape):
    images = random.integers(256, size=(4, *shape), dtype=np.uint8)
    features = image_statistics(images)
    cells = 16 * shape[2]
    assert features.shape == (4, 9 * 36 + 2 * cells)
    brightness = features[:, -2 * cells : -cells].mean(axis=1)
    np.testing.assert_allclose(brightness, images.mean(axis=(1, 2, 3)) / 255)
    flat, across, along = (image_statistics(image[None])[0] for image in
                           (np.full(shape, 90, np.uint8), slope(0, 6, shape), slope(1, 6, shape)))  # fmt: skip
    np.testing.assert_allclose(flat[-cells:], 0, atol=1e-12)  # the deviations within cells
    assert (across[-cells:] > 0).all() and (along[-cells:] > 0).all()
    vertical, horizontal = (each[: 9 * 36].reshape(-1, 9).sum(axis=0) for each in (across, along))
    assert (flat[: 9 * 36].sum(), vertical.argmax(), horizontal.argmax()) == (0, 4, 0)
    # Half the light of the same slope: the same directions, since gradients are scaled by their block.
    dim = image_statistics(slope(0, 3, shape)[None])[0]
    np.testing.assert_allclose(dim[: 9 * 36], across[: 9 * 36], atol=1e-3)
    np.testing.assert_allclose(dim[-2 * cells :], across[-2 * cells :] / 2)
