"""Scores of a model's training samples: at once, or S first and then shards."""

from dataclasses import replace
from pathlib import Path

from datagradient.pipeline import scoring
from datagradient.pipeline.layout import Cell
from datagradient.pipeline.progress import progress
from datagradient.refine.policies import scores_besides
from datagradient.refine.scoring import Scored, Work, score_all, solve_direction


def score(config: dict, cell: Cell) -> None:
    """Score every training sample of a model against the influence-validation part: see `write_scores`."""
    work = load(config, cell)
    with progress(f"influence {cell.folder}"):
        scored = score_all(work, also_scored(config, cell))
    write_scores(scored, work.solver, work.facts, cell)


def write_scores(scored: Scored, options: dict, facts: dict, cell: Cell) -> None:
    """Write a model's scores.

    scores.npz: positions in the training part, labels, flipped, influence, that on the selection part, and what
    policies go by; direction.npz: S, which further samples can be scored with; influence.json: the solver's record and
    options, seconds by step, and the dataset contribution score, of both parts.
    """
    out, n = cell.file("scores.npz"), len(scored.arrays["influence"])
    scoring.warn_unconverged(scored.solver, out)
    # Without its seconds, which influence.json has: the same job gives the same bytes.
    direction = replace(scored.direction, seconds={})
    scoring.write_direction(direction, scored.selection_solution, n, options, facts, cell.file("direction.npz"))
    scoring.write_scores(scored, options, facts, out)


def load(config: dict, cell: Cell) -> Work:
    """Read a trained model and what it is scored with."""
    solver = config["model_settings"][cell.model]["solver"]
    files = (cell.file("model.npz"), cell.data, cell.labels, cell.kept, cell.file("record.npz"))
    return scoring.load_work(cell.model, solver, *files)


def also_scored(config: dict, cell: Cell) -> list[str]:
    """Return what a model's samples are scored by besides influence, for its policy; of the baseline for all."""
    return scores_besides(config["policies"], cell.policy, cell.iteration)


def direction(config: dict, cell: Cell) -> None:
    """Compute S, the one vector that all training samples of a model are scored with: direction.npz."""
    work, out = load(config, cell), cell.file("direction.npz")
    with progress(f"direction {cell.folder}"):
        solved, selection = solve_direction(work)
    scoring.warn_unconverged(solved.record.as_dict(), out)
    scoring.write_direction(solved, selection, len(work.samples.labels), work.solver, work.facts, out)


def project(config: dict, cell: Cell, number: int, count: int) -> None:
    """Score shard `number` of `count`, the first being 0, with the S of `direction`."""
    work, out = load(config, cell), shard_file(cell, number, count)
    with progress(f"project {out}"):
        scoring.score_shard(work, cell.file("direction.npz"), (number, count), also_scored(config, cell), out)


def gather(cell: Cell, count: int) -> None:
    """Put the shards of a training set together: scores.npz and influence.json, as `score` writes them."""
    shards = [shard_file(cell, number, count) for number in range(count)]
    scoring.gather_shards(cell.file("direction.npz"), shards, cell.file("scores.npz"))


def shard_file(cell: Cell, number: int, count: int) -> Path:
    """Return the file of one shard's scores."""
    return cell.file(f"shards/{number + 1}-of-{count}.npz")
