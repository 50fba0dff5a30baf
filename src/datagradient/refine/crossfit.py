"""Cross-fitting: every training sample judged by models that were not trained on it, and by validation samples.

The training part is divided into folds. For each fold a model is trained on the rest; the fold and the validation parts
are what its influence is computed against. So every sample gets a class distribution from a model that has not seen it,
and an influence that is the mean over the models that have (sample-splitting as in Chernozhukov et al. 2018, without
their estimand).
"""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagradient.data.training_set import TrainingSet
from datagradient.errors import UserError
from datagradient.influence.scores import influence_by_label, solve
from datagradient.influence.solvers import AgedRecord
from datagradient.models import family
from datagradient.refine.scoring import Work, solver_options, without_record
from datagradient.refine.training import fit, predict
from datagradient.seeds import integer_seed

FOLDS = 5


@dataclass(frozen=True)
class CrossFit:
    """What cross-fitted models say of the n samples of a training part, whose classes are numbered.

    Attributes:
        probabilities: (n, classes), by the model that was not trained on the sample.
        influence: (n, classes): the influence of the sample if it had that label, on the mean loss of the validation
            parts and of the fold; mean over the models that were trained on it. Positive is harmful. NaN where a model
            has no influence problem.
        validation: (folds · m, classes) probabilities of the m validation samples, by one model after the other.
        validation_labels: (folds · m,) as the owner has them.
        seconds: inside the fits, and of scoring.
    """

    probabilities: np.ndarray
    influence: np.ndarray
    validation: np.ndarray
    validation_labels: np.ndarray
    seconds: dict[str, float]


def cross_fit(
    model: Any, samples: TrainingSet, validation: Sequence[tuple[Any, np.ndarray]], settings: dict, solver: dict,
    influence: bool = True, groups: np.ndarray | None = None,
) -> CrossFit:  # fmt: skip
    """Train one model for each fold on the rest, and score with each the samples that it was trained on.

    Args:
        model: name of the model family, or something with a family's functions ``fit``, ``probabilities`` and
            ``problem``, of which the last returns None where influence cannot be computed.
        samples: the training set, labels as the model sees them.
        validation: inputs and labels of the validation parts; the gradient of each part's mean loss counts as much as
            that of the fold's. May be empty: then only the folds judge.
        settings: of the training.
        solver: for this kind of data.
        influence: whether to compute it; without, it is NaN.
        groups: (n,) numbers; samples with the same number are in the same fold, because a copy that a model was trained
            on would tell it what label the sample has. None: every sample is its own.

    Raises:
        UserError: a class has fewer samples than there are folds.
    """
    return cross_fits(model, samples, [validation], settings, solver, influence, groups)[0]


def cross_fits(
    model: Any, samples: TrainingSet, validations: Sequence[Sequence[tuple[Any, np.ndarray]]], settings: dict,
    solver: dict, influence: bool = True, groups: np.ndarray | None = None,
) -> list[CrossFit]:  # fmt: skip
    """Return what `cross_fit` would for each of several choices of the validation parts, training each model once."""
    module, labels = family(model) if isinstance(model, str) else model, samples.labels
    shape = (len(labels), samples.n_classes)
    _check_classes(samples)
    probabilities, spent = np.empty(shape), {"fit": 0.0, "score": 0.0}
    influences, predicted = [np.zeros(shape) for _ in validations], [[] for _ in validations]
    for fold in stratified_folds(labels, FOLDS, integer_seed(samples.seed, "folds"), groups):
        rest = np.setdiff1d(np.arange(len(labels)), fold)
        trained_on, own = samples.take(rest), (samples.inputs[fold], labels[fold])
        how = solver if influence else None
        fitted, record, records = fit(module, trained_on, settings, how)
        start = time.perf_counter()
        work = Work(module, fitted, {}, trained_on, own, solver, records=records)
        problem = work.problem() if influence else None
        if problem is not None:
            problem.check()
        probabilities[fold], own_kept = predict(module, fitted, own[0], how)
        for validation, scores, predictions in zip(validations, influences, predicted, strict=True):
            parts = [predict(module, fitted, inputs, how) for inputs, _ in validation]
            predictions.append([part_probabilities for part_probabilities, _ in parts])
            judges = [*zip([kept for _, kept in parts], [labels for _, labels in validation], strict=True),
                      (own_kept, own[1])]  # fmt: skip
            scores[rest] += np.nan if problem is None else _influence_by_label(work, problem, judges) / (FOLDS - 1)
        spent["fit"] += record["seconds"]
        spent["score"] += time.perf_counter() - start
    found = []
    for validation, scores, predictions in zip(validations, influences, predicted, strict=True):
        # Of each model by itself: their mean would be surer and better than the one model that judges a fold.
        every = [part for parts in predictions for part in parts]
        given = [part_labels for _, part_labels in validation] * FOLDS
        found.append(CrossFit(
            probabilities, scores, np.concatenate([np.empty((0, shape[1])), *every]),
            np.concatenate([np.empty(0, dtype=np.int64), *given]), spent,
        ))  # fmt: skip
    return found


def _influence_by_label(work: Work, problem: Any, judges: list[tuple[Any, np.ndarray]]) -> np.ndarray:
    """Return the influence of a model's training samples, with each label, on the mean of the losses of some parts."""
    gradient = np.mean([problem.mean_gradient(*part) for part in judges], axis=0)
    direction, _ = solve(problem, gradient, seed=work.samples.seed, **solver_options(work))
    try:
        return influence_by_label(problem, direction)
    except AgedRecord:
        work = without_record(work)
        return _influence_by_label(work, work.problem(), judges)


def stratified_folds(
    strata: np.ndarray, count: int, random_state: int, groups: np.ndarray | None = None
) -> list[np.ndarray]:
    """Return the positions of each fold's samples, strata in equal proportion and groups undivided.

    Args:
        strata: (n,) of each sample, such as its class; of a group, that of its first sample counts.
        count: number of folds.
        random_state: of the division.
        groups: (n,); None: every sample is its own.
    """
    from sklearn.model_selection import StratifiedKFold

    first, group = np.arange(len(strata)), np.arange(len(strata))
    if groups is not None:
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    division = StratifiedKFold(count, shuffle=True, random_state=random_state)
    fold_of = np.empty(len(first), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of strata that are smaller than the number of folds
        for number, (_, held) in enumerate(division.split(first, strata[first])):
            fold_of[held] = number
    return [np.flatnonzero(fold_of[group] == number) for number in range(count)]


def _check_classes(samples: TrainingSet) -> None:
    counts = np.bincount(samples.labels, minlength=samples.n_classes)
    if counts.min() < FOLDS:
        raise UserError(
            f"data set {samples.dataset}: class {counts.argmin()} has {counts.min()} training samples, cross-fitting "
            f"needs {FOLDS}: leave out policies that go by it, or bring more samples"
        )
