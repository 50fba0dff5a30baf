"""Scores of a user's own model: `influence_scores`."""

import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from datagradient.errors import UserError
from datagradient.influence import scores
from datagradient.influence.options import CURVATURES, PROBLEM_OPTIONS, RECORD, SOLVER_OPTIONS, SOLVERS, misfits
from datagradient.interface import adapters
from datagradient.interface.adapters import Scorable, Stated
from datagradient.models import declared

# Scoring switches flags of torch's that a process has once: two threads take turns.
LOCK = threading.RLock()


@dataclass(frozen=True)
class Verification:
    """What removing single samples really does near the trained parameters, beside what the scores predict.

    Attributes:
        positions: (k,) of the samples, evenly spaced in the order of their scores, the most helpful one first.
        predicted: (k,) change of the mean validation loss when the sample is removed, −I/n.
        actual: (k,) the change by a refit without the sample, from the trained parameters on: of a convex model the
            exact refit, otherwise the proximal one whose first order influence is (Bae et al. 2022, arXiv 2209.05364).
        converged: (k,) whether the refit converged; where not, ``actual`` says nothing.
    """

    positions: NDArray[np.int64]
    predicted: NDArray[np.float64]
    actual: NDArray[np.float64]
    converged: NDArray[np.bool_]

    def __str__(self) -> str:
        """Return a line for each sample."""
        lines = ["sample  predicted     actual        converged"]
        for position, predicted, actual, converged in zip(
            self.positions, self.predicted, self.actual, self.converged, strict=True
        ):
            lines.append(f"{position:6d}  {predicted:+.4e}  {actual:+.4e}  {'yes' if converged else 'no'}")
        return "\n".join(lines)


@dataclass(frozen=True)
class InfluenceResult:
    """Scores of a model's training samples.

    Attributes:
        values: (n,) influence I of each training sample on the mean validation loss, in the order of ``train``;
            **above 0: harmful, below 0: helpful**. Removing sample i changes the validation loss by about −I_i / n.
        record: what the solver did: ``status`` (``"converged"``, ``"unconverged"``, ``"truncated"`` after a fixed
            number of steps, ``"approximate"``), ``residual``, ``products`` with the curvature, ``damping``,
            ``options``, ``seconds`` by step. Of a `Recorder` also ``agreement`` with a pass over some samples; of
            projected gradients ``left_out``, the parameters that they do not cover.
        verification: of `influence_scores`' ``verify``; None where it was not asked for.
    """

    values: NDArray[np.float64]
    record: dict[str, Any]
    verification: Verification | None
    _direction: NDArray[np.float64] = field(repr=False)
    _scorable: Scorable = field(repr=False)

    def most_harmful(self, count: int) -> NDArray[np.int64]:
        """Return the positions of the most harmful training samples, worst first: at most `count`, all above 0."""
        order = np.argsort(-self.values, kind="stable")[: max(count, 0)]
        return order[self.values[order] > 0]

    def contribution(self) -> dict[str, float]:
        """Return the dataset contribution score and its companions, see `influence.scores.dataset_contribution`."""
        return scores.dataset_contribution(self.values)

    def score(self, new: Any) -> NDArray[np.float64]:
        """Score further samples along the same S, without solving again: (m,), as `values`.

        What the score predicts is the change that training with the sample's weight raised would make; the model has
        not been trained on these samples.

        Args:
            new: samples with labels, in a form that ``train`` may have.

        Raises:
            ValueError: the model cannot take them.
        """
        with LOCK, self._scorable.scoring():
            return scores.influence_along(self._scorable.problem_of(new), self._direction)


def influence_scores(
    model: Any,
    train: Any,
    validation: Any,
    *,
    loss: str | Callable[[Any, Any], Any] | None = None,
    class_weight: Mapping[Any, float] | Sequence[float] | str | None = None,
    sample_weight: ArrayLike | None = None,
    solver: Mapping[str, Any] | None = None,
    verify: int = 0,
    seed: int = 0,
) -> InfluenceResult:
    """Return how much each training sample of a trained model hurts its mean loss on validation samples.

    I_i = −g_iᵀ S with S = (H + δI)⁻¹ ∇L_V (Koh and Liang 2017, eq. 2): H is the curvature of the training objective,
    g_i the gradient of sample i's loss, L_V the mean validation loss, δ the damping. One linear system is solved, and
    one pass made over the training samples. The model comes back as it was given.

    Models, with what S is solved for and what is held fixed:

    - a torch module: by default the parameters of its last linear layer, the other layers held fixed;
      ``solver={"parameters": "all"}`` for all that are not frozen. It is run in evaluation mode.
    - scikit-learn's ``LogisticRegression``, alone or last in a ``Pipeline`` whose other steps are held fixed: all
      parameters, with the exact Hessian.
    - XGBoost's ``XGBClassifier`` (alone or last in a ``Pipeline``) or ``Booster``: the values of the leaves, the
      structure of the trees held fixed.

    Args:
        model: a trained model of these kinds.
        train: the samples that it was trained on: a pair ``(inputs, labels)`` of arrays, DataFrames or tensors, with
            labels as the model was given them. For a torch module ``inputs`` may also be a tuple or mapping of arrays
            (several inputs, by position or name); or ``train`` is a DataLoader or list of batches, which is read
            several times and must not shuffle: each batch a tuple, whose last entry is the labels, or a mapping with
            ``"labels"`` as Hugging Face models take.
        validation: samples in one of these forms; best of labels that can be trusted, and used for nothing else.
        loss: for torch modules: ``"cross_entropy"`` of logits (n, classes), ``"binary_cross_entropy"`` of one logit,
            ``"squared_error"`` (the mean over a sample's outputs), or a function ``(outputs, targets) -> (n,)``, whose
            curvature is found by differentiation. None: one of the first two, by the number of outputs.
        class_weight: factors of the losses by class: a mapping from label to factor, a sequence in the order of the
            classes, or ``"balanced"``. They count for validation samples too. A ``LogisticRegression`` knows its own.
        sample_weight: (n,) factors of the training samples' losses, as given to ``fit``.
        solver: options of `datagradient.influence.options` that replace the defaults of the kind of model, e.g.
            ``{"damping": 0.01, "parameters": "all"}``. ``samples`` is the number of training samples that curvature is
            averaged over, None for all.
        verify: number of training samples to refit without, near the trained parameters, for a look at how far the
            scores can be trusted; each takes up to sixty solves.
        seed: of the draw of ``samples`` and of LiSSA's batches.

    Returns:
        The scores in the order of ``train``.

    Raises:
        ValueError: a model, loss, sample or label that cannot be represented. One sentence says what was found, what is
            supported, and what to do.
    """
    options = _options(solver)
    if options.get("name") == RECORD:
        raise UserError(f"solver: {RECORD} is for what a Recorder keeps in training; leave the name out")
    if isinstance(verify, bool) or not isinstance(verify, int | np.integer) or verify < 0:
        raise UserError(f"verify is {verify!r}; legal is a number of samples, from 0 on")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise UserError(f"seed is {seed!r}; legal is a whole number")
    stated = Stated(loss, class_weight, _numbers(sample_weight))
    if verify and options.get("parameters") == "projected":
        raise UserError(
            "verify: a refit moves the parameters, and projected gradients do not; use parameters: last or all"
        )
    adapter = adapters.for_model(model)
    with LOCK, adapters.context(adapter):
        return _scored(adapter, model, train, validation, stated, _with_defaults(options, adapter), verify, seed)


def score_network(
    model: Any, train: Any, validation: Any, stated: Stated, solver: Mapping[str, Any] | None, name: str, seed: int
) -> InfluenceResult:
    """Return the scores of a torch module; `train` may be a record of the samples and their labels.

    `name` is that of the solver.
    """
    options = _options({**(solver or {}), "name": (solver or {}).get("name", name)})
    if options["name"] != name:
        raise UserError(f"solver: a Recorder's is {name}; for {options['name']} use influence_scores")
    adapter = adapters.for_model(model)
    with LOCK, adapters.context(adapter):
        return _scored(adapter, model, train, validation, stated, _with_defaults(options, adapter), 0, seed)


def _scored(
    adapter: ModuleType, model: Any, train: Any, validation: Any, stated: Stated, options: dict[str, Any], verify: int,
    seed: int,
) -> InfluenceResult:  # fmt: skip
    start = time.perf_counter()
    form = {key: options.pop(key) for key in PROBLEM_OPTIONS if key in options}
    scorable = adapter.scorable(model, train, validation, stated, form, seed)
    setup = time.perf_counter() - start
    features, labels, weights = scorable.validation
    scored = scores.score(scorable.problem, features, labels, seed=seed, weights=weights, **options)
    record = {**scored.record.as_dict(), "options": {**options, **form}, "seconds": {"setup": setup, **scored.seconds}}
    if hasattr(scorable.problem, "agreement"):
        record["agreement"] = scorable.problem.agreement
    if hasattr(scorable.problem, "left_out"):
        record["left_out"] = scorable.problem.left_out
    if record["status"] == "unconverged":
        warnings.warn(f"the solve is unconverged: relative residual {record['residual']:.2g} after "
                      f"{record['iterations']} steps: raise max_iterations or damping", stacklevel=3)  # fmt: skip
    verification = _verified(scorable, scored.influence, verify, options) if verify else None
    return InfluenceResult(scored.influence, record, verification, scored.direction.solution, scorable)


def _numbers(weights: ArrayLike | None) -> NDArray[np.float64] | None:
    """Return weights as an array of numbers, or refuse them."""
    if weights is None:
        return None
    detached: Any = weights.detach().cpu() if hasattr(weights, "detach") else weights
    try:
        return np.asarray(detached, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError("sample_weight is no array of numbers; pass one number for each training sample") from None


def _options(solver: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return options for a solver, checked as far as solvers do not check them."""
    if solver is not None and not isinstance(solver, Mapping):
        raise UserError(f"solver is {solver!r}; pass a mapping of options, e.g. {{'name': 'cg', 'damping': 0.01}}")
    options = dict(solver or {})
    legal = ("name", *SOLVER_OPTIONS)
    for key, value in options.items():
        if key not in legal:
            raise UserError(f"solver: no option {key!r}; legal: {', '.join(legal)}")
        kinds: Any = SOLVER_OPTIONS.get(key, tuple(SOLVERS))
        if isinstance(kinds, tuple):
            if value not in kinds:
                raise UserError(f"solver: {key} is {value!r}; legal: {', '.join(kinds)}")
        elif not (value is None and kinds.get("null")):
            kind = (int, np.integer) if kinds["type"] == "whole" else (int, float, np.integer, np.floating)
            if isinstance(value, bool) or not isinstance(value, kind) or not value >= kinds["ge"]:
                raise UserError(
                    f"solver: {key} is {value!r}; legal is a {kinds['type']} number of at least {kinds['ge']}"
                )
    return options


def _with_defaults(options: dict[str, Any], adapter: ModuleType) -> dict[str, Any]:
    """Return options with the defaults of a kind of model, as far as the solver has them."""
    defaults = {**declared(adapter.FAMILY).solver, **getattr(adapter, "SOLVER", {})}
    name = options.get("name", "cg" if defaults["name"] == RECORD else defaults["name"])  # training kept nothing here
    legal = ("name", *SOLVERS[name], *PROBLEM_OPTIONS)
    if name == "cg" and options.get("preconditioner") != "ekfac":
        defaults = {key: value for key, value in defaults.items() if key != "preconditioner"}
    family, full = declared(adapter.FAMILY), {key: value for key, value in defaults.items() if key in legal}
    # What names what is done anyway is no choice.
    taken = {key: value for key, value in options.items() if key in family.solver or value not in ("all", *CURVATURES)}
    full |= {"name": name, **taken}
    for key, why in misfits(full, family.solver, family.records):
        raise UserError(f"solver: {key}, for this model: {why}")
    return full


def _verified(scorable: Scorable, influence: NDArray[np.float64], count: int, options: dict[str, Any]) -> Verification:
    from tqdm import tqdm

    from datagradient.influence.refits import proximal_refit

    n = len(influence)
    ranks = np.linspace(0, n - 1, min(count, n)).round().astype(int)
    positions = np.argsort(influence, kind="stable")[ranks]
    features, labels, weights = scorable.validation
    refits = [
        proximal_refit(scorable.problem, (features, labels), int(i), options.get("damping", 0.0), weights)
        for i in tqdm(positions, "refits", disable=None)
    ]
    return Verification(
        positions, -influence[positions] / n, np.array([refit.change for refit in refits]),
        np.array([refit.converged for refit in refits]),
    )  # fmt: skip
