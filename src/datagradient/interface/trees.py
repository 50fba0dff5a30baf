"""XGBoost's classifiers and boosters."""

import math
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from datagradient.errors import UserError
from datagradient.influence.leaf_problem import LeafProblem
from datagradient.influence.leaves import classes_of, told_penalty
from datagradient.influence.scores import curvature_rows
from datagradient.interface.adapters import (
    Scorable,
    Stated,
    Validation,
    by_class,
    check_columns,
    checked_weights,
    of_samples,
    positions_in,
    split_pipeline,
)
from datagradient.models import boosted

FAMILY = "boosted"


def scorable(model: Any, train: Any, validation: Any, stated: Stated, form: dict[str, Any], seed: int) -> Scorable:
    """Return the model as it is scored; arguments and errors are those of `influence_scores`."""
    stated.refuse_loss("booster")
    trained = _model(model.steps[-1][1] if hasattr(model, "steps") else model)
    classes = np.arange(trained.n_classes)

    def samples(data: Any, part: str) -> tuple[Any, NDArray[np.int64]]:
        inputs, labels = split_pipeline(model, data, part)
        return _features(trained, inputs, part), positions_in(classes, labels, part)

    features, labels = samples(train, "training")
    weights = checked_weights(stated.sample_weight, len(labels))
    factors = by_class(stated.class_weight, classes, labels)

    def validation_of(data: Any) -> Validation:
        features, labels = samples(data, "validation")
        return features, labels, of_samples(factors, labels)

    def problem_of(new: Any) -> LeafProblem:
        features, labels = samples(new, "new")
        return boosted.problem(trained, features, labels, weights=of_samples(factors, labels))

    rows = curvature_rows(len(labels), form.get("samples"), seed)
    whole = boosted.problem(trained, features, labels, rows, weights=of_samples(factors, labels, weights))
    return Scorable(whole, validation_of(validation), validation_of, problem_of)


def _model(model: Any) -> boosted.BoostedModel:
    """Return a booster with its number of classes and its penalty on leaf values."""
    booster, n_classes = model, 0
    if isinstance(model, xgb.XGBClassifier):
        try:
            booster = model.get_booster()
        except xgb.core.XGBoostError as error:
            raise UserError(f"the XGBClassifier has not been fitted ({error}); call fit first") from None
        except ValueError:
            raise UserError("the XGBClassifier has not been fitted; call fit first") from None
        n_classes = int(model.n_classes_)
        if callable(model.objective):
            raise UserError("the XGBClassifier has an objective of your own; supported are binary:logistic and "
                            "multi:softprob")  # fmt: skip
        if model.missing is not None and not math.isnan(model.missing):
            raise UserError(f"the XGBClassifier takes {model.missing} for a missing value; supported is NaN: replace "
                            "them and fit it again")  # fmt: skip
    penalty = getattr(model, "reg_lambda", None)
    l2 = told_penalty(booster) if penalty is None else float(penalty)
    n_classes = n_classes or classes_of(booster)
    return boosted.BoostedModel(booster, np.arange(booster.num_features()), n_classes, l2)


def _features(model: boosted.BoostedModel, inputs: Any, part: str) -> Any:
    """Return samples (n, d) as numbers, NaN where one is missing, dense or CSR, or refuse them."""
    check_columns(inputs, model.booster.feature_names, part)
    try:
        features = inputs.tocsr() if hasattr(inputs, "tocsr") else np.asarray(inputs, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"{part} inputs are no numbers ({error}); encode categories as numbers, e.g. one-hot, and fit "
                        "again") from None  # fmt: skip
    if features.ndim != 2 or features.shape[1] != len(model.columns):
        raise UserError(
            f"{part} inputs have the shape {features.shape}, and the booster takes (n, {len(model.columns)})"
        )
    values = features.data if hasattr(features, "tocsr") else features
    if np.isinf(values).any():
        raise UserError(f"{part} inputs: a value is infinite; replace it as for fit")
    return features
