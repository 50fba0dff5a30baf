"""Mirroring results in MLflow. The result files are the record; the store can be rebuilt from them."""

import contextlib
import glob
import json
import logging
import os
import re
import shutil
import sqlite3
import textwrap
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # MLflow's 7 take four minutes to report "unreachable"

import mlflow
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from google.protobuf import json_format
from mlflow import MlflowClient
from mlflow.entities import RunInfo
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from datagradient.errors import UserError
from datagradient.evidence.mirrored import MirroredRun, read_runs, report_run
from datagradient.files import read_json
from datagradient.files.locks import locked

GIVEN_STORE = "MLFLOW_TRACKING_URI"
STORE, ARTEFACTS = Path("results/mlflow.db"), Path("results/mlartifacts")
REBUILD = "datagradient track --rebuild"
WAIT = 20.0  # seconds for another program, such as the interface, to finish writing
BATCH, FIRST_BATCH = 1000, 900  # metrics that MLflow accepts at once, and together with a run's parameters
# Views that the interface shows at addresses with their name: columns and groups. They are tags of an experiment.
VIEW = "mlflow.sharedViewState."
COMPARED = ("dataset", "model", "noise", "policy")
SHOWN = ("accuracy", "accuracy_change", "recovered_share", "dcs", "removed/samples", "influence_over_training")
RUN_NAME = "attributes.`Run Name`"  # its column also holds the names of groups


def _view(columns: list[str], width: int, **more: object) -> dict[str, object]:
    """Return a view of columns beside the run's name, whose column has a width in pixels."""
    return {"selectedColumns": columns, "columnOrder": [RUN_NAME, *columns],
            "columnWidths": {RUN_NAME: width, **dict.fromkeys(columns, 150)}, **more}  # fmt: skip


VIEWS = {
    "runs": _view([*(f"params.`{key}`" for key in (*COMPARED, "seed")), *(f"metrics.`{name}`" for name in SHOWN)], 330),
    "means": _view([f"metrics.`{name}`" for name in SHOWN], 560, groupBy={
        "aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": key} for key in COMPARED]}),
}  # fmt: skip
# Of an experiment; its kind, so that the interface shows runs first, not the traces of language models.
TAGS = {"mlflow.experimentKind": "custom_model_development",
        **{VIEW + name: json.dumps(view) for name, view in VIEWS.items()}}  # fmt: skip
# Exceptions of MLflow and its libraries for a store that is broken, refused or out of reach.
FAILURES = (
    MlflowException, SQLAlchemyError, CommandError, json_format.Error, sqlite3.Error, OSError, ImportError, ValueError,
)  # fmt: skip


@event.listens_for(Engine, "connect")
def _do_not_wait_for_the_disk(connection: object, _: object) -> None:
    """Do not wait for the disk at each of some thousand commits to our own store; a store given by the user does wait.

    The store survives a killed process; if the system itself fails, it can be rebuilt.
    """
    if isinstance(connection, sqlite3.Connection) and not os.environ.get(GIVEN_STORE):
        connection.execute("PRAGMA synchronous = OFF")


def initialise(preset: str) -> None:
    """Make the store and the preset's experiment if missing; restore an experiment deleted in the interface."""
    with _store() as uri:
        _make_store(uri)
        _make_experiment(MlflowClient(uri), preset)


def track_cells(config_file: Path, *cells: dict[str, object], **fixed: object) -> int:
    """Log the finished runs of a preset that match the keys `fixed` and, if given, one of `cells`; return their number.

    A run that was logged before is replaced.
    """
    runs = [run for cell in cells or [{}] for run in read_runs(config_file, **cell, **fixed)]
    _track(read_json(config_file)["preset"], runs)
    return len(runs)


def track_report(preset: str, files: list[Path]) -> None:
    """Log a preset's figures and tables as artefacts of one run, which replaces an earlier one."""
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: not found; make it again by running the workflow")
    _track(preset, [report_run(files)])


def add_run(experiment: str, run: MirroredRun) -> None:
    """Log a run beside those of the same name; the store of MLFLOW_TRACKING_URI and the experiment are made if missing.

    Raises:
        UserError: the store cannot be reached or written.
    """
    with _store(f"check {GIVEN_STORE}, or unset it") as uri:
        _make_store(uri)
        client = MlflowClient(uri)
        _log_run(client, _make_experiment(client, experiment), run, int(time.time() * 1000))


def _track(preset: str, runs: list[MirroredRun]) -> None:
    with _store() as uri:
        _check(uri)
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(preset)
        if experiment is None:
            raise UserError(f"{_called(uri)}: no experiment {preset}; run: {REBUILD}")
        _log(client, _active(client, experiment), runs, alone=_has_one_writer(uri))


def rebuild(results: Path) -> None:
    """Log every finished run below `results` again: into a new local store, or replacing runs in a given one.

    All result files are read before anything changes, and the earlier local store is kept until the new one is
    complete.
    """
    # A fresh clone holds the small tables of a preset without the runs from which they were made.
    configs = [file for file in sorted(results.glob("*/config.json")) if any(file.parent.rglob("metrics.json"))]
    if not configs:
        raise UserError(f"{results}: no results to log; run the workflow first")
    presets: dict[str, list[MirroredRun]] = {}
    for config_file in configs:
        preset, runs = read_json(config_file, "preset")["preset"], read_runs(config_file)
        report = [*Path("figures", preset).glob("*.png"), *Path("paper_tables", preset).glob("*.csv"),
                  *Path("results", preset).glob("report.html")]  # fmt: skip
        presets[preset] = [*runs, report_run(sorted(report))] if report else runs
        print(f"{preset}: {len(runs)} runs to log")
    with _store() as uri:
        if os.environ.get(GIVEN_STORE):
            _make_store(uri)
            _fill(MlflowClient(uri), presets)
        else:
            _rebuild_local(presets)
        print(f"logged to {_masked(uri)}")


def _rebuild_local(presets: dict[str, list[MirroredRun]]) -> None:
    earlier = _artefact_folders()
    try:
        with _new_database(STORE, f"sqlite:///{STORE}") as client:
            _fill(client, presets)
    except BaseException:
        _remove(_artefact_folders() - earlier)
        raise
    _remove(earlier)  # folders are named by run, so those of the new store do not collide


def _fill(client: MlflowClient, presets: dict[str, list[MirroredRun]]) -> None:
    for preset, runs in presets.items():
        _log(client, _make_experiment(client, preset), runs)


def _artefact_folders() -> set[Path]:
    return set(ARTEFACTS.iterdir()) if ARTEFACTS.is_dir() else set()


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


# The store


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI if set, otherwise the SQLite store below results/."""
    return os.environ.get(GIVEN_STORE) or f"sqlite:///{STORE}"


@contextlib.contextmanager
def _store(remedy: str | None = None) -> Iterator[str]:
    """Lock the store for writing and yield its address; any failure in the block becomes a one-line error.

    The error ends with a remedy; without one, with how to make the store again.

    A store in a single file has one writer at a time: several processes that open a new one destroy it, and data
    written to a file while it is being replaced are lost.
    """
    uri = tracking_uri()
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs a traceback before it raises
    with _one_line(uri, remedy):
        database = _database(uri)
        if database is None:
            yield uri
            return
        os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # no connection to a replaced file
        with locked(database.with_name(f".{database.name}.lock"), f"MLflow store {database}"):
            yield uri


@contextlib.contextmanager
def _one_line(uri: str, remedy: str | None = None) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except FAILURES as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{_called(uri)}: {_masked(textwrap.shorten(reason, 250))}; {remedy or _remedy()}") from None


def _called(uri: str) -> str:
    return f"MLflow store {_masked(uri)}"


def _masked(text: str) -> str:
    """Return a text without the user names and passwords in addresses."""
    return re.sub(r"//[^/@\s]*@", "//***@", text)


def _remedy() -> str:
    if os.environ.get(GIVEN_STORE):
        return f"check {GIVEN_STORE}, or unset it for the store below {STORE.parent}/; then run: {REBUILD}"
    return f"make it again from the result files with: {REBUILD}"


def _database(uri: str) -> Path | None:
    """Return the file of an SQLite store, or None if the store is not a file."""
    if not uri.startswith("sqlite"):
        return None
    name = make_url(uri).database
    return None if not name or name == ":memory:" or name.startswith("file:") else Path(name)


def _has_one_writer(uri: str) -> bool:
    """Return whether a store is a single file, which `_store` locks."""
    return _database(uri) is not None


def _make_store(uri: str) -> None:
    database = _database(uri)
    if database and not database.exists():
        with _new_database(database, uri):
            pass
    _check(uri)


@contextlib.contextmanager
def _new_database(database: Path, uri: str) -> Iterator[MlflowClient]:
    """Make a new store in a temporary file, yield its client, and rename it to `database` when the block succeeds."""
    scraps = f".{glob.escape(database.name)}.*.tmp*"  # left by killed processes, with journals; we hold the lock
    # MLflow caches facts by address, so two new stores of a process must not share a name.
    temporary = database.with_name(f".{database.name}.{uuid.uuid4().hex}.tmp")
    try:
        address = make_url(uri).set(database=str(temporary)).render_as_string(hide_password=False)
        _make_tables(address)
        yield MlflowClient(address)
        for kind in ("journal", "wal", "shm"):  # left by a killed writer: must not be replayed into the new store
            database.with_name(f"{database.name}-{kind}").unlink(missing_ok=True)
        temporary.replace(database)
    finally:
        for scrap in database.parent.glob(scraps):
            scrap.unlink()


def _make_tables(uri: str) -> None:
    """Make an empty store.

    Its first experiment, which is not used here, names the folder ``mlruns``, as a client's would, but with an escaped
    address: MLflow inserts the address into its SQL unchanged, and fails for a folder with both kinds of quotes.
    """
    SqlAlchemyStore(uri, Path("mlruns").absolute().as_uri()).engine.dispose()


def _check(uri: str) -> None:
    """Raise if an SQLite store is missing or not of MLflow's schema: MLflow would create or change it in place."""
    database = _database(uri)
    if database is None:
        return
    if not database.is_file():
        raise UserError(f"{_called(uri)}: not found; {_remedy()}")
    # Opened for writing, so that SQLite can roll back the incomplete changes of a killed process.
    address = f"{database.absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(address, timeout=WAIT, uri=True)) as connection:
        versions = [version for (version,) in connection.execute("SELECT version_num FROM alembic_version")]
    needed = ScriptDirectory(str(Path(mlflow.__file__).parent / "store/db_migrations")).get_current_head()
    if versions != [needed]:
        stated = " and ".join(map(str, versions)) or "none"
        raise UserError(f"{_called(uri)}: of another version of MLflow (schema {stated}, not {needed}); {_remedy()}")


def _make_experiment(client: MlflowClient, preset: str) -> str:
    experiment = client.get_experiment_by_name(preset)
    if experiment is not None:
        experiment_id = _active(client, experiment)
        for name, value in TAGS.items():
            if experiment.tags.get(name) != value:  # made by an earlier version
                client.set_experiment_tag(experiment_id, name, value)
        return experiment_id
    location = None if os.environ.get(GIVEN_STORE) else ARTEFACTS.absolute().as_uri()
    try:
        return client.create_experiment(preset, artifact_location=location, tags=TAGS)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # e.g. another process has created it
            raise
        return client.get_experiment_by_name(preset).experiment_id


def _active(client: MlflowClient, experiment: mlflow.entities.Experiment) -> str:
    """Return an experiment's id; restore one that was deleted in the interface."""
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
        _keep_latest(client, experiment.experiment_id)  # restoring it also restores all replaced runs
    return experiment.experiment_id


def addresses(host: str = "http://127.0.0.1:5000") -> list[str]:
    """Return the addresses of the views of each experiment in the interface, the newest experiment first."""
    with _store() as uri:
        _check(uri)
        return [
            f"{host}/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey={view}  {experiment.name}: {view}"
            for experiment in MlflowClient(uri).search_experiments()
            for view in VIEWS if VIEW + view in experiment.tags
        ]  # fmt: skip


# Runs of the store


def _log(client: MlflowClient, experiment: str, runs: list[MirroredRun], alone: bool = False) -> None:
    """Log runs, then delete the runs that they replace: a complete run of each name exists at any time.

    `alone`: no other process logs at the same time, so if there were no earlier runs, none have to be deleted.
    """
    earlier = _by_name(client, experiment)
    for run in runs:
        latest = max((info.start_time for info in earlier.get(run.name, ())), default=0)
        _log_run(client, experiment, run, max(int(time.time() * 1000), latest + 1))
    if not alone or any(run.name in earlier for run in runs):
        _keep_latest(client, experiment, {run.name for run in runs})


def _by_name(client: MlflowClient, experiment: str) -> dict[str, list[RunInfo]]:
    """Return the existing runs by name, with one query, which is faster than a query for each run."""
    by_name: dict[str, list[RunInfo]] = {}
    token = None
    while token != "":
        page = client.search_runs([experiment], max_results=BATCH, page_token=token)
        for run in page:
            by_name.setdefault(run.info.run_name, []).append(run.info)
        token = page.token or ""
    return by_name


def _keep_latest(client: MlflowClient, experiment: str, names: set[str] | None = None) -> None:
    """Delete every run that started before the latest complete run of its name.

    These are replaced or interrupted runs. Two processes that log the same cell to a server at the same time, without
    a lock, agree on which run is kept.
    """
    for name, infos in _by_name(client, experiment).items():
        complete = [_age(info) for info in infos if info.status == "FINISHED"]
        for info in infos if complete and (names is None or name in names) else ():
            if _age(info) < max(complete):
                client.delete_run(info.run_id)


def _age(info: RunInfo) -> tuple[int, str]:
    return info.start_time, info.run_id


def _log_run(client: MlflowClient, experiment: str, run: MirroredRun, start: int) -> None:
    run_id = client.create_run(experiment, start, run.tags, run.name).info.run_id
    try:
        for file, folder in run.artefacts:  # before the metrics, which MLflow would otherwise read again for each file
            client.log_artifact(run_id, file, folder)
        client.log_batch(run_id, run.metrics[:FIRST_BATCH], run.params)
        for first in range(FIRST_BATCH, len(run.metrics), BATCH):
            client.log_batch(run_id, run.metrics[first : first + BATCH])
        client.set_terminated(run_id)
    except MlflowException:
        if client.get_run(run_id).info.lifecycle_stage != "deleted":  # e.g. by a process that logged the cell after us
            raise
