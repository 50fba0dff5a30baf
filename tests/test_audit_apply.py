"""`datagradient apply`: what the new file holds, in every format, and what is refused."""

import csv
import datetime
import gzip
import io
import json
from dataclasses import dataclass, replace

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datagradient.auditing import answer
from datagradient.auditing.apply import _taken, carry_out
from datagradient.auditing.plan import DROP, RELABEL, Changes
from datagradient.auditing.rewrite_text import rewrite_text
from datagradient.auditing.run import Audit
from datagradient.commands.main import main
from datagradient.data.readers import ReadOptions, read
from datagradient.data.readers.again import IMAGES, checksum
from datagradient.errors import UserError
from datagradient.files import write_json

ROWS = 12


def drop(row, **more):
    return {"row": row, "decision": "drop", **more}


def relabel(row, label, **more):
    return {"row": row, "decision": "relabel", "label": label, **more}


def plan_of(source, actions, target="y", **options):
    """A plan.json beside a source, as an audit writes it."""
    facts = read(source, ReadOptions(target, **options)).facts
    plan = source.parent / "plan.json"
    write_json(plan, {"schema": 1, "source": facts, "verdict": "helps", "actions": actions})
    return plan


def outcome(source, actions, out=None, **options):
    """The path of what `apply` writes."""
    out = out or source.with_name(f"new-{source.name}")
    carry_out(plan_of(source, actions, **options), out)
    return out


def numbers(n=ROWS):
    return [(7 * k) % 5 + k / 10 for k in range(n)]


def words(n=ROWS):
    return ["no", "yes", "no"] * (n // 3)


def table_text(end="\n", sep=","):
    rows = [f"{x}{sep}{word}" for x, word in zip(numbers(), words(), strict=True)]
    return end.join([f"x{sep}y", *rows, ""])


def written(folder, content, name="data.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Text tables


def test_words_of_an_audit_and_of_its_plan_are_the_same():
    assert (DROP, RELABEL) == (answer.DROP, answer.RELABEL)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_all_bytes_of_a_text_are_kept_but_those_of_the_plan(tmp_path, end):
    source = written(tmp_path, table_text(end))
    lines = source.read_bytes().split(end.encode())
    new = outcome(source, [drop(0), relabel(2, "yes"), drop(5)])
    lines[3] = lines[3].replace(b"no", b"yes")
    del lines[6], lines[1]
    assert new.read_bytes() == end.encode().join(lines)


def test_a_last_line_without_an_end_stays_one(tmp_path):
    source = written(tmp_path, table_text().rstrip("\n"))
    new = outcome(source, [drop(ROWS - 1)])
    assert new.read_text() == table_text().rstrip("\n").rpartition("\n")[0]
    again = outcome(source, [drop(3)], source.with_name("again.csv"))
    assert not again.read_text().endswith("\n")


def test_blank_lines_are_no_rows_and_stay(tmp_path):
    lines = table_text().split("\n")
    text = "\n".join(["", *lines[:3], "   ", *lines[3:6], "", "", *lines[6:]])
    new = outcome(written(tmp_path, text), [drop(4)])
    assert new.read_text() == text.replace(lines[5] + "\n", "")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252", "utf-16-be", "shift_jis"])
def test_mark_and_encoding_stay(tmp_path, encoding):
    old, added = ("no", "はい") if encoding == "shift_jis" else ("no", "né")
    text = table_text().replace("yes", added)
    source = written(tmp_path, text.encode(encoding))
    options = {} if encoding in ("utf-8-sig", "utf-16") else {"encoding": encoding}
    new = outcome(source, [drop(0), relabel(2, added)], **options)
    lines = text.split("\n")
    lines[3] = lines[3].replace(old, added)
    del lines[1]
    assert new.read_bytes() == "\n".join(lines).encode(encoding)


def test_a_mark_of_big_endian_stays(tmp_path):
    source = written(tmp_path, b"\xfe\xff" + table_text().encode("utf-16-be"))
    new = outcome(source, [drop(0)])
    lines = table_text().split("\n")
    del lines[1]
    assert new.read_bytes() == b"\xfe\xff" + "\n".join(lines).encode("utf-16-be")


def test_bytes_that_the_encoding_writes_otherwise_are_refused(tmp_path):
    # 0x8790 and 0x81e0 are the same character in cp932, and Python writes the second.
    source = written(tmp_path, table_text().encode().replace(b"x,y", b"x\x87\x90,y"))
    plan = plan_of(source, [drop(3)], encoding="cp932")
    with pytest.raises(UserError, match=r"byte for byte as cp932.*save it as UTF-8"):
        carry_out(plan, tmp_path / "new.csv")
    assert not (tmp_path / "new.csv").exists()


def test_a_packed_file_gives_a_packed_one(tmp_path):
    source = written(tmp_path, gzip.compress(table_text().encode()), "data.csv.gz")
    out = tmp_path / "new"
    said = carry_out(plan_of(source, [drop(0)]), out)
    assert gzip.decompress(out.read_bytes()).decode().count("\n") == ROWS
    assert said.endswith("its name should end in .csv.gz")


@pytest.mark.parametrize(
    ("record", "label", "expected"),
    [
        ('1.5,"no",z', "yes", "1.5,yes,z"),
        ("1.5,no,z", "a,b", '1.5,"a,b",z'),
        ("1.5,no,z", 'a "b"', '1.5,"a ""b""",z'),
        ('"1,5 ""x""\n",no,z', "yes", '"1,5 ""x""\n",yes,z'),
        ("1.5,no,z", "two\nlines", '1.5,"two\nlines",z'),
        ('x"y",no,z', " yes", 'x"y", yes,z'),
    ],
)
def test_a_label_is_written_as_elsewhere_in_the_file(tmp_path, record, label, expected):
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([[x, label, "w"] for x in numbers(9)])
    others = buffer.getvalue() + "".join(f"{x},no,v\n" for x in numbers(6))
    source = written(tmp_path, f"x,y,z\n{record}\n{others}")
    new = outcome(source, [relabel(0, label)])
    assert new.read_bytes().decode() == f"x,y,z\n{expected}\n{others}"


def test_spaces_after_separators_stay(tmp_path):
    text = table_text(sep=", ").replace(", yes", ',   "yes"', 1)
    new = outcome(written(tmp_path, text), [relabel(0, "yes"), relabel(1, "no")])
    lines = text.split("\n")
    assert new.read_text().split("\n")[1:3] == [lines[1].replace("no", '"yes"'), lines[2].replace('"yes"', "no")]


@pytest.mark.parametrize(("yes", "no"), [("TRUE", "FALSE"), ("True", "False"), ("01", "02"), ("1.0", "2.0")])
def test_numbers_and_truth_values_keep_their_spelling(tmp_path, yes, no):
    text = table_text().replace("yes", yes).replace("no", no)
    new = outcome(written(tmp_path, text), [relabel(0, yes)])
    assert new.read_text() == text.replace(f",{no}", f",{yes}", 1)


@dataclass
class Written:
    """A random text table: fields as they are written, the cells that they hold, and blank lines before each record."""

    header: str
    records: list[list[str]]
    cells: list[list[str]]
    blanks: list[str]
    sep: str
    end: str
    last: str

    def text(self, dropped=(), labels=None):
        pieces = [self.header + self.end]
        for row, record in enumerate(self.records):
            pieces.append(self.blanks[row])
            if row not in dropped:
                fields = [*record[:2], (labels or {}).get(row, record[2]), *record[3:]]
                pieces.append(self.sep.join(fields) + self.end)
        return "".join([*pieces, self.last])


def quoted(cell, sep, always):
    special = always or any(character in cell for character in f'{sep}"\r\n') or not cell.strip()
    return '"' + cell.replace('"', '""') + '"' if special else cell


@st.composite
def tables(draw):
    sep, end = draw(st.sampled_from([",", ";", "\t", "|"])), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    classes = draw(st.permutations(['a "b"', "two\nlines", f"x{sep}y", "plain", " blank", "é"]))[:2]
    n = draw(st.integers(11, 16))
    cells, records = [], []
    for row in range(n):
        text = draw(st.text("ab ,;|\t\"'\n\ré", max_size=6))
        # Both classes have a row that is not changed.
        cells.append([f"r{row}", str(row * 1.5), classes[row % 2] if row < 2 else draw(st.sampled_from(classes)), text])
        records.append([quoted(cell, sep, draw(st.booleans())) for cell in cells[-1]])
    blanks = [draw(st.sampled_from(["", "", "", end, f"  {end}"])) for _ in range(n)]
    header = sep.join([draw(st.sampled_from(["id", '"id"'])), "x", "y", "t"])
    last = draw(st.sampled_from(["", end, f" {end}{end}"]))
    return Written(header, records, cells, blanks, sep, end, last), classes


@settings(max_examples=25)
@given(tables(), st.data(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]), st.booleans(), st.booleans())
def test_any_text_table_and_any_plan(tmp_path_factory, made, data, encoding, packed, ended):
    (table, classes), folder = made, tmp_path_factory.mktemp("apply")
    n = len(table.records)
    dropped = data.draw(st.sets(st.integers(2, n - 1), max_size=n - 10), label="dropped")
    changed = data.draw(st.sets(st.integers(2, n - 1).filter(lambda row: row not in dropped)), label="relabelled")
    new = {row: classes[classes[0] == table.cells[row][2]] for row in changed}
    raw = {row: next(record[2] for record, cells in zip(table.records, table.cells, strict=True) if cells[2] == label)
           for row, label in new.items()}  # fmt: skip
    unended = "" if ended else table.end
    text = table.text().removesuffix(unended).encode(encoding)
    source = written(folder, gzip.compress(text) if packed else text)
    options = {"sep": table.sep, "encoding": encoding, "id": "id"}
    actions = [drop(row) for row in dropped] + [relabel(row, label) for row, label in new.items()]
    out = folder / "out.csv"
    carry_out(plan_of(source, actions, **options), out)
    got = gzip.decompress(out.read_bytes()) if packed else out.read_bytes()
    assert got == table.text(dropped, raw).removesuffix(unended).encode(encoding)
    before, after = (read(path, ReadOptions("y", **options)) for path in (source, out))
    expected = [(f"r{row}", new.get(row, table.cells[row][2])) for row in range(n) if row not in dropped]
    classes_of = after.dataset.class_names
    assert [
        (name, classes_of[label]) for name, label in zip(after.names, after.dataset.labels, strict=True)
    ] == expected
    kept = [row for row in range(n) if row not in dropped]
    assert np.array_equal(before.dataset.samples["x"].to_numpy()[kept], after.dataset.samples["x"].to_numpy())


@settings(max_examples=20)
@given(tables(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]), st.booleans())
def test_no_change_gives_the_same_bytes(tmp_path_factory, made, encoding, ended):
    (table, _), folder = made, tmp_path_factory.mktemp("apply")
    text = table.text() if ended else table.text().rstrip("\r\n")
    source, out = written(folder, text.encode(encoding)), folder / "out.csv"
    changes = Changes(np.ones(len(table.records), dtype=bool), {}, {})
    facts = {"format": "csv", "encoding": encoding, "sep": table.sep, "spaced": False}
    rewrite_text(source, facts, "y", changes, out)
    assert out.read_bytes() == source.read_bytes()


def test_fields_longer_than_pythons_limit(tmp_path):
    text = table_text().replace("\n", ",z\n").replace("z", "long " * 40_000, 2)
    new = outcome(written(tmp_path, text), [drop(3)])
    assert new.stat().st_size > 400_000


# JSON


def json_rows():
    return [{"x": x, "y": word == "yes", "t": "é"} for x, word in zip(numbers(), words(), strict=True)]


def test_json_lines_stay_as_they_are_written(tmp_path):
    lines = [json.dumps(row, ensure_ascii=number % 2 == 0) for number, row in enumerate(json_rows())]
    lines[2] = lines[2].replace('"x": ', '"x" :\t1e0, "a": {"y": [1, "}"]}, "big": 0.10, "z": ').replace("}", " }", 1)
    lines[4:4] = ["", "  "]
    source = written(tmp_path, "\r\n".join(lines), "data.jsonl")
    new = outcome(source, [drop(0), relabel(2, "True"), drop(ROWS - 1)], drop=("a",))
    lines[2] = lines[2].replace('"y": false', '"y": true')
    assert new.read_bytes().decode() == "\r\n".join(lines[1:-1])


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_stays_as_it_is_written(tmp_path, indent):
    rows = json_rows()
    source = written(tmp_path, " " + json.dumps(rows, indent=indent) + "\n", "data.json")
    rows[2]["y"] = True
    expected = [rows[row] for row in (2, 3, 4, 6, 7, 8, 9, 10)]
    new = outcome(source, [drop(0), drop(1), relabel(2, "True"), drop(5), drop(ROWS - 1)])
    assert new.read_text() == " " + json.dumps(expected, indent=indent) + "\n"


@pytest.mark.parametrize("classes", [("0", "1"), (0, 1), (False, True), ("né", "oui"), (0.5, 1.0)])
def test_labels_of_json_keep_their_type(tmp_path, classes):
    rows = [{"x": x, "y": classes[word == "yes"]} for x, word in zip(numbers(), words(), strict=True)]
    source = written(tmp_path, "\n".join(map(json.dumps, rows)), "data.jsonl")
    new = outcome(source, [relabel(0, str(classes[1]))], task="classification")
    first = json.loads(new.read_text().split("\n")[0])
    assert first["y"] == classes[1]
    assert type(first["y"]) is type(classes[1])
    assert new.read_text().split("\n")[1:] == source.read_text().split("\n")[1:]


def test_a_row_of_json_without_a_label_gets_none(tmp_path):
    rows = json_rows()
    del rows[3]["y"]
    source = written(tmp_path, "\n".join(map(json.dumps, rows)), "data.jsonl")
    plan = plan_of(source, [relabel(3, "True")])
    with pytest.raises(UserError, match="row 3: has no 'y'"):
        carry_out(plan, tmp_path / "new.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.jsonl", "plan.json"]


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["y", "a", '"']), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=40)
@given(
    st.lists(st.dictionaries(st.sampled_from(["a", "é", "{"]), values, max_size=2), min_size=3, max_size=6),
    st.data(),
    st.booleans(),
    st.booleans(),
)
def test_any_json_and_any_changes(tmp_path_factory, rows, data, lines, ascii):
    n, folder = len(rows), tmp_path_factory.mktemp("apply")
    rows = [{**row, " y": ["né", "oui"][number % 2], "z": number} for number, row in enumerate(rows)]
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(any)))
    changed = data.draw(st.sets(st.integers(2, n - 1)))
    labels = {row: ["oui", "né"][row % 2] for row in changed}
    changes = Changes(kept, labels, {row: 1 - row % 2 for row in changed})
    facts = {"format": "json lines" if lines else "json", "encoding": "utf-8"}

    def text(content):
        if lines:
            return "\n".join(json.dumps(row, ensure_ascii=ascii) for row in content)
        return json.dumps(content, ensure_ascii=ascii, indent=1)

    source, out = written(folder, text(rows)), folder / "out"
    rewrite_text(source, facts, "y", changes, out)
    expected = [{**row, " y": labels.get(number, row[" y"])} for number, row in enumerate(rows) if kept[number]]
    assert out.read_bytes().decode() == text(expected)


# Parquet


def parquet(folder, labels, group=5, **more):
    """A Parquet file with columns of many types, and labels of the given type."""
    n = len(labels)
    day = datetime.datetime(2024, 2, 1)
    columns = {
        "x": pa.array(numbers(n), pa.float32()), "n": pa.array([None, *range(1, n)], pa.int16()),
        "when": pa.array([day] * n, pa.timestamp("ms", "Europe/Paris")),
        "word": pa.array(["a", "b", None] * (n // 3), pa.large_string()).dictionary_encode(), "y": labels,
        "view": pa.array(["p", "q"] * (n // 2), pa.string_view()),
    }  # fmt: skip
    table = pa.table(columns).replace_schema_metadata({"who": "me"})
    path = folder / "data.parquet"
    pq.write_table(table, path, row_group_size=group, **more)
    return path


def check_parquet(source, new, actions):
    old, result = pq.read_table(source), pq.read_table(new)
    assert result.schema.equals(old.schema, check_metadata=True)
    dropped = [action["row"] for action in actions if action["decision"] == "drop"]
    kept = [row for row in range(len(old)) if row not in dropped]
    others = old.drop_columns("y").to_pylist()
    assert result.drop_columns("y").to_pylist() == [others[row] for row in kept]
    return dict(zip(kept, result["y"].to_pylist(), strict=True)), old["y"].to_pylist()


LABELS = {
    "bool": pa.array([word == "yes" for word in words()]),
    "int8": pa.array([int(word == "yes") for word in words()], pa.int8()),
    "large string": pa.array(words(), pa.large_string()),
    "date": pa.array([datetime.date(2024, 1, 1 + (word == "yes")) for word in words()]),
    "dictionary": pa.DictionaryArray.from_arrays(
        pa.array([word == "yes" for word in words()]).cast(pa.int8()), ["no", "yes", "never"], ordered=True
    ),
    "view": pa.array(words(), pa.string_view()),
    "null": pa.array([None, *words()[1:]]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_parquet_keeps_types_metadata_and_order(tmp_path, kind):
    labels = LABELS[kind]
    # Groups of one row have no row of the class that a row gets.
    source = parquet(tmp_path, labels, compression={"x": "zstd", "y": "gzip"}, group=1 if kind == "dictionary" else 5)
    name = {"bool": "True", "int8": "1", "date": "2024-01-02"}.get(kind, "yes")
    actions = [drop(5), drop(6), drop(7), drop(8), drop(9), relabel(2, name), relabel(3, name)]
    got, old = check_parquet(source, outcome(source, actions), actions)
    for row, label in got.items():
        assert label == (old[1] if row in (2, 3) else old[row])
    metadata = pq.ParquetFile(source.with_name("new-data.parquet")).metadata
    if kind != "dictionary":
        assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [5, 2]
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    if kind == "dictionary":
        frame = pd.read_parquet(source.with_name("new-data.parquet"))
        assert frame["y"].cat.ordered


def test_a_dictionary_without_the_class_in_its_group_gets_it(tmp_path):
    parts = [pa.array(part).dictionary_encode() for part in (["no"] * 6, ["yes"] * 6)]
    source = tmp_path / "data.parquet"
    tables = [pa.table({"x": numbers(6), "y": part}) for part in parts]
    with pq.ParquetWriter(source, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    new = outcome(source, [relabel(2, "yes"), drop(11)])
    assert pq.read_table(new)["y"].to_pylist() == ["no", "no", "yes", "no", "no", "no", *["yes"] * 5]
    assert pq.read_table(new).schema.equals(pq.read_table(source).schema, check_metadata=True)


def test_parquet_of_pandas_keeps_its_index(tmp_path):
    frame = pd.DataFrame({"x": numbers(), "y": words(), "a.b": ["p", "q"] * 6, "z": [[1, 2]] * ROWS})
    frame["y"] = pd.Categorical(frame["y"], categories=["yes", "never", "no"])
    for name, index in (("range", frame.index), ("named", pd.Index([f"r{k}" for k in range(ROWS)], name="id"))):
        source = tmp_path / f"{name}.parquet"
        frame.set_index(index).to_parquet(source)
        new = pd.read_parquet(outcome(source, [drop(3), relabel(0, "yes")], drop=("z",)))
        expected = frame.set_index(index).drop(index=index[3])
        expected.iloc[0, 1] = "yes"
        pd.testing.assert_frame_equal(new.reset_index(drop=name == "range"), expected.reset_index(drop=name == "range"))


def test_parquet_with_a_label_column_whose_name_has_a_dot(tmp_path):
    source = tmp_path / "data.parquet"
    pq.write_table(pa.table({"x": numbers(), "a.y": words()}), source)
    new = outcome(source, [drop(1), relabel(0, "yes")], target="a.y")
    assert pq.read_table(new)["a.y"].to_pylist() == ["yes", *words()[2:]]


# Saved data sets of Hugging Face


def test_a_saved_data_set_keeps_features_and_gets_another_fingerprint(tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "y": datasets.ClassLabel(names=["neg", "pos"])})
    texts = [f"text {number} of several words here" for number in range(ROWS)]
    data = datasets.Dataset.from_dict({"text": texts, "y": [0, 1, 0] * 4}, features=features)
    data.save_to_disk(tmp_path / "data", num_shards=2)
    new = outcome(tmp_path / "data", [drop(0), relabel(2, "pos"), relabel(11, "pos"), drop(7)], tmp_path / "new")
    loaded = datasets.load_from_disk(new)
    assert loaded.features == features
    assert loaded["text"][:] == [texts[row] for row in range(ROWS) if row not in (0, 7)]
    labels = [0, 1, 0] * 4
    labels[2] = labels[11] = 1
    assert loaded["y"][:] == [labels[row] for row in range(ROWS) if row not in (0, 7)]
    assert loaded._fingerprint != data._fingerprint
    assert len(list(new.glob("*.arrow"))) == 2
    assert read(new, ReadOptions("y")).dataset.class_names == ("neg", "pos")


# Folders of images


def folder_of_images(folder):
    """Six images of each of two classes, one in a subfolder, and files that are no samples."""
    source = folder / "pets"
    for number in range(6):
        for word in ("cat", "dog"):
            path = source / word / ("deep" if number == 5 else "") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (40 * number, word == "cat", 7)).save(path)
    (source / "README.md").write_text("pets")
    (source / "cat/.DS_Store").write_text("junk")
    return source


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_images(tmp_path):
    source = folder_of_images(tmp_path)
    before = files_in(source)
    Image.new("RGB", (4, 4)).save(source / "cat/only.png")
    (source / "cat/link").symlink_to(source / "dog")
    actions = [drop(1, file="cat/1.png"), relabel(2, "dog", file="cat/2.png"), relabel(5, "dog", file="cat/deep/5.png"),
               relabel(6, "dog", file="cat/only.png")]  # fmt: skip
    images = sorted(name for name in files_in(source) if name.endswith(".png"))
    assert images[5:7] == ["cat/deep/5.png", "cat/only.png"]
    plan = plan_of(source, actions, target=None)
    said = carry_out(plan, tmp_path / "new")
    got = files_in(tmp_path / "new")
    expected = {**files_in(source), "dog/2-2.png": before["cat/2.png"], "dog/deep/5-2.png": before["cat/deep/5.png"],
                "dog/only.png": (source / "cat/only.png").read_bytes()}  # fmt: skip
    for gone in ("cat/1.png", "cat/2.png", "cat/deep/5.png", "cat/only.png", "cat/.DS_Store"):
        del expected[gone]
    assert got == expected
    for words in ("1 row is left out and 3 relabelled; 12 of 13 are left", "cat/2.png → dog/2-2.png", "'README.md'",
                  "'cat/.DS_Store', 'cat/link'"):  # fmt: skip
        assert words in said
    assert len(read(tmp_path / "new").dataset.labels) == 12


def test_images_of_two_classes_with_one_name_do_not_overwrite_each_other(tmp_path):
    source = folder_of_images(tmp_path)
    for number, word in enumerate("abc"):
        (source / word).mkdir()
        Image.new("RGB", (4, 4), (9, 9, number)).save(source / word / ("X.png" if word == "b" else "x.png"))
    rows = {name: row for row, name in enumerate(sorted(n for n in files_in(source) if n.endswith(".png")))}
    actions = [relabel(rows[name], "cat") for name in ("a/x.png", "b/X.png", "c/x.png")]
    facts = {"path": str(source), "format": IMAGES, "sha256": checksum(source, IMAGES), "rows": len(rows)}
    plan = tmp_path / "plan.json"
    write_json(plan, {"schema": 1, "source": facts, "verdict": "helps", "actions": actions})
    carry_out(plan, tmp_path / "new")
    assert {"cat/x.png", "cat/X-2.png", "cat/x-3.png"} <= set(files_in(tmp_path / "new"))


def test_an_image_that_the_plan_names_otherwise_is_refused(tmp_path):
    source = folder_of_images(tmp_path)
    plan = plan_of(source, [drop(1, file="cat/2.png")], target=None)
    with pytest.raises(UserError, match=r"row 1 is 'cat/1.png', and the plan names 'cat/2.png'"):
        carry_out(plan, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pets", "plan.json"]


# All formats


def make(folder, kind):
    frame = pd.DataFrame({"x": numbers(), "y": words()})
    path = folder / f"data.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "tsv":
        frame.to_csv(path, index=False, sep="\t")
    elif kind == "csv.gz":
        frame.to_csv(path, index=False)
    elif kind == "parquet":
        frame.to_parquet(path)
    elif kind in ("jsonl", "json"):
        frame.to_json(path, orient="records", lines=kind == "jsonl")
    elif kind == "saved":
        datasets.Dataset.from_pandas(frame).save_to_disk(path)
    else:
        path = folder_of_images(folder)
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "csv.gz", "parquet", "jsonl", "json", "saved", "images"])
def test_plan_apply_read(tmp_path, kind, capsys):
    source = make(tmp_path, kind)
    options = ReadOptions(None if kind == "images" else "y")
    before = read(source, options)
    names = before.dataset.class_names
    new = names[1 - before.dataset.labels[4]]
    plan = plan_of(source, [drop(1), relabel(4, new), drop(8)], target=options.target)
    stored = files_in(tmp_path)
    out = tmp_path / f"out.{kind}"
    assert main(["apply", str(plan), "--out", str(out)]) == 0
    assert "2 rows are left out and 1 relabelled; 10 of 12 are left" in capsys.readouterr().out
    assert {name: content for name, content in files_in(tmp_path).items() if not name.startswith(out.name)} == stored
    after = read(out, options)
    kept = [row for row in range(ROWS) if row not in (1, 8)]
    if kind == "images":  # the image has gone to the other folder
        assert sorted(after.dataset.labels.tolist()) == [0] * 4 + [1] * 6
        return
    expected = [new if row == 4 else names[before.dataset.labels[row]] for row in kept]
    assert [after.dataset.class_names[label] for label in after.dataset.labels] == expected
    assert after.classes == before.classes
    assert after.dataset.samples["x"].tolist() == before.dataset.samples["x"].iloc[kept].tolist()
    assert after.facts["format"] == before.facts["format"]
    # Applied to where it lies now.
    moved = source.rename(tmp_path / f"moved.{kind}")
    assert main(["apply", str(plan), "--out", str(tmp_path / f"two.{kind}"), "--source", str(moved)]) == 0
    assert read(tmp_path / f"two.{kind}", options).dataset.labels.tolist() == after.dataset.labels.tolist()


# DataFrames


def frame_and_audit(decisions):
    """A DataFrame with an awkward index, and its audit with some decisions by row."""
    frame = pd.DataFrame({"x": numbers(), 7: pd.Categorical(words())}, index=[f"r{k % 5}" for k in range(ROWS)])
    rows = [{"row": row, "file": None, "given": words()[row], "suggested": "yes",
             "decision": decisions.get(row, "keep")}
            for row in reversed(range(ROWS))]  # fmt: skip
    return frame, Audit({"effect": {"verdict": "helps"}}, rows, {}, read(frame, ReadOptions("7")), None)


def test_a_data_frame_keeps_index_and_types():
    frame, audit = frame_and_audit({0: "drop", 2: "relabel", 7: "drop", 8: "look"})
    before = frame.copy()
    new = audit.apply(frame)
    pd.testing.assert_frame_equal(frame, before)
    before.iloc[2, 1] = "yes"
    pd.testing.assert_frame_equal(new, before.iloc[[row for row in range(ROWS) if row not in (0, 7)]])


def test_another_data_frame_is_refused():
    frame, audit = frame_and_audit({0: "drop"})
    with pytest.raises(UserError, match="is of 12 rows, and there are 11"):
        audit.apply(frame.iloc[1:])
    with pytest.raises(UserError, match="row 0 has another label than the audited one, 'no'"):
        audit.apply(frame.iloc[[1, *range(1, ROWS)]])
    with pytest.raises(UserError, match="there is no column '7'"):
        audit.apply(frame[["x"]])
    source = read((frame[["x"]], words()))
    with pytest.raises(UserError, match=r"the audited data are a pair \(samples, labels\), and this is a DataFrame"):
        replace(audit, source=source).apply(frame)
    with pytest.raises(UserError, match="the audited data are a DataFrame, and this is a tuple"):
        audit.apply((frame[["x"]], words()))


SAMPLES = {
    "texts": [f"text {k} of some" for k in range(ROWS)],
    "rows": [[x, 1.0 + k] for k, x in enumerate(numbers())],
    "array": np.column_stack([numbers(), np.arange(ROWS)]),
    "images": np.random.default_rng(0).integers(0, 9, (ROWS, 8, 8, 3), dtype=np.uint8),
    "frame": pd.DataFrame({"x": numbers()}, index=range(5, 5 + ROWS)),
}
LABELS_IN_MEMORY = {
    "list": words,
    "tuple": lambda: tuple(word == "yes" for word in words()),
    "array": lambda: np.array([word == "yes" for word in words()], dtype=np.int8),
    "column": lambda: np.array(words())[:, None],
    "series": lambda: pd.Series(pd.Categorical(words()), index=range(5, 5 + ROWS), name="y"),
}


@pytest.mark.parametrize(("samples", "labels"), [*zip(SAMPLES, LABELS_IN_MEMORY, strict=True), ("texts", "series")])
def test_a_pair_keeps_its_types(samples, labels):
    samples, labels = SAMPLES[samples], LABELS_IN_MEMORY[labels]()
    source = read((samples, labels))
    names = [source.dataset.class_names[number] for number in source.dataset.labels]
    rows = [{"row": row, "file": None, "given": names[row], "suggested": names[1], "decision": decision}
            for row, decision in ((0, "drop"), (2, "relabel"), (7, "drop"))]  # fmt: skip
    found = Audit({"effect": {"verdict": "helps"}}, rows, {}, source, None)
    new_samples, new_labels = found.apply((samples, labels))
    kept = [row for row in range(ROWS) if row not in (0, 7)]
    assert (type(new_samples), type(new_labels)) == (type(samples), type(labels))
    if hasattr(labels, "dtype"):
        assert (new_labels.dtype, new_labels.shape[1:]) == (labels.dtype, labels.shape[1:])
    if hasattr(labels, "index") and not isinstance(labels, list | tuple):
        assert new_labels.index.tolist() == labels.index[kept].tolist()
    expected = [names[1] if row == 2 else names[row] for row in kept]
    again = read((new_samples, new_labels))
    assert [again.dataset.class_names[number] for number in again.dataset.labels] == expected
    if isinstance(samples, list):
        assert new_samples == [samples[row] for row in kept]
    else:
        assert np.array_equal(np.asarray(new_samples), np.asarray(samples)[kept])
    with pytest.raises(UserError, match=r"is of 12 rows, and there are 10|12 labels and 10 samples"):
        found.apply((new_samples, labels))
    with pytest.raises(UserError, match="row 0 has another label"):
        found.apply((samples, _taken(labels, np.arange(ROWS) + (np.arange(ROWS) == 0))))


def test_a_plan_of_a_data_frame_is_no_plan_of_a_file(tmp_path):
    _, audit = frame_and_audit({0: "drop"})
    write_json(tmp_path / "plan.json", audit.plan)
    with pytest.raises(UserError, match=r"is of data in memory, and no file: Audit\.apply"):
        carry_out(tmp_path / "plan.json", tmp_path / "new")


# What is refused


@pytest.fixture
def audited(tmp_path):
    source = written(tmp_path, table_text())
    return source, plan_of(source, [drop(1)])


def refused(plan, out, source=None):
    """The one line that `apply` says; nothing is written."""
    before = files_in(plan.parent)
    with pytest.raises(UserError) as caught:
        carry_out(plan, out, source)
    assert files_in(plan.parent) == before
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "schema is 2, and this version of datagradient carries out 1"),
        ({"extra": 1}, "the key 'extra' is not known: keys are schema, source, actions, verdict"),
        ({"actions": {}}, "actions is {}: give a list"),
        ({"actions": [3]}, "action 0 is 3"),
        ({"actions": [drop(1, why="x")]}, "action 0: the key 'why' is not known"),
        ({"actions": [drop(ROWS)]}, "action 0: there is no row 12: rows are 0 to 11"),
        ({"actions": [drop(-1)]}, "action 0: there is no row -1"),
        ({"actions": [drop(True)]}, "action 0: row is True: give a whole number"),
        ({"actions": [drop(1), relabel(1, "no")]}, "action 1: row 1 has an action already"),
        ({"actions": [relabel(0, "maybe")]}, "row 0 gets the label 'maybe', which is no class of the data: classes are "
                                            "'no', 'yes'"),
        ({"actions": [{"row": 1, "decision": "relabel"}]}, "action 0: label is missing: give a text"),
        ({"actions": [drop(1, label="no")]}, "action 0: has a label, and its decision is drop"),
        ({"actions": [{"row": 1, "decision": "keep"}]}, "action 0: decision is 'keep': give drop or relabel"),
        ({"actions": [drop(1, file="a.png")]}, "an action names a file, and the source is no folder of images"),
        ({"actions": [drop(row) for row in range(ROWS)]}, "leaves out all 12 rows"),
    ],
)  # fmt: skip
def test_a_plan_that_is_none_is_refused(audited, change, words):
    _, plan = audited
    write_json(plan, {**json.loads(plan.read_text()), **change})
    assert words in refused(plan, plan.with_name("new.csv"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": None}, "is of data in memory"),
        ({"format": "excel"}, "source: format is 'excel': it is one of 'csv'"),
        ({"target": None}, "source: target is None: give a text"),
        ({"target": "z"}, "source: target is 'z', which is none of the columns"),
        ({"columns": [1]}, "source: columns do not all have a name"),
        ({"sep": 3}, "source: sep is 3: give a text"),
        ({"sha256": "0" * 64}, "has changed since the audit: audit it again"),
        ({"rows": 99}, "is of 99 rows, and there are 12"),
    ],
)
def test_a_plan_of_another_source_is_refused(audited, change, words):
    _, plan = audited
    content = json.loads(plan.read_text())
    write_json(plan, {**content, "source": {**content["source"], **change}})
    assert words in refused(plan, plan.with_name("new.csv"))


def test_files_that_do_not_fit_are_refused(audited, tmp_path):
    source, plan = audited
    new = tmp_path / "new.csv"
    assert "exists: give another --out" in refused(plan, plan)
    assert "is the audited data, which are never changed" in refused(plan, source)
    assert "new.csv" not in refused(tmp_path / "no.json", new)
    broken = written(tmp_path, "{", "broken.json")
    assert "cannot be read" in refused(broken, new)
    assert "no.csv: not found: check the path" in refused(plan, new, tmp_path / "no.csv")
    source.write_text(table_text() + "1,no\n")
    assert "has changed since the audit" in refused(plan, new)
    source.unlink()
    assert "give the audited file with --source if it has moved" in refused(plan, new)


def test_a_folder_inside_the_source_is_refused(tmp_path):
    source = folder_of_images(tmp_path)
    plan = plan_of(source, [drop(1)], target=None)
    assert "is inside" in refused(plan, source / "new")


@pytest.mark.parametrize("kind", ["csv.gz", "parquet"])
def test_an_empty_plan_writes_the_same_file(tmp_path, capsys, kind):
    source, new = tmp_path / f"data.{kind}", tmp_path / f"new.{kind}"
    frame = pd.DataFrame({"x": numbers(), "y": words()})
    frame.to_parquet(source) if kind == "parquet" else frame.to_csv(source, index=False)
    plan = plan_of(source, [])
    assert main(["apply", str(plan), "--out", str(new)]) == 0
    assert capsys.readouterr().out.startswith("Nothing changed: ")
    assert new.read_bytes() == source.read_bytes()
    assert "exists: give another --out" in refused(plan, new)


def test_an_empty_plan_copies_a_folder(tmp_path):
    source, new = folder_of_images(tmp_path), tmp_path / "new"
    assert carry_out(plan_of(source, [], target=None), new).startswith("Nothing changed: ")
    assert read(new).facts["sha256"] == read(source).facts["sha256"]


def test_the_command_says_what_is_wrong_in_one_line(audited, capsys):
    _, plan = audited
    assert main(["apply", str(plan), "--out", str(plan)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("datagradient apply: ")
    assert error.count("\n") == 1
