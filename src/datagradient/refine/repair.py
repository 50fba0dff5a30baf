"""What to remove and what to relabel, decided once by cross-fitted models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from datagradient.errors import UserError
from datagradient.metrics import losses
from datagradient.refine.crossfit import CrossFit
from datagradient.refine.removal import Removal, most_harmful, removable
from datagradient.refine.wrong_labels import right_label_probabilities
from datagradient.seeds import generator

CAUTION = 0.5  # share of the labels expected to be wrong that removal by influence takes: the ranking is not perfect
SURE = 0.75  # share of wrong labels expected among those that are removed or relabelled, and of right new labels


@dataclass(frozen=True)
class Evidence:
    """What decisions about the n samples of a training part go by.

    Attributes:
        labels: (n,) as given.
        crossfits: of the model family itself, then of the cheaper ones.
        trusted: whether the validation labels are right.
        convex: whether the model's influence predicts what retraining without a sample does.
        seed: the run's seed, for random choices.
        right: (n,) the right labels, for the arms that know them; None if nobody does.
        checked: of other samples, whose labels somebody checked, as in `right_label_probabilities`; None if nobody did.
        by_doubt: whether decisions go by the probability that a label is wrong even where influence could be used.
    """

    labels: np.ndarray
    crossfits: Sequence[CrossFit]
    trusted: bool
    convex: bool
    seed: int
    right: np.ndarray | None = field(default=None, repr=False)
    checked: np.ndarray | None = field(default=None, repr=False)
    by_doubt: bool = False

    @cached_property
    def own(self) -> "Judgement":
        """The judgement of the model family itself."""
        return self._judged(self.crossfits[:1])

    @cached_property
    def joint(self) -> "Judgement":
        """The judgement of all families together."""
        return self._judged(self.crossfits) if len(self.crossfits) > 1 else self.own

    def _judged(self, crossfits: Sequence[CrossFit]) -> "Judgement":
        return judge(crossfits, self.labels, self.trusted, self.checked, self.by_doubt)


@dataclass(frozen=True)
class Judgement:
    """Of n samples and each label that they could have: influence, and the probability that it is the right one.

    ``harm`` (n,) is the influence with the given label, ``doubt`` (n,) the probability that the given label is wrong.
    Where no label is trusted, a model has no influence, or decisions go by doubt, the probability that a label is wrong
    stands for influence.
    """

    influence: np.ndarray
    right: np.ndarray
    harm: np.ndarray
    doubt: np.ndarray

    @property
    def wrong(self) -> float:
        """The expected number of wrong labels."""
        return float(self.doubt.sum())


def judge(
    crossfits: Sequence[CrossFit], labels: np.ndarray, trusted: bool, checked: np.ndarray | None = None,
    by_doubt: bool = False,
) -> Judgement:  # fmt: skip
    """Return what one or more families' cross-fitted models say together; arguments are those of `Evidence`.

    Influences are added, each in units of its mean size for the given labels. Without right validation labels influence
    finds harmful samples no better than chance, and some models have none; the probability that a label is wrong then
    takes its place.
    """
    rows, first = np.arange(len(labels)), crossfits[0]
    right = right_label_probabilities(
        [part.probabilities for part in crossfits], labels, [part.validation for part in crossfits],
        first.validation_labels, trusted, checked,
    )  # fmt: skip
    doubt = 1 - right[rows, labels]
    if by_doubt or not trusted or any(np.isnan(part.influence).any() for part in crossfits):
        return Judgement(1 - right, right, doubt, doubt)
    influence = sum(part.influence / (np.abs(part.influence[rows, labels]).mean() or 1.0) for part in crossfits)
    return Judgement(influence, right, influence[rows, labels], doubt)


def half_of_the_harmful(evidence: Evidence) -> Removal:
    """Remove half as many samples as labels are expected to be wrong: the largest cross-fitted influence."""
    own = evidence.own
    return most_harmful(own.harm, evidence.labels, int(CAUTION * own.wrong))


def repair(evidence: Evidence) -> Removal:
    """Relabel the harmful samples whose right label the models agree on, and remove the other harmful ones.

    Harmful are, for convex models, the samples that `half_of_the_harmful` removes; for others, whose influence is less
    exact, those with the largest influence by all families together, as many as are expected to be wrong with a share
    of `SURE`, and no more than labels are expected to be wrong. Models agree on a label if it is the most probable
    one, by at least `SURE`, and that with the least influence on the loss.
    """
    if evidence.convex:
        judged = evidence.own
        harmful = half_of_the_harmful(evidence)
    else:
        judged = evidence.joint
        count = min(_as_many_as_doubtful(judged), int(judged.wrong))
        harmful = most_harmful(judged.harm, evidence.labels, count)
    places = harmful.positions
    probable, best = judged.right[places].argmax(axis=1), judged.influence[places].argmin(axis=1)
    agreed = (probable == best) & (probable != evidence.labels[places]) & (judged.right[places].max(axis=1) >= SURE)
    return Removal(places[~agreed], harmful.capped, places[agreed], probable[agreed])


def _as_many_as_doubtful(judged: Judgement) -> int:
    """Return the largest number of the most harmful samples whose mean doubt is at least `SURE`."""
    doubt = judged.doubt[np.argsort(-judged.harm, kind="stable")]
    enough = np.flatnonzero(np.cumsum(doubt) >= SURE * np.arange(1, len(doubt) + 1))
    return int(enough[-1]) + 1 if len(enough) else 0


def as_many_by_loss(evidence: Evidence) -> Removal:
    """Remove as many as `half_of_the_harmful`: the largest losses of the models that have not seen the sample."""
    count = len(half_of_the_harmful(evidence).positions)
    return most_harmful(losses(evidence.crossfits[0].probabilities, evidence.labels), evidence.labels, count)


def as_many_at_random(evidence: Evidence) -> Removal:
    """Remove as many as `half_of_the_harmful`, drawn from all alike."""
    count = len(half_of_the_harmful(evidence).positions)
    order = generator(evidence.seed, "as many at random").permutation(len(evidence.labels))
    return Removal(order[removable(evidence.labels)[order]][:count])


def right_labels(evidence: Evidence) -> Removal:
    """Relabel every sample whose label is wrong: what the best of repairs would do."""
    wrong = np.flatnonzero(evidence.labels != _known(evidence))
    return Removal(np.empty(0, dtype=np.int64), (), wrong, _known(evidence)[wrong])


def without_the_wrong(evidence: Evidence) -> Removal:
    """Remove every sample whose label is wrong: what the best of removals would do."""
    return Removal(np.flatnonzero(evidence.labels != _known(evidence)))


def nothing(evidence: Evidence) -> Removal:
    """Remove and relabel no sample."""
    return Removal(np.empty(0, dtype=np.int64))


def _known(evidence: Evidence) -> np.ndarray:
    if evidence.right is None:
        raise UserError("the right labels of the training samples are not known: leave out true_labels and "
                        "oracle_removal")  # fmt: skip
    return evidence.right


# Policy -> the function that decides. A new one-time policy is an entry here and one of `POLICIES`.
DECISIONS: dict[str, Callable[[Evidence], Removal]] = {
    "crossfit": half_of_the_harmful,
    "repair": repair,
    "crossfit_loss": as_many_by_loss,
    "crossfit_uniform": as_many_at_random,
    "added": nothing,
    "repair_added": repair,
    "true_labels": right_labels,
    "oracle_removal": without_the_wrong,
}
