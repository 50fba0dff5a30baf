"""How many labels must be right? Repairs with few trusted validation labels, and checking training labels by hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

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
NOTHING = Removal(np.empty(0, dtype=np.int64))
Part = tuple[Any, np.ndarray]  # inputs and labels of some samples


def write_trusted(config: dict, cell: Cell, trusted: list[int], checked: list[int]) -> None:
    """Refine a training part with few right labels, in several ways, and write the test accuracies as JSON.

    With k trusted labels, drawn at random from the two validation parts, which are used half and half:
    ``influence`` and ``loss`` remove as many samples as ``crossfit``, whose folds and `repair`'s are those of this
    family alone; ``added`` trains on the k samples too. With none, only the folds judge, and influence has nothing to
    go by. Ways that begin with ``check`` give that many training samples their right labels, with no trusted label to
    choose them by: at random (``check_random``), the largest influence on the other folds (``check_harmful``), the
    highest probability of a wrong label (``check_doubtful``), the largest loss (``check_loss``), the least certain
    prediction (``check_uncertain``), the last three by models that have not seen them.

    Args:
        config: the preset's.
        cell: an unrefined model, in a condition with some wrong labels.
        trusted: numbers of validation labels; those above the size of the parts count as all.
        checked: numbers of training labels that are looked at.
    """
    if cell.noise == "0" or is_untrusted(cell.noise):
        raise UserError(f"--noise {cell.noise}: trusted labels are counted where training labels alone are wrong; give "
                        f"{base_of(cell.noise) if cell.noise != '0' else 'another condition'}")  # fmt: skip
    held = held_out(cell)
    trial, pool = _trial(config, cell, held["test"]), [held["influence"], held["selection"]]
    size = sum(len(labels) for _, labels in pool)
    numbers = list(dict.fromkeys(min(k, size) for k in trusted))
    parts = [_drawn(pool, k, cell.seed) for k in numbers]
    folds = trial.cross_fits(parts)
    rows = []
    for k, part, found in tqdm(list(zip(numbers, parts, folds, strict=True)), "trusted labels", disable=None):
        for way, removal, chosen in _by_trusted(trial, part, found):
            rows.append(trial.row(way, k, removal, chosen))
    nobody = folds[numbers.index(0)] if 0 in numbers else trial.cross_fits([[]])[0]
    for way, order in _orders(trial.samples, nobody):
        for count in checked:
            looked_at = order[:count]
            corrected = Removal(NOTHING.positions, (), looked_at, trial.samples.right[looked_at])
            rows.append(trial.row(f"check_{way}", len(looked_at), corrected, trial.samples))
    facts = stamp(seed=cell.seed, dataset=cell.dataset, settings=trial.settings)
    write_json(cell.file("trusted.json"), {"rows": rows, "provenance": facts})


@dataclass(frozen=True)
class Trial:
    """A training part, and what models of a family are trained by and measured on.

    Attributes:
        cell: the keys of the unrefined model.
        samples: the training part, labels as the owner has them.
        settings: of the training.
        solver: for this kind of data.
        test: inputs and labels of the test part.
    """

    cell: Cell
    samples: TrainingSet
    settings: dict
    solver: dict
    test: Part

    @property
    def module(self) -> ModuleType:
        """The model family."""
        return family(self.cell.model)

    @cached_property
    def unrefined(self) -> Any:
        """The model trained on the part as it is."""
        return self._fit(self.samples)

    @cached_property
    def noisy(self) -> float:
        """The test accuracy of the unrefined model."""
        return self._accuracy(self.unrefined)

    @cached_property
    def true_labels(self) -> float:
        """The test accuracy of a model trained with the right labels."""
        wrong = np.flatnonzero(self.samples.flipped)
        return self._accuracy(self._fit(self.samples.relabelled(wrong, self.samples.right[wrong])))

    def cross_fits(self, validations: list[list[Part]]) -> list[CrossFit]:
        """Return what cross-fitted models of this family say, for each of several choices of validation parts."""
        return cross_fits(self.cell.model, self.samples, validations, self.settings, self.solver)

    def row(self, way: str, labels: int, removal: Removal, chosen: TrainingSet) -> dict:
        """Train on `chosen`, changed by `removal`, and return a row of `COLUMNS`; `labels` is how many were used."""
        unchanged = not len(removal.positions) and not len(removal.relabelled) and chosen is self.samples
        accuracy = self.noisy if unchanged else self._accuracy(self._fit(_refined(chosen, removal)))
        values = (self.cell.dataset, self.cell.model, self.cell.noise, self.samples.seed, way, labels,
                  len(removal.positions), len(removal.relabelled), accuracy, self.noisy, self.true_labels)  # fmt: skip
        return dict(zip(COLUMNS, values, strict=True))

    def _fit(self, chosen: TrainingSet) -> Any:
        settings, seed = self.settings, self.samples.seed
        return self.module.fit(chosen.inputs, chosen.labels, chosen.n_classes, settings, seed)[0]

    def _accuracy(self, model: Any) -> float:
        inputs, labels = self.test
        return measure(self.module.probabilities(model, inputs), labels)["accuracy"]


def _trial(config: dict, cell: Cell, test: Part) -> Trial:
    settings = model_settings(config, cell.dataset, cell.model, cell.noise)
    solver = layout.solver_for(config["model_settings"][cell.model]["solver"], read_meta(cell.data)["modality"])
    samples = load_training_set(declared(cell.model).inputs, cell.data, cell.labels, None)
    return Trial(cell, samples, settings, solver, test)


def _by_trusted(trial: Trial, part: list[Part], found: CrossFit) -> Iterator[tuple[str, Removal, TrainingSet]]:
    """Yield for each way of using trusted samples its name, what it removes or relabels, and of which training set.

    Args:
        trial: the training part.
        part: the trusted samples, in two parts; empty for none.
        found: what models say that were cross-fitted against them.
    """
    samples = trial.samples
    evidence = Evidence(samples.labels, [found], bool(part), not declared(trial.cell.model).random, samples.seed)
    crossfit = half_of_the_harmful(evidence)
    count = len(crossfit.positions)
    yield "crossfit", crossfit, samples
    yield "repair", repair(evidence), samples
    yield "loss", most_harmful(losses(found.probabilities, samples.labels), samples.labels, count), samples
    yield "influence", most_harmful(_influence(trial, part), samples.labels, count, above=0.0), samples
    more = samples
    for inputs, labels in part:
        more = more.with_more(inputs, labels)
    yield "added", NOTHING, more


def _influence(trial: Trial, part: list[Part]) -> np.ndarray:
    """Return the influence (n,) of the training samples on the loss of trusted ones; 0 where there are none."""
    if not part:
        return np.zeros(len(trial.samples.labels))
    inputs, labels = stacked([inputs for inputs, _ in part]), np.concatenate([labels for _, labels in part])
    work = Work(trial.module, trial.unrefined, {}, trial.samples, (inputs, labels), trial.solver)
    return score_all(work).arrays["influence"]


def _drawn(pool: list[Part], count: int, seed: int) -> list[Part]:
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
    """Yield the names of orders to check labels in, and all positions (n,) in that order."""
    own = Evidence(samples.labels, [folds], False, True, samples.seed).own
    suspicions = {
        "random": generator(samples.seed, "labels to check").random(len(samples.labels)),
        "harmful": folds.influence[np.arange(len(samples.labels)), samples.labels],
        "doubtful": own.doubt,
        "loss": losses(folds.probabilities, samples.labels),
        "uncertain": -folds.probabilities.max(axis=1),
    }
    for way, suspicion in suspicions.items():
        yield way, np.argsort(-suspicion, kind="stable")
