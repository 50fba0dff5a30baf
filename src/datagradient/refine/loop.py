"""The refinement loop, in memory: train, score, remove what hurts, train again.

The workflow's jobs call its pieces, and write what they return.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from datagradient.data.conditions import SUFFIX, TRUSTED, UNTRUSTED, VALIDATION, is_untrusted, noise_name
from datagradient.data.features import extract, raw_inputs
from datagradient.data.record import Dataset
from datagradient.data.splits import SplitPlan, flipped_parts, split
from datagradient.data.training_set import TrainingSet, with_validation
from datagradient.errors import UserError
from datagradient.influence.options import PROBLEM_OPTIONS, SOLVERS, misfits
from datagradient.metrics import PREFIXES
from datagradient.models import declared, family
from datagradient.refine.crossfit import CrossFit, cross_fit
from datagradient.refine.policies import INFLUENCE, POLICIES, QUALITY, applies, needs_crossfit, scores_besides
from datagradient.refine.quality import label_quality
from datagradient.refine.removal import Removal, choose, kept_iteration, removed_by_class
from datagradient.refine.repair import DECISIONS, Evidence
from datagradient.refine.scoring import Scored, Work, score_all
from datagradient.refine.training import Held, Trained, train


@dataclass(frozen=True)
class Step:
    """One iteration of one policy; iteration 0 is the unrefined model, which all policies share.

    ``removal`` led to it: places in the training set of the iteration before, whose scores are ``before``.
    """

    policy: str
    iteration: int
    trained: Trained
    scored: Scored
    removal: Removal | None
    before: dict[str, np.ndarray] | None


@dataclass(frozen=True)
class Refinement:
    """All steps of a refinement, and the iteration of ``influence`` that the guard keeps; None without ``guarded``."""

    steps: list[Step]
    kept: int | None


def refine(
    dataset: Dataset,
    model: str,
    *,
    policies: Sequence[str] = ("influence", "guarded"),
    noise: float = 0.0,
    validation: str = TRUSTED,
    seed: int = 0,
    iterations: int = 3,
    fraction: float = 0.05,
    settings: Mapping[str, Any] | None = None,
    solver: Mapping[str, Any] | None = None,
    plan: SplitPlan | None = None,
) -> Refinement:
    """Refine a data set by removing training samples that hurt, iteration after iteration, without writing a file.

    Args:
        dataset: raw samples.
        model: name of a model family.
        policies: of `datagradient.refine.policies.POLICIES`; ``influence`` must be one.
        noise: share of the training labels that are flipped first.
        validation: ``"trusted"``, or ``"untrusted"``: then as large a share of the labels of the two validation parts
            is flipped.
        seed: of split, noise and everything random.
        iterations: rounds of removal.
        fraction: of the current training set, that a round removes at most.
        settings: of the training, which replace the family's defaults.
        solver: options of the solver, which replace the family's defaults for the kind of data.
        plan: of the split.

    Raises:
        UserError: there is no such policy or validation, or the data set cannot be split or trained on.
    """
    _check_policies(policies)
    if validation not in VALIDATION:
        raise UserError(f"validation is {validation!r}; legal: {', '.join(VALIDATION)}")
    declaration = declared(model)
    parts = split(dataset, seed, plan or SplitPlan())
    features = extract(dataset, parts)
    inputs = features if declaration.inputs == "features" or dataset.modality == "table" else raw_inputs(dataset, parts)
    right, n_classes = {part: dataset.labels[rows] for part, rows in parts.items()}, len(dataset.class_names)
    untrusted = validation == UNTRUSTED
    labels = right | flipped_parts(right, noise, n_classes, seed, untrusted)
    condition = noise_name(noise) + SUFFIX if untrusted and noise else noise
    noisy, flipped = labels["train"], labels["train"] != right["train"]
    positions = np.arange(len(noisy))
    samples = TrainingSet(
        inputs["train"], noisy, flipped, positions, n_classes, seed, dataset.name, condition, right["train"]
    )
    held = {part: (inputs[part], labels[part]) for part in PREFIXES}
    by_kind = declaration.solver.get(dataset.modality) or {}
    plain = {key: value for key, value in declaration.solver.items() if not isinstance(value, dict)}
    full = _solver(model, {**plain, **by_kind}, solver or {}, policies)
    settings = {**declaration.defaults, **(settings or {})}
    crossfits = []
    if needs_crossfit(list(policies)):
        crossfits = [cross_fit(model, samples, validation_of(held), settings, full)]
    steps = list(refinement_steps(samples, held, model, settings, full, policies, iterations, fraction, crossfits))
    if "guarded" not in policies:
        return Refinement(steps, None)
    by_influence = [step for step in steps if step.policy == INFLUENCE or step.iteration == 0]
    predictions = [
        tuple((step.trained.probabilities[part], held[part][1]) for part in ("influence", "selection"))
        for step in by_influence
    ]
    return Refinement(steps, kept_iteration(predictions)[0])


def refinement_steps(
    samples: TrainingSet, held: Held, model: str, settings: dict, solver: dict, policies: Sequence[str],
    iterations: int, fraction: float, crossfits: Sequence[CrossFit] = (),
) -> Iterator[Step]:  # fmt: skip
    """Yield the unrefined model, then of each iteration those of all policies that train, ``influence`` first.

    Policies that decide once have iteration 1 alone.

    Args:
        samples: the whole training part.
        held: the parts ``influence``, which scores are computed against, ``selection`` and ``test``.
        model: name of the model family.
        settings: of its training.
        solver: its options, for this kind of data.
        policies: of `datagradient.refine.policies.POLICIES`; ``influence`` must be one.
        iterations: rounds of removal.
        fraction: of the current training set, that a round removes at most.
        crossfits: of the whole training part, for policies that go by them: of the family itself, then of cheaper ones.
    """
    condition = noise_name(samples.noise) if isinstance(samples.noise, float) else str(samples.noise)
    trains = [name for name in policies if POLICIES[name].trains and applies(name, condition)]
    trains.sort(key=lambda name: name != INFLUENCE)
    evidence = evidence_of(samples, model, crossfits)
    quality = label_quality(samples.labels, crossfits[0].probabilities) if crossfits else None
    trained = train(model, samples, held, settings, solver)
    scored = score_trained(model, trained, held, solver, scores_besides(list(policies), "baseline", 0))
    yield Step("baseline", 0, replace(trained, records={}), scored, None, None)
    arrays = dict.fromkeys(trains, scored.arrays)
    for iteration in range(1, iterations + 1):
        counts = None
        for policy in trains:
            if POLICIES[policy].once and iteration > 1:
                continue
            before = arrays[policy]
            if quality is not None:
                before = {**before, QUALITY: quality[before["positions"]]}
            if POLICIES[policy].once:
                removal = DECISIONS[policy](evidence)
            else:
                removal = choose(policy, before, fraction, counts, samples.seed, iteration)
            if policy == INFLUENCE:
                counts = removed_by_class(removal, before["labels"])
            kept = np.delete(before["positions"], removal.positions)
            whole = samples.relabelled(before["positions"][removal.relabelled], removal.new_labels)
            if POLICIES[policy].adds_validation:
                whole, kept = with_validation(whole, kept, validation_of(held))
            trained = train(model, whole.take(kept), held, settings, solver)
            also = scores_besides(list(policies), policy, iteration)
            scored = score_trained(model, trained, held, solver, also)
            yield Step(policy, iteration, replace(trained, records={}), scored, removal, before)
            arrays[policy] = scored.arrays


def evidence_of(samples: TrainingSet, model: str, crossfits: Sequence[CrossFit]) -> Evidence:
    """Return what policies that decide once go by.

    Args:
        samples: the whole training part.
        model: name of the model family.
        crossfits: of the family itself, then of cheaper ones.
    """
    trusted = not is_untrusted(str(samples.noise))
    return Evidence(samples.labels, crossfits, trusted, not declared(model).random, samples.seed, samples.right)


def validation_of(held: Held) -> list[tuple[Any, np.ndarray]]:
    """Return the two validation parts: cross-fitted models are judged by both."""
    return [held["influence"], held["selection"]]


def score_trained(model: str, trained: Trained, held: Held, solver: dict, also: Sequence[str] = ()) -> Scored:
    """Score a model's training samples against both validation parts; `also` names other scores."""
    work = Work(family(model), trained.model, {}, trained.samples, held["influence"], solver, held["selection"],
                trained.records)  # fmt: skip
    return score_all(work, also)


def _solver(
    model: str, defaults: Mapping[str, Any], given: Mapping[str, Any], policies: Sequence[str]
) -> dict[str, Any]:
    """Return the options that are given, and the family's defaults for those that the solver has besides.

    Raises:
        UserError: there is no such solver or option, or the model or a policy cannot be scored so.
    """
    name = given.get("name", defaults["name"])
    if name not in SOLVERS:
        raise UserError(f"solver: no {name!r}; legal: {', '.join(SOLVERS)}")
    legal = ("name", *SOLVERS[name], *PROBLEM_OPTIONS)
    for key in given:
        if key not in legal:
            raise UserError(f"solver: {name} has no option {key!r}; legal: {', '.join(legal)}")
    if name != defaults["name"] and defaults.get("tolerance") == 0:  # a fixed number of steps, of that solver alone
        legal = tuple(key for key in legal if key not in ("tolerance", "max_iterations") or key in given)
    full = {**{key: value for key, value in defaults.items() if key in legal}, **given}
    for key, why in misfits(full, declared(model).solver, declared(model).records):
        raise UserError(f"solver: {key}, for {model}: {why}")
    if full.get("parameters") == "projected" and needs_crossfit(list(policies)):
        raise UserError("solver: parameters are projected, and policies that go by cross-fitting need last or all")
    return full


def _check_policies(policies: Sequence[str]) -> None:
    unknown = [name for name in policies if name not in POLICIES]
    if unknown:
        raise UserError(f"no policy {unknown[0]!r}; legal: {', '.join(POLICIES)}")
    if INFLUENCE not in policies:
        raise UserError(f"policies {', '.join(policies)}: the others copy the numbers of {INFLUENCE}; add it")
