"""How much of a run is spent outside training, predicting and scoring, by the jobs' own timings."""

import csv
from pathlib import Path

from datagradient.files import read_rows, reading, write_rows
from datagradient.layout import GUARDED

COLUMNS = (
    "cores", "wall_seconds", "fit_seconds", "cross_validation_seconds", "predict_seconds", "score_seconds",
    "jobs_seconds", "outside_share", "outside_share_of_jobs",
)  # fmt: skip


def write_orchestration(metrics: Path, jobs: list[Path], cores: int, out: Path) -> None:
    """Write one row: seconds of training, cross-validation, predicting and scoring, and the shares outside.

    The wall time runs from the start of the first of the jobs until their results are collected: the pause of a run
    that was interrupted counts. Cross-validation counts with the start of its jobs, which keep no clock of their own.

    Args:
        metrics: metrics.csv.
        jobs: the benchmark files that Snakemake writes of the jobs that prepare, train, score and cross-validate.
        cores: that the run had.
        out: the file to write.
    """
    rows = [row for row in read_rows(metrics) if row["policy"] != GUARDED]
    seconds = {job: _seconds(job) for job in jobs}
    wall = metrics.stat().st_mtime - min(job.stat().st_mtime - value for job, value in seconds.items())
    fit, predict, influence, others = (
        sum(float(row[f"{step}_seconds"]) for row in rows) for step in ("train", "predict", "influence", "other_scores")
    )
    cross_validation = sum(value for job, value in seconds.items() if job.stem == "cross_validate")
    score, every = influence + others, sum(seconds.values())
    inside = fit + cross_validation + predict + score
    outside = [1 - inside / whole for whole in (wall * cores, every)]
    values = (cores, wall, fit, cross_validation, predict, score, every, *outside)
    write_rows(out, COLUMNS, [dict(zip(COLUMNS, values, strict=True))])


def _seconds(job: Path) -> float:
    with reading(job), open(job, encoding="utf-8", newline="") as stream:
        return float(next(csv.DictReader(stream, delimiter="\t"))["s"])
