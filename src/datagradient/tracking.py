"""Mirroring results in MLflow. The result files are the record: the store can be made again from them."""

import os
import shutil
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
from mlflow.entities import Metric, Param, RunTag

from datagradient import layout
from datagradient.collect import KEYS, METRICS, metrics_row, model_of
from datagradient.config import model_settings
from datagradient.errors import UserError
from datagradient.files import read_json

# Read now: MLflow sets the variable itself as soon as it is told where the store is.
GIVEN_STORE = os.environ.get("MLFLOW_TRACKING_URI")
STORE, ARTEFACTS = Path("results/mlflow.db"), Path("results/mlartifacts")
RECORDS = ("metrics.json", "influence.json", "train.json")
REPORT = "figures and tables"  # name of the run that holds them
BATCH = 1000  # metrics that MLflow takes at once
NUMBERS = [name for name in METRICS if name not in (*KEYS, "solver", "solver_status")]


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI where it is set, else the SQLite store below results/."""
    return GIVEN_STORE or f"sqlite:///{STORE}"


def initialise(preset: str) -> None:
    """Make the store, if it is not there, and the preset's experiment.

    Several processes that open a fresh SQLite store at once destroy it, so this must have
    finished before any of them logs.
    """
    mlflow.set_tracking_uri(tracking_uri())
    STORE.parent.mkdir(parents=True, exist_ok=True)
    if mlflow.get_experiment_by_name(preset) is None:
        own = None if GIVEN_STORE else ARTEFACTS.absolute().as_uri()
        mlflow.create_experiment(preset, artifact_location=own)


def track_cells(config_file: Path, **fixed: str) -> int:
    """Log every finished run of a preset whose keys match `fixed`; return how many.

    A run that was logged before is replaced.
    """
    config, root = read_json(config_file), config_file.parent
    client, experiment, logged = mlflow.MlflowClient(tracking_uri()), _experiment(config["preset"]), 0
    earlier = _earlier(client, experiment)
    for policy in config["policies"]:
        like = "influence" if policy == layout.GUARDED else policy
        for keys in layout.grid(config, policy=like, iteration=config["iterations"], **fixed):
            logged += _log_run(client, experiment, earlier, config, root, {**keys, "policy": policy})
    return logged


def track_report(preset: str, files: list[Path]) -> None:
    """Log a preset's figures and tables as the artefacts of one run, in place of an earlier one."""
    client, experiment = mlflow.MlflowClient(tracking_uri()), _experiment(preset)
    run = _new_run(client, experiment, _earlier(client, experiment), REPORT, {})
    for file in files:
        client.log_artifact(run, file, file.parts[0])
    client.set_terminated(run)


def rebuild(results: Path) -> None:
    """Log every finished run below `results` again: into a new local store, or replacing runs in a given one."""
    # A fresh clone holds the small tables of a preset without the runs they were made from.
    configs = [file for file in sorted(results.glob("*/config.json")) if any(file.parent.rglob("metrics.json"))]
    if not configs:
        raise UserError(f"{results}: no results to log; run the workflow first")
    if not GIVEN_STORE:
        STORE.unlink(missing_ok=True)
        shutil.rmtree(ARTEFACTS, ignore_errors=True)
    for config_file in configs:
        preset = read_json(config_file)["preset"]
        initialise(preset)
        report = [*Path("figures", preset).glob("*.png"), *Path("paper_tables", preset).glob("*.csv")]
        print(f"{preset}: {track_cells(config_file)} runs logged to {tracking_uri()}")
        if report:
            track_report(preset, sorted(report))


def _experiment(preset: str) -> str:
    mlflow.set_tracking_uri(tracking_uri())
    experiment = mlflow.get_experiment_by_name(preset)
    if experiment is None:
        raise UserError(f"MLflow: no experiment {preset}; run: datagradient track --rebuild")
    return experiment.experiment_id


def _earlier(client: mlflow.MlflowClient, experiment: str) -> dict[str, str]:
    """Return the runs that were logged before, by name: one query, where a query for each run would take longer."""
    found, token = {}, None
    while token != "":
        page = client.search_runs([experiment], max_results=BATCH, page_token=token)
        found |= {run.info.run_name: run.info.run_id for run in page}
        token = page.token or ""
    return found


def _new_run(client: mlflow.MlflowClient, experiment: str, earlier: dict[str, str], name: str, tags: dict) -> str:
    if name in earlier:
        client.delete_run(earlier[name])
    return client.create_run(experiment, run_name=name, tags=tags).info.run_id


def _log_run(
    client: mlflow.MlflowClient, experiment: str, earlier: dict[str, str], config: dict, root: Path, keys: dict
) -> bool:
    """Log one run with a step for each iteration; an unfinished run is left for later."""
    if keys["policy"] == layout.GUARDED and not Path(layout.GUARD.format(root=root, **keys)).exists():
        return False
    models = [model_of(root, {**keys, "iteration": k}) for k in range(config["iterations"] + 1)]
    folders = [Path(layout.cell(root=root, **model)) for model in models]
    if not all((folder / name).exists() for folder in folders for name in RECORDS):
        return False
    name = "/".join(str(keys[key]) for key in ("dataset", "model", "noise", "policy", "seed"))
    facts = read_json(folders[-1] / "metrics.json")["provenance"]
    tags = {**{key: str(keys[key]) for key in keys if key != "iteration"}, **_flat(facts)}
    run = _new_run(client, experiment, earlier, name, tags)
    rows = [metrics_row(config, root, {**keys, "iteration": k}) for k in range(len(folders))]
    end = int(max((folder / "metrics.json").stat().st_mtime for folder in folders) * 1000)
    metrics = [Metric(column, float(row[column]), end, step) for step, row in enumerate(rows) for column in NUMBERS]
    for k, folder in enumerate(folders):
        losses = read_json(folder / "train.json").get("losses", [])
        metrics += [Metric(f"epoch_loss/iteration_{k}", loss, end, epoch) for epoch, loss in enumerate(losses, start=1)]
    solver = read_json(folders[0] / "influence.json")["options"]
    params = [Param(key, str(value)) for key, value in _settings(config, keys, solver).items()]
    client.log_batch(run, (), params, [RunTag("solver_status", rows[-1]["solver_status"])])
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics[start : start + BATCH])
    for step, folder in enumerate(dict.fromkeys(folders[1:]), start=1):
        if (folder / "removed.csv").exists():
            client.log_artifact(run, folder / "removed.csv", f"iter-{step}")
    client.set_terminated(run)
    return True


def _settings(config: dict, keys: dict, solver: dict) -> dict:
    """Return everything that was set for one run."""
    return {
        **{key: value for key, value in keys.items() if key != "iteration"},
        **{key: config[key] for key in ("removal_fraction", "iterations")},
        **model_settings(config, keys["dataset"], keys["model"], keys["noise"]),
        **{f"solver.{key}": value for key, value in solver.items()},
    }


def _flat(facts: dict) -> dict[str, str]:
    """Return provenance as tags: nested keys joined by a full stop."""
    nested = {f"{key}.{inner}": value for key, entry in facts.items() if isinstance(entry, dict)
              for inner, value in entry.items()}  # fmt: skip
    plain = {key: value for key, value in facts.items() if not isinstance(value, dict)}
    return {key: str(value) for key, value in {**plain, **nested}.items()}
