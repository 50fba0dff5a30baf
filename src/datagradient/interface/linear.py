"""scikit-learn's LogisticRegression, alone or last in a Pipeline."""

from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight

from datagradient.errors import UserError
from datagradient.influence.glm import LinearProblem
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
from datagradient.models.logistic import as_float64

FAMILY = "logistic"
SOLVER = {"tolerance": 1e-4}  # one solve is cheap, and these scores are as exact as refits: the run's ranks need less


class FittedProblem(LinearProblem):
    """As `LinearProblem`, of a model whose penalty stands beside the sum of losses, with refusals for its owner."""

    def _no_minimum(self, sign: str) -> str:
        return (
            f"the LogisticRegression is not at the minimum of its objective on these training samples ({sign}); pass "
            "those that it was fitted on, in any order, and the sample_weight that fit was given; or fit it again with "
            "a lower tol and more max_iter, best on scaled features"
        )


def scorable(model: Any, train: Any, validation: Any, stated: Stated, form: dict[str, Any], seed: int) -> Scorable:
    """Return the model as it is scored; arguments and errors are those of `influence_scores`."""
    estimator: LogisticRegression = model.steps[-1][1] if hasattr(model, "steps") else model
    stated.refuse_loss("LogisticRegression")
    penalty = _penalty(estimator)

    def samples(data: Any, part: str) -> tuple[Any, NDArray[np.int64]]:
        inputs, labels = split_pipeline(model, data, part)
        return _features(estimator, inputs, part), positions_in(estimator.classes_, labels, part)

    features, labels = samples(train, "training")
    n = len(labels)
    weights = checked_weights(stated.sample_weight, n)
    factors = _class_factors(_class_weight(estimator, stated), estimator.classes_, labels, weights)
    coefficients = estimator.coef_.astype(np.float64)  # a copy: `score` is of the model as it is now
    bias = estimator.intercept_.astype(np.float64) if estimator.fit_intercept else None

    def problem(
        features: Any, labels: NDArray[np.int64], rows: Any, weights: NDArray[np.float64] | None
    ) -> FittedProblem:
        return FittedProblem(features, labels, coefficients, bias, penalty / n, rows, weights, shared_penalty=False)

    def validation_of(data: Any) -> Validation:
        features, labels = samples(data, "validation")
        return features, labels, of_samples(factors, labels)

    def problem_of(new: Any) -> FittedProblem:
        features, labels = samples(new, "new")
        return problem(features, labels, None, of_samples(factors, labels))

    rows = curvature_rows(n, form.get("samples"), seed)
    whole = problem(features, labels, rows, of_samples(factors, labels, weights))
    return Scorable(whole, validation_of(validation), validation_of, problem_of)


def _penalty(model: LogisticRegression) -> float:
    """Return the factor of ½‖weights‖² beside the sum of losses.

    Raises:
        UserError: the model has not been fitted, or has another objective.
    """
    if not hasattr(model, "coef_"):
        raise UserError("the LogisticRegression has not been fitted; call fit first")
    settings = model.get_params()
    kind = settings.get("penalty")
    cross_validated = hasattr(model, "C_")  # LogisticRegressionCV has found its own
    mixed: Any = getattr(model, "l1_ratio_", None) if cross_validated else settings.get("l1_ratio")
    ratio = np.array([value for value in np.atleast_1d(mixed).tolist() if value is not None])
    if kind in ("l1", "elasticnet") and any(ratio):
        raise UserError(f"the LogisticRegression has the penalty {kind}; supported is an L2 penalty, or none: fit it "
                        "again without l1_ratio")  # fmt: skip
    if kind in (None, "none"):
        return 0.0
    if not getattr(model, "refit", True):
        raise UserError("the LogisticRegressionCV averages fits (refit=False), which is no minimum; fit it with "
                        "refit=True")  # fmt: skip
    if kind == "l1" or any(value for value in ratio.tolist()):
        raise UserError("the LogisticRegression has an L1 penalty (l1_ratio above 0); supported is an L2 penalty, or "
                        "none: fit it again with l1_ratio=0")  # fmt: skip
    if model.solver == "liblinear" and model.fit_intercept:
        raise UserError("the LogisticRegression was fitted by liblinear, which penalises the intercept; fit it again "
                        "with solver='lbfgs'")  # fmt: skip
    if len(model.classes_) > 2 and len(model.coef_) != len(model.classes_):
        raise UserError(f"the LogisticRegression has {len(model.coef_)} rows of weights for {len(model.classes_)} "
                        "classes; supported is a multinomial model: fit it again with solver='lbfgs'")  # fmt: skip
    strengths = np.unique(model.C_ if cross_validated else model.C)
    if len(strengths) > 1:
        raise UserError(f"the LogisticRegression has penalties that differ by class, C = {strengths.tolist()}; fit a "
                        "LogisticRegression with one of them")  # fmt: skip
    return 1 / float(strengths[0])


def _class_weight(model: LogisticRegression, stated: Stated) -> Any:
    """Return the class weights that the model was fitted with, which it knows itself."""
    if stated.class_weight is not None and repr(stated.class_weight) != repr(model.class_weight):
        raise UserError(f"class_weight is {stated.class_weight!r}, and the LogisticRegression has class_weight="
                        f"{model.class_weight!r}; leave it out: the model's own counts")  # fmt: skip
    return model.class_weight


def _class_factors(
    class_weight: Any, classes: NDArray[Any], labels: NDArray[np.int64], weights: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """Return the factor of each class as scikit-learn computes it: "balanced" counts weights in its newer versions."""
    if class_weight != "balanced" or weights is None:
        return by_class(class_weight, classes, labels)
    stated = {"sample_weight": weights} if "sample_weight" in signature(compute_class_weight).parameters else {}
    return np.asarray(compute_class_weight("balanced", classes=np.arange(len(classes)), y=labels, **stated))


def _features(model: LogisticRegression, inputs: Any, part: str) -> Any:
    """Return samples (n, d) in float64, dense or CSR, or refuse them."""
    check_columns(inputs, getattr(model, "feature_names_in_", None), part)
    try:
        features = as_float64(inputs)
    except (TypeError, ValueError) as error:
        raise UserError(f"{part} inputs are no numbers ({error}); pass what the model was fitted on") from None
    if features.ndim != 2 or features.shape[1] != model.coef_.shape[1]:
        raise UserError(
            f"{part} inputs have the shape {features.shape}, and the model takes (n, {model.coef_.shape[1]})"
        )
    is_sparse = hasattr(features, "tocsr")
    finite = np.isfinite(features.data if is_sparse else features)
    if not finite.all():
        rows = features.tocoo().row[~finite] if is_sparse else np.flatnonzero(~finite.all(axis=1))
        raise UserError(f"{part} inputs: a value of sample {int(rows[0])} is missing or not finite; fill it in, as for "
                        "fit")  # fmt: skip
    return features
