"""Removal policies: which training samples the next iteration goes without, and when to stop."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datagradient.errors import UserError
from datagradient.files import read_arrays, read_meta, read_rows, write_arrays, write_json, write_rows
from datagradient.metrics import losses
from datagradient.provenance import check_shared
from datagradient.seeds import generator

SPARED = 10  # of a class with fewer samples none is removed, by any policy


@dataclass(frozen=True)
class Removal:
    """Positions (into the current training set) to remove, and the classes whose cap held some back."""

    positions: np.ndarray
    capped: tuple[int, ...] = ()


def by_influence(influence: np.ndarray, labels: np.ndarray, fraction: float) -> Removal:
    """Remove the most harmful samples: the largest I_i, only those above 0.

    At most ``floor(fraction · n)`` are removed, no class loses more than half of its samples, and one with fewer than
    `SPARED` loses none.

    Args:
        influence: (n,) scores; positive is harmful.
        labels: (n,) training labels as the model sees them.
        fraction: of the current training set, in (0, 1).
    """
    return most_harmful(influence, labels, int(fraction * len(labels)), above=0.0)


def most_harmful(harm: np.ndarray, labels: np.ndarray, count: int, above: float = -np.inf) -> Removal:
    """Remove the `count` samples with the largest `harm` (n,), only those `above`, and of no class more than half.

    Of a class with fewer than `SPARED` samples none is removed. What is held back of one class is taken from the
    others.
    """
    order = np.argsort(-harm, kind="stable")
    order = order[harm[order] > above]
    held_back = _rank_within_class(labels[order]) >= _most_removed(labels)[labels[order]]
    taken_before = np.cumsum(~held_back) - ~held_back
    looked_at = taken_before < count
    capped = np.unique(labels[order[looked_at & held_back]])
    return Removal(order[looked_at & ~held_back], tuple(capped.tolist()))


def _most_removed(labels: np.ndarray) -> np.ndarray:
    """Return how many samples of each class may be removed (classes,)."""
    counts = np.bincount(labels)
    return np.where(counts < SPARED, 0, counts // 2)


def at_random(counts: np.ndarray, labels: np.ndarray, seed: int, iteration: int) -> Removal:
    """Remove as many samples of each class as `counts` says, drawn at random.

    Args:
        counts: (classes,) how many samples of each class another policy removed; it spares small classes, and since
            both have the same class mix these are the same here.
        labels: (n,) training labels as the model sees them.
        seed: the run's seed.
        iteration: the iteration that the removal leads to.
    """
    random = generator(seed, "random removal", iteration)
    positions = [
        random.choice(np.flatnonzero(labels == label), size=count, replace=False)
        for label, count in enumerate(counts)
        if count
    ]
    return Removal(np.concatenate(positions) if positions else np.empty(0, dtype=np.int64))


def by_control(policy: str, counts: np.ndarray, arrays: dict, seed: int, iteration: int) -> Removal:
    """Remove as many samples as the policy ``influence``, chosen otherwise.

    ``random``: drawn from each class as many as influence removed of it. ``uniform``: drawn from all samples alike, but
    for those of classes that are spared.
    ``loss``: the largest training losses. ``gradient``: the largest −g_iᵀv, v the gradient of the validation loss: the
    influence with the identity for the Hessian. ``confident``: the lowest label quality by confident learning.

    Args:
        policy: one of these.
        counts: (classes,) how many samples of each class influence removed.
        arrays: ``labels`` (n,), and what the policy goes by: ``loss``, ``gradient`` or ``quality``, each (n,).
        seed: the run's seed.
        iteration: the iteration that the removal leads to.
    """
    labels, count = arrays["labels"], int(counts.sum())
    if policy == "random":
        return at_random(counts, labels, seed, iteration)
    if policy == "uniform":
        order = generator(seed, "uniform removal", iteration).permutation(len(labels))
        return Removal(order[_most_removed(labels)[labels[order]] > 0][:count])
    harm = -arrays["quality"] if policy == "confident" else arrays[policy]
    return most_harmful(harm, labels, count)


def guard(losses_by_iteration: list[np.ndarray], correct: list[np.ndarray]) -> int:
    """Return the last iteration that a careful user would keep, by samples that no score has seen.

    A round of removal is accepted where it lowers the mean loss on the selection part by more than one standard error
    of the paired difference (after Breiman et al. 1984, who prefer the simpler of two models within one standard
    error) and does not lower the accuracy there. The first round that is not accepted ends the refinement.

    Args:
        losses_by_iteration: for each iteration the loss of every selection sample (m,).
        correct: for each iteration whether its prediction is right (m,).
    """
    for k in range(1, len(losses_by_iteration)):
        gain = losses_by_iteration[k - 1] - losses_by_iteration[k]
        better = gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain))
        if not better or correct[k].mean() < correct[k - 1].mean():
            return k - 1
    return len(losses_by_iteration) - 1


def _rank_within_class(labels: np.ndarray) -> np.ndarray:
    """Return for every position how many earlier ones have the same label."""
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        rank[where] = np.arange(len(where))
    return rank


def prune_files(scores: str, fraction: float, iteration: int, out: str) -> None:
    """Read a model's scores, remove by influence, and write kept.npz to `out` and removed.csv beside it.

    Args:
        scores: scores.npz of the current iteration.
        fraction: at most this share of the current training set is removed.
        iteration: the iteration that the removal leads to.
        out: kept.npz to write.
    """
    arrays, meta = read_arrays(scores)
    _check_finite(arrays, "influence", scores)
    removal = by_influence(arrays["influence"], arrays["labels"], fraction)
    _write(removal, arrays, {**meta, "policy": "influence", "iteration": iteration}, out)


def control_files(policy: str, scores: str, like: str, quality: str | None, iteration: int, out: str) -> None:
    """Read a model's scores, remove as many samples as influence did, and write kept.npz and removed.csv.

    Args:
        policy: how to choose, see `by_control`.
        scores: scores.npz of the policy's current iteration.
        like: removed.csv of the policy ``influence`` in the same iteration.
        quality: quality.npz that 'cross-validate' wrote; for ``confident`` alone.
        iteration: the iteration that the removal leads to.
        out: kept.npz to write.
    """
    arrays, meta = read_arrays(scores)
    if policy == "confident":
        if quality is None:
            raise UserError("control: policy confident needs --quality, the quality.npz that 'cross-validate' writes")
        rated, facts = read_arrays(quality, "quality")
        # Rated once, as the whole training part was: the training sets differ from the second iteration on.
        check_shared({scores: meta, quality: facts}, "training_set")
        arrays["quality"] = rated["quality"][arrays["positions"]]
    elif policy in ("loss", "gradient") and policy not in arrays:
        raise UserError(f"{scores}: holds no {policy}; score again with: datagradient influence --also {policy}")
    if policy in ("loss", "gradient", "confident"):
        _check_finite(arrays, "quality" if policy == "confident" else policy, scores)
    removed = [int(row["label"]) for row in read_rows(like, "label")]
    removal_facts = read_meta(Path(like).with_name("kept.npz"))
    check_shared({scores: meta, like: removal_facts}, "training_set")
    if removal_facts.get("iteration") != iteration:
        raise UserError(f"{like}: is of iteration {removal_facts.get('iteration')}, and --iteration is {iteration}")
    counts = np.bincount(removed, minlength=arrays["labels"].max() + 1)
    removal = by_control(policy, counts, arrays, meta["seed"], iteration)
    if len(removal.positions) != len(removed):
        raise UserError(
            f"{out}: {policy} can remove {len(removal.positions)} samples, influence removed {len(removed)}"
        )
    _write(removal, arrays, {**meta, "policy": policy, "iteration": iteration}, out)


def _check_finite(arrays: dict, name: str, scores: str) -> None:
    finite = np.isfinite(arrays[name])
    if not finite.all():
        sample = int(arrays["positions"][np.argmin(finite)])
        raise UserError(f"{scores}: {name} of training sample {sample} is {arrays[name][np.argmin(finite)]}, which "
                        "removals cannot go by; score the model again, with more damping")  # fmt: skip


def _write(removal: Removal, arrays: dict, meta: dict, out: str) -> None:
    for label in removal.capped:
        print(f"warning: {out}: class {label} would lose more than half of its samples, or some of fewer than "
              f"{SPARED}; capped", file=sys.stderr)  # fmt: skip
    kept = np.delete(arrays["positions"], removal.positions)
    removed = {"count": len(removal.positions), "flipped": int(arrays["flipped"][removal.positions].sum())}
    write_arrays(out, {**meta, "removed": removed}, positions=kept)
    columns = {name: arrays[name][removal.positions] for name in ("positions", "labels", "flipped", "influence")}
    rows = [{"position": int(p), "label": int(y), "flipped": int(f), "influence": repr(float(i))}
            for p, y, f, i in zip(*columns.values(), strict=True)]  # fmt: skip
    write_rows(Path(out).with_name("removed.csv"), ["position", "label", "flipped", "influence"], rows)


def guard_files(predictions: list[str], out: str) -> None:
    """Read the predictions of every iteration of the policy ``influence``, and write which of them is kept.

    Args:
        predictions: predictions.npz of the iterations, the baseline first.
        out: guard.json to write: ``iteration``, the one that is kept, and selection loss and accuracy of each.
    """
    each_loss, correct, facts = [], [], {}
    check_shared({path: read_meta(path) for path in predictions}, "training_set")
    for path in predictions:
        arrays, facts = read_arrays(path, "probabilities_selection", "labels_selection")
        p, labels = arrays["probabilities_selection"], arrays["labels_selection"]
        each_loss.append(losses(p, labels))
        correct.append(p.argmax(axis=1) == labels)
    content = {
        "iteration": guard(each_loss, correct), "selection_loss": [float(each.mean()) for each in each_loss],
        "selection_accuracy": [float(each.mean()) for each in correct], "provenance": facts,
    }  # fmt: skip
    write_json(out, content)
