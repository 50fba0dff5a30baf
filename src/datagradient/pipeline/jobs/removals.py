"""Which samples a model goes without, and when to stop, as files: kept.npz, removed.csv and guard.json."""

import sys
from pathlib import Path

import numpy as np

from datagradient.errors import UserError
from datagradient.files import read_arrays, read_meta, read_rows, write_arrays, write_json, write_rows
from datagradient.metrics import measure
from datagradient.models import declared
from datagradient.pipeline.jobs.crossfit import read_crossfits
from datagradient.pipeline.layout import Cell
from datagradient.pipeline.provenance import check_shared
from datagradient.pipeline.training import load_training_set
from datagradient.refine.loop import evidence_of
from datagradient.refine.policies import INFLUENCE, POLICIES, QUALITY
from datagradient.refine.quality import label_quality
from datagradient.refine.removal import SPARED, Removal, choose, kept_iteration
from datagradient.refine.repair import DECISIONS


def remove(config: dict, cell: Cell) -> None:
    """Choose the samples that a model goes without, by the scores of the iteration before: kept.npz and removed.csv.

    By influence at most the preset's share is removed; other policies remove as many, but for those that decide once.
    """
    scores = cell.at(iteration=cell.iteration - 1).file("scores.npz")
    arrays, meta = read_arrays(scores)
    policy, counts = POLICIES[cell.policy], None
    if policy.once:
        samples = load_training_set(declared(cell.model).inputs, cell.data, cell.labels, None)
        crossfits = read_crossfits(config, cell) if policy.needs_crossfit else []
        write_removal(DECISIONS[cell.policy](evidence_of(samples, cell.model, crossfits)), arrays, meta, cell)
        return
    if cell.policy != INFLUENCE:
        counts = _counts_of_influence(cell, scores, meta, int(arrays["labels"].max()) + 1)
    if policy.is_rated_once:
        # Of the whole training part: the training sets differ from the second iteration on.
        samples = load_training_set(declared(cell.model).inputs, cell.data, cell.labels, None)
        quality = label_quality(samples.labels, read_crossfits(config, cell)[0].probabilities)
        arrays[QUALITY] = quality[arrays["positions"]]
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
    """Write kept.npz and removed.csv of a model, and relabelled.csv where labels change.

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
    places, new_labels = removal.relabelled, removal.new_labels
    relabelled = {"positions": arrays["positions"][places], "labels": new_labels} if len(places) else {}
    added = POLICIES[cell.policy].adds_validation
    facts = {**meta, "removed": removed, "relabelled": len(places), "validation_added": added}
    write_arrays(out, facts, positions=kept, **{f"relabelled_{name}": part for name, part in relabelled.items()})
    columns = {name: arrays[name][removal.positions] for name in ("positions", "labels", "flipped", "influence")}
    rows = [{"position": int(p), "label": int(y), "flipped": int(f), "influence": repr(float(i))}
            for p, y, f, i in zip(*columns.values(), strict=True)]  # fmt: skip
    write_rows(out.with_name("removed.csv"), ["position", "label", "flipped", "influence"], rows)
    changed = out.with_name("relabelled.csv")
    changed.unlink(missing_ok=True)  # of an earlier run: Snakemake does not know of it
    if len(places):
        columns = (arrays["positions"][places], arrays["labels"][places], new_labels)
        changes = [{"position": int(p), "label": int(y), "new_label": int(c)} for p, y, c in zip(*columns, strict=True)]
        write_rows(changed, ["position", "label", "new_label"], changes)


def choose_iteration(config: dict, first: Cell) -> None:
    """Say which iteration of influence a careful user would have kept, by the selection part: guard.json.

    Holds ``iteration``, and of each iteration the selection loss, recalibrated and plain, and the selection accuracy.
    """
    iterations = range(config["iterations"] + 1)
    files = [first.at(policy=INFLUENCE, iteration=k).file("predictions.npz") for k in iterations]
    check_shared({path: read_meta(path) for path in files}, "training_set")
    names = [f"{kind}_{part}" for part in ("influence", "selection") for kind in ("probabilities", "labels")]
    contents = [read_arrays(path, *names) for path in files]
    parts = [[arrays[name] for name in names] for arrays, _ in contents]
    kept, recalibrated = kept_iteration([(tuple(part[:2]), tuple(part[2:])) for part in parts])
    selections = [measure(*part[2:]) for part in parts]
    content = {
        "iteration": kept,
        "recalibrated_loss": [float(values.mean()) for values in recalibrated],
        "selection_loss": [metrics["loss"] for metrics in selections],
        "selection_accuracy": [metrics["accuracy"] for metrics in selections],
        "provenance": contents[-1][1],
    }
    write_json(first.guard, content)
