"""Whatever bytes are given, a reader refuses them in one line, or accounts for every row."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagradient.data.readers import ReadOptions, read
from datagradient.data.readers.text_tables import read_text_table
from datagradient.errors import UserError

MANY = settings(max_examples=40)
PIECES = [",", ";", "\t", "|", "\n", "\r\n", "\r", '"', '""', " ", "a", "y", "1", "0", "1,5", "-2.5", "NA", "nan",
          "inf", "1e39", "2020-01-02", "é", "\ufeff", "\u2028", "\x1c", "yes", "no", "\x00"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def accounted(path, **options):
    """The source of a file, or None if it was refused in one line."""
    try:
        source = read(path, ReadOptions(**{"target": "y", **options}))
    except UserError as error:
        assert "\n" not in str(error) and str(error)
        return None
    aside = [item.row for item in source.set_aside]
    assert sorted([*source.rows.tolist(), *aside]) == list(range(source.facts["rows"]))
    assert len(source.dataset.labels) == len(source.rows) == len(source.trusted)
    return source


def records_of(text, sep, spaced):
    """The records that Python's reader finds, blank lines left out."""
    records = csv.reader(io.StringIO(text, newline=""), delimiter=sep, skipinitialspace=spaced, strict=True)
    return [record for record in records if "".join(record).strip() or len(record) > 1]


@MANY
@given(st.binary(max_size=300), st.sampled_from(["f.csv", "f.csv.gz", "f.jsonl", "f.json", "f.parquet", "f.tsv"]))
def test_random_bytes(folder, content, name):
    (folder / name).write_bytes(content)
    accounted(folder / name)


@MANY
@given(st.lists(st.sampled_from(PIECES), max_size=60), st.booleans())
def test_pieces_of_text_tables(folder, pieces, header):
    text = ("a,y\n" if header else "") + "".join(pieces)
    (folder / "f.csv").write_bytes(text.encode())
    accounted(folder / "f.csv")
    try:
        table = read_text_table(folder / "f.csv", ReadOptions(target="y"))
    except UserError as error:
        assert "\n" not in str(error)
        return
    names, *records = records_of(text.removeprefix("\ufeff"), table.facts["sep"], table.facts["spaced"])
    used = [place for place, name in enumerate(names) if name.strip()]
    used = used[len(used) - len(table.names) :]  # all but those without a name
    assert table.frame.fillna("").to_numpy().tolist() == [[record[place] for place in used] for record in records]


CELLS = st.lists(st.sampled_from(["1", "2.5", "", "x", "NA", '"a,b"', '"two\nlines"', " ", "yes", "?", "1e5", "007"]),
                 min_size=2, max_size=2)  # fmt: skip
LINES = st.lists(st.tuples(CELLS, st.sampled_from(["p", "q", "p", "q", ""]), st.sampled_from(["\n", "\n", "\n\n"])),
                 min_size=12, max_size=40)  # fmt: skip


@MANY
@given(LINES, st.sampled_from(",;\t|"))
def test_tables_that_are_nearly_right(folder, lines, sep):
    text = sep.join("aby") + "\n" + "".join(sep.join([*cells, label]) + end for cells, label, end in lines)
    (folder / "f.csv").write_bytes(text.encode())
    source = accounted(folder / "f.csv")
    if source is not None:
        assert source.facts["rows"] == len(lines) and source.facts["sep"] == sep
        labels = [label for _, label, _ in lines]
        assert [source.classes[number] for number in source.dataset.labels] == [label for label in labels if label]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
JSON = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from("aby"), SCALARS, max_size=2)


@MANY
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "y"]), JSON, max_size=3), max_size=15))
def test_lines_of_json(folder, rows):
    (folder / "f.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    source = accounted(folder / "f.jsonl")
    assert source is None or source.facts["rows"] == len(rows)


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
NUMBERS = st.floats(-1e30, 1e30) | st.integers(-9, 9).map(float) | st.just(float("nan"))


@MANY
@given(st.data(), st.sampled_from([(",", "."), (";", ","), ("\t", "."), ("|", ".")]))
def test_what_pandas_writes_is_read_as_it_was(folder, data, form):
    n, (sep, decimal) = data.draw(st.integers(15, 30)), form
    column = lambda cells: data.draw(st.lists(cells, min_size=n, max_size=n))  # noqa: E731
    words = [f"w{word}" for word in column(st.sampled_from(data.draw(st.lists(WORDS, min_size=1, max_size=4))))]
    frame = pd.DataFrame({"number": column(NUMBERS), "word": words, "y": column(st.sampled_from(["NA", "b\n", 'c"']))})
    frame.to_csv(folder / "f.csv", index=False, sep=sep, decimal=decimal)
    source = accounted(folder / "f.csv", decimal=decimal)
    if source is None or len(set(frame["y"])) < 2:
        assert frame["y"].nunique() < 2 or frame["word"].nunique() == 1 or frame["number"].isna().all()
        return
    assert [source.classes[label] for label in source.dataset.labels] == frame["y"].tolist()
    samples = source.dataset.samples
    if "number" in samples:
        np.testing.assert_array_equal(samples["number"], frame["number"])
    if "word" in samples:
        assert samples["word"].tolist() == frame["word"].tolist()


@pytest.mark.parametrize("sep", [",", ";"])
def test_fields_of_random_size_are_never_cut(folder, sep):
    random = np.random.default_rng(0)
    sizes = [0, 1, 140_000, *random.integers(0, 2000, 13)]
    cells = ["".join(random.choice(["x", "é", " ", "\n", '""', sep], size)) for size in sizes]
    lines = (f'{row % 5}{sep}"{cell}"{sep}{"pq"[row % 2]}\n' for row, cell in enumerate(cells))
    (folder / "f.csv").write_text(f"a{sep}b{sep}y\n" + "".join(lines), newline="")
    source = accounted(folder / "f.csv", text="b")
    kept = [cell.replace('""', '"') for cell in cells]
    assert source.dataset.samples == [kept[row] for row in source.rows]
