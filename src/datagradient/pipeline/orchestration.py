"""The time of a run: wall time, and how much of it is training, predicting and scoring.

The process that runs the workflow keeps the `Clock`, also across interrupted runs; it is stored in clock.json with the
results.
"""

import json
import time
from pathlib import Path

from datagradient.files import read_json, read_rows, replacing, write_json, write_rows
from datagradient.pipeline.layout import GUARDED

COLUMNS = (  # cross_validation_seconds: of cross-fitting, its training and scoring; older results have this name
    "cores", "runs", "wall_seconds", "fit_seconds", "cross_validation_seconds", "predict_seconds", "score_seconds",
    "outside_share",
)  # fmt: skip
AFTERWARDS = 300.0  # seconds after a run during which a report still counts as part of it


class Clock:
    """The times of the workflow's runs of one preset, in seconds since 1970; a run is written while it continues.

    Args:
        path: clock.json.
        started: when this run began.
        cores: number of cores of this run.
        starts_over: whether this run recreates all results, so that earlier runs do not count.
    """

    def __init__(self, path: Path, started: float, cores: int, starts_over: bool = False):
        try:
            before = read_json(path, "runs")["runs"] if path.exists() and not starts_over else []
        except Exception:  # a damaged clock must not stop the run
            before = []
        self.path, self.runs = path, [*before, {"started": started, "finished": started, "cores": cores}]
        self.tick()

    def tick(self) -> None:
        """Record that this run has lasted until now."""
        self.runs[-1]["finished"] = time.time()
        with replacing(self.path) as stream:
            json.dump({"runs": self.runs}, stream, indent=1)


def write_orchestration(results: Path) -> None:
    """Write orchestration.csv of a preset, one row, from clock.json, metrics.csv and the jobs' own timings.

    The wall time is that of all runs together, each from its first line of output to its last job, or to a report made
    afterwards. The time inside is that of training, cross-fitting, prediction and scoring, as measured by the jobs;
    everything else is outside: starting programs, loading, preparing, experiments, statistics, tables, figures,
    MLflow, Snakemake.

    Args:
        results: results/<preset>.
    """
    path = results / "clock.json"
    runs = read_json(path, "runs")["runs"]
    report = results / "workflow.html"  # Snakemake's, which is made when its jobs are done
    made = report.stat().st_mtime if report.exists() else 0.0
    if runs[-1]["finished"] < made < runs[-1]["finished"] + AFTERWARDS:
        runs[-1]["finished"] = made
        write_json(path, {"runs": runs})
    rows = [row for row in read_rows(results / "metrics.csv") if row["policy"] != GUARDED]
    fit, predict, influence, others = (
        sum(float(row[f"{step}_seconds"]) for row in rows) for step in ("train", "predict", "influence", "other_scores")
    )
    cross_fits = [read_json(job, "seconds")["seconds"] for job in results.rglob("crossfit.json")]
    folds = sum(sum(seconds.values()) for seconds in cross_fits)
    wall = sum(run["finished"] - run["started"] for run in runs)
    available = sum((run["finished"] - run["started"]) * run["cores"] for run in runs)
    inside = fit + folds + predict + influence + others
    values = (runs[-1]["cores"], len(runs), wall, fit, folds, predict, influence + others,
              1 - inside / available)  # fmt: skip
    write_rows(results / "orchestration.csv", COLUMNS, [dict(zip(COLUMNS, values, strict=True))])
