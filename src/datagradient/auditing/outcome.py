"""An audit's outcome as plain data: a summary, the rows worst first, and curves."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.auditing import answer, display
from datagradient.auditing.choice import Choice
from datagradient.auditing.material import Material
from datagradient.auditing.request import OWN
from datagradient.auditing.review import DOUBTFUL, RANDOM
from datagradient.auditing.task import ENOUGH_TRUSTED, WHOLE, Task
from datagradient.auditing.work import read_part, trainings
from datagradient.data.features import extract
from datagradient.data.record import Dataset
from datagradient.errors import UserError

SCHEMA = 1
SHOWN = 1000  # rows on the page
CERTAIN, LITTLE = 0.995, 0.1  # probabilities that are never said more exactly; doubt below which a label is "right"
HEADLINES = {answer.HELPS: "Refining this data helps", answer.NOTHING: "Nothing here is worth removing",
             answer.TOO_FEW: "No clear answer", answer.HURTS: "Keep your rows: removing them hurts"}  # fmt: skip
KEEP_ALL = "Keep the rows as they are"
NOT_JUDGED = "These data are too small to be judged"  # no model was trained
GUESSING = "The model may predict labels no better than guessing: which are wrong cannot be told"
TITLES = {"logistic": "logistic regression", "boosted": "boosted trees", "neural": "a neural network"}
FEW, SMALL = 5, 0.01  # fewer wrong labels, or a smaller share, are not mentioned beside the verdict
EDGES = np.linspace(0, 1, 21)
NO_CURVES = {"doubt": {"edges": EDGES.round(2).tolist(), "counts": [0] * (len(EDGES) - 1)}, "confusion": [],
             "cumulative": {"share": [], "harm": []}}  # fmt: skip


def outcome(task: Task, material: Material, choice: Choice, folder: Path) -> tuple[dict, list[dict], dict]:
    """Return summary, rows and curves of a finished audit; see docs/own-data.md for what each field means."""
    parts = {name: read_part(folder, name) for name in task.parts}
    found = answer.effect(task, parts)
    said = answer.rows(task, parts, found.verdict)
    wrong = answer.wrong_labels(task, parts)
    decisions = Counter(said.decision)
    removed, relabelled = (len(parts[WHOLE][kind]) for kind in ("removed", "relabelled"))
    if found.verdict == answer.HELPS:  # what is done leaves out the rows that are to be checked first
        removed, relabelled = decisions[answer.DROP], decisions[answer.RELABEL]
    words = answer.sentence(found, removed, relabelled)
    if _to_check(found, wrong):
        if "as given" in found.measured_on:
            words += " It was measured on labels as given: where these are wrong in the same way, a gain does not show."
        words += " The labels to check are those marked look in review.csv."
    effect = {"verdict": found.verdict, "headline": _headline(found, wrong), "sentence": words,
              "metric": found.metric, "measured_on": found.measured_on, "rows": found.rows,
              **{arm: found.mean(arm) for arm in ("baseline", "refined", "random")},
              "change": found.change, "against_random": found.against_random, "by_fold": found.by_fold}  # fmt: skip
    titles, score = [_title(task, model) for model in task.models], answer.score(task, parts[WHOLE])
    summary = {
        "model": {"name": task.models[0], "title": titles[0], "judges": titles, "folds": task.folds,
                  "settings": task.settings[task.models[0]], "trainings": trainings(task),
                  "tried": {model: {"loss": choice.loss[model], "accuracy": choice.accuracy[model]}
                            for model in choice.loss}},
        "trusted": {**wrong, "sentence": _on_wrong_labels(wrong, task.dataset.modality)},
        "effect": effect,
        "score": score,
        "decisions": {decision: decisions.get(decision, 0) for decision in answer.DECISIONS},
        "believe": _believe(wrong, None if score["value"] is not None else _no_influence(task)),
    }  # fmt: skip
    return summary, _rows(task, material, said), _curves(task, said, _others(task, parts, said))


def _to_check(found: answer.Effect, wrong: dict[str, Any]) -> bool:
    """Return whether labels look wrong, and acting on rows by rule is not known to help."""
    expected = wrong["expected_wrong"]
    many = expected is not None and expected >= FEW and wrong["expected_wrong_share"] >= SMALL
    return found.verdict != answer.HELPS and many


def _headline(found: answer.Effect, wrong: dict[str, Any]) -> str:
    """Return the answer in a few words; the sentence of the effect follows it."""
    if wrong["expected_wrong"] is None and found.verdict != answer.HELPS:
        return GUESSING
    if _to_check(found, wrong):
        return f"About {wrong['expected_wrong']:.0f} labels look wrong: check them by hand"
    if found.verdict == answer.NOTHING and not any(fold["removed"] or fold["relabelled"] for fold in found.by_fold):
        return KEEP_ALL
    return HEADLINES[found.verdict]


def _on_wrong_labels(wrong: dict[str, Any], modality: str) -> str:
    which = "labels" if wrong["drawn"] is None else "labels that were not checked"
    if wrong["expected_wrong_share"] is None:
        other = ", or other columns; one of texts is read with --text" if modality == "table" else ""
        return (f"How many {which} are wrong is not known: by held-out rows it is not clear that the model has learned "
                f"anything from these samples. More rows may help{other}.")  # fmt: skip
    words = f"{100 * wrong['expected_wrong_share']:.1f} % of the {which} look wrong"
    if wrong["low"] is None:
        words += (" to models that have not seen the row. That is no count: fewer are wrong where classes overlap, and "
                  "more where mistakes have a pattern that models learn.")  # fmt: skip
    else:
        low, high = (f"{100 * wrong[name]:.1f}" for name in ("low", "high"))
        words += (
            f" (interval {low} to {high} %), by the {wrong['rows']} checked labels that were not chosen for being "
            "doubtful."
        )
    if wrong["drawn"] is None:
        return words
    drawn = wrong["drawn"]
    share, low, high = (f"{100 * part:.0f}" for part in (drawn["wrong"] / drawn["rows"], drawn["low"], drawn["high"]))
    return (f"{words} Of {drawn['rows']} rows that were drawn at random, {drawn['wrong']} had a wrong label: {share} % "
            f"(interval {low} to {high} %).")  # fmt: skip


def _title(task: Task, model: str) -> str:
    return f"your own {task.own.title}" if model == OWN and task.own else TITLES.get(model, model)


def _no_influence(task: Task) -> str:
    """Return why the influence of a user's own classifier is not known."""
    reason = task.own and task.own.refused
    return f"Influence cannot be computed for {_title(task, OWN)}: {reason or 'not every fit could be scored'}."


def _believe(wrong: dict[str, Any], no_influence: str | None) -> str:
    """Return what to go by; `no_influence` says why there is no influence, None where there is."""
    trusted = wrong["rows"]
    order = (
        "Rows are sorted by doubt: how likely the label is wrong, by models that have not seen the row; decisions go "
        "by it."
    )
    if trusted < ENOUGH_TRUSTED:
        checked = ("To get more reliable decisions, check the rows marked look and run again with --trusted: "
                   f"{ENOUGH_TRUSTED} checked rows drawn at random are needed, {trusted} are there.")  # fmt: skip
    else:
        checked = f"The {trusted} labels that were checked by hand tell how likely that is."
        if wrong["expected_wrong"] < FEW:
            checked += f" Fewer than {FEW} of the others look wrong: checking more will hardly change anything."
    return f"{order} {checked} {no_influence or ''}".rstrip()


def _reason(
    decision: str, suggested: str, given: str, probability: float, doubt: float, drawn: bool, doubtful: bool
) -> str:
    """Return why a row is decided about; `doubtful` tells whether it is to be looked at for its doubt."""
    wrong = f"wrong ({_percent(doubt)})"
    at_random = "Drawn at random: such rows show how many labels are wrong."
    if decision == answer.KEEP:
        return ""
    if decision == answer.LOOK and not doubtful:
        return at_random
    if decision == answer.RELABEL:
        words = f"Models trained without this row predict {suggested} ({_percent(probability)})."
    elif decision == answer.DROP:
        words = f"The models think this label is {wrong}, but cannot tell which one is right."
    elif suggested == given and doubt < LITTLE:
        words = f"Among the most doubtful rows, but the models think that its label is right (doubt {_percent(doubt)})."
    elif suggested == given:
        words = f"The models doubt this label ({_percent(doubt)}) but suggest no other."
    elif doubt > 0.5:
        words = f"The models think this label is {wrong}; they suggest {suggested}."
    else:
        words = f"The models doubt this label ({_percent(doubt)}); they suggest {suggested}."
    return f"{words} {at_random}" if drawn else words


def _percent(share: float) -> str:
    """Return a probability in words; what is not certain is never 0 or 100 %."""
    return "over 99 %" if share > CERTAIN else "under 1 %" if share < 1 - CERTAIN else f"{100 * share:.0f} %"


def _doubtful(said: answer.Rows) -> np.ndarray:
    """Return (n,) which rows are to be looked at for their doubt; those drawn at random may be among them."""
    place = np.empty(len(said.order), dtype=np.int64)
    place[said.order] = np.arange(len(said.order))
    look = said.decision == answer.LOOK
    return look & (place <= place[look & ~said.drawn].max(initial=-1))


def _others(task: Task, parts: dict[str, Any], said: answer.Rows) -> np.ndarray:
    """Return (n,) the suggested labels; where that is the given one, the most probable other."""
    probabilities = parts[WHOLE][f"probabilities_{task.models[0]}"].copy()
    probabilities[np.arange(len(said.given)), said.given] = -1
    return np.where(said.suggested != said.given, said.suggested, probabilities.argmax(axis=1))


def _rows(task: Task, material: Material, said: answer.Rows) -> list[dict[str, Any]]:
    """Return the judged rows of the file, the most doubtful first, as plain data; without what a page shows of them."""
    names, source = task.dataset.class_names, material.source
    in_source = np.full(len(material.own), -1)
    in_source[np.flatnonzero(material.own)] = material.places
    ranks = np.empty(len(said.order), dtype=np.int64)
    ranks[np.argsort(-said.harm, kind="stable")] = np.arange(1, len(ranks) + 1)
    rows, is_image, doubtful = [], task.dataset.modality == "image", _doubtful(said)
    for k in said.order:
        place = in_source[said.positions[k]]  # rows of other files are checked, or a test: none is judged
        name = None if source.names is None else source.names[place]
        given, suggested = names[said.given[k]], names[said.suggested[k]]
        rows.append({
            "row": int(source.rows[place]), "id": None if is_image else name, "file": name if is_image else None,
            "given": given, "suggested": suggested, "probability": float(said.probability[k]), "harm": int(ranks[k]),
            "influence": None if np.isnan(said.influence[k]) else float(said.influence[k]),
            "loss": float(said.loss[k]), "doubt": float(said.doubt[k]),
            "confidence": float(said.confidence[k]), "stands_out": int(said.stands_out[k]),
            "of": int(said.judged_in[k]), "decision": str(said.decision[k]),
            "reason": _reason(said.decision[k], suggested, given, said.probability[k], said.doubt[k], said.drawn[k],
                              doubtful[k]),
            "drawn": RANDOM if said.drawn[k] else DOUBTFUL if said.decision[k] == answer.LOOK else "",
            "position": int(said.positions[k]),
        })  # fmt: skip
    return rows


def with_shown(dataset: Dataset, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the worst rows with what a page shows of them and of their neighbours."""
    shown, numbers = rows[:SHOWN], {name: label for label, name in enumerate(dataset.class_names)}
    positions = np.array([row["position"] for row in shown], dtype=np.int64)
    by_position = {row["position"]: row for row in rows}
    trained = np.arange(len(dataset.labels)) if dataset.is_test is None else np.flatnonzero(~dataset.is_test)
    try:
        features = extract(dataset, {"train": trained, "all": np.arange(len(dataset.labels))}, quiet=True)["all"]
    except UserError:  # a user's own classifier may learn from what our features do not see: no row is near then
        near: dict[str, Any] = {kind: [[] for _ in shown] for kind in _pools(rows)}
    else:
        near = {kind: display.nearest(features, positions, pool) for kind, pool in _pools(rows).items()}
    wanted = list(dict.fromkeys([*positions.tolist(), *(place for found in near.values() for places in found
                                                        for place, _ in places)]))  # fmt: skip
    given = np.array([numbers[by_position[place]["given"]] for place in wanted], dtype=np.int64)
    suggested = np.array([numbers[by_position[place]["suggested"]] for place in wanted], dtype=np.int64)
    pictures = dict(zip(wanted, display.show(dataset, wanted, given, suggested), strict=True))
    return [
        {**row, "shown": pictures[row["position"]], "near": {
            kind: [{"row": by_position[place]["row"], "given": by_position[place]["given"],
                    "distance": distance, "shown": pictures[place]} for place, distance in found[k]]
            for kind, found in near.items()}}
        for k, row in enumerate(shown)
    ]  # fmt: skip


def _pools(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return the positions of rows among which harmful and helpful neighbours are looked for, without one in common.

    Where influence is not known, a row whose label is more likely wrong than right is harmful, and none is helpful.
    """
    ordered = sorted(rows, key=lambda row: row["harm"])
    harmful = [row["position"] for row in ordered
               if (row["doubt"] > 0.5 if row["influence"] is None else row["influence"] > 0)]  # fmt: skip
    helpful = [row["position"] for row in reversed(ordered) if row["influence"] is not None and row["influence"] < 0]
    return {"harmful": np.array(harmful[: display.POOL], dtype=np.int64),
            "helpful": np.array(helpful[: display.POOL], dtype=np.int64)}  # fmt: skip


def _curves(task: Task, said: answer.Rows, others: np.ndarray) -> dict[str, Any]:
    """Return the curves of the page; `others` (n,) are the labels that each row's may be mixed up with."""
    counts = np.histogram(said.doubt, EDGES)[0]
    names = task.dataset.class_names
    counted = np.isin(said.decision, (answer.DROP, answer.RELABEL)) | _doubtful(said)
    pairs = Counter((int(said.given[k]), int(others[k])) for k in np.flatnonzero(counted))
    harm = np.sort(np.maximum(np.nan_to_num(said.influence), 0))[::-1]
    shares = np.linspace(0, 1, 101)
    total = np.concatenate([[0], np.cumsum(harm)]) / (harm.sum() or 1.0)
    at = np.interp(shares, np.linspace(0, 1, len(total)), total)
    return {"doubt": {"edges": EDGES.round(2).tolist(), "counts": counts.tolist()},
            "confusion": [{"given": names[given], "suggested": names[suggested], "rows": rows}
                          for (given, suggested), rows in pairs.most_common()],
            "cumulative": {"share": shares.tolist(), "harm": at.tolist()}}  # fmt: skip
