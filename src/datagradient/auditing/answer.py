"""What an audit answers: whether removal helps, by how much, and what to do with which row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from datagradient.auditing.judging import evidence_of, judgement_of, trusts
from datagradient.auditing.measures import MEASURES, Measured, area, difference, standard_error, suited
from datagradient.auditing.task import ENOUGH_TRUSTED, WHOLE, Part, Task
from datagradient.auditing.work import crossfits_of
from datagradient.evidence.statistics import corrected_interval, jackknife_interval, mean_and_interval
from datagradient.influence.scores import dataset_contribution
from datagradient.metrics import losses
from datagradient.refine.repair import Evidence
from datagradient.seeds import generator

DROP, RELABEL, LOOK, KEEP = DECISIONS = ("drop", "relabel", "look", "keep")
HELPS, NOTHING, TOO_FEW, HURTS = "helps", "nothing", "too few", "hurts"
# Rows to check by hand: the most doubtful, and some at random that show how many are wrong. Not all come back checked.
SUSPICIOUS, DRAWN = 50, ENOUGH_TRUSTED + 10
# Of small data so many are to be looked at, whatever their doubt: this share, but at least so many.
SUSPICIOUS_SHARE, FEWEST_SUSPICIOUS = 0.1, 10
DOUBTFUL = 0.5  # all rows whose doubt is larger are to be looked at
MEASURE_ON_TRUSTED = 500  # checked labels needed to measure the effect on them alone; on fewer, chance is larger
WORTHWHILE = 0.01  # "nothing" means that a gain of more than this is ruled out
ALIKE = 2  # digits of the probability that a label is wrong; rows that agree in them are ordered by their loss
TWO_SIDED = float(norm.ppf(0.975))

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Effect:
    """What a decision does to rows that no score has seen; differences are in shares of 1.

    Attributes:
        verdict: one of ``"helps"``, ``"nothing"``, ``"too few"``, ``"hurts"``.
        metric: the name of one of `measures.MEASURES`.
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
    names = [name for name in task.parts if name != WHOLE]
    rows, places, measured_on = _measured(task, names)
    where, metric = "test" if len(task.test) else "held", suited(task, rows)
    arms: dict[str, list[Measured]] = {arm: [] for arm in ("baseline", "refined", "random")}
    by_fold = []
    for number, name in enumerate(names):
        arrays, own = parts[name], rows[number]
        fold: dict[str, Any] = {"fold": number + 1, "rows": len(own), "removed": len(arrays["removed"]),
                                "relabelled": len(arrays["relabelled"])}  # fmt: skip
        for arm, found in arms.items():
            found.append(MEASURES[metric](task.dataset.labels[own], arrays[f"{where}_{arm}"][places[number]]))
            fold[arm] = found[-1].value
        by_fold.append(fold)
    change, against = (_difference(task, rows, arms["refined"], arms[other]) for other in ("baseline", "random"))
    count = len(task.test) if where == "test" else sum(map(len, rows))
    acted = any(fold["removed"] or fold["relabelled"] for fold in by_fold)
    return Effect(_verdict(change, against, acted), metric, measured_on, count, by_fold, change, against)


def _measured(task: Task, names: Sequence[str]) -> tuple[list[np.ndarray], list[np.ndarray], str]:
    """Return for each fold the rows that are measured and their places among those predicted, and what they are."""
    if len(task.test):
        everywhere = np.arange(len(task.test))
        return [task.test for _ in names], [everywhere for _ in names], "rows of the test file"
    held = [task.parts[name].held for name in names]
    places = [np.flatnonzero(task.trusted[rows]) for rows in held]
    if sum(map(len, places)) >= MEASURE_ON_TRUSTED and all(map(len, places)):
        checked = [rows[own] for rows, own in zip(held, places, strict=True)]
        return checked, places, "held-out rows with checked labels"
    checked_too = task.before is not None and bool((task.before >= 0).any())
    labels = "labels as given, or as checked" if checked_too else "labels as given"
    return held, [np.arange(len(rows)) for rows in held], f"held-out rows with their {labels}"


def _difference(
    task: Task, rows: list[np.ndarray], refined: list[Measured], other: list[Measured]
) -> dict[str, float]:  # fmt: skip
    """Return the difference of refined and another arm, with the wider of two intervals: over folds, and over rows."""
    by_fold = np.array([this.value - that.value for this, that in zip(refined, other, strict=True)])
    low, high = corrected_interval(by_fold, 1 / task.folds)
    mean, error = difference(task, rows, refined, other)
    low, high = min(low, mean - TWO_SIDED * error), max(high, mean + TWO_SIDED * error)
    return {"mean": mean, "low": float(low), "high": float(high), "folds": len(by_fold),
            "folds_better": int((by_fold > 0).sum())}  # fmt: skip


def _verdict(change: dict[str, float], against_random: dict[str, float], acted: bool) -> str:
    """Return what the differences from the baseline and from random removal say together."""
    if not acted:
        return NOTHING
    if change["low"] > 0:
        if against_random["low"] > 0:
            return HELPS
        return NOTHING if against_random["mean"] <= 0 else TOO_FEW
    if change["high"] < 0:
        return HURTS
    return NOTHING if change["high"] <= WORTHWHILE else TOO_FEW


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


def rows(task: Task, parts: Mapping[str, Arrays], verdict: str) -> Rows:
    """Return what is said of every judged row, and what to do with it.

    Rows are dropped and relabelled where the effect says that this helps. To be looked at are the most doubtful others
    and, without trusted labels, rows drawn at random, which show how many labels are wrong: whatever else they are.

    Args:
        task: the audit.
        parts: its results, by name.
        verdict: of the effect.
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
    drawn = np.zeros(n, dtype=bool)
    if verdict != HELPS:
        decision[:] = KEEP
    loss = losses(first.probabilities, labels)
    order = np.lexsort((-loss, -np.round(judged.doubt, ALIKE)))
    left = order[(decision == KEEP)[order]]
    most = min(SUSPICIOUS, max(FEWEST_SUSPICIOUS, round(SUSPICIOUS_SHARE * n)))
    decision[left[: max(most, int((judged.doubt[left] > DOUBTFUL).sum()))]] = LOOK
    if not trusts(task):
        at_random = generator(task.seed, "rows to check").permutation(n)[:DRAWN]
        drawn[at_random], decision[at_random] = True, LOOK  # also what would be done otherwise: all are to be checked
    stands_out, judged_in = _standing_out(parts, len(task.dataset.labels))
    influence = first.influence[places, labels]
    return Rows(
        part.judged, order, labels, suggested, probability, influence,
        judged.doubt if np.isnan(influence).any() else influence, loss,
        judged.doubt, first.probabilities[places, labels], stands_out[part.judged], judged_in[part.judged], decision,
        drawn,
    )  # fmt: skip


def _evidence(task: Task, part: Part, whole: Arrays) -> Evidence:
    return evidence_of(task, part, task.models[0], task.dataset.labels[part.judged], crossfits_of(task, dict(whole)))


def _standing_out(parts: Mapping[str, Arrays], n: int) -> tuple[np.ndarray, np.ndarray]:
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
    words = "From −1 to 1: above 0 when helpful rows outweigh harmful ones, large effects of single rows cut off."
    return {"value": summary["dcs"], "low": low, "high": high, "helpful_share": summary["helpful_share"],
            "sentence": words}  # fmt: skip


def wrong_labels(task: Task, parts: Mapping[str, Arrays]) -> dict[str, Any]:
    """Return how many labels look wrong: expected number and share, and what rows drawn at random showed.

    Only with trusted labels is there an interval: by leaving out each fold, and at least as wide as so many labels
    allow. Without, a model cannot tell labels that are wrong from rows that are hard to predict, and learns mistakes
    that have a pattern; the truth may be far away on either side. Where it is not clear that the model predicts better
    than by chance nothing is expected (None): it may have no opinion.
    """
    share, trusted = float(parts[WHOLE]["wrong"]), int(task.trusted[task.rows].sum())
    if not trusts(task) and not has_learned(task, parts):
        nothing: dict[str, Any] = dict.fromkeys(("expected_wrong", "expected_wrong_share", "low", "high"))
        return {"rows": trusted, **nothing, "drawn": _drawn(task)}
    low = high = None
    if trusts(task):
        by_fold = np.array([float(arrays["wrong"]) for name, arrays in parts.items() if name != WHOLE])
        ends = [end + share - by_fold.mean() for end in jackknife_interval(by_fold)]
        exact = binomtest(round(share * trusted), trusted).proportion_ci()
        low, high = max(0.0, min(ends[0], exact.low)), min(1.0, max(ends[1], exact.high))
    return {"rows": trusted, "expected_wrong": share * len(parts[WHOLE]["judged"]), "expected_wrong_share": share,
            "low": low, "high": high, "drawn": _drawn(task)}  # fmt: skip


def has_learned(task: Task, parts: Mapping[str, Arrays]) -> bool:
    """Return whether predictions for rows not trained on are clearly better than the classes' frequencies are.

    By their loss, their accuracy or the area under the ROC curve (where a class is rare, accuracy can hardly rise, and
    probabilities of 0 and 1, as of a forest, have large losses): the 95 % interval of a gain lies above 0.
    """
    part = task.parts[WHOLE]
    evidence = _evidence(task, part, parts[WHOLE])
    labels, probabilities = evidence.labels, evidence.crossfits[0].probabilities
    share, ranked = np.bincount(labels, minlength=probabilities.shape[1]) / len(labels), area(labels, probabilities)
    by_row = (-np.log(share[labels]) - losses(probabilities, labels),
              (probabilities.argmax(axis=1) == labels).astype(float) - (labels == share.argmax()))  # fmt: skip
    gains = [Measured(float(gain.mean()), (gain - gain.mean()) / len(gain)) for gain in by_row]
    gains.append(Measured(ranked.value - 0.5, ranked.shares))
    return any(gain.value > TWO_SIDED * standard_error(task, part.judged, gain.shares) for gain in gains)


def _drawn(task: Task) -> dict[str, Any] | None:
    """Return how many of the rows that were drawn at random and checked had a wrong label; None if none was."""
    drawn = np.empty(0, dtype=np.int64) if task.before is None else np.flatnonzero(task.trusted & (task.before >= 0))
    if not len(drawn):
        return None
    wrong = int((task.dataset.labels[drawn] != task.before[drawn]).sum())
    exact = binomtest(wrong, len(drawn)).proportion_ci()  # Clopper and Pearson's
    return {"rows": len(drawn), "wrong": wrong, "low": float(exact.low), "high": float(exact.high)}
