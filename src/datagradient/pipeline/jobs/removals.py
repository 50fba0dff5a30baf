"""Which samples a model goes without, and when to stop, as files: kept.npz, removed.csv and guard.json."""

import sys
from pathlib import Path

import numpy as np

from datagradient.errors import UserError
from datagradient.files import read_arrays, read_meta, read_rows, write_arrays, write_json, write_rows
from datagradient.pipeline.layout import BASELINE, Cell
from datagradient.pipeline.provenance import check_shared
from datagradient.refine.policies import INFLUENCE, POLICIES, QUALITY
from datagradient.refine.removal import SPARED, Removal, choose, kept_iteration


def remove(config: dict, cell: Cell) -> None:
    """Choose the samples that a model goes without, by the scores of the iteration before: kept.npz and removed.csv.

    By influence at most the preset's share is removed; other policies remove as many.
    """
    scores = cell.at(iteration=cell.iteration - 1).file("scores.npz")
    arrays, meta = read_arrays(scores)
    declared, counts = POLICIES[cell.policy], None
    if cell.policy != INFLUENCE:
        counts = _counts_of_influence(cell, scores, meta, int(arrays["labels"].max()) + 1)
    if declared.is_rated_once:
        quality = cell.at(policy=BASELINE, iteration=0).file("quality.npz")
        rated, facts = read_arrays(quality, QUALITY)
        # Rated once, as the whole training part was: the training sets differ from the second iteration on.
        check_shared({scores: meta, quality: facts}, "training_set")
        arrays[QUALITY] = rated[QUALITY][arrays["positions"]]
    removal = choose(cell.policy, arrays, config["removal_fraction"], counts, meta["seed"], cell.iteration, str(scores))
    write_removal(removal, arrays, meta, cell)


def _counts_of_influence(cell: Cell, scores: Path, meta: dict, n_classes: int) -> np.ndarray:
    """Return how many samples of each class influence removed in the same iteration."""
    like, iteration = cell.at(policy=INFLUENCE).file("removed.csv"), cell.iteration
    labels = [int(row["label"]) for row in read_rows(like, "label")]
    facts = read_meta(like.with_name("kept.npz"))
    check_shared({scores: meta, like: facts}, "training_set")
    if facts.get("iteration") != iteration:
        raise UserError(f"{like}: is of iteration {facts.get('iteration')}, and {iteration} is needed")
    return np.bincount(np.array(labels, dtype=np.int64), minlength=n_classes)


def write_removal(removal: Removal, arrays: dict, meta: dict, cell: Cell) -> None:
    """Write kept.npz and removed.csv of a model.

    Args:
        removal: what it goes without.
        arrays: those of scores.npz of the iteration before.
        meta: the facts there.
        cell: the model.
    """
    out, meta = cell.kept, {**meta, "policy": cell.policy, "iteration": cell.iteration}
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
    predictions = [first.at(policy=INFLUENCE, iteration=k).file("predictions.npz") for k in iterations]
    selections, facts = [], {}
    check_shared({path: read_meta(path) for path in predictions}, "training_set")
    for path in predictions:
        arrays, facts = read_arrays(path, "probabilities_selection", "labels_selection")
        selections.append((arrays["probabilities_selection"], arrays["labels_selection"]))
    kept, losses_by_iteration, correct = kept_iteration(selections)
    content = {
        "iteration": kept,
        "selection_loss": [float(values.mean()) for values in losses_by_iteration],
        "selection_accuracy": [float(values.mean()) for values in correct],
        "provenance": facts,
    }
    write_json(first.guard, content)
