"""What a data set was read from is an input of the workflow: a change prepares it again, and nothing else does."""

import os
import shutil
import sqlite3
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import REPOSITORY
from datagradient.data.changes import RECORD, STAMP, notice_changes, reading, states
from datagradient.data.record import Dataset
from datagradient.data.splits import SplitPlan
from datagradient.files import read_json, write_json
from datagradient.pipeline.prepare import prepare_seeds


def noted(read):
    with reading() as paths:
        read()
    return states(paths)


def test_files_read_and_folders_listed_are_noted_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.txt", "images/1.png", "module.py", "gone.tmp", "unread.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n1\n")

    def read():
        pd.read_csv("a.csv")
        os.close(os.open(tmp_path / "b.txt", os.O_RDONLY))
        (tmp_path / "written.csv").write_text("x")
        (tmp_path / "gone.tmp").read_text()
        (tmp_path / "gone.tmp").unlink()
        (tmp_path / "module.py").read_text()
        assert [path.name for path in (tmp_path / "images").iterdir()] == ["1.png"]
        list(tmp_path.glob("*.csv"))  # the working folder, where results come and go
        np.load(shutil.copy(REPOSITORY / "tests/conftest.py", tmp_path / "no.npy"), allow_pickle=False)

    with pytest.raises(ValueError, match=r"pickled|magic"), reading() as paths:
        read()
    assert sorted(states(paths)) == ["a.csv", "b.txt", "images", "no.npy"]
    assert noted(lambda: sqlite3.connect(":memory:").close()) == {}
    assert noted(lambda: None) == {}


def test_bytes_count_and_not_times(tmp_path):
    file, folder = tmp_path / "data.csv", tmp_path / "listed"
    file.write_text("1"), folder.mkdir()
    first = states([file, folder])
    assert states([file, folder]) == first
    os.utime(file, (1, 1))
    later = states([file])
    assert later[str(file)]["sha256"] == first[str(file)]["sha256"]
    (folder / "new.png").touch()
    file.write_text("2")
    assert all(states([path])[str(path)]["sha256"] != first[str(path)]["sha256"] for path in (file, folder))


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A data set prepared from a CSV for two seeds: the folder of its results, the CSV, and how to prepare a seed."""
    folder, source = tmp_path / "results/p/made", tmp_path / "data.csv"
    random = np.random.default_rng(0)
    pd.DataFrame({"a": random.normal(size=60), "y": np.arange(60) % 2}).to_csv(source, index=False)

    def load():
        table = pd.read_csv(source)
        labels = table.pop("y").to_numpy()
        return Dataset("made", "Made", "table", table, labels, ("no", "yes"))

    module = types.ModuleType("datagradient.data.sets.made")
    module.load, module.__file__ = load, "made.py"
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def prepare(*seeds):
        out = {seed: folder / f"prepared/seed-{seed}/features.npz" for seed in seeds}
        prepare_seeds("made", SplitPlan(), out)

    notice_changes(folder)
    prepare(0, 1)
    return folder, source, prepare


def stale(folder):
    """The seeds that Snakemake would prepare again after planning: those whose file is older than the stamp."""
    notice_changes(folder)
    stamp = (folder / STAMP).stat().st_mtime_ns
    return [seed for seed in (0, 1) if (folder / f"prepared/seed-{seed}/features.npz").stat().st_mtime_ns < stamp]


def test_a_changed_source_makes_prepared_files_stale_until_they_are_made_again(prepared):
    folder, source, prepare = prepared
    assert list(read_json(folder / f"prepared/seed-0/{RECORD}")) == [str(source)]
    assert stale(folder) == []
    os.utime(source)
    assert stale(folder) == []  # the same bytes
    source.write_text(source.read_text().replace(",1\n", ",0\n", 1))
    assert stale(folder) == [0, 1]
    stamp = (folder / STAMP).stat().st_mtime_ns
    assert stale(folder) == [0, 1]
    assert (folder / STAMP).stat().st_mtime_ns == stamp  # to plan twice changes nothing
    assert str(source) in (folder / STAMP).read_text()
    prepare(0)
    assert stale(folder) == [1]
    assert (folder / STAMP).stat().st_mtime_ns == stamp
    prepare(1)
    assert stale(folder) == []


def test_what_is_gone_is_no_change_and_what_stands_beside_it_still_counts(prepared):
    folder, source, _ = prepared
    other = source.with_name("other.csv")
    other.write_text("1")
    write_json(folder / f"prepared/seed-0/{RECORD}", states([source, other]))
    moved = source.rename(source.with_name("elsewhere.csv"))
    assert stale(folder) == []  # a cleared cache, or another folder of local copies
    other.write_text("2")
    assert stale(folder) == [0, 1]
    assert str(source) not in (folder / STAMP).read_text()
    moved.rename(source)


def test_planning_goes_on_where_nothing_can_be_written(prepared, monkeypatch):
    folder, source, _ = prepared
    before = (folder / STAMP).stat().st_mtime_ns
    source.write_text("other")

    def refuse(*_, **__):
        raise PermissionError("read-only")

    for name in ("touch", "mkdir", "write_text"):  # whoever runs the tests may write anywhere
        monkeypatch.setattr(Path, name, refuse)
    notice_changes(folder)
    notice_changes(folder.with_name("new"))
    assert (folder / STAMP).stat().st_mtime_ns == before and not folder.with_name("new").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"data.csv": 3}', '{"data.csv": {"size": 1}}'])
def test_a_damaged_record_prepares_again(prepared, content):
    folder, _, _ = prepared
    (folder / f"prepared/seed-1/{RECORD}").write_text(content)
    assert stale(folder) == [0, 1]


def test_the_stamp_by_itself_is_older_than_any_result(tmp_path):
    notice_changes(tmp_path / "new")
    first = (tmp_path / "new" / STAMP).stat().st_mtime
    notice_changes(tmp_path / "new")
    assert first == (tmp_path / "new" / STAMP).stat().st_mtime == 1e9


def test_the_workflow_prepares_again_what_changed(tmp_path):
    (tmp_path / "p.yaml").write_text("preset: p\nseeds: [0, 1]\nmodels: [logistic]\ndatasets: {digits: }\n")
    target = "results/p/digits/prepared/seed-0/features.npz"
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DATAGRADIENT_RUN")}

    def snakemake(*arguments):
        command = [sys.executable, "-m", "snakemake", target, "--cores", "2", "--directory", str(tmp_path),
                   "--config", "one_job=step", "--configfile", str(tmp_path / "p.yaml"), *arguments]  # fmt: skip
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    snakemake()
    source, record = tmp_path / "source.csv", (tmp_path / target).with_name(RECORD)
    assert read_json(record) == {}  # the digits come with a library
    source.write_text("1")
    write_json(record, states([source]))
    source.write_text("2")
    assert "Updated input files" in (planned := snakemake("--dry-run")) and "digits/source" in planned, planned
