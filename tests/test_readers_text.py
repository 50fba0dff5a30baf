"""Readers of a user's own text tables: what is recognised and said, and that each refusal is one line with a remedy."""

import csv
import gzip
import os

import numpy as np
import pandas as pd
import pytest

from datagradient.data.readers import ReadOptions, SetAside, read, read_like
from datagradient.data.readers.samples import is_prose
from datagradient.data.readers.text_tables import read_text_table
from datagradient.errors import UserError

HEADER = "age,colour,label\n"
BODY = "".join(f"{row % 7}.5,{'red' if row % 3 else 'blue'},{'yes' if row % 2 else 'no'}\n" for row in range(30))
FILE = HEADER + BODY


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Read a file with the given content; messages then name it without a folder."""
    monkeypatch.chdir(tmp_path)

    def reading(content, name="made.csv", **options):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        source = read(name, ReadOptions(**{"target": "label", **options}))
        assert len(source.rows) + len(source.set_aside) == source.facts["rows"]
        return source

    return reading


def test_a_plain_file(made):
    source = made(FILE)
    assert source.dataset.samples["age"].tolist() == [row % 7 + 0.5 for row in range(30)]
    assert source.dataset.samples["colour"].tolist() == ["red" if row % 3 else "blue" for row in range(30)]
    assert source.dataset.labels.tolist() == [row % 2 for row in range(30)]
    assert (source.dataset.name, source.dataset.title) == ("made", "made.csv")
    assert source.dataset.kinds == {"age": "number", "colour": "category"}
    assert source.classes == source.dataset.class_names == ("no", "yes")
    assert (source.rows == np.arange(30)).all() and source.names is None and not source.trusted.any()
    assert source.said == source.set_aside == ()
    assert [column["kind"] for column in source.facts["columns"]] == ["number", "category", "target"]
    assert (source.facts["rows"], source.facts["sep"], source.facts["encoding"]) == (30, ",", "utf-8")


@pytest.mark.parametrize("name", ["2 files.csv", "class.csv", "ü.csv", "a-b.c.csv", "!.csv"])
def test_the_name_of_a_file_becomes_a_legal_name(made, name):
    dataset = made(FILE, name).dataset
    assert dataset.name.isidentifier() and dataset.name.isascii() and dataset.title == name


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (FILE.replace(",", ";").replace(".", ","), "x.csv", "separator ';' and decimal ',' were recognised"),
        (FILE.replace(",", "\t"), "x.tsv", "separator tab was recognised"),
        (FILE.replace(",", "|"), "x.txt", "separator '|' was recognised"),
        (FILE.replace(",", ", "), "x.csv", "a space follows every separator"),
        (b"\xef\xbb\xbf" + FILE.encode(), "x.csv", "a byte order mark was recognised: the encoding is utf-8"),
        (FILE.encode("utf-16"), "x.csv", "a byte order mark was recognised: the encoding is utf-16"),
        (FILE.encode("utf-32"), "x.csv", "a byte order mark was recognised: the encoding is utf-32"),
        (gzip.compress(FILE.encode()), "x.csv.gz", ""),
        (FILE.replace("\n", "\r\n"), "x.csv", ""),
        (FILE.replace("\n", "\r"), "x.csv", ""),
        (FILE.removesuffix("\n"), "x.csv", ""),
        ("\n  \n" + FILE.replace("\n", "\n\n", 5) + "\n \n", "x.csv", ""),
    ],
)
def test_other_forms_of_the_same_table_give_the_same_source(made, content, name, said):
    source, plain = made(content, name), made(FILE)
    pd.testing.assert_frame_equal(source.dataset.samples, plain.dataset.samples)
    assert (source.dataset.labels == plain.dataset.labels).all() and (source.rows == plain.rows).all()
    assert source.said == () if not said else any(said in sentence for sentence in source.said)


def test_given_forms_are_not_said(made):
    source = made(FILE.replace(",", ";").replace(".", ","), sep=";", decimal=",")
    assert source.said == () and source.dataset.samples["age"].max() == 6.5


def test_the_decimal_mark_decides_what_a_column_alone_leaves_open(made):
    rows = "".join(f"{row},234;{row},5;{row % 2}\n" for row in range(1, 41))
    assert made("a;b;label\n" + rows).dataset.samples["a"][0] == 1.234
    assert made("a;b;label\n" + rows, decimal=".").dataset.samples["a"][0] == 1234
    point = made("a;b;label\n" + rows.replace(",234", ".234"))
    assert point.dataset.samples["a"][0] == 1234, "a group of thousands in a file with decimal commas"


def test_the_separator_is_the_one_whose_header_holds_the_target(made):
    rows = "".join(f"{row};a,b;{row % 2}\n" for row in range(30))
    source = made("size;x,y;label\n" + rows)
    assert list(source.dataset.samples.columns) == ["size"] and source.facts["sep"] == ";"
    assert made(FILE.replace(",", "\t"), sep="tab").facts["sep"] == "\t"


def test_quoted_separators_newlines_quotes_and_long_fields_are_part_of_a_cell(made):
    long = "x" * 200_000
    cells = ["a,b", "two\nlines", "two\r\nlines", 'a "word"', " spaces ", long, "é"]
    rows = "".join(f'{row},"{cell.replace(chr(34), chr(34) * 2)}",{row % 2}\n'
                   for row, cell in enumerate(cells * 3))  # fmt: skip
    limit = csv.field_size_limit()
    assert made("a,b,label\n" + rows).dataset.samples["b"].tolist() == cells * 3
    assert csv.field_size_limit() == limit


def test_numbers_of_rows_count_quoted_lines_once_and_blank_lines_not_at_all(made):
    source = made(f'{HEADER}1,"two\nlines",\n\n{BODY}2,red, \n')
    assert source.rows.tolist() == list(range(1, 31))
    assert source.set_aside == (SetAside(0, None, "no label in column 'label'"),
                                SetAside(31, None, "no label in column 'label'"))  # fmt: skip
    assert source.said == ("2 rows set aside, no label in column 'label': rows 0, 31",)


def test_empty_cells_are_missing_and_words_for_missing_are_as_in_columns(made):
    rows = "".join(f"{'' if row % 4 else 'NA'},{row % 9 if row % 5 else 'NA'},{'' if row % 3 else row},{row % 2}\n"
                   for row in range(60))  # fmt: skip
    source = made("b,c,d,label\n" + rows)
    samples = source.dataset.samples
    assert samples["d"].isna().sum() == 40 and samples["d"][3] == 3
    assert samples["b"].isna().sum() == 45 and set(samples["b"].dropna()) == {"NA"}
    assert samples["c"].isna().sum() == 12 and samples["c"].dtype == float
    assert any("column 'c' holds numbers written as words: read as numbers (decimal point, 'NA' missing)" in sentence
               for sentence in source.said)  # fmt: skip


def test_codes_with_leading_zeros_are_words(made):
    source = made("zip,label\n" + "".join(f"0{row % 9},{row % 2}\n" for row in range(60)))
    assert source.dataset.kinds == {"zip": "category"} and source.dataset.samples["zip"][3] == "03"


def test_dates_become_numbers_and_keep_their_kind(made):
    rows = "".join(f"2020-01-{row % 28 + 1:02d},{row % 28 + 1:02d}.01.2020,{row % 2}\n" for row in range(60))
    source = made("iso,german,label\n" + rows)
    assert source.dataset.kinds == {"iso": "date", "german": "date"}
    assert (source.dataset.samples["iso"] == source.dataset.samples["german"]).all()
    assert source.dataset.samples["iso"][0] == pd.Timestamp("2020-01-01")
    assert "column 'german' holds dates written as words: read as dates (day.month.year, days since" in source.said[1]


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (lambda row: "1", "column 'odd' holds the same value in every row: left out"),
        (lambda row: "same", "column 'odd' holds the same value in every row: left out"),
        (lambda row: "", "column 'odd' holds no value: left out"),
        (
            lambda row: f"k{row}",
            "column 'odd' has 60 different words in 60 rows: left out; --id 'odd' shows it beside the rows",
        ),
    ],
)
def test_columns_that_tell_nothing_are_left_out_and_said(made, column, sentence):
    source = made("a,odd,label\n" + "".join(f"{row % 9},{column(row)},{row % 2}\n" for row in range(60)))
    assert source.said == (sentence,) and list(source.dataset.samples) == ["a"]
    assert source.facts["columns"][1]["kind"] == "ignore"


def test_a_number_of_the_row_is_kept_and_said(made):
    source = made("n,a,label\n" + "".join(f"{row},{row % 9},{row % 2}\n" for row in range(60)))
    assert source.dataset.kinds == {"n": "number", "a": "number"}
    assert source.said[0].startswith("column 'n' holds a different whole number in each of 60 rows")
    assert made("n,a,label\n" + "".join(f"{row},{row % 9},{row % 2}\n" for row in range(60)), drop=("n",)).said == ()


def test_a_first_column_without_a_name_that_numbers_the_rows_is_an_index(made, tmp_path):
    frame = pd.DataFrame({"a": np.arange(30) % 4, "label": np.arange(30) % 2})
    frame.to_csv(tmp_path / "made.csv")
    source = read(tmp_path / "made.csv", ReadOptions(target="label"))
    assert source.said == ("the first column has no name and numbers the rows: left out",)
    source = made("a,,label,\n" + "".join(f"{row % 3},,{row % 2},\n" for row in range(30)))
    assert list(source.dataset.samples) == ["a"] and len(source.said) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "made.csv: is empty: give a file"),
        ("\n \n", "made.csv: holds no text but blanks"),
        (HEADER, "made.csv: holds no row"),
        ("a\n1\n", "the first line has one column with any of , ; tab | as separator, .* give --sep"),
        (FILE.encode() + b"1,caf\xe9,yes\n", r"byte 377 \(line 32\) is 0xe9, which is not UTF-8: give --encoding"),
        (FILE + "1,\0,yes\n", "line 32 holds a NUL byte"),
        (FILE.encode("utf-16-le"), "line 1 holds a NUL byte.*give --encoding utf-16"),
        (FILE + "1,2\n" + BODY + "1,2,3,4\n", "the header has 3 fields, line 32 has 2, line 63 has 4: .*--sep"),
        (FILE + "1,2\n" * 5, "line 32 has 2, line 33 has 2, line 34 has 2, and 2 more lines differ: "),
        (HEADER + BODY.replace(".5,", ".5,1,"), "every row has 4 fields and the header 3"),
        (FILE + '1,"not closed,yes\n' + BODY, "line 32: a double quote .* is not closed"),
        (FILE + '1,"closed" early,yes\n', "line 32: text follows a closing double quote"),
        ("a,a,label\n" + BODY, "columns 1 and 2 are both named 'a': rename one"),
        ("a,,label\n" + BODY, "column 2 of 3 has no name: name it in the header"),
        (",b,label\n" + BODY, "column 1 of 3 has no name: name it in the header"),
        (BODY, "no column 'label' .--target.: the first line looks like data .'0.5', 'blue', 'no'., and a"),
        (b"PK\x03\x04" + b"0" * 50, "is a zip archive or an Excel file"),
        (FILE.replace("0.5", "inf", 1), "column 'age', row 0: inf is no finite number .*--drop 'age'"),
        (FILE.replace("3.5", "1e39", 1), "column 'age', row 3: 1e.39 is more than float32 can hold .*--drop 'age'"),
        (FILE.replace("3.5", "1e258", 1), "column 'age', row 3: 1e.258 is more than float32 .*--drop 'age'"),
        (FILE.replace("3.5", "1e999", 1), "column 'age', row 3: inf is no finite number .*--drop 'age'"),
        ("label,b\n" + "".join(f"{n % 2},\n" for n in range(30)), "no column is left to learn from: column 'b'"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_in_one_line(made, content, message):
    with pytest.raises(UserError, match=message) as refusal:
        made(content)
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith("made.csv: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": None}, "give --target, the column of labels: the columns are 'age', 'colour', 'label'"),
        ({"target": "lable"}, "no column 'lable' .--target.: did you mean 'label'"),
        ({"target": "COLOUR"}, "did you mean 'colour'"),
        ({"id": "agee"}, "no column 'agee' .--id.: did you mean 'age'"),
        ({"text": "color"}, "no column 'color' .--text.: did you mean 'colour'"),
        ({"drop": ("ag",)}, "no column 'ag' .--drop.: did you mean 'age'"),
        ({"trusted_column": "zzz"}, "no column 'zzz' .--trusted-column.: the columns are"),
        ({"id": "label"}, "column 'label' is given as --target and --id: choose one"),
        ({"drop": ("label",)}, "column 'label' is given as --target and --drop: choose one"),
        ({"trusted_column": "colour"}, "column 'colour', row 0: 'blue' is neither true nor false"),
        ({"encoding": "base64"}, "--encoding is 'base64', which is not known"),
        ({"encoding": "nonsense"}, "--encoding is 'nonsense', which is not known"),
        ({"encoding": "ascii", "content": FILE + "1,é,no\n"}, "is not ascii: give another --encoding"),
        ({"sep": ";"}, "one column with ';' as separator, .*: leave --sep out, or give another one .',' gives more.$"),
        (
            {"sep": ".", "content": "a.label\n" + BODY + "1.2.3\n"},
            "in double quotes, or leave --sep out, or give another",
        ),
        ({"sep": ".", "content": "label\n1\n"}, "one column with '.' as .* leave --sep out, or give another one$"),
        (
            {"text": "age"},
            "column 'age' .--text. holds numbers, and no texts: give the column of texts, or leave --text",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(made, options, message):
    content = options.pop("content", FILE)
    with pytest.raises(UserError, match=message) as refusal:
        made(content, **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "options", [{"sep": ";;"}, {"sep": '"'}, {"decimal": ";"}, {"task": "regression"}, {"drop": "age"}, {"sep": "§"}]
)
def test_illegal_options_are_refused(options):
    (name,) = options
    with pytest.raises(UserError, match=f"--{name} is"):
        ReadOptions(**options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.csv", "missing.csv: not found"),
        ("made.xlsx", "save the sheet as CSV"),
        ("made.pkl", "may run code"),
        ("made", "has no ending"),
        ("nothing\nhere.csv", "nothing here.csv: not found"),
        ("nul\0.csv", "cannot be read"),
        ("folder", "is a folder without subfolders of images"),
        ("pipe.csv", "is not a regular file"),
        ("cut.csv.gz", "is a damaged or incomplete gzip file"),
        ("wrong.csv.gz", "is a damaged or incomplete gzip file"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    for file in ("made.xlsx", "made.pkl", "made"):
        (tmp_path / file).write_text(FILE)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data.csv").write_text(FILE)
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(FILE.encode())[:-20])
    (tmp_path / "wrong.csv.gz").write_bytes(b"\x1f\x8b" + b"x" * 40)
    with pytest.raises(UserError, match=message) as refusal:
        read(name, ReadOptions(target="label"))
    assert "\n" not in str(refusal.value)


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    (tmp_path / "made.csv").write_text(FILE)

    def refused(*args, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(UserError, match=r"made.csv: cannot be read .Permission denied.: check the path"):
        read(tmp_path / "made.csv", ReadOptions(target="label"))


def test_rows_read_are_compared_with_rows_in_the_file(tmp_path, monkeypatch):
    (tmp_path / "made.csv").write_text(FILE)
    whole = pd.read_csv
    monkeypatch.setattr(pd, "read_csv", lambda *args, **more: whole(*args, **more).iloc[:-1])
    with pytest.raises(UserError, match="30 rows were read and the file has 31"):
        read_text_table(tmp_path / "made.csv", ReadOptions(target="label"))


def test_encoding_and_trusted_column_and_ids(made):
    ids, marks = {8: "k7", 9: ""}, ("yes", "", "No", "TRUE")
    content = "id,size,café,ok,label\n" + "".join(
        f"{ids.get(row, f'k{row}')},{row % 5},é{row % 3},{marks[row % 4]},{row % 2}\n" for row in range(40)
    )
    source = made(content.encode("cp1252"), encoding="cp1252", id="id", trusted_column="ok")
    assert source.dataset.samples["café"][0] == "é0" and list(source.dataset.samples) == ["size", "café"]
    assert source.trusted.tolist() == [row % 4 in (0, 3) for row in range(40)]
    assert source.names[:2] == ("k0", "k1") and source.names[9] == "" and len(source.names) == 40
    assert source.said == ("column 'id' (--id) has no value in 1 row: row 9",
                           "column 'id' (--id) has 38 different values in 39 rows")  # fmt: skip
    assert [column["kind"] for column in source.facts["columns"]] == ["id", "number", "category", "trusted", "target"]


REVIEWS = "".join(f"{row},this is review number {row} of a long film,{row % 2}\n" for row in range(40))


def test_a_column_of_prose_beside_ids_is_read_as_text(made):
    source = made("n,review,label\n" + REVIEWS + "40,,1\n")
    assert source.dataset.modality == "text" and source.dataset.samples[3] == "this is review number 3 of a long film"
    assert source.said[0] == "column 'review' is prose: read as text"
    assert source.set_aside == (SetAside(40, None, "no text in column 'review'"),)
    assert source.facts["text"] == "review"


def test_prose_beside_other_columns_is_left_out_unless_it_is_asked_for(made):
    content = "n,review,label\n" + "".join(f"{n % 7}{line.partition(',')[1]}{line.partition(',')[2]}\n"
                                           for n, line in enumerate(REVIEWS.splitlines()))  # fmt: skip
    table = made(content)
    assert list(table.dataset.samples) == ["n"] and "--text 'review' reads it" in table.said[0]
    text = made(content, text="review")
    assert text.dataset.modality == "text" and text.said == ("columns beside the texts were left out: 'n'",)


@pytest.mark.parametrize("sentences", [60, 240])  # read as a category, or left out
def test_a_column_that_may_hold_texts_is_named(sentences):
    texts = [f"send it to {word} {number}" for number, word in enumerate(["me", "them"] * (sentences // 2))]
    words = [texts[row % sentences] for row in range(200)]
    table = pd.DataFrame({"a": np.arange(200) % 7, "ticket": words, "code": ["a1b2c3d4"] * 100 + ["f5aa6bb7"] * 100,
                          "y": np.arange(200) % 2})  # fmt: skip
    said = read(table, ReadOptions("y")).said
    assert "column 'ticket' may hold texts; --text 'ticket' reads it as such, instead of the other columns" in said
    assert not any("'code'" in line for line in said)


def test_the_letters_of_a_code_are_no_words():
    random = np.random.default_rng(0)
    hashes = pd.Series([random.bytes(128).hex() for _ in range(50)])
    assert not is_prose(hashes)


def test_two_columns_of_prose_are_a_choice(made):
    rows = "".join(
        f"the title of book number {row} is,this is review number {row} of it,{row % 2}\n" for row in range(40)
    )
    with pytest.raises(UserError, match="columns 'title', 'review' are prose: choose one with --text"):
        made("title,review,label\n" + rows)
    assert made("title,review,label\n" + rows, text="title").dataset.modality == "text"


def test_a_second_file_gets_columns_kinds_and_classes_of_the_first(made, tmp_path):
    rows = "".join(f"{row},5;w{row % 3};{row % 28 + 1:02d}/01/2020;{'ny'[row % 2]}\n" for row in range(30))
    first = made("a;b;day;label\n" + rows)
    assert first.dataset.kinds == {"a": "number", "b": "category", "day": "date"}
    second = "label;new;day;b;a\n" + "".join(f"{'yn'[row % 2]};1;05/01/2020;{row};{row},234\n" for row in range(1, 5))
    (tmp_path / "second.csv").write_text(second)
    source = read_like("second.csv", first, ReadOptions(target="label", sep=";"))
    assert list(source.dataset.samples) == ["a", "b", "day"] and source.dataset.kinds == first.dataset.kinds
    assert source.dataset.samples["a"][0] == 1.234, "the decimal mark of the first file"
    assert source.dataset.samples["b"].tolist() == ["1", "2", "3", "4"]
    assert source.dataset.samples["day"][0] == pd.Timestamp("2020-01-05"), "day before month, as in the first file"
    assert source.dataset.labels.tolist() == [0, 1, 0, 1] and source.classes == first.classes
    assert "columns that are not in the first file were left out: 'new'" in source.said


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("age,label\n1,no\n2,yes\n", "lacks column 'colour' of the first file"),
        ("colour,age\nred,1\n", "no column 'label' .--target."),
        (HEADER + "1,red,no\n2,red,maybe\n3,red,yes\n", "row 1: 'maybe' is none of the classes of the first file"),
        (HEADER + "1,red,no\n", "holds one class alone, 'no': give rows of two or more"),
        (HEADER + "x,red,no\n2,red,yes\n", "column 'age', row 0: 'x' is not a number.*--drop 'age'"),
    ],
)  # fmt: skip
def test_a_second_file_that_does_not_fit_is_refused(made, tmp_path, second, message):
    first = made(FILE)
    (tmp_path / "second.csv").write_text(second)
    with pytest.raises(UserError, match=message) as refusal:
        read_like("second.csv", first, ReadOptions(target="label"))
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith("second.csv: ")


def test_a_second_file_may_lack_a_class(made, tmp_path):
    rows = [f"{row},{'abc'[row % 3]}\n" for row in range(30)]
    first = made("age,label\n" + "".join(rows))
    (tmp_path / "second.csv").write_text("age,label\n" + "".join(row for row in rows if "b" not in row))
    source = read_like("second.csv", first, ReadOptions(target="label"))
    assert source.dataset.class_names == ("a", "c") and source.classes == ("a", "c")
    assert source.dataset.labels.tolist() == [0, 1] * 10


def test_a_second_file_may_lack_ids_marks_values_and_what_the_first_left_out(made, tmp_path):
    content = "age,word,id,ok,same,label\n" + "".join(f"{n % 5},w{n % 3},k{n},yes,1,{n % 2}\n" for n in range(30))
    options = {"id": "id", "trusted_column": "ok"}
    first = made(content, **options)
    (tmp_path / "second.csv").write_text("age,word,label\n,,0\n,,1\n")
    source = read_like("second.csv", first, ReadOptions(target="label", drop=("same",), **options))
    assert source.names is None and not source.trusted.any() and len(source.rows) == 2
    assert source.dataset.samples.isna().all().all() and source.dataset.kinds == first.dataset.kinds
    assert "there is no column 'id' (--id) in this file" in source.said
