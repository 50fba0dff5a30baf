"""Removals: which training samples the next iteration goes without, and when to stop."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from datagradient.errors import UserError
from datagradient.metrics import losses
from datagradient.refine.policies import POLICIES
from datagradient.refine.wrong_labels import recalibrated
from datagradient.seeds import generator

Part = tuple[np.ndarray, np.ndarray]  # class probabilities (m, classes) and labels (m,) of a part
SPARED = 10  # of a class with fewer samples none is removed, by any policy


def _none() -> np.ndarray:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Removal:
    """What a training set goes without, as positions into it, and what is relabelled in it.

    Attributes:
        positions: (k,) of the samples to remove.
        capped: the classes whose cap held some back.
        relabelled: (r,) positions of the samples that get another label.
        new_labels: (r,) these labels.
    """

    positions: np.ndarray
    capped: tuple[int, ...] = ()
    relabelled: np.ndarray = field(default_factory=_none)
    new_labels: np.ndarray = field(default_factory=_none)


def choose(
    policy: str,
    arrays: dict[str, np.ndarray],
    fraction: float,
    counts: np.ndarray | None,
    seed: int,
    iteration: int,
    where: str = "scores",
) -> Removal:
    """Choose the samples that the next model goes without.

    Args:
        policy: one of `POLICIES`. ``influence`` removes at most a share `fraction`, the others as many as it did.
        arrays: of the current training set, ``labels`` (n,) as the model sees them, ``positions`` (n,), and the scores
            (n,) that the policy goes by.
        fraction: of the current training set, in (0, 1).
        counts: (classes,) how many samples of each class ``influence`` removed; None for itself.
        seed: the run's seed.
        iteration: the iteration that the removal leads to.
        where: names the scores in messages.

    Raises:
        UserError: a score is missing or not finite, or the policy cannot remove as many.
    """
    score = POLICIES[policy].score
    if score:
        _check_finite(arrays, score, where)
    if counts is None:
        return by_influence(arrays["influence"], arrays["labels"], fraction)
    removal = as_many(policy, counts, arrays, seed, iteration)
    if len(removal.positions) != counts.sum():
        raise UserError(f"{where}: {policy} can remove {len(removal.positions)} samples, influence removed "
                        f"{counts.sum()}")  # fmt: skip
    return removal


def _check_finite(arrays: dict[str, np.ndarray], name: str, where: str) -> None:
    if name not in arrays:
        raise UserError(f"{where}: holds no {name}; score the model again")
    finite = np.isfinite(arrays[name])
    if not finite.all():
        sample = int(arrays["positions"][np.argmin(finite)])
        raise UserError(f"{where}: {name} of training sample {sample} is {arrays[name][np.argmin(finite)]}, which "
                        "removals cannot go by; score the model again, with more damping")  # fmt: skip


def removed_by_class(removal: Removal, labels: np.ndarray) -> np.ndarray:
    """Return how many samples of each class (classes,) a removal takes."""
    return np.bincount(labels[removal.positions], minlength=labels.max() + 1)


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


def removable(labels: np.ndarray) -> np.ndarray:
    """Return which samples (n,) may be removed at all: those of classes that are not spared."""
    return _most_removed(labels)[labels] > 0


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
    return Removal(order[removable(labels)[order]][: int(counts.sum())])


def guard(losses_by_iteration: list[np.ndarray]) -> int:
    """Return the iteration that a careful user would keep, by samples that no score has seen.

    It is the one with the lowest mean loss on the selection part, if this is lower than that of the unrefined model by
    more than one standard error of the paired difference (after Breiman et al. 1984, who prefer the simpler of two
    models within one standard error); otherwise 0. All rounds are judged at once: one that helps may follow one that
    seems not to.

    Args:
        losses_by_iteration: for each iteration the loss of every selection sample (m,).
    """
    best = int(np.argmin([values.mean() for values in losses_by_iteration]))
    gain = losses_by_iteration[0] - losses_by_iteration[best]
    return best if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)) else 0


def kept_iteration(predictions: Sequence[tuple[Part, Part]]) -> tuple[int, list[np.ndarray]]:
    """Return the iteration that `guard` keeps, with the losses on the selection part that it goes by.

    They are those after recalibration on the influence part: refinement changes how sure a model is, which a
    temperature and class biases undo, and only what they cannot undo counts (Berta et al. 2025, arXiv 2501.19195).

    Args:
        predictions: for each iteration the class probabilities (m, classes) and labels (m,) of the influence part, and
            those of the selection part.
    """
    by_iteration = [
        losses(recalibrated([selection], [influence], known), labels)
        for (influence, known), (selection, labels) in predictions
    ]
    return guard(by_iteration), by_iteration


def _rank_within_class(labels: np.ndarray) -> np.ndarray:
    """Return for every position how many earlier ones have the same label."""
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        rank[where] = np.arange(len(where))
    return rank
