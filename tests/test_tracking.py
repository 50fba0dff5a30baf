"""The MLflow store: made once, whole or not at all, whoever is killed or runs beside; its errors are one line."""

import contextlib
import errno
import http.server
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient
from sqlalchemy.engine import make_url

from datagradient.errors import UserError
from datagradient.evidence import mirrored, tracking
from datagradient.evidence.collect import KEYS, METRICS
from datagradient.files import write_arrays, write_json
from datagradient.pipeline.layout import CELL, GUARD

ONE_LINE = (
    r"MLflow store sqlite:///\S*results/mlflow.db.*; make it again from the result files with: datagradient track"
)
AWKWARD = """it's a "trial" $(touch X) {a}:b"""  # name of a folder
# Processes that have MLflow imported already: it takes seconds.
FORK = multiprocessing.get_context("fork")


def write_results(preset, seeds, policies, iterations=1):
    """Results of one data set and model, as small as they can be: the accuracy is 0.5 + seed / 100 + iteration / 10."""
    root = Path("results", preset)
    config = {
        "preset": preset, "datasets": {"toy": {"models": {"logistic": {"l2": [0.5]}}}}, "models": ["logistic"],
        "noise": [0.2], "policies": policies, "seeds": list(range(seeds)), "iterations": iterations,
        "removal_fraction": 0.05,
    }  # fmt: skip
    write_json(root / "config.json", config)
    for seed in range(seeds):
        keys = {"root": root, "dataset": "toy", "model": "logistic", "noise": "0.2", "seed": seed}
        for iteration in range(iterations + 1):
            policy = "influence" if iteration else "baseline"
            write_cell(Path(CELL.format(policy=policy, iteration=iteration, **keys)), seed, iteration)
        write_json(Path(GUARD.format(**keys)), {"iteration": 0})
    return root / "config.json"


def write_cell(folder, seed, iteration):
    metrics = dict.fromkeys(set(METRICS) - set(KEYS), 0.0) | {"accuracy": 0.5 + seed / 100 + iteration / 10, "loss": 1}
    provenance = {"config_hash": "abc", "machine": {"cores": 2}}
    write_json(folder / "metrics.json", {"metrics": metrics, "provenance": provenance})
    training = {"n_train": 10, "seconds": 1, "predict_seconds": 1, "losses": [3.0, 2.0]}
    write_json(folder / "train.json", {**training, "provenance": provenance})
    write_json(folder / "influence.json", {
        "contribution": {"mean_harm": 1, "dcs": 0.1, "helpful_share": 0.6, "stationarity": 0.0},
        "contribution_selection": {"mean_harm": 1, "dcs": 0.1, "helpful_share": 0.6, "stationarity": 0.0},
        "solver": {"solver": "cg", "status": "converged", "residual": 1e-9, "iterations": 5}, "options": {"damping": 1},
        "seconds": {"setup": 1, "val_gradient": 1, "solve": 1, "projection": 1}, "other_scores_seconds": 1,
        "provenance": provenance,
    })  # fmt: skip
    if iteration:
        write_arrays(folder / "kept.npz", {"removed": {"count": 1, "flipped": 1}, "relabelled": 0})
        (folder / "removed.csv").write_text("position\n1\n")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with results, a store without runs, and one without experiments."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        write_results("tiny", 2, ["influence", "guarded"])
        write_results("eight", 8, ["influence"])
        tracking.initialise("tiny")
        shutil.copy("results/mlflow.db", "empty.db")
        change(Path("empty.db"), "DELETE FROM experiment_tags")
        change(Path("empty.db"), "DELETE FROM experiments WHERE name = 'tiny'")
        tracking.initialise("eight")
    return folder


def change(store, *statement):
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute(*statement)


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """An empty folder to work in."""
    enter(tmp_path, monkeypatch)


def enter(folder, patch):
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.chdir(folder)
    # SQLAlchemy keeps the folder that it first saw a relative path in; a command never leaves its folder.
    patch.setattr(tracking, "STORE", folder / "results/mlflow.db")


@pytest.fixture
def store(made, tmp_path, monkeypatch):
    """A folder with results and a store without runs, to work in; a further store is made quickly."""
    shutil.copytree(made / "results", tmp_path / "results")
    change(tracking.STORE, "UPDATE experiments SET artifact_location = ?", [tracking.ARTEFACTS.absolute().as_uri()])
    monkeypatch.setattr(tracking, "_make_tables", lambda uri: shutil.copy(made / "empty.db", make_url(uri).database))
    return tracking.STORE


CONFIG = Path("results/tiny/config.json")


def client():
    return MlflowClient(tracking.tracking_uri())


def runs(preset="tiny"):
    return client().search_runs([client().get_experiment_by_name(preset).experiment_id])


def names(preset="tiny"):
    assert {run.info.status for run in runs(preset)} <= {"FINISHED"}
    return Counter(run.info.run_name for run in runs(preset))


def once(policies=("influence", "guarded"), seeds=range(2)):
    return Counter(f"toy/logistic/0.2/{policy}/{seed}" for policy in policies for seed in seeds)


def at_once(*calls):
    """Run functions in processes of their own that start together; return their exit statuses."""
    gate = FORK.Barrier(len(calls))

    def run(call):
        gate.wait(120)
        call()

    processes = [FORK.Process(target=run, args=(call,)) for call in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def scraps():
    return [path.name for path in Path("results").glob(".mlflow.db.*") if path.suffix != ".lock"]


def refused(call, match=ONE_LINE):
    """The one line with which a call ends."""
    with pytest.raises(UserError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    return str(caught.value)


# What a run says


def test_a_policy_that_decides_once_has_a_run_too_and_its_share_of_what_wrong_labels_cost():
    config = write_results("tiny", 1, ["influence", "repair", "true_labels"], iterations=2)
    for policy, iteration in (("repair", 1), ("true_labels", 2)):
        write_cell(Path(CELL.format(root="results/tiny", dataset="toy", model="logistic", noise="0.2", seed=0,
                                    policy=policy, iteration=1)), 0, iteration)  # fmt: skip
    found = {run.name: run for run in mirrored.read_runs(config)}
    assert list(found) == [f"toy/logistic/0.2/{policy}/0" for policy in ("influence", "repair", "true_labels")]
    metrics = {metric.key: metric.value for metric in found["toy/logistic/0.2/repair/0"].metrics}
    assert (metrics["accuracy_change"], metrics["recovered_share"]) == pytest.approx((10, 0.5))
    assert metrics["influence_over_training"] == 4


def test_metrics_have_one_name_each_and_those_that_runs_are_compared_by_no_section():
    names = [mirrored.called(column) for column in mirrored.NUMBERS]
    assert len(set(names)) == len(names)
    assert {name for name in names if "/" not in name} <= {*mirrored.FIRST, "samples"}
    assert {"seconds/train", "validation/accuracy", "selection/dcs", "test/loss", "removed/samples"} <= set(names)


def test_an_experiment_comes_with_views_whose_columns_are_there(store):
    tracking.track_cells(CONFIG)
    run, tags = runs()[0], client().get_experiment_by_name("tiny").tags
    known = {*(f"metrics.`{name}`" for name in run.data.metrics), *(f"params.`{name}`" for name in run.data.params)}
    for name in tracking.VIEWS:
        view = json.loads(tags[tracking.VIEW + name])
        assert set(view["selectedColumns"]) <= {
            *known,
            "metrics.`recovered_share`",
        }  # where right labels are trained on
    assert [line.split("  ")[1] for line in tracking.addresses()] == [
        "eight: runs", "eight: means", "tiny: runs", "tiny: means",
    ]  # fmt: skip


def test_an_experiment_of_an_earlier_version_gets_its_views(store):
    change(store, "DELETE FROM experiment_tags")
    assert tracking.addresses() == []
    client().delete_experiment(client().get_experiment_by_name("tiny").experiment_id)
    tracking.initialise("tiny")
    assert [line.split("  ")[1] for line in tracking.addresses()] == ["tiny: runs", "tiny: means"]


# The store is made


def test_a_store_whose_maker_was_killed_is_made_by_the_next(monkeypatch):
    for size in (0, 200_000):  # of the file that becomes the store
        process = FORK.Process(target=tracking.initialise, args=("tiny",))
        process.start()
        end = time.monotonic() + 120
        while not any(path.stat().st_size >= size for path in Path().glob("results/.mlflow.db.*.tmp")):
            assert time.monotonic() < end and process.is_alive()
        process.kill()
        process.join()
        assert scraps() and not tracking.STORE.exists()
    with monkeypatch.context() as patch:  # the store is there, its experiment is not
        patch.setattr(tracking, "_make_experiment", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        assert at_once(lambda: tracking.initialise("tiny")) == [-signal.SIGKILL]
    tracking.initialise("tiny")
    assert client().get_experiment_by_name("tiny").lifecycle_stage == "active"
    assert scraps() == []


def test_presets_that_start_at_once_in_a_fresh_folder_find_their_experiments(tmp_path, monkeypatch):
    (tmp_path / AWKWARD).mkdir()
    enter(tmp_path / AWKWARD, monkeypatch)
    presets = ("a", "b", "c")
    assert at_once(*(lambda preset=preset: tracking.initialise(preset) for preset in presets)) == [0, 0, 0]
    assert {experiment.name for experiment in client().search_experiments()} == {*presets, "Default"}


def test_what_a_full_disk_interrupts_leaves_nothing_and_is_one_line():
    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        refused(lambda: tracking.initialise("tiny"))

    assert at_once(full) == [0]
    assert scraps() == [] and not tracking.STORE.exists()


def test_what_a_killed_writer_left_is_not_played_into_a_new_store(store):
    store.unlink()
    with contextlib.closing(sqlite3.connect("other.db")) as connection:
        connection.executescript("CREATE TABLE t(x); PRAGMA cache_size = 5; BEGIN")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 1000)
        shutil.copy("other.db-journal", "results/mlflow.db-journal")  # it would cut any file to two pages
    store.with_name("mlflow.db-backup").touch()
    tracking.initialise("tiny")
    assert client().get_experiment_by_name("tiny") is not None
    assert {path.name for path in store.parent.glob("mlflow*")} == {"mlflow.db", "mlflow.db-backup"}


# The store is broken


def damage(store, kind):
    whole = store.read_bytes()
    if kind == "truncated":
        store.write_bytes(whole[: len(whole) // 2])
    elif kind in ("garbage", "empty"):
        store.write_bytes(b"garbage" * 1000 if kind == "garbage" else b"")
    elif kind == "folder":
        store.unlink()
        store.mkdir()
    else:
        statement = {"older": "UPDATE alembic_version SET version_num = '451aebb31d03'", "no version": "DELETE FROM "
                     "alembic_version", "no table": "DROP TABLE experiment_tags"}[kind]  # fmt: skip
        change(store, statement)


@pytest.mark.parametrize("kind", ["truncated", "garbage", "empty", "folder", "older", "no version", "no table"])
def test_a_broken_store_is_one_line_and_can_be_made_again(store, kind):
    damage(store, kind)
    before = store.is_file() and store.read_bytes()
    refused(lambda: tracking.initialise("tiny"))
    refused(lambda: tracking.track_cells(CONFIG, seed=0))
    if kind in ("garbage", "older"):
        assert store.read_bytes() == before
        tracking.rebuild(Path("results"))
        assert names() == once()


def test_a_missing_store_or_experiment_is_one_line(store):
    with pytest.raises(UserError, match=r"store sqlite.*no experiment other; run: datagradient track --rebuild"):
        tracking.track_report("other", [])
    store.unlink()
    refused(lambda: tracking.track_cells(CONFIG, seed=0), ONE_LINE.replace(".*;", ": not found;"))
    assert not store.exists()


def test_a_store_that_another_program_keeps_locked_is_one_line(store, monkeypatch):
    monkeypatch.setattr(tracking, "WAIT", 0.01)
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        refused(lambda: tracking.initialise("tiny"), ONE_LINE.replace(".*;", ": database is locked;"))


@pytest.fixture(scope="module")
def web():
    """The address of a server that is none of MLflow's; it sends back what stands behind the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(unquote(self.path.split("/")[1]).encode())

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "uri", ["file:mlruns", "mlruns", "nonsense://host", "http://[::1", "http://127.0.0.1:1", "sqlite:/store.db",
            "sqlite:///results/tiny/config.json/store.db", "mysql://me:secret@host:port/base",
            "postgresql://me:secret@127.0.0.1:1/base", "sqlite:///results/tiny/config.json", "https://me:secret@[::1",
            "WEB/<html>%0Ano", 'WEB/{"experiment": 3}', "WEB/[]"],
)  # fmt: skip
def test_a_given_store_that_cannot_be_used_is_one_line(store, web, monkeypatch, uri):
    uri = uri.replace("WEB", web)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = store.read_bytes(), CONFIG.read_bytes()
    for call in (lambda: tracking.initialise("tiny"), lambda: tracking.track_cells(CONFIG, seed=0)):
        line = refused(call, r"MLflow store .*; check MLFLOW_TRACKING_URI, or unset it .*datagradient track --rebuild")
        assert uri.replace("me:secret", "***") in line and "secret" not in line
    assert (store.read_bytes(), CONFIG.read_bytes()) == before


def test_a_given_store_is_made_and_filled(store, monkeypatch):
    before = store.read_bytes()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine/given.db")
    for _ in range(2):
        tracking.rebuild(Path("results"))
        assert names() == once()
        shutil.rmtree("results/eight", ignore_errors=True)
    assert store.read_bytes() == before and not Path("results/mlartifacts").exists()


# Runs are logged


def test_eight_writers_at_once_log_what_the_files_hold(store):
    config = Path("results/eight/config.json")
    assert at_once(*(lambda seed=seed: tracking.track_cells(config, seed=seed) for seed in range(8))) == [0] * 8
    assert names("eight") == once(["influence"], range(8))
    run = next(run for run in runs("eight") if run.info.run_name == "toy/logistic/0.2/influence/3")
    history = client().get_metric_history(run.info.run_id, "accuracy")
    assert [(entry.step, round(entry.value, 9)) for entry in history] == [(0, 0.53), (1, 0.63)]
    assert run.data.params["l2"] == "0.5" and run.data.params["solver.damping"] == "1"
    assert run.data.tags["machine.cores"] == "2" and run.data.tags["solver_status"] == "converged"
    assert [file.path for file in client().list_artifacts(run.info.run_id, "iter-1")] == ["iter-1/removed.csv"]


@pytest.mark.parametrize("locked", [True, False], ids=["file", "without a lock, as on a server"])
def test_processes_that_log_the_same_cells_at_once_leave_one_run_a_name(store, monkeypatch, locked):
    if not locked:
        monkeypatch.setattr(tracking, "locked", lambda *_: contextlib.nullcontext())
        monkeypatch.setattr(tracking, "_has_one_writer", lambda _: False)
    assert at_once(*[lambda: tracking.track_cells(CONFIG, seed=0)] * 3) == [0] * 3
    assert names() == once(seeds=[0])


def test_a_writer_that_another_overtook_leaves_the_other_its_run(store, monkeypatch):
    log, calls = MlflowClient.log_batch, iter(range(100))

    def overtaken(*arguments, **options):
        if next(calls) == 0:
            tracking.track_cells(CONFIG, seed=0)
        log(*arguments, **options)

    monkeypatch.setattr(tracking, "locked", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(tracking, "_has_one_writer", lambda _: False)
    monkeypatch.setattr(MlflowClient, "log_batch", overtaken)
    assert tracking.track_cells(CONFIG, seed=0) == 2
    assert names() == once(seeds=[0])


def test_an_interrupted_writer_leaves_the_earlier_run_and_the_next_cleans_up(store, monkeypatch):
    tracking.track_cells(CONFIG, seed=0)
    first = {run.info.run_id for run in runs()}
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tracking.track_cells(CONFIG, seed=0)
        with pytest.raises(KeyboardInterrupt):
            tracking.track_cells(CONFIG, seed=1)
    assert {run.info.run_id for run in runs() if run.info.status == "FINISHED"} == first
    assert {run.info.status for run in runs()} == {"FINISHED", "RUNNING"}
    tracking.track_cells(CONFIG)
    assert names() == once()
    assert not first & {run.info.run_id for run in runs()}


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_a_clock_that_was_set_back_does_not_keep_the_old_run(store, monkeypatch):
    tracking.track_cells(CONFIG, seed=0)
    first = {run.info.run_id for run in runs()}
    monkeypatch.setattr(tracking.time, "time", lambda: 1e9)
    tracking.track_cells(CONFIG, seed=0)
    assert names() == once(seeds=[0])
    assert not first & {run.info.run_id for run in runs()}


def test_an_experiment_that_was_deleted_comes_back_without_what_was_replaced(store):
    for _ in range(2):
        tracking.track_cells(CONFIG, seed=0)
    for again in (lambda: tracking.initialise("tiny"), lambda: tracking.track_cells(CONFIG, seed=0)):
        client().delete_experiment(client().get_experiment_by_name("tiny").experiment_id)
        again()
        assert names() == once(seeds=[0])


def test_an_unfinished_cell_is_left_for_later(store):
    next(Path("results/tiny").rglob("influence/seed-1/*/influence.json")).unlink()
    next(Path("results/tiny").rglob("seed-0/guard.json")).unlink()
    expected = once() - once(["influence"], [1]) - once(["guarded"], [0])
    assert tracking.track_cells(CONFIG) == len(expected)
    assert names() == expected


def test_a_missing_figure_is_named(store):
    with pytest.raises(UserError, match=r"figures/tiny/none.png: not found"):
        tracking.track_report("tiny", [Path("figures/tiny/none.png")])


# The store is made again


def whole_store():
    """Every byte of the store and its artefacts."""
    files = [tracking.STORE, *tracking.ARTEFACTS.rglob("*")]
    return {path: path.read_bytes() for path in files if path.is_file()}


def half_a_file(path):
    path.write_bytes(path.read_bytes()[:20])


def without_accuracy(path):
    path.write_text(path.read_text().replace("accuracy", "precision"))


@pytest.mark.parametrize("harm", [half_a_file, without_accuracy])
def test_a_damaged_result_leaves_the_old_store_as_it_was(store, harm):
    tracking.track_cells(CONFIG, seed=0)
    before = whole_store()
    harm(next(Path("results/tiny").rglob("influence/seed-1/*/metrics.json")))
    with pytest.raises(UserError, match=r"influence/seed-1.*(run the workflow again|make it again with)"):
        tracking.rebuild(Path("results"))
    assert whole_store() == before


def test_a_rebuild_that_fails_leaves_the_old_store_as_it_was(store, monkeypatch):
    tracking.track_cells(CONFIG, seed=0)
    before, calls = whole_store(), iter(range(100))
    log = MlflowClient.log_artifact

    def full(*arguments):
        if next(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        log(*arguments)

    monkeypatch.setattr(MlflowClient, "log_artifact", full)
    refused(lambda: tracking.rebuild(Path("results")), r"MLflow store sqlite.*No space left on device; make it again")
    assert whole_store() == before
    assert scraps() == []


def test_a_store_made_again_in_a_moved_folder_holds_the_same(store, tmp_path, monkeypatch):
    figure = Path("figures/tiny/accuracy.png")
    figure.parent.mkdir(parents=True)
    figure.write_bytes(b"a figure")
    Path("results/tiny/report.html").write_bytes(b"a page")
    tracking.track_cells(CONFIG)
    earlier = set(tracking.ARTEFACTS.iterdir())
    moved = tmp_path / AWKWARD
    moved.mkdir()
    for name in ("results", "figures"):
        shutil.move(tmp_path / name, moved / name)
    enter(moved, monkeypatch)
    tracking.rebuild(Path("results"))
    assert names() == once() + Counter([mirrored.REPORT])
    assert names("eight") == once(["influence"], range(8))
    stored = {run.info.run_name: run.info.run_id for run in runs()}
    listed = client().list_artifacts(stored["toy/logistic/0.2/influence/1"], "iter-1")
    assert [file.path for file in listed] == ["iter-1/removed.csv"]
    assert [file.path for file in client().list_artifacts(stored[mirrored.REPORT], "figures")] == [
        "figures/accuracy.png"
    ]
    assert [file.path for file in client().list_artifacts(stored[mirrored.REPORT], "results")] == [
        "results/report.html"
    ]
    assert not {folder.name for folder in earlier} & {folder.name for folder in tracking.ARTEFACTS.iterdir()}
    assert not (tmp_path / "results").exists()
