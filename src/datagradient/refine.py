"""Removal policies: which training samples the next iteration goes without."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datagradient.errors import UserError
from datagradient.files import read_arrays, read_rows, write_arrays, write_rows
from datagradient.seeds import generator


@dataclass(frozen=True)
class Removal:
    """Positions (into the current training set) to remove, and the classes whose cap held some back."""

    positions: np.ndarray
    capped: tuple[int, ...] = ()


def by_influence(influence: np.ndarray, labels: np.ndarray, fraction: float) -> Removal:
    """Remove the most harmful samples: the largest I_i, only those above 0.

    At most ``floor(fraction · n)`` are removed, and no class loses more than half of its samples.

    Args:
        influence: (n,) scores; positive is harmful.
        labels: (n,) training labels as the model sees them.
        fraction: of the current training set, in (0, 1).
    """
    order = np.argsort(-influence, kind="stable")
    order = order[influence[order] > 0]
    held_back = _rank_within_class(labels[order]) >= (np.bincount(labels) // 2)[labels[order]]
    taken_before = np.cumsum(~held_back) - ~held_back
    looked_at = taken_before < int(fraction * len(labels))
    capped = np.unique(labels[order[looked_at & held_back]])
    return Removal(order[looked_at & ~held_back], tuple(capped.tolist()))


def at_random(counts: np.ndarray, labels: np.ndarray, seed: int, iteration: int) -> Removal:
    """Remove as many samples of each class as `counts` says, drawn at random: the control of every policy.

    Args:
        counts: (classes,) how many samples of each class another policy removed.
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


def _rank_within_class(labels: np.ndarray) -> np.ndarray:
    """Return for every position how many earlier ones have the same label."""
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        rank[where] = np.arange(len(where))
    return rank


def prune_files(policy: str, scores: str, like: str | None, fraction: float, iteration: int, out: str) -> None:
    """Read a model's scores, choose by one policy, and write kept.npz to `out` and removed.csv beside it.

    Args:
        policy: ``"influence"`` or ``"random"``.
        scores: scores.npz of the current iteration.
        like: removed.csv of the policy whose number and class mix ``"random"`` copies.
        fraction: at most this share of the current training set is removed.
        iteration: the iteration that the removal leads to.
        out: kept.npz to write.
    """
    arrays, meta = read_arrays(scores)
    labels = arrays["labels"]
    if policy == "influence":
        removal = by_influence(arrays["influence"], labels, fraction)
    elif like is None:
        raise UserError("prune: policy random needs --like, the removed.csv of the policy it is compared with")
    else:
        removed_labels = [int(row["label"]) for row in read_rows(like)]
        removal = at_random(np.bincount(removed_labels, minlength=labels.max() + 1), labels, meta["seed"], iteration)
    for label in removal.capped:
        print(f"warning: {out}: class {label} would lose more than half of its samples; capped", file=sys.stderr)
    kept = np.delete(arrays["positions"], removal.positions)
    removed = {"count": len(removal.positions), "flipped": int(arrays["flipped"][removal.positions].sum())}
    write_arrays(out, {**meta, "policy": policy, "iteration": iteration, "removed": removed}, positions=kept)
    columns = {name: arrays[name][removal.positions] for name in ("positions", "labels", "flipped", "influence")}
    rows = [{"position": int(p), "label": int(y), "flipped": int(f), "influence": repr(float(i))}
            for p, y, f, i in zip(*columns.values(), strict=True)]  # fmt: skip
    write_rows(Path(out).with_name("removed.csv"), ["position", "label", "flipped", "influence"], rows)
