"""Removal policies: which training samples the next iteration goes without, and when to stop."""

from dataclasses import dataclass

import numpy as np

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
