"""Removals: which training samples the next iteration goes without, and when to stop."""

from dataclasses import dataclass

import numpy as np

from datagradient.refine.policies import POLICIES
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


def as_many(policy: str, counts: np.ndarray, arrays: dict[str, np.ndarray], seed: int, iteration: int) -> Removal:
    """Remove as many samples as the policy ``influence`` did, chosen by another.

    Args:
        policy: one of `POLICIES`.
        counts: (classes,) how many samples of each class influence removed.
        arrays: ``labels`` (n,) as the model sees them, and the scores (n,) that the policy goes by.
        seed: the run's seed.
        iteration: the iteration that the removal leads to.
    """
    labels, harm = arrays["labels"], POLICIES[policy].harm(arrays)
    if harm is not None:
        return most_harmful(harm, labels, int(counts.sum()))
    random, keeps_mix = generator(seed, f"{policy} removal", iteration), POLICIES[policy].keeps_mix
    return _with_the_mix(counts, labels, random) if keeps_mix else _from_all(counts, labels, random)


def _with_the_mix(counts: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> Removal:
    """Draw as many samples of each class as `counts` says; influence, which it is from, spares the same classes."""
    positions = [
        random.choice(np.flatnonzero(labels == label), size=count, replace=False)
        for label, count in enumerate(counts)
        if count
    ]
    return Removal(np.concatenate(positions) if positions else np.empty(0, dtype=np.int64))


def _from_all(counts: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> Removal:
    """Draw as many samples as `counts` says in all, from all alike but for those of classes that are spared."""
    order = random.permutation(len(labels))
    return Removal(order[_most_removed(labels)[labels[order]] > 0][: int(counts.sum())])


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
