"""Which model an audit uses, and how long it will take: from a few models trained on a part of the rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagradient.auditing.own import OwnClassifier
from datagradient.auditing.request import AUTO, OWN
from datagradient.auditing.task import drawn_rows, outer_folds
from datagradient.auditing.work import cores
from datagradient.data.features import extract, raw_inputs
from datagradient.data.given import Given
from datagradient.data.record import Dataset
from datagradient.metrics import losses
from datagradient.models import declared, family
from datagradient.refine.crossfit import FOLDS
from datagradient.seeds import integer_seed

CHEAP = "logistic"  # judges beside the others, too
TRIED = {"table": (CHEAP, "boosted"), "text": (CHEAP,), "image": (CHEAP,)}  # by auto
# Penalties to choose from, from the strongest on, until the loss rises. TF-IDF has rows of unit length: less is needed.
PENALTIES = {"table": (1e-1, 1e-2, 1e-3, 1e-4), "image": (1e-1, 1e-2, 1e-3, 1e-4), "text": (1e-3, 1e-4, 1e-5)}
# Half the trees at twice the rate: about as good, in half the time.
FAST = {"boosted": {"rounds": 100, "learning_rate": 0.2}}
MOST_ROWS = 10_000  # that the choice looks at
SCORING = 1.5  # seconds of a fold with its scoring, features and predictions, by those of its training: a rough guess


@dataclass(frozen=True)
class Choice:
    """The families, the one that is refined first, with their settings, and how well and fast each was on a part."""

    models: tuple[str, ...]
    settings: dict[str, dict[str, Any]]
    loss: dict[str, float]
    accuracy: dict[str, float]
    seconds: dict[str, float]  # of a training on `rows`
    rows: int
    refused: str = ""  # why influence of a user's own classifier cannot be computed; "" if it can, or without

    def estimate(self, rows: int, folds: int, rounds: int) -> float:
        """Return about how many seconds an audit of so many rows takes."""
        scale = rows / self.rows * (1 - 1 / folds)
        judging = sum(self.seconds[model] * SCORING * FOLDS * rounds for model in self.models)
        return scale * ((folds + 1) * judging + 3 * folds * self.seconds[self.models[0]]) / min(cores(), folds + 1)


def choose(
    dataset: Dataset, rows: np.ndarray, wanted: str, seed: int, own: OwnClassifier | None = None,
    given: Given | None = None,
) -> Choice:  # fmt: skip
    """Choose family and penalty by the loss on a quarter of the rows, labels as given.

    Args:
        dataset: the data set; rows of a test file are not looked at.
        rows: positions of the others.
        wanted: ``"auto"``, or the name of a family; `OWN` for the user's own classifier.
        seed: of the draw.
        own: this classifier; None without.
        given: all samples as it takes them; None without.

    Raises:
        UserError: the user's own classifier fails.
    """
    train, held = _divided(dataset, rows, seed)
    parts = {"train": train, "held": held}
    labels, classes = dataset.labels, len(dataset.class_names)
    tried = TRIED[dataset.modality] if wanted == AUTO else tuple(dict.fromkeys((wanted, CHEAP)))
    settings, loss, accuracy, seconds = {}, {}, {}, {}

    def note(name: str, candidate: dict[str, Any], record: dict[str, Any], probabilities: np.ndarray) -> bool:
        now = float(losses(probabilities, labels[held]).mean())
        if now >= loss.get(name, np.inf):
            return False
        settings[name], loss[name], seconds[name] = candidate, now, record["seconds"]
        accuracy[name] = float((probabilities.argmax(axis=1) == labels[held]).mean())
        return True

    if own is not None and given is not None:
        model, record = own.fit(given[train], labels[train], classes, {}, seed)
        note(OWN, own.settings, record, own.probabilities(model, given[held]))
        own = own.tried(model, given[train], labels[train], (given[held], labels[held]), dataset.modality)
        tried = (CHEAP,) if own.random else ()
    features = extract(dataset, parts, quiet=True) if tried else {}
    for name in tried:
        inputs = (raw_inputs(dataset, parts) or features) if declared(name).inputs == "raw" else features
        for candidate in _candidates(name, dataset.modality):
            model, record = family(name).fit(inputs["train"], labels[train], classes, candidate, seed)
            if not note(name, candidate, record, family(name).probabilities(model, inputs["held"])):
                break
    best = min(loss, key=loss.get) if wanted == AUTO else wanted
    # A convex model's decision goes by its own scores alone; for others, cheap models judge too.
    models = (best,) if not (own or declared(best)).random else tuple(dict.fromkeys((best, CHEAP)))
    return Choice(models, settings, loss, accuracy, seconds, len(train), own.refused if own else "")


def _divided(dataset: Dataset, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if len(rows) > MOST_ROWS:
        rows = rows[drawn_rows(dataset.labels[rows], MOST_ROWS, integer_seed(seed, "rows for the choice"))]
    quarter = outer_folds(dataset, rows, 4, integer_seed(seed, "choice"))[0]
    return np.setdiff1d(rows, quarter), quarter


def _candidates(name: str, modality: str) -> Iterator[dict[str, Any]]:
    defaults = declared(name).defaults
    if name != CHEAP:
        yield {**defaults, **FAST.get(name, {})}
        return
    for penalty in PENALTIES[modality]:
        yield {**defaults, "l2": penalty}
