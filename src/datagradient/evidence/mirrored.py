"""Runs as MLflow is to show them, from the result files of a preset."""

from dataclasses import dataclass, field
from pathlib import Path

from mlflow.entities import Metric, Param

from datagradient.data.conditions import base_of
from datagradient.errors import UserError
from datagradient.evidence.collect import KEYS, METRICS, metrics_row, model_of
from datagradient.files import read_json
from datagradient.pipeline import layout
from datagradient.pipeline.config import model_settings
from datagradient.refine.policies import TRUE_LABELS

RECORDS = ("metrics.json", "influence.json", "train.json")
REPORT = "figures and tables"  # name of the run that contains them
NUMBERS = [name for name in METRICS if name not in (*KEYS, "solver", "solver_status")]
# MLflow draws the metrics of a prefix in a section of their own, and those without one first.
FIRST = ("accuracy", "f1", "dcs", "accuracy_change", "recovered_share", "influence_over_training")
SECTIONS = {"val_": "validation", "selection_": "selection", "test_": "test", "solver_": "solver"}  # by beginning


@dataclass(frozen=True)
class MirroredRun:
    """The content of one run of the store.

    Attributes:
        artefacts: files and their target folders.
    """

    name: str
    tags: dict[str, str] = field(default_factory=dict)
    params: list[Param] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    artefacts: list[tuple[Path, str]] = field(default_factory=list)


def read_runs(config_file: Path, **fixed: object) -> list[MirroredRun]:
    """Return the finished runs of a preset whose keys match `fixed`, with a step for each iteration."""
    config, root = read_json(config_file, "preset", "policies", "iterations", "datasets", "models"), config_file.parent
    runs = []
    for policy in config["policies"]:
        like = "influence" if policy == layout.GUARDED else policy
        for keys in layout.grid(config, policy=like, iteration=layout.rounds_of(config, like), **fixed):
            runs += _read_run(config, root, {**keys, "policy": policy})
    return runs


def _read_run(config: dict, root: Path, keys: dict) -> list[MirroredRun]:
    """Return a list with one run, or an empty list if it is not finished."""
    if keys["policy"] == layout.GUARDED and not Path(layout.GUARD.format(root=root, **keys)).exists():
        return []
    models = [model_of(root, {**keys, "iteration": k}) for k in range(keys["iteration"] + 1)]
    folders = [layout.Cell(root, **model).folder for model in models]
    if not all((folder / name).exists() for folder in folders for name in RECORDS):
        return []
    try:
        return [_run_of(config, root, keys, folders)]
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        what, summary = f"{type(error).__name__}: {error}", layout.Cell(root, **keys).refined
        gone = summary if summary.exists() else folders[-1].parent
        raise UserError(f"{folders[-1].parent}: unlike results of this version ({what}); delete {gone} and run the "
                        "workflow again") from None  # fmt: skip


def _run_of(config: dict, root: Path, keys: dict, folders: list[Path]) -> MirroredRun:
    rows = [metrics_row(root, {**keys, "iteration": k}) for k in range(len(folders))]
    facts = read_json(folders[-1] / "metrics.json", "provenance")["provenance"]
    solver = read_json(folders[0] / "influence.json", "options")["options"]
    tags = {**{key: str(keys[key]) for key in keys if key != "iteration"}, **_flat(facts)}
    removed = [(step, folder / "removed.csv") for step, folder in enumerate(dict.fromkeys(folders[1:]), start=1)]
    return MirroredRun(
        "/".join(str(keys[key]) for key in ("dataset", "model", "noise", "policy", "seed")),
        {**tags, "solver_status": str(rows[-1]["solver_status"])},
        [Param(key, str(value)) for key, value in _settings(config, keys, solver).items()],
        _metrics(rows, folders, _with_true_labels(config, root, keys)),
        [(file, f"iter-{step}") for step, file in removed if file.exists()],
    )


def _metrics(rows: list[dict], folders: list[Path], with_true_labels: float | None) -> list[Metric]:
    """Return the numbers of each iteration, and what one compares runs by: see `compared`."""
    end = int(max((folder / "metrics.json").stat().st_mtime for folder in folders) * 1000)
    metrics = []
    for step, row in enumerate(rows):
        values = {called(column): float(row[column]) for column in NUMBERS}
        values |= compared(row, rows[0], with_true_labels)
        metrics += [Metric(name, value, end, step) for name, value in values.items()]
    for k, folder in enumerate(folders):
        losses = read_json(folder / "train.json").get("losses", [])
        metrics += [Metric(f"epoch_loss/iteration_{k}", loss, end, epoch) for epoch, loss in enumerate(losses, start=1)]
    return metrics


def called(column: str) -> str:
    """Return the name in MLflow of a column of metrics.csv."""
    if column in FIRST:
        return column
    if column.endswith("_seconds"):
        return f"seconds/{column.removesuffix('_seconds')}"
    for beginning, section in SECTIONS.items():
        if column.startswith(beginning):
            return f"{section}/{column.removeprefix(beginning)}"
    if column.endswith("_selection"):
        return f"selection/{column.removesuffix('_selection')}"
    names = {"n_train": "samples", "removed": "removed/samples", "removed_flipped": "removed/flipped",
             "relabelled": "removed/relabelled"}  # fmt: skip
    return names.get(column, f"contribution/{column}")


def compared(row: dict, baseline: dict, with_true_labels: float | None) -> dict[str, float]:
    """Return the change of test accuracy in points, its share of what wrong labels cost, and the cost of influence.

    Args:
        row, baseline: rows of metrics.csv, of an iteration and of the unrefined model.
        with_true_labels: test accuracy of the model that is trained on the right labels; None: not known.
    """
    gained = float(row["accuracy"]) - float(baseline["accuracy"])
    values = {"accuracy_change": round(100 * gained, 6),
              "influence_over_training": float(row["influence_seconds"]) / float(row["train_seconds"])}  # fmt: skip
    cost = None if with_true_labels is None else with_true_labels - float(baseline["accuracy"])
    return {**values, "recovered_share": gained / cost} if cost and cost > 0 else values


def _with_true_labels(config: dict, root: Path, keys: dict) -> float | None:
    """Return the test accuracy of the model of the right labels of the same seed; None if it was not trained."""
    ideal = {**keys, "policy": TRUE_LABELS, "noise": base_of(keys["noise"])}
    if TRUE_LABELS not in config["policies"]:
        return None
    file = layout.Cell(root, **{**ideal, "iteration": layout.rounds_of(config, TRUE_LABELS)}).file("metrics.json")
    return read_json(file, "metrics")["metrics"]["accuracy"] if file.exists() else None


def report_run(files: list[Path]) -> MirroredRun:
    """Return the run that holds a preset's figures, tables and page as artefacts, by their first folder."""
    return MirroredRun(REPORT, artefacts=[(file, file.parts[0]) for file in files])


def _settings(config: dict, keys: dict, solver: dict) -> dict:
    """Return all settings of one run."""
    return {
        **{key: value for key, value in keys.items() if key != "iteration"},
        **{key: config[key] for key in ("removal_fraction", "iterations")},
        **model_settings(config, keys["dataset"], keys["model"], keys["noise"]),
        **{f"solver.{key}": value for key, value in solver.items()},
    }


def _flat(facts: dict) -> dict[str, str]:
    """Return provenance as tags; nested keys are joined by a dot."""
    nested = {f"{key}.{inner}": value for key, entry in facts.items() if isinstance(entry, dict)
              for inner, value in entry.items()}  # fmt: skip
    plain = {key: value for key, value in facts.items() if not isinstance(value, dict)}
    return {key: str(value) for key, value in {**plain, **nested}.items()}
