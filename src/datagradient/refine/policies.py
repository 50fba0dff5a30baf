"""The removal policies that there are, and the scores that they go by. Imports nothing heavy: the Snakefile uses it.

A new policy is an entry of `POLICIES`; where it goes by a new score, that is a function here and an entry of `SCORES`;
where it decides once, that is a function in `datagradient.refine.repair`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datagradient.data.conditions import PUBLISHED, is_untrusted

if TYPE_CHECKING:
    from types import ModuleType

    import numpy as np

INFLUENCE = "influence"  # the score that all models have
QUALITY = "quality"  # a score of the whole training part, by cross-fitted models; low where a label is likely wrong
TRUE_LABELS, ORACLE_REMOVAL = "true_labels", "oracle_removal"  # ideal policies, which others are measured by


@dataclass(frozen=True)
class Basis:
    """What scores of n training samples are computed from.

    Attributes:
        family: the module of the model family.
        model: the trained model.
        inputs: (n, …) training samples, in the form that the family takes.
        labels: (n,) as the model was trained on them.
        validation: inputs and labels of the influence-validation part.
        problem: the influence problem of the samples, a `datagradient.influence.scores.Problem`.
        gradient: v, the gradient of the mean validation loss by the problem's parameters.
    """

    family: ModuleType
    model: Any
    inputs: Any
    labels: np.ndarray
    validation: tuple[Any, np.ndarray]
    problem: Any
    gradient: np.ndarray

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """The model's class probabilities for the samples (n, classes)."""
        return self.family.probabilities(self.model, self.inputs)


def gradient(basis: Basis) -> np.ndarray:
    """Return −g_iᵀv: the influence with the identity for the Hessian."""
    return -basis.problem.project(basis.gradient)


def loss(basis: Basis) -> np.ndarray:
    """Return the training losses."""
    from datagradient.metrics import losses

    return losses(basis.probabilities, basis.labels)


# Score -> the function that returns it: (n,), high where a sample is harmful. A sample's score must not depend on which
# other samples there are, which may be a shard of the training set. They stand in scores.npz in this order.
SCORES = {"gradient": gradient, "loss": loss}
ALWAYS = ("gradient", "loss")  # that the unrefined models have, whatever the policies: tables compare them


@dataclass(frozen=True)
class Policy:
    """What a removal policy declares of itself.

    Attributes:
        description: which samples it removes, in one sentence.
        score: what it goes by: one of `SCORES`, `INFLUENCE` or `QUALITY`; None for a random choice.
        keeps_mix: of a random policy, whether it takes as many of each class as ``influence`` did, or from all alike.
        trains: whether models are trained without what it removes. ``guarded``, which does not, keeps one of those of
            ``influence``.
        once: whether it decides once about the whole training part, see `datagradient.refine.repair.DECISIONS`, instead
            of round by round. Its model is that of iteration 1.
        joint: of one that decides once, whether it goes by the cheaper families' cross-fitted models too, where the
            model depends on the seed: its own influence is less exact there.
        ideal: whether it knows the right labels: nobody's policy, but the best that any can do.
        judges: of a policy that decides once, whether it goes by cross-fitted models.
        adds_validation: whether its model is also trained on the two validation parts, whose metrics are then those of
            training samples.
        against: the once-deciding policies, besides the unrefined model, that it is compared with.
        colour: in figures, like ``"#0072B2"``; None for a free one.
        marker: in figures, one of matplotlib's; None for a free one.
    """

    description: str
    score: str | None
    keeps_mix: bool = False
    trains: bool = True
    once: bool = False
    joint: bool = False
    ideal: bool = False
    judges: bool = True
    adds_validation: bool = False
    against: tuple[str, ...] = ()
    colour: str | None = None
    marker: str | None = None

    @property
    def is_rated_once(self) -> bool:
        """Whether its score is that of the whole training part, and not of the model of each iteration."""
        return self.score == QUALITY

    @property
    def needs_crossfit(self) -> bool:
        """Whether it goes by cross-fitted models."""
        return self.is_rated_once or (self.once and self.judges and not self.ideal)

    @property
    def is_random(self) -> bool:
        """Whether it chooses at random in every round."""
        return self.score is None and not self.once

    def harm(self, arrays: dict[str, np.ndarray]) -> np.ndarray | None:
        """Return what it goes by, high where a sample is harmful, from the scores by name; None for a random choice."""
        if self.score is None:
            return None
        return -arrays[QUALITY] if self.is_rated_once else arrays[self.score]


# The first is what the others are compared with; those that do not decide once remove as many samples as it does.
POLICIES = {
    "influence": Policy(
        description="The most harmful samples: the largest influence, only where it is above 0.",
        score=INFLUENCE, colour="#0072B2", marker="o",
    ),
    "random": Policy(
        description="Samples drawn at random, from each class as many as influence removed of it.",
        score=None, keeps_mix=True, colour="#D55E00", marker="s",
    ),
    "uniform": Policy(
        description="Samples drawn at random from all alike.",
        score=None, colour="#E69F00", marker="v",
    ),
    "loss": Policy(
        description="The largest training losses.",
        score="loss", colour="#009E73", marker="^",
    ),
    "gradient": Policy(
        description="The largest −g_iᵀv, v the gradient of the validation loss: influence without the Hessian.",
        score="gradient", colour="#CC79A7", marker="P",
    ),
    "confident": Policy(
        description="The lowest label quality by confident learning, from models that have not seen the sample.",
        score=QUALITY, colour="#000000", marker="X",
    ),
    "guarded": Policy(
        description="What influence removes, as long as validation samples that no score has seen gain by it.",
        score=INFLUENCE, trains=False, colour="#56B4E9", marker="D",
    ),
    "crossfit": Policy(
        description="Once: half as many samples as labels seem wrong, the most harmful by cross-fitted influence.",
        score=None, once=True, against=("crossfit_uniform", "crossfit_loss"), colour="#882255", marker="p",
    ),
    "repair": Policy(
        description="Once: relabels the harmful samples whose right label is clear, removes the other harmful ones.",
        score=None, once=True, joint=True, against=("crossfit_uniform", "crossfit_loss", "added"), colour="#332288",
        marker="*",
    ),
    "crossfit_loss": Policy(
        description="Once: as many samples as crossfit, the largest losses of models that have not seen them.",
        score=None, once=True, colour="#117733", marker="<",
    ),
    "crossfit_uniform": Policy(
        description="Once: as many samples as crossfit, drawn at random from all alike.",
        score=None, once=True, colour="#DDCC77", marker=">",
    ),
    "added": Policy(
        description="Once: nothing, and trains on the two validation parts too.",
        score=None, once=True, judges=False, adds_validation=True, colour="#661100", marker="1",
    ),
    "repair_added": Policy(
        description="Once: as repair, and trains on the two validation parts too.",
        score=None, once=True, joint=True, adds_validation=True, against=("added",), colour="#6699CC", marker="2",
    ),
    "oracle_removal": Policy(
        description="Exactly the samples whose label is wrong: the most that removal can do.",
        score=None, once=True, ideal=True, colour="#999999", marker="h",
    ),
    "true_labels": Policy(
        description="Nothing; all labels are right.",
        score=None, once=True, ideal=True, colour="#555555", marker="H",
    ),
}  # fmt: skip


def scores_besides(policies: list[str], policy: str, iteration: int) -> list[str]:
    """Return what a model's samples are scored by besides influence, in the order of `SCORES`.

    Args:
        policies: of the preset.
        policy: by which the model's training set was chosen.
        iteration: its number; 0 is the unrefined model, which all policies start from.
    """
    wanted = {POLICIES[name].score for name in (policies if iteration == 0 else [policy])}
    return [name for name in SCORES if name in wanted or (iteration == 0 and name in ALWAYS)]


def needs_crossfit(policies: list[str]) -> bool:
    """Return whether any of some policies goes by cross-fitted models."""
    return any(POLICIES[name].needs_crossfit for name in policies)


def adds_validation(policy: str) -> bool:
    """Return whether a policy trains on the validation parts too; the baseline, which is none, does not."""
    return policy in POLICIES and POLICIES[policy].adds_validation


def applies(policy: str, condition: str) -> bool:
    """Return whether a policy trains models of its own in a condition.

    Those that know the right labels do so where some labels are wrong, and once, since they do not see the validation
    labels. Those that train on the validation parts do so where their labels are right.
    """
    declared = POLICIES[policy]
    if is_untrusted(condition):
        return not (declared.ideal or declared.adds_validation)
    return not (declared.ideal and condition == PUBLISHED)
