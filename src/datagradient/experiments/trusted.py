"""How many labels must be right? Repairs with few trusted validation labels, and checking training labels by hand."""

from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from datagradient.data.conditions import base_of, is_untrusted
from datagradient.data.training_set import TrainingSet, stacked
from datagradient.errors import UserError
from datagradient.files import read_meta, write_json
from datagradient.metrics import losses, measure
from datagradient.models import declared, family
from datagradient.pipeline import layout
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.jobs.models import held_out
from datagradient.pipeline.layout import Cell
from datagradient.pipeline.provenance import stamp
from datagradient.pipeline.training import load_training_set
from datagradient.refine.crossfit import CrossFit, cross_fits
from datagradient.refine.removal import Removal, most_harmful
from datagradient.refine.repair import Evidence, half_of_the_harmful, repair
from datagradient.refine.scoring import Work, score_all
from datagradient.seeds import generator

COLUMNS = ("dataset", "model", "noise", "seed", "way", "labels", "removed", "relabelled", "accuracy", "noisy",
           "true_labels")  # fmt: skip


def write_trusted(config: dict, cell: Cell, trusted: list[int], checked: list[int]) -> None:
    """Refine a training part with few right labels, in several ways, and write the test accuracies as JSON.

    With k trusted labels, drawn at random from the two validation parts, which are used half and half:
    ``influence`` and ``loss`` remove as many samples as ``crossfit``, whose folds and `repair`'s are those of this
    family alone; ``added`` trains on the k samples too. With none, only the folds judge, and influence has nothing to
    go by. Ways that begin with ``check`` give that many training samples their right labels, with no trusted label to
    choose them by: at random (``check_random``), the largest cross-fitted influence (``check_harmful``), the highest
    probability of a wrong label (``check_doubtful``), the largest loss (``check_loss``), the least certain prediction
    (``check_uncertain``), both by models that have not seen them.

    Args:
        config: the preset's.
        cell: an unrefined model, in a condition with some wrong labels.
        trusted: numbers of validation labels; those above the size of the parts count as all.
        checked: numbers of training labels that are looked at.
    """
    if cell.noise == "0" or is_untrusted(cell.noise):
        raise UserError(f"--noise {cell.noise}: trusted labels are counted where training labels alone are wrong; give "
                        f"{base_of(cell.noise) if cell.noise != '0' else 'another condition'}")  # fmt: skip
    settings = model_settings(config, cell.dataset, cell.model, cell.noise)
    solver = layout.solver_for(config["model_settings"][cell.model]["solver"], read_meta(cell.data)["modality"])
    samples, held = load_training_set(declared(cell.model).inputs, cell.data, cell.labels, None), held_out(cell)
    pool, module = [held["influence"], held["selection"]], family(cell.model)
    size = sum(len(labels) for _, labels in pool)
    numbers = list(dict.fromkeys(min(k, size) for k in trusted))
    parts = [_drawn(pool, k, samples.seed) for k in numbers]

    def accuracy(chosen: TrainingSet) -> float:
        model, _ = module.fit(chosen.inputs, chosen.labels, samples.n_classes, settings, samples.seed)
        return measure(module.probabilities(model, held["test"][0]), held["test"][1])["accuracy"]

    unrefined, _ = module.fit(samples.inputs, samples.labels, samples.n_classes, settings, samples.seed)
    noisy = measure(module.probabilities(unrefined, held["test"][0]), held["test"][1])["accuracy"]
    wrong = np.flatnonzero(samples.flipped)
    true_labels = accuracy(samples.relabelled(wrong, samples.right[wrong]))
    folds = cross_fits(cell.model, samples, parts, settings, solver)
    rows = []

    def note(way: str, labels: int, removal: Removal, chosen: TrainingSet) -> None:
        same = not len(removal.positions) and not len(removal.relabelled) and chosen is samples
        rows.append({
            "dataset": cell.dataset, "model": cell.model, "noise": cell.noise, "seed": samples.seed, "way": way,
            "labels": labels, "removed": len(removal.positions), "relabelled": len(removal.relabelled),
            "accuracy": noisy if same else accuracy(_refined(chosen, removal)), "noisy": noisy,
            "true_labels": true_labels,
        })  # fmt: skip

    convex = not declared(cell.model).random
    for k, part, found in tqdm(list(zip(numbers, parts, folds, strict=True)), "trusted labels", disable=None):
        evidence = Evidence(samples.labels, [found], k > 0, convex, samples.seed)
        crossfit = half_of_the_harmful(evidence)
        count = len(crossfit.positions)
        note("crossfit", k, crossfit, samples)
        note("repair", k, repair(evidence), samples)
        note("loss", k, most_harmful(losses(found.probabilities, samples.labels), samples.labels, count), samples)
        influence = np.zeros(len(samples.labels))
        if k:
            inputs, labels = stacked([inputs for inputs, _ in part]), np.concatenate([labels for _, labels in part])
            work = Work(module, unrefined, {}, samples, (inputs, labels), solver)
            influence = score_all(work).arrays["influence"]
        note("influence", k, most_harmful(influence, samples.labels, count, above=0.0), samples)
        more = samples
        for inputs, labels in part:
            more = more.with_more(inputs, labels)
        note("added", k, Removal(np.empty(0, dtype=np.int64)), more)
    nobody = folds[numbers.index(0)] if 0 in numbers else cross_fits(cell.model, samples, [[]], settings, solver)[0]
    for way, suspicion in _orders(samples, nobody):
        order = np.argsort(-suspicion, kind="stable")
        for count in checked:
            looked_at = order[:count]
            corrected = Removal(np.empty(0, dtype=np.int64), (), looked_at, samples.right[looked_at])
            note(f"check_{way}", min(count, len(order)), corrected, samples)
    facts = stamp(seed=samples.seed, dataset=samples.dataset, settings=settings)
    write_json(cell.file("trusted.json"), {"rows": rows, "provenance": facts})


def _drawn(pool: list, count: int, seed: int) -> list:
    """Return `count` of the samples of two parts, at random, as two parts of about the same size; none for 0."""
    inputs, labels = stacked([inputs for inputs, _ in pool]), np.concatenate([labels for _, labels in pool])
    rows = generator(seed, "trusted labels").permutation(len(labels))[:count]
    halves = [rows[::2], rows[1::2]]
    return [(inputs[half], labels[half]) for half in halves if len(half)]


def _refined(samples: TrainingSet, removal: Removal) -> TrainingSet:
    """Return a training set without what a removal takes, and with the labels that it gives."""
    whole = samples.relabelled(removal.relabelled, removal.new_labels)
    return whole.take(np.delete(np.arange(len(samples.labels)), removal.positions))


def _orders(samples: TrainingSet, folds: CrossFit) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the names of orders to check labels in, and the numbers (n,) that they go by: high first."""
    own = Evidence(samples.labels, [folds], False, True, samples.seed).own
    yield "random", generator(samples.seed, "labels to check").random(len(samples.labels))
    yield "harmful", own.harm
    yield "doubtful", own.doubt
    yield "loss", losses(folds.probabilities, samples.labels)
    yield "uncertain", -folds.probabilities.max(axis=1)
