"""What an audit answers: whether removal helps, by how much, and what to do with which row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagradient.auditing.judging import evidence_of, judgement_of, trusts
from datagradient.auditing.task import WHOLE, Part, Task
from datagradient.auditing.work import crossfits_of
from datagradient.evidence.statistics import corrected_interval, mean_and_interval
from datagradient.influence.scores import dataset_contribution
from datagradient.metrics import losses
from datagradient.refine.repair import Evidence
from datagradient.seeds import generator

DROP, RELABEL, LOOK, KEEP = DECISIONS = ("drop", "relabel", "look", "keep")
HELPS, NOTHING, TOO_FEW, HURTS = "helps", "nothing", "too few", "hurts"
SUSPICIOUS, DRAWN = 50, 50  # rows to check by hand: the most doubtful, and some at random that show how many are wrong
MEASURE_ON_TRUSTED = 100  # checked labels needed to measure the effect on them alone
UNCLEAR = 0.02  # an interval that reaches this far on either side of its mean says nothing
ALIKE = 2  # digits of the probability that a label is wrong; rows that agree in them are ordered by their loss
LOPSIDED = 0.8  # share of the largest class from which on the mean over classes is measured

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Effect:
    """What a decision does to rows that no score has seen; differences are in shares of 1.

    Attributes:
        verdict: one of ``"helps"``, ``"nothing"``, ``"too few"``, ``"hurts"``.
        metric: ``"accuracy"``, or ``"balanced accuracy"``, the mean over classes, where one class is most of the rows.
        measured_on: which rows, in words.
        rows: number of them.
        by_fold: for each fold its rows, ``baseline``, ``refined``, ``random``, numbers removed and relabelled.
        change: of refined over the baseline: mean, low, high (95 %), folds_better, folds.
        against_random: the same over as many rows removed at random.
    """

    verdict: str
    metric: str
    measured_on: str
    rows: int
    by_fold: list[dict[str, Any]]
    change: dict[str, float]
    against_random: dict[str, float]

    def mean(self, arm: str) -> float:
        """Return the mean over folds of one arm."""
        return float(np.mean([fold[arm] for fold in self.by_fold]))


def effect(task: Task, parts: Mapping[str, Arrays]) -> Effect:
    """Return the effect over all folds."""
    labels, names = task.dataset.labels, [name for name in task.parts if name != WHOLE]
    trusted = int(task.trusted[task.rows].sum())
    where, measured_on = _measured(task, trusted)
    shares = np.bincount(labels[task.rows]) / len(task.rows)
    metric = "balanced accuracy" if shares.max() >= LOPSIDED else "accuracy"
    by_fold, right = [], {"baseline": [], "refined": [], "random": []}
    for name in names:
        part, arrays = task.parts[name], parts[name]
        rows = task.test if where == "test" else part.held
        chosen = np.flatnonzero(task.trusted[rows]) if measured_on.endswith("checked labels") else np.arange(len(rows))
        fold: dict[str, Any] = {"fold": len(by_fold) + 1, "rows": len(chosen), "removed": len(arrays["removed"]),
                                "relabelled": len(arrays["relabelled"])}  # fmt: skip
        for arm, values in right.items():
            given = labels[rows[chosen]]
            is_right = arrays[f"{where}_{arm}"][chosen].argmax(axis=1) == given
            fold[arm] = _balanced(is_right, given) if metric != "accuracy" else float(is_right.mean())
            values.append(is_right)
        by_fold.append(fold)
    joined = {arm: np.mean(values, axis=0) if where == "test" else np.concatenate(values)
              for arm, values in right.items()}  # fmt: skip
    change, against = (
        _difference(task, by_fold, joined, other, metric == "accuracy") for other in ("baseline", "random")
    )
    count = len(task.test) if where == "test" else sum(fold["rows"] for fold in by_fold)
    acted = any(fold["removed"] or fold["relabelled"] for fold in by_fold)
    return Effect(_verdict(change, against, acted), metric, measured_on, count, by_fold, change, against)


def _measured(task: Task, trusted: int) -> tuple[str, str]:
    """Return whose predictions are measured, those of held-out or of test rows, and which rows these are in words."""
    if len(task.test):
        return "test", "rows of the test file"
    if trusted >= MEASURE_ON_TRUSTED:
        return "held", "held-out rows with checked labels"
    return "held", "held-out rows with their labels as given"


def _balanced(right: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def _difference(
    task: Task, by_fold: Sequence[dict], right: Mapping[str, np.ndarray], other: str, by_row: bool
) -> dict[str, float]:
    """Return the difference of refined and another arm, with the wider of two intervals: over folds, and over rows."""
    differences = np.array([fold["refined"] - fold[other] for fold in by_fold])
    low, high = corrected_interval(differences, 1 / task.folds)
    if by_row:
        _, row_low, row_high = mean_and_interval(right["refined"].astype(float) - right[other])
        low, high = min(low, row_low), max(high, row_high)
    return {"mean": float(differences.mean()), "low": low, "high": high, "folds": len(by_fold),
            "folds_better": int((differences > 0).sum())}  # fmt: skip


def _verdict(change: dict[str, float], against_random: dict[str, float], acted: bool) -> str:
    if not acted:
        return NOTHING
    if change["low"] > 0:
        return HELPS if against_random["mean"] > 0 else NOTHING
    if change["high"] < 0:
        return HURTS
    return TOO_FEW if (change["high"] - change["low"]) / 2 > UNCLEAR else NOTHING


def sentence(found: Effect, removed: int, relabelled: int) -> str:
    """Return the effect in words; the numbers of rows are those that are proposed for the whole file."""
    if not any(fold["removed"] or fold["relabelled"] for fold in found.by_fold):
        return "No row stands out enough to be removed or relabelled."
    change, what = found.change, _acts(removed, relabelled)
    if not any(change[name] for name in ("mean", "low", "high")):
        return f"{what.capitalize()} would change {found.metric} in no fold."
    size = f"by {_points(change['mean'])} points (95 % interval {_points(change['low'])} to {_points(change['high'])})"
    rose = f"it rose in {change['folds_better']} of {change['folds']} folds"
    if found.verdict == TOO_FEW:
        return f"There are too few rows to tell whether {what} helps: {found.metric} would change {size}; {rose}."
    if change["low"] > 0:
        at_random = _points(found.mean("random") - found.mean("baseline"))
        compared = "Removing as many rows at random would change it by" if found.verdict == HELPS else \
            "Removing as many rows at random would do no less:"  # fmt: skip
        return f"{what.capitalize()} would raise {found.metric} {size}; {rose}. {compared} {at_random} points."
    end = ": no clear gain" if found.verdict == NOTHING else ""
    return f"{what.capitalize()} would change {found.metric} {size}; {rose}{end}."


def _points(share: float) -> str:
    """Return a difference of shares in points, with its sign."""
    return f"{round(100 * share, 2) + 0.0:+.2f}".replace("-", "\N{MINUS SIGN}")  # adding zero turns −0.00 into 0.00


def _acts(removed: int, relabelled: int) -> str:
    if not removed and not relabelled:
        return "removing and relabelling rows by the same rule"
    rows = [f"{count} row{'s' * (count != 1)}" for count in (removed, relabelled)]
    if not removed or not relabelled:
        return f"removing {rows[0]}" if removed else f"relabelling {rows[1]}"
    return f"removing {rows[0]} and relabelling {relabelled}"


@dataclass(frozen=True)
class Rows:
    """What is said of the judged rows of the file, in the order of the file; arrays of (n,).

    ``positions`` are those in the task's data set; ``order`` lists the rows from the most doubtful on: the probability
    that a label is wrong finds wrong labels better than influence does, and than the loss where one class is often
    taken for another; decisions go by it, too. ``harm`` is the influence of the given label, or doubt where influence
    is not known.
    """

    positions: np.ndarray
    order: np.ndarray
    given: np.ndarray
    suggested: np.ndarray
    probability: np.ndarray
    influence: np.ndarray
    harm: np.ndarray
    loss: np.ndarray
    doubt: np.ndarray
    confidence: np.ndarray
    stands_out: np.ndarray
    judged_in: np.ndarray
    decision: np.ndarray
    drawn: np.ndarray


def rows(task: Task, parts: Mapping[str, Arrays], verdict: str, own: np.ndarray) -> Rows:
    """Return what is said of every judged row, and what to do with it.

    Rows are dropped and relabelled where the effect says that this helps. Otherwise they are to be looked at, as are
    the most doubtful rows; without trusted labels, also rows drawn at random, which show how many labels are wrong.

    Args:
        task: the audit.
        parts: its results, by name.
        verdict: of the effect.
        own: (n of the data set,) bool, rows of the audited file, which alone are decided about.
    """
    whole, part = parts[WHOLE], task.parts[WHOLE]
    evidence = _evidence(task, part, whole)
    judged, labels = judgement_of(evidence), evidence.labels
    first = evidence.crossfits[0]
    n, places = len(labels), np.arange(len(labels))
    decision = np.full(n, KEEP, dtype=object)
    decision[whole["removed"]], decision[whole["relabelled"]] = DROP, RELABEL
    suggested, probability = judged.right.argmax(axis=1), judged.right.max(axis=1)
    relabelled = whole["relabelled"]
    suggested[relabelled] = whole["new_labels"]
    probability[relabelled] = judged.right[relabelled, whole["new_labels"]]
    mine, drawn = own[part.judged], np.zeros(n, dtype=bool)
    decision[~mine] = KEEP
    if verdict != HELPS:
        acted = np.flatnonzero(decision != KEEP)
        decision[acted] = KEEP
    loss = losses(first.probabilities, labels)
    order = np.lexsort((-loss, -np.round(judged.doubt, ALIKE)))
    decision[order[((decision == KEEP) & mine)[order]][:SUSPICIOUS]] = LOOK
    if not trusts(task):
        at_random = generator(task.seed, "rows to check").permutation(n)
        at_random = at_random[mine[at_random]][:DRAWN]
        drawn[at_random] = True
        decision[at_random[decision[at_random] == KEEP]] = LOOK
    stands_out, judged_in = _standing_out(task, parts, len(task.dataset.labels))
    influence = first.influence[places, labels]
    return Rows(
        part.judged, order, labels, suggested, probability, influence,
        judged.doubt if np.isnan(influence).any() else influence, loss,
        judged.doubt, first.probabilities[places, labels], stands_out[part.judged], judged_in[part.judged], decision,
        drawn,
    )  # fmt: skip


def _evidence(task: Task, part: Part, whole: Arrays) -> Evidence:
    return evidence_of(task, part, task.models[0], task.dataset.labels[part.judged], crossfits_of(task, dict(whole)))


def _standing_out(task: Task, parts: Mapping[str, Arrays], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return in how many folds each row of the data set was acted on, and in how many it was judged."""
    acted, judged = np.zeros(n, dtype=int), np.zeros(n, dtype=int)
    for name, arrays in parts.items():
        if name != WHOLE:
            judged[arrays["judged"]] += 1
            acted[arrays["judged"][np.concatenate([arrays["removed"], arrays["relabelled"]])]] += 1
    return acted, judged


def score(task: Task, whole: Arrays) -> dict[str, Any]:
    """Return the contribution score of the whole file with its interval, and the share of helpful rows.

    They are None for a classifier whose influence cannot be computed.
    """
    evidence = _evidence(task, task.parts[WHOLE], whole)
    influence = evidence.crossfits[0].influence[np.arange(len(evidence.labels)), evidence.labels]
    if np.isnan(influence).any():
        return {**dict.fromkeys(("value", "low", "high", "helpful_share")),
                "sentence": "Without influence there is no contribution score."}  # fmt: skip
    summary = dataset_contribution(influence)
    spread = influence.std() or 1.0
    _, low, high = mean_and_interval(np.tanh(-influence / spread))
    words = (
        f"{100 * summary['helpful_share']:.0f} % of the rows lower the loss on rows that they were not trained with, "
        "the others raise it. The contribution score, from −1 to 1, is the mean of how much each helps, large effects "
        "cut off: above 0 where a few very harmful rows stand against many that help a little, and near or below 0 "
        "where harmful rows are as many."
    )
    return {"value": summary["dcs"], "low": low, "high": high, "helpful_share": summary["helpful_share"],
            "sentence": words}  # fmt: skip


def wrong_labels(task: Task, parts: Mapping[str, Arrays]) -> dict[str, Any]:
    """Return how many labels look wrong: expected number and share, with an interval, and what random rows show.

    The interval is over the folds. Without trusted labels it reaches as far as the count of confident learning
    (Northcutt, Jiang and Chuang 2021), which is larger: models that learn the mistakes find too few of them, and
    confident learning takes what is hard to tell for wrong.
    """
    share, labels = float(parts[WHOLE]["wrong"]), task.dataset.labels
    by_fold = np.array([float(arrays["wrong"]) for name, arrays in parts.items() if name != WHOLE])
    low, high = (end + share - by_fold.mean() for end in corrected_interval(by_fold, 1 / task.folds))
    if not trusts(task):
        from cleanlab.count import estimate_joint

        probabilities = parts[WHOLE][f"probabilities_{task.models[0]}"]
        high = max(high, 1 - np.trace(estimate_joint(labels[parts[WHOLE]["judged"]], probabilities)))
    return {"rows": int(task.trusted[task.rows].sum()), "expected_wrong": share * len(parts[WHOLE]["judged"]),
            "expected_wrong_share": share, "low": max(0.0, float(low)), "high": min(1.0, float(high)),
            "drawn": _drawn(task)}  # fmt: skip


def _drawn(task: Task) -> dict[str, Any] | None:
    """Return how many of the rows that were drawn at random and checked had a wrong label; None if none was."""
    from scipy.stats import binomtest

    drawn = np.empty(0, dtype=np.int64) if task.before is None else np.flatnonzero(task.trusted & (task.before >= 0))
    if not len(drawn):
        return None
    wrong = int((task.dataset.labels[drawn] != task.before[drawn]).sum())
    exact = binomtest(wrong, len(drawn)).proportion_ci()  # Clopper and Pearson's
    return {"rows": len(drawn), "wrong": wrong, "low": float(exact.low), "high": float(exact.high)}
