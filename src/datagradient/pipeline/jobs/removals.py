"""Which samples a model goes without, and when to stop, as files: kept.npz, removed.csv and guard.json."""

import sys
from pathlib import Path

import numpy as np

from datagradient.errors import UserError
from datagradient.files import read_arrays, read_meta, read_rows, write_arrays, write_json, write_rows
from datagradient.metrics import losses
from datagradient.pipeline.layout import BASELINE, Cell
from datagradient.pipeline.provenance import check_shared
from datagradient.refine.policies import POLICIES, QUALITY
from datagradient.refine.removal import SPARED, Removal, as_many, by_influence, guard


def remove(config: dict, cell: Cell) -> None:
    """Choose the samples that a model goes without, by the scores of the iteration before: kept.npz and removed.csv.

    By influence at most the preset's share is removed; other policies remove as many.
    """
    if cell.policy == "influence":
        by_scores(cell, config["removal_fraction"])
    else:
        by_others(cell)


def by_scores(cell: Cell, fraction: float) -> None:
    """Remove by influence, at most a share `fraction` of the current training set."""
    scores = cell.at(iteration=cell.iteration - 1).file("scores.npz")
    arrays, meta = read_arrays(scores)
    _check_finite(arrays, "influence", scores)
    removal = by_influence(arrays["influence"], arrays["labels"], fraction)
    _write(removal, arrays, {**meta, "policy": "influence", "iteration": cell.iteration}, cell.kept)


def by_others(cell: Cell) -> None:
    """Remove as many samples as influence did, chosen by the cell's policy."""
    policy, iteration = cell.policy, cell.iteration
    scores, like = cell.at(iteration=iteration - 1).file("scores.npz"), cell.at(policy="influence").file("removed.csv")
    arrays, meta = read_arrays(scores)
    declared = POLICIES[policy]
    if declared.is_rated_once:
        quality = cell.at(policy=BASELINE, iteration=0).file("quality.npz")
        rated, facts = read_arrays(quality, QUALITY)
        # Rated once, as the whole training part was: the training sets differ from the second iteration on.
        check_shared({scores: meta, quality: facts}, "training_set")
        arrays[QUALITY] = rated[QUALITY][arrays["positions"]]
    elif declared.score and declared.score not in arrays:
        raise UserError(f"{scores}: holds no {declared.score}; score the model again")
    if declared.score:
        _check_finite(arrays, declared.score, scores)
    removed = [int(row["label"]) for row in read_rows(like, "label")]
    removal_facts = read_meta(like.with_name("kept.npz"))
    check_shared({scores: meta, like: removal_facts}, "training_set")
    if removal_facts.get("iteration") != iteration:
        raise UserError(f"{like}: is of iteration {removal_facts.get('iteration')}, and {iteration} is needed")
    counts = np.bincount(removed, minlength=arrays["labels"].max() + 1)
    removal = as_many(policy, counts, arrays, meta["seed"], iteration)
    if len(removal.positions) != len(removed):
        raise UserError(
            f"{cell.kept}: {policy} can remove {len(removal.positions)} samples, influence removed {len(removed)}"
        )
    _write(removal, arrays, {**meta, "policy": policy, "iteration": iteration}, cell.kept)


def _check_finite(arrays: dict, name: str, scores: Path) -> None:
    finite = np.isfinite(arrays[name])
    if not finite.all():
        sample = int(arrays["positions"][np.argmin(finite)])
        raise UserError(f"{scores}: {name} of training sample {sample} is {arrays[name][np.argmin(finite)]}, which "
                        "removals cannot go by; score the model again, with more damping")  # fmt: skip


def _write(removal: Removal, arrays: dict, meta: dict, out: Path) -> None:
    for label in removal.capped:
        print(f"warning: {out}: class {label} would lose more than half of its samples, or some of fewer than "
              f"{SPARED}; capped", file=sys.stderr)  # fmt: skip
    kept = np.delete(arrays["positions"], removal.positions)
    removed = {"count": len(removal.positions), "flipped": int(arrays["flipped"][removal.positions].sum())}
    write_arrays(out, {**meta, "removed": removed}, positions=kept)
    columns = {name: arrays[name][removal.positions] for name in ("positions", "labels", "flipped", "influence")}
    rows = [{"position": int(p), "label": int(y), "flipped": int(f), "influence": repr(float(i))}
            for p, y, f, i in zip(*columns.values(), strict=True)]  # fmt: skip
    write_rows(out.with_name("removed.csv"), ["position", "label", "flipped", "influence"], rows)


def choose_iteration(config: dict, first: Cell) -> None:
    """Say which iteration of influence a careful user would have kept, by the selection part: guard.json.

    It holds ``iteration``, and selection loss and accuracy of each.
    """
    iterations = range(config["iterations"] + 1)
    predictions = [first.at(policy="influence", iteration=k).file("predictions.npz") for k in iterations]
    losses_by_iteration, correct, facts = [], [], {}
    check_shared({path: read_meta(path) for path in predictions}, "training_set")
    for path in predictions:
        arrays, facts = read_arrays(path, "probabilities_selection", "labels_selection")
        p, labels = arrays["probabilities_selection"], arrays["labels_selection"]
        losses_by_iteration.append(losses(p, labels))
        correct.append(p.argmax(axis=1) == labels)
    content = {
        "iteration": guard(losses_by_iteration, correct),
        "selection_loss": [float(values.mean()) for values in losses_by_iteration],
        "selection_accuracy": [float(values.mean()) for values in correct],
        "provenance": facts,
    }
    write_json(first.guard, content)
