"""Readers of Parquet, JSON, DataFrames and arrays, and of labels of every type."""

import datetime
import decimal
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from datagradient.data.readers import ReadOptions, read, read_like
from datagradient.errors import UserError

N = 40
ROWS = np.arange(N)
FRAME = pd.DataFrame(
    {"a": ROWS % 7 + 0.5, "b": np.where(ROWS % 3, "red", "blue"), "y": np.where(ROWS % 2, "yes", "no")}
)
TARGET = ReadOptions(target="y")


def with_column(name, values, options=TARGET):
    return read(FRAME.assign(**{name: values}), options)


def write_lines(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def write_parquet(path, **columns):
    parquet.write_table(pa.table({"a": pa.array(ROWS % 4), **columns}), path)
    return path


RECORDS = FRAME.to_dict("records")


def test_every_format_gives_the_same_source(tmp_path):
    FRAME.to_csv(tmp_path / "f.csv", index=False)
    FRAME.set_axis([f"row {row}" for row in ROWS]).to_parquet(tmp_path / "f.parquet")
    write_lines(tmp_path / "f.jsonl", [*RECORDS, ""])
    write_lines(tmp_path / "lines.json", RECORDS)
    (tmp_path / "array.json").write_text("\n" + json.dumps(RECORDS, indent=1))
    expected = read(FRAME, TARGET)
    for name in ("f.csv", "f.parquet", "f.jsonl", "lines.json", "array.json"):
        source = read(tmp_path / name, TARGET)
        pd.testing.assert_frame_equal(source.dataset.samples, expected.dataset.samples)
        assert (source.dataset.labels == expected.dataset.labels).all() and source.classes == expected.classes
        assert source.dataset.kinds == expected.dataset.kinds and source.facts["rows"] == N
        assert len(source.facts["sha256"]) == len(expected.facts["sha256"]) == 64 and json.dumps(source.facts)
        again = read_like(tmp_path / name, expected, TARGET)
        assert (again.dataset.labels == expected.dataset.labels).all()


@pytest.mark.parametrize("index", [ROWS[::-1], ROWS % 3, [f"k{row}" for row in ROWS], pd.to_datetime(ROWS)])
def test_rows_of_a_frame_are_positions_and_the_frame_is_not_changed(index):
    frame = FRAME.set_axis(index)
    before = frame.copy(deep=True)
    source = read(frame, ReadOptions(target="y", drop=("b",)))
    assert (source.dataset.samples["a"] == FRAME["a"]).all() and (source.dataset.labels == ROWS % 2).all()
    pd.testing.assert_frame_equal(frame, before)


def test_names_of_columns_become_texts_unless_two_are_the_same():
    source = read(FRAME.set_axis([0, 1, "y"], axis=1), TARGET)
    assert list(source.dataset.samples) == ["0", "1"] and source.said == ("names of columns became texts",)
    with pytest.raises(UserError, match="columns 1 and 2 are both named '1'"):
        read(FRAME.set_axis([1, "1", "y"], axis=1), TARGET)


SAME = [datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)]


@pytest.mark.parametrize(
    ("values", "classes", "names"),
    [
        ([False, True], (False, True), ("False", "True")),
        ([10, 9], (9, 10), ("9", "10")),
        ([1.0, 0.0], (0.0, 1.0), ("0.0", "1.0")),
        (["10", "9"], ("9", "10"), ("9", "10")),
        (["b", "a"], ("a", "b"), ("a", "b")),
        (["null", "NA"], ("NA", "null"), ("NA", "null")),
        (SAME, tuple(SAME), ("2020-01-01", "2021-01-01")),
        (pd.to_datetime(SAME).tolist(), tuple(map(pd.Timestamp, SAME)), ("2020-01-01", "2021-01-01")),
        ([pd.Timestamp("2020-01-01 05:00"), pd.Timestamp("2020-01-02")], None,
         ("2020-01-01 05:00:00", "2020-01-02 00:00:00")),
        (pd.Categorical(["u", "v"], ["v", "u", "never"]), ("u", "v"), ("u", "v")),
        (pd.array([3, 2], dtype="Int64"), (2, 3), ("2", "3")),
        (pd.array([True, False], dtype="boolean"), (False, True), ("False", "True")),
        (np.array([5, 4], dtype=object), (4, 5), ("4", "5")),
        ([decimal.Decimal(2), decimal.Decimal(1)], (decimal.Decimal(1), decimal.Decimal(2)), ("1", "2")),
    ],
)  # fmt: skip
def test_labels_keep_their_type_and_order(values, classes, names):
    column = pd.Series(values).take(ROWS % 2).array
    source = with_column("y", column)
    assert source.dataset.class_names == names
    assert source.classes == (classes or source.classes) and [type(value) for value in source.classes] == [
        type(value) for value in classes or source.classes
    ]
    given = pd.Series(column).tolist()
    assert all(source.classes[label] == value for label, value in zip(source.dataset.labels, given, strict=True))


@pytest.mark.parametrize(
    ("words", "classes"),
    [
        (("True", "False"), (False, True)),
        (("true", "false"), ("false", "true")),
        (("10", "9"), (9, 10)),
        (("01", "00"), ("00", "01")),
        (("1.0", "0.0"), (0.0, 1.0)),
        (("-1", "1"), (-1, 1)),
        (("1", "1.0"), ("1", "1.0")),
        (("nan", "null"), ("nan", "null")),
        (("NA", "None"), ("NA", "None")),
        (("inf", "sup"), ("inf", "sup")),
    ],
)
def test_labels_of_a_file_without_types_give_the_same_words_back(tmp_path, words, classes):
    (tmp_path / "f.csv").write_text("a,y\n" + "".join(f"{row % 5},{words[row % 2]}\n" for row in range(N)))
    source = read(tmp_path / "f.csv", TARGET)
    assert source.classes == classes and list(map(type, source.classes)) == list(map(type, classes))
    assert [str(source.classes[label]) for label in source.dataset.labels] == [words[row % 2] for row in range(N)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["same"] * N, "column 'y': holds the one class 'same': at least two classes are needed"),
        ([None] * N, "column 'y': holds no label: name another column"),
        (ROWS, "has 40 different labels in 40 rows, more than 20 %"),
        (ROWS / 3, "holds real numbers .0.3333333333333333 in row 1.*bin it .*--task classification"),
        (np.where(ROWS % 2, 0.5, np.nan), "holds real numbers"),
        ([decimal.Decimal("1.5"), decimal.Decimal("2.5")] * 20, "holds real numbers"),
        (["1.5", "2,5"] * 20, None),
        ([["a", "b"], ["a"]] * 20, "row 0 holds a list, and each row needs one label"),
        ([("a", "b"), ("a",)] * 20, "row 0 holds a tuple"),
        ([{"a": 1}, {"b": 1}] * 20, "row 0 holds a dict"),
        ([{"a"}, {"b"}] * 20, "row 0 holds a set"),
        ([b"a", b"b"] * 20, "row 0 holds bytes, which are no label: convert them to text"),
        ([1, "1"] * 20, "mixes number and text .1 in row 0, '1' in row 1.: write all labels as one type"),
        ([True, 1] * 20, "mixes bool and number"),
        (pd.Categorical([1, "1"] * 20), "mixes number and text"),
        ([pd.Timestamp("2020-01-01"), datetime.date(2020, 1, 1)] * 20, "mixes date and time"),
        (pd.Series(["a", "\ud800"] * 20, dtype=object), "half of a surrogate pair|no text that UTF-8 can express"),
    ],
)
def test_labels_that_are_no_classes_are_refused(values, message):
    if message is None:  # two decimal marks: no numbers
        with_column("y", values)
        return
    with pytest.raises(UserError, match=message) as refusal:
        with_column("y", values)
    assert "\n" not in str(refusal.value)


def test_real_numbers_are_classes_if_the_user_says_so():
    source = with_column("y", (ROWS % 3) / 2, ReadOptions(target="y", task="classification"))
    assert source.classes == (0.0, 0.5, 1.0) and source.dataset.class_names == ("0.0", "0.5", "1.0")


def test_rows_without_a_label_are_set_aside_with_their_numbers_and_names():
    frame = FRAME.assign(y=[None, np.nan, "", "  ", *FRAME["y"][4:]], key=[f"k{row}" for row in ROWS])
    source = read(frame, ReadOptions(target="y", id="key"))
    assert [(item.row, item.name) for item in source.set_aside] == [(row, f"k{row}") for row in range(4)]
    assert source.rows.tolist() == list(range(4, N)) and source.names[0] == "k4"
    assert source.dataset.samples["a"].tolist() == FRAME["a"][4:].tolist()
    assert source.said == ("4 rows set aside, no label in column 'y': 'k0', 'k1', 'k2' and 1 more",)


def test_a_class_whose_rows_are_all_set_aside_is_left_out():
    texts = [None if row % 4 == 3 else f"a text of some words {row}" for row in ROWS]
    frame = pd.DataFrame({"t": texts, "y": [f"c{row % 4}" for row in ROWS]})
    source = read(frame, ReadOptions(target="y", text="t"))
    assert source.classes == ("c0", "c1", "c2") and len(source.set_aside) == 10
    assert "classes without a row that can be used were left out: 'c3'" in source.said


def test_classes_that_look_like_typing_errors_or_amounts_are_said():
    assert with_column("y", ["cat", "Cat ", "dog", "dog"] * 10).said == (
        "classes 'Cat ' and 'cat' differ only in spaces or capital letters",
    )
    frame = pd.DataFrame({"a": np.arange(200) % 7, "y": np.arange(200) % 30})
    (said,) = read(frame, TARGET).said
    assert said.startswith("column 'y' holds 30 different numbers: each is a class. If they are amounts, bin them")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["NA", "a", "b"], "'NA' (14 rows) looks like a missing label and is a class"),
        ([1, -999, 0], "'-999' (13 rows) looks like a missing label and is a class"),
        (["?", "a", " N/A "], "' N/A ' (13 rows) and '?' (14 rows) look like missing labels and are classes"),
        (["a", "b", "nan"], "'nan' (13 rows) looks like"),
        (["-1", "1", "9"], ""),
    ],
)
def test_classes_that_look_like_missing_labels_are_said(values, said):
    found = with_column("y", (values * N)[:40]).said
    assert len(found) == (1 if said else 0)
    assert not said or found[0].startswith(f"column 'y': {said}")
    assert not said or found[0].endswith(": unless this is meant, leave these rows out, or remove their label, which "
                                         "sets them aside")  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1]] * N, "column 'odd', row 0 holds a list"),
        ([{"q": 1}] * N, "column 'odd', row 0 holds a dict"),
        ([b"x"] * N, "column 'odd', row 0 holds a bytes"),
        (1j * ROWS, "column 'odd' holds complex numbers"),
        ([np.inf, *ROWS[1:]], "column 'odd', row 0: inf is no finite number"),
        ([10**400, *ROWS[1:].tolist()], "column 'odd', row 0: inf is no finite number"),
        (pd.Series(["\ud800", "a"] * 20, dtype=object), "half of a surrogate pair"),
    ],
)
def test_cells_that_are_no_scalars_are_refused_unless_dropped(values, message):
    with pytest.raises(UserError, match=f"{message}.*--drop 'odd'|surrogate.*correct it"):
        with_column("odd", values)
    assert "odd" not in with_column("odd", values, ReadOptions(target="y", drop=("odd",))).dataset.samples


def test_mixed_types_are_read_as_words_and_said():
    source = with_column("odd", [1, "a"] * 20)
    assert source.dataset.kinds["odd"] == "category"
    assert source.said == ("column 'odd' mixes number and text, read as words",)


def test_typed_columns_keep_their_values():
    days = pd.to_datetime(["2020-01-01 12:00", None] * 20)
    spans, times = pd.to_timedelta(ROWS % 3, unit="D"), [datetime.time(1), datetime.time(2)] * 20
    frame = FRAME.assign(day=days, span=spans, time=times, flag=ROWS % 2 == 0, zone=days.tz_localize("UTC"))
    samples = read(frame, TARGET).dataset.samples
    assert (samples["day"].isna() == days.isna()).all() and samples["day"][0] == pd.Timestamp("2020-01-01 12:00")
    assert samples["zone"][0] == pd.Timestamp("2020-01-01 12:00")
    assert samples["span"].tolist() == (ROWS % 3).tolist() and samples["flag"][0] == "True"
    assert samples["time"][0] == "01:00:00"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"y": pa.array([["a", "b"]] * N)}, "column 'y': row 0 holds a ndarray, and each row needs one label"),
        ({"y": pa.array([b"a", b"b"] * 20)}, "column 'y': row 0 holds bytes"),
        ({"odd": pa.array([[1, 2]] * N)}, "column 'odd' holds list<.*int64>.*--drop 'odd'"),
        ({"odd": pa.array([{"q": 1}] * N)}, "column 'odd' holds struct<q: int64>.*--drop 'odd'"),
        ({"odd": pa.array([b"1"] * N)}, "column 'odd' holds binary.*--drop 'odd'"),
    ],
)
def test_columns_of_parquet_that_are_no_scalars_are_refused(tmp_path, columns, message):
    path = write_parquet(tmp_path / "f.parquet", **{"y": pa.array(["u", "v"] * 20), **columns})
    with pytest.raises(UserError, match=message):
        read(path, TARGET)


def test_whole_numbers_of_parquet_stay_whole_although_some_are_missing(tmp_path):
    path = write_parquet(tmp_path / "f.parquet", z=pa.array([1, 2, 3, None] * 10), y=pa.array([0, 1, None, 1] * 10))
    source = read(path, TARGET)
    assert source.classes == (0, 1) and isinstance(source.classes[0], int) and len(source.set_aside) == 10
    assert source.dataset.samples["z"].isna().sum() == 10
    assert source.facts["columns"][1] == {"name": "z", "kind": "number", "note": "", "form": "", "missing": 10}


def test_names_of_classes_that_datasets_writes_into_parquet_are_kept(tmp_path):
    features = {"y": {"names": ["neg", "pos", "other"], "_type": "ClassLabel"}}
    schema = pa.schema({"a": pa.int64(), "y": pa.int64()},
                       {"huggingface": json.dumps({"info": {"features": features}})})  # fmt: skip
    parquet.write_table(pa.table([ROWS % 5, np.where(ROWS < 3, -1, ROWS % 2)], schema=schema), tmp_path / "f.parquet")
    source = read(tmp_path / "f.parquet", TARGET)
    assert source.dataset.class_names == ("neg", "pos") and source.classes == (0, 1)
    assert len(source.set_aside) == 3 and "classes without a row were left out: 'other'" in source.said
    parquet.write_table(pa.table([ROWS % 5, ROWS % 4], schema=schema), tmp_path / "f.parquet")
    with pytest.raises(UserError, match="row 3 holds 3, and the file names the classes 0 … 2"):
        read(tmp_path / "f.parquet", TARGET)


@pytest.mark.parametrize("kept", [slice(0, -50), slice(0, 4), slice(100, None)])
def test_damaged_parquet_is_refused(tmp_path, kept):
    FRAME.to_parquet(tmp_path / "whole.parquet")
    (tmp_path / "f.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[kept] or b"x")
    with pytest.raises(UserError, match="is no Parquet file, or a damaged one") as refusal:
        read(tmp_path / "f.parquet", TARGET)
    assert "\n" not in str(refusal.value)


def test_texts_of_parquet_that_are_not_utf8_are_refused_by_column(tmp_path):
    odd = pa.array([b"\xff", b"a"] * 20).view(pa.string())
    path = write_parquet(tmp_path / "f.parquet", odd=odd, y=pa.array(["u", "v"] * 20))
    with pytest.raises(UserError, match=r"column 'odd' is damaged .*UTF.*--drop 'odd'"):
        read(path, TARGET)
    assert len(read(path, ReadOptions(target="y", drop=("odd",))).rows) == N


def test_columns_of_parquet_with_one_name_are_refused(tmp_path):
    parquet.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["y", "y"]), tmp_path / "f.parquet")
    with pytest.raises(UserError, match="columns 1 and 2 are both named 'y'"):
        read(tmp_path / "f.parquet", TARGET)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1,', "line 41: is no JSON .Expecting property name"),
        ('{"a": 1, "a": 2}', "line 41: is no JSON .the key 'a' appears twice"),
        ("[1]", r"line 41 is \[1\], and an object of names and values is needed"),
        ("3", "line 41 is 3, and an object"),
        ("[" * 100_000, "line 41: is no JSON .nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "line 41: is no JSON .Exceeds the limit"),
        ('{"b": "\\ud800", "y": "no"}', "line 41 holds .*half of a surrogate pair"),
        ('{"a": Infinity, "y": "no"}', "column 'a', row 40: inf is no finite number"),
        ('{"a": {"q": 1}, "y": "no"}', "column 'a', row 40 holds a dict.*--drop 'a'"),
        ('{"y": 3}', "column 'y': mixes number and text .'no' in row 0, 3 in row 40"),
    ],
)
def test_lines_that_are_no_rows_are_refused(tmp_path, line, message):
    with pytest.raises(UserError, match=message) as refusal:
        read(write_lines(tmp_path / "f.jsonl", [*RECORDS, line]), TARGET)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "holds no row"),
        ("\n\n", "holds no row"),
        ("{}\n{}", "no column 'y' .--target.: the columns are none"),
        ('[{"a": 1}, 3]', "row 1 is 3, and an object"),
        ('[{"a": 1},\n{"a" 1}]', "line 2: is no JSON .Expecting ':' delimiter"),
    ],
)
def test_json_without_rows_is_refused(tmp_path, text, message):
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "f.json", TARGET)


def test_objects_may_lack_keys_in_any_block_of_lines(tmp_path, monkeypatch):
    monkeypatch.setattr("datagradient.data.readers.json_tables.BLOCK", 7)
    rows = [{"late": row} if row > 30 else {} for row in range(N)]
    rows = [{**row, **({} if number == 5 else {"y": number % 2}), "a": number % 3 or 1.5, "flag": number % 2 == 0}
            for number, row in enumerate(rows)]  # fmt: skip
    source = read(write_lines(tmp_path / "f.jsonl", rows), TARGET)
    assert source.classes == (0, 1) and [item.row for item in source.set_aside] == [5]
    assert source.dataset.samples["late"].isna().sum() == 30 and source.dataset.samples["a"][0] == 1.5
    assert source.dataset.samples["flag"][0] == "True"


@pytest.mark.parametrize("make", [np.asarray, np.ndarray.tolist, pd.DataFrame, lambda x: tuple(map(tuple, x))])
def test_arrays_with_labels(make):
    samples = np.random.default_rng(0).normal(size=(N, 3))
    source = read((make(samples), pd.Series(ROWS % 2, index=ROWS[::-1])))
    assert np.array_equal(source.dataset.samples.to_numpy(), samples) and source.classes == (0, 1)
    assert list(source.dataset.samples) == ["0", "1", "2"] and source.facts["format"] == "arrays"
    again = read_like((make(samples[:4]), [1, 0, 1, 0]), source)
    assert again.dataset.labels.tolist() == [1, 0, 1, 0]


def test_texts_and_images_with_labels():
    texts = read(([f"text {row}" for row in ROWS], np.where(ROWS % 2, "p", "n")))
    assert texts.dataset.modality == "text" and texts.dataset.samples[7] == "text 7" and texts.classes == ("n", "p")
    pixels = np.random.default_rng(0).integers(0, 256, (N, 8, 9), dtype=np.uint8)
    images = read((pixels, [None, *(ROWS[1:] % 2).tolist()]))
    assert np.array_equal(images.dataset.samples[..., 0], pixels[1:]) and images.set_aside[0].row == 0
    assert images.said[0] == "images have no axis of channels: read as grey"
    assert read_like((pixels, ROWS % 2), images).dataset.modality == "image"
    with pytest.raises(UserError, match=r"images have the shape \(9, 8, 1\), and those of the first data \(8, 9, 1\)"):
        read_like((pixels.transpose(0, 2, 1), ROWS % 2), images)
    with pytest.raises(UserError, match="holds tables, and the first data images"):
        read_like((np.ones((N, 2)), ROWS % 2), images)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ((np.ones((N, 2)), ROWS[:-1] % 2), {}, "39 labels and 40 samples"),
        ((np.ones((N, 2)), np.eye(2)[ROWS % 2]), {}, "labels have shape .40, 2.*argmax"),
        ((np.ones((N, 2)), [["a"], ["b", "c"]] * 20), {}, "labels: row 0 holds a list"),
        ((np.ones((N, 2)), None), {}, "labels have shape"),
        ((np.ones((N, 2)), ROWS % 2), {"target": "y"}, "--target is given beside labels"),
        ((np.ones((N, 2, 2, 2, 2)), ROWS % 2), {}, "samples have shape"),
        ((np.ones((N, 8, 8, 3)), ROWS % 2), {}, "images are float64, and uint8 from 0 to 255 is needed"),
        ((np.ones((N, 8, 8, 3), np.uint8), ROWS[:3]), {}, "3 labels and 40 samples"),
        (([[1, 2], [3]] * 20, ROWS % 2), {}, "samples have 1 to 2 values"),
        ((np.ones((0, 2)), []), {}, "holds no row"),
        ((pa.table({"a": [1]}), [1], 3), {}, "the source is a tuple: give a path"),
        (3, {}, "the source is a int: give a path"),
        (FRAME[:0], {"target": "y"}, "DataFrame: holds no row"),
        (FRAME[["y"]], {"target": "y"}, "no column is left to learn from: add one"),
    ],
)
def test_data_in_memory_that_do_not_fit_are_refused(source, options, message):
    with pytest.raises(UserError, match=message):
        read(source, ReadOptions(**options))
