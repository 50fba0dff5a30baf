"""From a user's model to the influence problem that it is scored by: one adapter a kind of model.

An adapter is a module with ``FAMILY``, the model family of the replication whose solver's defaults it has; ``SOLVER``,
where its own differ; ``scorable``; and ``scoring``, where scoring needs a context. It is chosen by the model's own
library, so that no other library needs to be installed.
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datagradient.errors import UserError, one_line
from datagradient.influence.scores import Problem

SUPPORTED = (
    "a torch module, scikit-learn's LogisticRegression and XGBoost's XGBClassifier (both also last in a Pipeline) and "
    "Booster"
)


Validation = tuple[Any, Any, NDArray[np.float64] | None]


@dataclass(frozen=True)
class Stated:
    """What the caller says of the training: the loss, and factors of it by class and by sample (n,)."""

    loss: str | Callable[[Any, Any], Any] | None = None
    class_weight: Mapping[Any, float] | Sequence[float] | str | None = None
    sample_weight: NDArray[np.float64] | None = None

    def refuse_loss(self, model: str) -> None:
        """Refuse a loss for a model that has one of its own."""
        if self.loss is not None:
            raise UserError(f"loss is {self.loss!r}, and a {model} has its own; leave loss out")


@dataclass(frozen=True)
class Scorable:
    """A model as it is scored.

    Attributes:
        problem: of the model on its training samples.
        validation: features and labels as the problem takes them, and factors of the losses, None for 1.
        validation_of: returns other validation samples and labels in that form.
        problem_of: returns a problem of further samples, for projection alone.
        scoring: returns the context in which that is done.
    """

    problem: Problem
    validation: Validation
    validation_of: Callable[[Any], Validation]
    problem_of: Callable[[Any], Problem]
    scoring: Callable[[], AbstractContextManager[None]] = nullcontext


def for_model(model: Any) -> ModuleType:
    """Return the adapter for a model.

    Raises:
        UserError: there is none.
    """
    torch, xgboost = sys.modules.get("torch"), sys.modules.get("xgboost")
    pipeline, linear = sys.modules.get("sklearn.pipeline"), sys.modules.get("sklearn.linear_model")
    last = model
    if pipeline is not None and isinstance(model, pipeline.Pipeline):
        last = model.steps[-1][1]
    if torch is not None and isinstance(last, torch.nn.Module):
        return importlib.import_module("datagradient.interface.networks")
    if linear is not None and isinstance(last, linear.LogisticRegression):
        return importlib.import_module("datagradient.interface.linear")
    if xgboost is not None and isinstance(last, xgboost.XGBClassifier | xgboost.Booster):
        return importlib.import_module("datagradient.interface.trees")
    kind = type(last)
    inside = ", last in a Pipeline" if last is not model else ""
    hint = ""
    if hasattr(last, "best_estimator_"):
        hint = "; pass its best_estimator_"
    elif hasattr(last, "get_params") and hasattr(last, "predict"):
        hint = "; fit one of these on the same samples, and score it in place of this one"
    raise UserError(f"the model is a {kind.__module__}.{kind.__name__}{inside}; supported are {SUPPORTED}{hint}")


def context(adapter: ModuleType) -> AbstractContextManager[None]:
    """Return the context in which an adapter's models are scored."""
    make = getattr(adapter, "scoring", None)
    return make() if make else nullcontext()


def pair(data: Any, part: str) -> tuple[Any, Any]:
    """Return inputs and labels of a pair.

    Raises:
        UserError: it is none.
    """
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise UserError(f"{part} is a {type(data).__name__}; pass a pair (inputs, labels)")
    return data[0], data[1]


def split_pipeline(model: Any, data: Any, part: str) -> tuple[Any, Any]:
    """Return what the last step of a Pipeline (or a model alone) takes of a pair's inputs, and the labels."""
    inputs, labels = pair(data, part)
    if hasattr(model, "steps") and len(model.steps) > 1:
        try:
            inputs = model[:-1].transform(inputs)
        except Exception as error:
            raise UserError(f"{part}: a step of the Pipeline before the last fails on the inputs: {one_line(error)}; "
                            "pass what the Pipeline was fitted on") from error  # fmt: skip
    return inputs, labels


def positions_in(classes: NDArray[Any], labels: Any, part: str) -> NDArray[np.int64]:
    """Return the position of each label (n,) in a model's classes.

    Raises:
        UserError: another shape, or a label that is no class of the model.
    """
    values = np.asarray(labels)
    if values.ndim != 1:
        raise UserError(f"{part} labels have the shape {values.shape}; pass one label a sample (n,)")
    place = {value: number for number, value in enumerate(classes.tolist())}
    numbers = [place.get(value, -1) for value in values.tolist()]
    if -1 in numbers:
        sample = numbers.index(-1)
        shown = ", ".join(repr(value) for value in classes.tolist()[:10])
        raise UserError(f"{part} label {values.tolist()[sample]!r} at sample {sample} is none of the model's classes "
                        f"{shown}; pass labels as the model was fitted on")  # fmt: skip
    return np.array(numbers, dtype=np.int64)


def checked_weights(weights: NDArray[np.float64] | None, n: int) -> NDArray[np.float64] | None:
    """Return the factors of n training samples, or refuse them."""
    if weights is None:
        return None
    if weights.shape != (n,):
        raise UserError(
            f"sample_weight has the shape {weights.shape} for {n} training samples; pass one number a sample"
        )
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        sample = int(np.argmax(wrong))
        raise UserError(f"sample_weight {weights[sample]} at sample {sample}; legal are finite numbers from 0 on")
    return weights


def by_class(class_weight: Any, classes: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return the factor of each class (classes,); None where all are 1.

    Args:
        class_weight: as `influence_scores` takes it.
        classes: the model's labels of the classes.
        labels: (n,) class numbers of the training samples, which ``"balanced"`` counts.

    Raises:
        UserError: it is no such thing, or names a class that the model does not know.
    """
    n_classes = len(classes)
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise UserError(f"class_weight is {class_weight!r}; legal are 'balanced', a mapping and a sequence")
        counts = np.bincount(labels, minlength=n_classes)
        return len(labels) / (n_classes * np.maximum(counts, 1))
    if isinstance(class_weight, Mapping):
        unknown = set(class_weight) - set(classes.tolist())
        if unknown:
            raise UserError(f"class_weight names {min(map(repr, unknown))}, which is none of the model's classes "
                            f"{classes.tolist()[:10]}")  # fmt: skip
        class_weight = [class_weight.get(name, 1.0) for name in classes.tolist()]
    try:
        factors = np.asarray([float(value) for value in class_weight])
    except (TypeError, ValueError):
        raise UserError(f"class_weight is {class_weight!r}; legal are 'balanced', a mapping from label to factor, and "
                        "a sequence of factors") from None  # fmt: skip
    if factors.shape != (n_classes,) or not np.isfinite(factors).all() or (factors < 0).any():
        raise UserError(f"class_weight has {len(factors)} factors; needed is one of at least 0 for each of the "
                        f"model's {n_classes} classes")  # fmt: skip
    return factors


def of_samples(
    factors: NDArray[np.float64] | None, labels: NDArray[np.int64], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64] | None:
    """Return the factor of each sample's loss (n,), of its class times its own; None where all are 1."""
    if factors is None:
        return weights
    return factors[labels] if weights is None else factors[labels] * weights


def check_columns(inputs: Any, names: Sequence[Any] | None, part: str) -> None:
    """Refuse a DataFrame whose columns are not those that the model was fitted on, in their order."""
    columns = getattr(inputs, "columns", None)
    if columns is None or names is None or list(columns) == list(names):
        return
    other = next((f"{a!r} in place of {b!r}" for a, b in zip(columns, names, strict=False) if a != b), "another number")
    raise UserError(f"{part}: columns are not those that the model was fitted on: {other}; pass them in its order")
