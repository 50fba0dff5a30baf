"""Plans carried out into text tables and JSON: every byte stays but those of the plan."""

import csv
import gzip
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apply_examples import ROWS, drop, numbers, outcome, plan_of, relabel, table_text, tables, words, written
from datagradient.auditing import answer
from datagradient.auditing.apply import carry_out
from datagradient.auditing.plan import DROP, RELABEL, Changes
from datagradient.auditing.rewrite_text import rewrite_text
from datagradient.data.readers import ReadOptions, read
from datagradient.errors import UserError

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
