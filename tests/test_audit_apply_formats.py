"""Plans carried out into Parquet, saved data sets, folders of images and DataFrames."""

import datetime
from dataclasses import replace

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from apply_examples import ROWS, drop, files_in, folder_of_images, numbers, outcome, plan_of, relabel, words
from datagradient.auditing.apply import _taken, carry_out
from datagradient.auditing.run import Audit
from datagradient.commands.main import main
from datagradient.data.readers import ReadOptions, read
from datagradient.data.readers.again import IMAGES, checksum
from datagradient.errors import UserError
from datagradient.files import write_json

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
    for line in ("1 row is left out and 3 relabelled; 12 of 13 are left", "cat/2.png → dog/2-2.png", "'README.md'",
                  "'cat/.DS_Store', 'cat/link'"):  # fmt: skip
        assert line in said
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
