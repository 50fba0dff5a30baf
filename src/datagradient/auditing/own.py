"""A user's own classifier in the place of a model family."""

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.auditing.request import OWN
from datagradient.data.given import Given
from datagradient.data.readers import Source
from datagradient.errors import UserError, one_line, shown
from datagradient.influence.options import PROBLEM_OPTIONS
from datagradient.influence.scores import solve
from datagradient.interface.adapters import Scorable, Stated, for_model
from datagradient.models import declared
from datagradient.pipeline.layout import solver_for
from datagradient.seeds import integer_seed

GIVEN = "given"  # its form of inputs: as the user gave them
CONVEX = "logistic"  # the kind of model whose influence predicts what retraining does
SUM = 1e-3  # by which a row of probabilities may miss 1
DESCRIBED = 500  # letters of a classifier's settings in an outcome


@dataclass(frozen=True)
class OwnClassifier:
    """A user's own classifier, with what an audit asks of a family: its functions, and what it declares.

    Influence is computed where `datagradient.interface` has an adapter for the fitted classifier.

    Attributes:
        estimator: as the user gave it; each training fits a clone.
        refused: why influence of a fitted clone cannot be computed; "" if it can.
    """

    estimator: Any
    refused: str = ""

    inputs = GIVEN

    @property
    def title(self) -> str:
        """The classifier in words: its class, and that of the last step of a Pipeline."""
        name = type(self.estimator).__name__
        steps = getattr(self.estimator, "steps", None)
        return f"{name} that ends in {type(steps[-1][1]).__name__}" if steps else name

    @property
    def settings(self) -> dict[str, str]:
        """What tells this classifier from others: its settings in words, and a checksum of all of them."""
        # Where a function lies in memory says nothing.
        whole = re.sub(" at 0x[0-9a-fA-F]+", "", repr(sorted(self.estimator.get_params().items())))
        words = one_line(re.sub(" at 0x[0-9a-fA-F]+", "", repr(self.estimator)))
        cut = words if len(words) <= DESCRIBED else f"{words[:DESCRIBED]} …"
        return {"classifier": cut, "checksum": hashlib.sha256(whole.encode()).hexdigest()[:16]}

    @property
    def random(self) -> bool:
        """Whether influence says less than it does of a convex model."""
        return bool(self.refused) or for_model(self.estimator).FAMILY != CONVEX

    @property
    def solver(self) -> dict[str, Any]:
        """How S is solved for, by the kind of data; nothing without influence."""
        return {} if self.refused else declared(for_model(self.estimator).FAMILY).solver

    def fit(
        self, inputs: Given, labels: np.ndarray, n_classes: int, settings: dict, seed: int, weights: None = None
    ) -> tuple[Any, dict]:
        """Fit a clone, as a family's ``fit`` does; whatever is random in it and has no seed gets one.

        Raises:
            UserError: it fails, or its classes are not those of the labels.
        """
        from sklearn.base import clone

        model = clone(self.estimator)
        unset = [name for name, value in model.get_params().items()
                 if value is None and name.rpartition("__")[2] == "random_state"]  # fmt: skip
        start = time.perf_counter()
        try:
            model.set_params(**{name: integer_seed(seed, OWN, name) for name in unset})
            model.fit(inputs.samples, labels)
        except Exception as error:
            raise self._failed("fit", error) from error
        seconds = time.perf_counter() - start
        classes = np.asarray(getattr(model, "classes_", ()))
        if not np.array_equal(classes, np.arange(n_classes)):
            raise UserError(f"model: {self.title} was fitted on the classes 0 to {n_classes - 1}, and its classes_ are "
                            f"{shown(classes.tolist())}: give a classifier that keeps the labels")  # fmt: skip
        return model, {"optimiser": self.title, "iterations": 0, "seconds": seconds}

    def probabilities(self, model: Any, inputs: Given) -> np.ndarray:
        """Return the class probabilities (n, classes) by a fitted clone.

        Raises:
            UserError: it fails, or these are no probabilities.
        """
        try:
            found = np.asarray(model.predict_proba(inputs.samples), dtype=np.float64)
        except Exception as error:
            raise self._failed("predict_proba", error) from error
        shape = (len(inputs), len(model.classes_))
        if found.shape != shape:
            raise UserError(f"model: predict_proba of {self.title} returns the shape {found.shape}, and {shape} is "
                            "needed")  # fmt: skip
        if not ((found >= 0).all() and np.allclose(found.sum(axis=1), 1, atol=SUM)):
            raise UserError(f"model: predict_proba of {self.title} returns numbers below 0, NaN, or rows that do not "
                            "sum to 1: give a classifier that predicts probabilities")  # fmt: skip
        return found

    def problem(
        self, model: Any, inputs: Given, labels: np.ndarray, rows: np.ndarray | None = None, **form: Any
    ) -> "OwnProblem | None":
        """Return the influence problem of a fitted clone; None where it has none."""
        try:
            return None if self.refused else self._problem(model, inputs, labels, rows, form)
        except UserError:
            return None

    def tried(
        self, model: Any, inputs: Given, labels: np.ndarray, held: tuple[Given, np.ndarray], modality: str
    ) -> "OwnClassifier":
        """Return this classifier with the reason why influence of a first fitted clone cannot be computed, if any.

        Args:
            model: the fitted clone.
            inputs: its training samples.
            labels: (n,) theirs.
            held: other samples and labels.
            modality: of the data set.
        """
        try:
            options = solver_for(self.solver, modality)
            form = {key: options[key] for key in PROBLEM_OPTIONS[1:] if key in options}
            problem = self._problem(model, inputs, labels, None, form)
            solver = {key: value for key, value in options.items() if key not in PROBLEM_OPTIONS}
            solve(problem, problem.mean_gradient(*held), **solver)
        except UserError as error:
            return replace(self, refused=str(error))
        return self

    def _problem(
        self, model: Any, inputs: Given, labels: np.ndarray, rows: np.ndarray | None, form: dict[str, Any]
    ) -> "OwnProblem":
        one = slice(1)  # the adapter wants validation samples; those that count come with `mean_gradient`
        data, few = (inputs.samples, labels), (inputs[one].samples, labels[one])
        scorable = for_model(model).scorable(model, data, few, Stated(), form, 0)
        scorable.problem.rows = rows
        scorable.problem.check()
        return OwnProblem(scorable)

    def _failed(self, what: str, error: Exception) -> UserError:
        words = f"model: {self.title} fails in {what}: {type(error).__name__}: {one_line(error)}"
        if "convert string" in str(error):
            words += "; it gets the columns as you give them: encode words in a Pipeline, or leave them out with drop"
        return UserError(words)


class OwnProblem:
    """The influence problem of a fitted clone, which was checked, for samples as the user gave them."""

    def __init__(self, scorable: Scorable):
        self._scorable = scorable

    def __getattr__(self, name: str) -> Any:
        """Return what the problem of the adapter has."""
        return getattr(self._scorable.problem, name)

    def mean_gradient(self, inputs: Given, labels: np.ndarray) -> np.ndarray:
        """Return the gradient of the mean loss on some samples."""
        features, numbers, weights = self._scorable.validation_of((inputs.samples, labels))
        given = {} if weights is None else {"weights": weights}
        return self._scorable.problem.mean_gradient(features, numbers, **given)


def own_classifier(model: Any) -> OwnClassifier:
    """Return a user's classifier for an audit.

    Raises:
        UserError: it is none, predicts no probabilities, or cannot be cloned.
    """
    from sklearn.base import clone, is_regressor

    if isinstance(model, type):
        raise UserError(f"model is the class {model.__name__}: give an object of it, {model.__name__}()")
    if not (hasattr(model, "fit") and hasattr(model, "get_params")):
        raise UserError(f"model is {shown(model)}: give 'auto', the name of a family, or a classifier as scikit-learn "
                        "has them, with fit, predict_proba and get_params")  # fmt: skip
    own = OwnClassifier(model)
    try:
        regression = is_regressor(model)
    except AttributeError:  # a class of the user's own without scikit-learn's tags
        regression = False
    if regression:
        raise UserError(f"model: {own.title} is a regressor: give a classifier")
    if not hasattr(model, "predict_proba"):
        raise UserError(f"model: {own.title} has no predict_proba: give a classifier that predicts probabilities, or "
                        "put scikit-learn's CalibratedClassifierCV around this one")  # fmt: skip
    try:
        clone(model)
    except (TypeError, RuntimeError) as error:
        raise UserError(f"model: {own.title} cannot be cloned: {one_line(error)}") from error
    return own


def given_samples(data: Sequence[tuple[Any, Source]], drop: tuple[str, ...]) -> list[Given]:
    """Return the usable samples of each of several data as a user gave them, without columns that are no samples.

    Texts are lists, whatever they came in. If some data are files, the samples of all are as they were read.

    Args:
        data: each as `datagradient.data.readers.read` takes them, and what it made of them.
        drop: columns that are left out.
    """
    in_memory = not any(isinstance(given, str | Path) for given, _ in data)
    return [_given(given, source, drop) if in_memory and source.dataset.modality != "text" else
            Given(source.dataset.samples) for given, source in data]  # fmt: skip


def _given(data: Any, source: Source, drop: tuple[str, ...]) -> Given:
    samples = data[0] if isinstance(data, tuple) else data
    used = {*drop, *(source.facts.get(role) for role in ("target", "id", "trusted_column"))}
    if hasattr(samples, "iloc"):
        columns = [place for place, name in enumerate(samples.columns) if str(name).strip() not in used]
        return Given(samples.iloc[source.rows, columns])
    samples = np.asarray(samples)[source.rows]
    if samples.ndim == 2:
        samples = samples[:, [place for place in range(samples.shape[1]) if str(place) not in used]]
    return Given(samples)
