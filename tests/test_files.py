import copy
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import random as random_sparse

from datagradient.errors import UserError
from datagradient.files import (
    read_arrays,
    read_json,
    read_meta,
    read_rows,
    replacing,
    replacing_folder,
    write_arrays,
    write_json,
    write_rows,
)


def test_arrays_come_back_dense_and_sparse(tmp_path):
    dense, sparse = np.arange(6.0).reshape(2, 3), random_sparse(5, 4, density=0.4, format="csr", rng=0)
    write_arrays(tmp_path / "a.npz", {"seed": 3}, dense=dense, sparse=sparse)
    arrays, meta = read_arrays(tmp_path / "a.npz")
    assert meta == {"seed": 3}
    np.testing.assert_array_equal(arrays["dense"], dense)
    np.testing.assert_array_equal(arrays["sparse"].toarray(), sparse.toarray())
    only, _ = read_arrays(tmp_path / "a.npz", "sparse")
    assert list(only) == ["sparse"]


def test_equal_content_gives_equal_bytes(tmp_path):
    for name in "ab":
        write_arrays(tmp_path / f"{name}.npz", {"x": 1, "y": 2}, values=np.arange(3))
        write_json(tmp_path / f"{name}.json", {"x": 1, "y": [2.5]})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_no_scrap(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), replacing(path) as stream:
        stream.write("half")
        raise RuntimeError
    assert read_json(path) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(("name", "job"), [("scores.npz", "influence"), ("model.npz", "train"), ("kept.npz", "prune")])
def test_a_damaged_result_names_the_job_to_run_again(tmp_path, name, job):
    path = tmp_path / name
    write_arrays(path, values=np.arange(100))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=f"{name}: cannot be read .*made by the job '{job}'.*--force {path}"):
        read_arrays(path)


def test_a_damaged_or_missing_json_names_the_job_to_run_again(tmp_path):
    (tmp_path / "metrics.json").write_text('{"metrics": {"accur')
    with pytest.raises(UserError, match=r"metrics.json: cannot be read .*job 'evaluate'"):
        read_json(tmp_path / "metrics.json")
    with pytest.raises(UserError, match=r"train.json: not found; it is made by the job 'train'"):
        read_json(tmp_path / "train.json")


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "model.npz", weights=np.array([{"an": "object"}]), meta="{}")
    with pytest.raises(UserError, match=r"cannot be read \(no .npz file of plain arrays\)") as caught:
        read_arrays(tmp_path / "model.npz")
    assert "allow_pickle" not in str(caught.value)


def test_rows_refuse_unknown_columns(tmp_path):
    with pytest.raises(ValueError, match="wrong"):
        write_rows(tmp_path / "a.csv", ["right"], [{"wrong": 1}])
    assert not list(tmp_path.iterdir())


def test_what_is_missing_in_a_file_is_named_wherever_it_is_asked_for(tmp_path):
    write_arrays(tmp_path / "a.npz", {"seed": 3, "inner": {"x": 1}}, labels=np.arange(3))
    write_json(tmp_path / "a.json", {"metrics": {"accuracy": 1}})
    arrays, facts = read_arrays(tmp_path / "a.npz")
    for holder, held in ((arrays, "labels"), (facts, "inner, seed"), (facts["inner"], "x"),
                         (read_json(tmp_path / "a.json")["metrics"], "accuracy")):  # fmt: skip
        with pytest.raises(UserError, match=rf"a\.(npz|json): holds no 'other', but {held}: a file of another kind$"):
            holder["other"]
        assert holder.get("other") is None
    with pytest.raises(UserError, match=r"a.npz: holds no 'flipped', but labels, meta"):
        read_arrays(tmp_path / "a.npz", "labels", "flipped")


def test_what_a_file_holds_is_copied_and_written_as_plain_values(tmp_path):
    write_arrays(tmp_path / "a.npz", {"inner": {"x": 1}}, labels=np.arange(3))
    write_rows(tmp_path / "a.csv", ["n"], [{"n": 2.5}])
    facts, row = read_meta(tmp_path / "a.npz"), read_rows(tmp_path / "a.csv")[0]
    for content in (facts, row):
        sent = pickle.loads(pickle.dumps(content))  # noqa: S301 (as between our own processes)
        for copied in (copy.deepcopy(content), sent, json.loads(json.dumps(content))):
            assert (copied, type(copied)) == (content, dict)
    assert type(copy.deepcopy(row)["n"]) is str


def test_a_cell_that_is_no_number_is_named_by_line_and_column(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('name,n\n"two\nlines",2.5\nthree,many\n')
    first, second = read_rows(path, "n")
    assert (first["name"], float(first["n"]), first["n"] == "2.5") == ("two\nlines", 2.5, True)
    with pytest.raises(UserError, match=r"a.csv: line 4, column n: 'many' is not a number$"):
        float(second["n"])
    with pytest.raises(UserError, match=r"a.csv: line 3, column n: '2.5' is not a whole number$"):
        int(first["n"])
    with pytest.raises(UserError, match=r"a.csv: holds no 'm', but name, n: a file of another kind$"):
        read_rows(path, "m")
    path.write_text("name,n\nx\n")
    with pytest.raises(UserError, match=r"a.csv: line 2: 1 cell, and the header has 2 columns"):
        read_rows(path)


@pytest.mark.parametrize("sep", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_is_read_as_a_spreadsheet_saves_it(tmp_path, sep, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes(f'a{sep}b{sep}c\r\n1{sep}"x;,\ty"{sep}é\r\n'.encode(encoding))
    assert read_rows(path, "a", "c") == [{"a": "1", "b": "x;,\ty", "c": "é"}]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, why in (
        (tmp_path / "file/a.json", "File exists|Not a directory"),
        (tmp_path / "folder", "Is a directory"),
    ):
        with pytest.raises(UserError, match=rf"{path}: cannot be written \(({why})\)$"):
            write_json(path, {})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_an_error_of_the_block_is_not_taken_for_one_of_writing(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.json"):
        open(tmp_path / "elsewhere/b.json")


def test_numbers_that_could_not_be_measured_are_read(tmp_path):
    write_json(tmp_path / "a.json", {"peak": float("nan")})
    assert np.isnan(read_json(tmp_path / "a.json")["peak"])


def test_a_temporary_file_of_a_killed_job_goes_and_one_of_a_running_job_stays(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive = (tmp_path / f".a.json.{pid}.tmp" for pid in (ended.pid, os.getppid()))
    for path in (dead, alive):
        path.touch()
    write_json(tmp_path / "a.json", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alive.name, "a.json"])


def test_a_folder_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new/folder"
    with pytest.raises(RuntimeError), replacing_folder(path) as folder:
        (folder / "a").touch()
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (path.parent / f".folder.{ended.pid}.tmp/inner").mkdir(parents=True)
    with replacing_folder(path) as folder:
        (folder / "a").touch()
        assert not path.exists()
    assert [other.relative_to(tmp_path).as_posix() for other in sorted(tmp_path.rglob("*"))] == [
        "new", "new/folder", "new/folder/a",
    ]  # fmt: skip


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/new: cannot be written"), replacing_folder(tmp_path / "file/new"):
        pass
    with pytest.raises(UserError, match="new: cannot be written"), replacing_folder(tmp_path / "new") as folder:
        open(folder / "no/b")
    with pytest.raises(FileNotFoundError), replacing_folder(tmp_path / "new"):
        open(tmp_path / "elsewhere/b")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
