"""Plans that are refused, and empty ones."""

import json

import pandas as pd
import pytest

from apply_examples import ROWS, drop, files_in, folder_of_images, numbers, plan_of, relabel, table_text, words, written
from datagradient.auditing.apply import carry_out
from datagradient.commands.main import main
from datagradient.data.readers import read
from datagradient.errors import UserError
from datagradient.files import write_json

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
