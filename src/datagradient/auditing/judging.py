"""The work of an audit: models that judge the rows, a decision, and what it does to rows that no model has seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from datagradient.auditing.own import GIVEN
from datagradient.auditing.task import ENOUGH_TRUSTED, Part, Task, different, training_set
from datagradient.data.features import extract, raw_inputs
from datagradient.data.training_set import TrainingSet, stacked
from datagradient.pipeline.layout import solver_for
from datagradient.refine.crossfit import FOLDS, CrossFit, cross_fit
from datagradient.refine.removal import Removal
from datagradient.refine.repair import Evidence, Judgement, repair
from datagradient.seeds import generator

Trained = Callable[[int], None]


@dataclass(frozen=True)
class Inputs:
    """A part's rows in the form that a family takes: judged, with checked labels, held out, and of the test file."""

    judged: Any
    known: Any
    held: Any
    test: Any


def inputs_of(task: Task, part: Part, models: Sequence[str]) -> dict[str, Inputs]:
    """Return the inputs of some families; features are fitted on the rows that the unrefined model is trained on."""
    dataset, n = task.dataset, len(part.judged)
    rows = {"train": part.trained, "held": part.held, "test": task.test}
    rows = {name: positions for name, positions in rows.items() if len(positions)}
    forms = {task.traits(model).inputs for model in models}
    raw = raw_inputs(dataset, rows) if "raw" in forms else {}
    features = extract(dataset, rows, quiet=True) if "features" in forms or ("raw" in forms and not raw) else {}
    given = {name: task.given[positions] for name, positions in rows.items()} if GIVEN in forms else {}
    found = {}
    for model in models:
        form = {"raw": raw or features, "features": features, GIVEN: given}[task.traits(model).inputs]
        train, nothing = form["train"], form["train"][:0]
        found[model] = Inputs(train[:n], train[n:], form.get("held", nothing), form.get("test", nothing))
    return found


def judge(
    task: Task, part: Part, model: str, samples: TrainingSet, groups: np.ndarray, known: Any
) -> CrossFit:  # fmt: skip
    """Cross-fit one family on the samples that are judged.

    Trusted rows are the validation samples, in two parts, if there are enough. Otherwise the models are recalibrated on
    their own out-of-fold predictions, whose labels are as right or wrong as all. Influence is for people to see, so it
    is computed where all rows are judged, and not for the folds.

    Args:
        task: the audit.
        part: its rows.
        model: name of the family.
        samples: those of the judged rows that are left.
        groups: of each sample; copies have the same number.
        known: the inputs of the rows whose labels were checked.
    """
    settings, solver = task.settings[model], solver_for(task.traits(model).solver, task.dataset.modality)
    module, shown = task.family(model), not len(part.held)
    if trusts(task):
        places = np.flatnonzero(task.trusted[part.known])
        validation = [(known[half], task.dataset.labels[part.known[half]]) for half in (places[::2], places[1::2])]
        return cross_fit(module, samples, validation, settings, solver, shown, groups)
    found = cross_fit(module, samples, [], settings, solver, shown, groups)
    return replace(found, validation=found.probabilities, validation_labels=samples.labels)


def trusts(task: Task) -> bool:
    """Return whether there are enough trusted labels for the others to be judged by them."""
    return int(task.trusted[task.rows].sum()) >= ENOUGH_TRUSTED


def evidence_of(task: Task, part: Part, model: str, labels: np.ndarray, crossfits: Sequence[CrossFit]) -> Evidence:
    """Return what a decision about judged samples with some labels goes by.

    It goes by doubt: at the numbers of trusted labels that people have, up to some hundreds, the rows that influence
    removes have right labels more often.
    """
    return Evidence(labels, crossfits, trusts(task), not task.traits(model).random, task.seed,
                    checked=_checked_labels(task, part), by_doubt=True)  # fmt: skip


def _checked_labels(task: Task, part: Part) -> np.ndarray | None:
    """Return how many rows of a part, of each class, had been given each label before they were checked."""
    if task.before is None:
        return None
    before, classes = task.before[part.known], len(task.dataset.class_names)
    known = before >= 0
    counts = np.zeros((classes, classes))
    np.add.at(counts, (task.dataset.labels[part.known[known]], before[known]), 1)
    return counts


def decide(task: Task, evidence: Evidence) -> Removal:
    """Return what `repair` removes and relabels, at most the share of the rows that the audit allows."""
    removal = repair(evidence)
    if task.fraction is None:
        return removal
    most = int(task.fraction * len(evidence.labels))
    acted = np.concatenate([removal.positions, removal.relabelled])
    harm = judgement_of(evidence).harm
    spared = acted[np.argsort(-harm[acted], kind="stable")][most:]
    stays = ~np.isin(removal.relabelled, spared)
    return Removal(np.setdiff1d(removal.positions, spared), removal.capped, removal.relabelled[stays],
                   removal.new_labels[stays])  # fmt: skip


def judgement_of(evidence: Evidence) -> Judgement:
    """Return the judgement that `repair` goes by."""
    return evidence.own if evidence.convex else evidence.joint


def refined_labels(removal: Removal, labels: np.ndarray) -> np.ndarray:
    """Return the labels (n,) after a removal; −1 for samples that are removed."""
    refined = labels.copy()
    refined[removal.relabelled] = removal.new_labels
    refined[removal.positions] = -1
    return refined


def nobody(_: int) -> None:
    """Do nothing with the number of models that were trained."""


def refine(
    task: Task, part: Part, inputs: dict[str, Inputs], trained: Trained = nobody
) -> tuple[list[CrossFit], Removal]:
    """Judge a part's rows and decide, as many rounds as the task wants; what is left is judged anew in each.

    `trained` is called with a number of models whenever so many more are trained.

    Returns:
        The first round's judgements: of the family that is refined, then of the others; and what all rounds together
        remove and relabel, as positions among the judged rows.
    """
    model, given, groups = task.models[0], task.dataset.labels[part.judged], different(task.dataset, part.judged)
    refined, first = given, []
    for _ in range(task.rounds):
        left = np.flatnonzero(refined >= 0)
        crossfits = []
        for name in task.models:
            samples = replace(training_set(task, inputs[name].judged[left], part.judged[left]), labels=refined[left])
            crossfits.append(judge(task, part, name, samples, groups[left], inputs[name].known))
            trained(FOLDS)
        removal = decide(task, evidence_of(task, part, model, refined[left], crossfits))
        after = refined.copy()
        after[left] = refined_labels(removal, refined[left])
        first, refined, changed = first or crossfits, after, bool((after != refined).any())
        if not changed:
            break
    relabelled = np.flatnonzero((refined >= 0) & (refined != given))
    return first, Removal(np.flatnonzero(refined < 0), (), relabelled, refined[relabelled])


def measure(
    task: Task, part: Part, inputs: Inputs, removal: Removal, trained: Trained = nobody
) -> dict[str, np.ndarray]:
    """Train with and without what a decision changes, and predict the held-out and test rows; `trained` as above.

    Returns:
        Class probabilities (rows, classes) by name: ``held_baseline``, ``held_refined``, ``held_random`` for the rows
        held out, and the same for ``test``. ``random`` goes without as many rows of each class, drawn at random.
    """
    labels = task.dataset.labels[part.judged]
    acted = np.concatenate([removal.positions, removal.relabelled])
    count, at_random = len(acted), Removal(_as_many_at_random(task, labels, labels[acted]))
    arms = {"baseline": Removal(np.empty(0, dtype=np.int64)), "refined": removal, "random": at_random}
    found: dict[str, np.ndarray] = {}
    for arm, change in arms.items():
        if count or not found:  # where nothing changes, all arms are the same model
            predicted = _predictions(task, part, inputs, refined_labels(change, labels))
            trained(1)
        found |= {f"{name}_{arm}": values for name, values in predicted.items()}
    return found


def _as_many_at_random(task: Task, labels: np.ndarray, acted: np.ndarray) -> np.ndarray:
    """Return positions drawn from the judged rows: of each class as many as `acted` holds, but not most of it."""
    order = generator(task.seed, "as many at random").permutation(len(labels))
    drawn = []
    for label in np.unique(acted):
        own = order[labels[order] == label]
        drawn.append(own[: min(int((acted == label).sum()), len(own) // 2)])
    return np.concatenate(drawn) if drawn else np.empty(0, dtype=np.int64)


def _predictions(task: Task, part: Part, inputs: Inputs, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Train on the judged rows that have a label and on those with checked ones; predict held-out and test rows."""
    kept, known, name = np.flatnonzero(labels >= 0), task.dataset.labels[part.known], task.models[0]
    trained = stacked([inputs.judged[kept], inputs.known]) if len(known) else inputs.judged[kept]
    module, classes = task.family(name), len(task.dataset.class_names)
    model, _ = module.fit(trained, np.concatenate([labels[kept], known]), classes, task.settings[name], task.seed)
    others = {"held": (inputs.held, part.held), "test": (inputs.test, task.test)}
    return {which: module.probabilities(model, rows) if len(positions) else np.empty((0, classes))
            for which, (rows, positions) in others.items()}  # fmt: skip
