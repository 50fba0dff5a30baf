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

SCHEMA = 1
SHOWN = 1000  # rows on the page
TITLES = {"logistic": "logistic regression", "boosted": "boosted trees", "neural": "a neural network"}
FEW, SMALL = 5, 0.01  # fewer wrong labels, or a smaller share, are not mentioned beside the verdict
EDGES = np.linspace(0, 1, 21)
NO_CURVES = {"doubt": {"edges": EDGES.round(2).tolist(), "counts": [0] * (len(EDGES) - 1)}, "confusion": [],
             "cumulative": {"share": [], "harm": []}}  # fmt: skip


def outcome(task: Task, material: Material, choice: Choice, folder: Path) -> tuple[dict, list[dict], dict]:
    """Return summary, rows and curves of a finished audit; see docs/own-data.md for what each field means."""
    parts = {name: read_part(folder, name) for name in task.parts}
    found = answer.effect(task, parts)
    said = answer.rows(task, parts, found.verdict, material.own)
    wrong = answer.wrong_labels(task, parts)
    decisions = Counter(said.decision[material.own[said.positions]])
    trusted = int(task.trusted[task.rows].sum())
    removed, relabelled = (len(parts[WHOLE][kind]) for kind in ("removed", "relabelled"))
    words = answer.sentence(found, removed, relabelled) + _all_the_same(found, wrong)
    effect = {"verdict": found.verdict, "sentence": words,
              "metric": found.metric, "measured_on": found.measured_on, "rows": found.rows,
              **{arm: found.mean(arm) for arm in ("baseline", "refined", "random")},
              "change": found.change, "against_random": found.against_random, "by_fold": found.by_fold}  # fmt: skip
    titles, score = [_title(task, model) for model in task.models], answer.score(task, parts[WHOLE])
    summary = {
        "model": {"name": task.models[0], "title": titles[0], "judges": titles, "folds": task.folds,
                  "settings": task.settings[task.models[0]], "trainings": trainings(task),
                  "tried": {model: {"loss": choice.loss[model], "accuracy": choice.accuracy[model]}
                            for model in choice.loss}},
        "trusted": {**wrong, "sentence": _on_wrong_labels(wrong, trusted)},
        "effect": effect,
        "score": score,
        "decisions": {decision: decisions.get(decision, 0) for decision in answer.DECISIONS},
        "believe": _believe(trusted, None if score["value"] is not None else _no_influence(task)),
    }  # fmt: skip
    return summary, _rows(task, material, said), _curves(task, material, said)


def _all_the_same(found: answer.Effect, wrong: dict[str, Any]) -> str:
    """Return what to say of labels that look wrong where removing them does not help."""
    if found.verdict == answer.HELPS or wrong["expected_wrong"] < FEW or wrong["expected_wrong_share"] < SMALL:
        return ""
    return f" All the same, about {wrong['expected_wrong']:.0f} labels look wrong: check the first rows of the review."


def _on_wrong_labels(wrong: dict[str, Any], trusted: int) -> str:
    share = f"{100 * wrong['expected_wrong_share']:.1f} %"
    rest = "of the rows" if wrong["drawn"] is None else "of the rows that were not checked"
    words = f"About {wrong['expected_wrong']:.0f} labels look wrong, {share} {rest}"
    if wrong["low"] is None:
        words += (", to models alone: where classes overlap fewer are wrong, where labels are wrong in a pattern that "
                  "models learn, more.")  # fmt: skip
    else:
        words += f" [{100 * wrong['low']:.1f}, {100 * wrong['high']:.1f}], by {trusted} labels checked by hand."
    if wrong["drawn"] is None:
        return words
    drawn = wrong["drawn"]
    share = f"{100 * drawn['wrong'] / drawn['rows']:.0f} % [{100 * drawn['low']:.0f}, {100 * drawn['high']:.0f}]"
    return f"{words} Of {drawn['rows']} rows that were drawn at random, {drawn['wrong']} had a wrong label, {share}."


def _title(task: Task, model: str) -> str:
    return f"your own {task.own.title}" if model == OWN and task.own else TITLES.get(model, model)


def _no_influence(task: Task) -> str:
    """Return why the influence of a user's own classifier is not known."""
    reason = task.own and task.own.refused
    return f"Influence cannot be computed for {_title(task, OWN)}: {reason or 'not every fit could be scored'}."


def _believe(trusted: int, no_influence: str | None) -> str:
    """Return what to go by; `no_influence` says why there is no influence, None where there is."""
    order = (
        "Rows are ordered by doubt, the probability that a label is wrong, from models that have not seen the row, and "
        "decisions go by it: it finds wrong labels better than influence does, and than the loss where one class is "
        "often taken for another."
    )
    checked = f"The {trusted} labels that were checked by hand tell how likely that is." \
        if trusted >= ENOUGH_TRUSTED else (
            "Too few labels were checked by hand to tell how likely that is. Check the rows marked look, and bring "
            f"them back: with {ENOUGH_TRUSTED} checked labels of rows drawn at random, rows are judged by them."
        )  # fmt: skip
    return f"{order} {checked} {no_influence or ''}".rstrip()


def _reason(decision: str, suggested: str, given: str, probability: float, doubt: float, drawn: bool) -> str:
    if decision == answer.RELABEL:
        return f"Models that have not seen it say {suggested} ({100 * probability:.0f} %)."
    if decision == answer.DROP:
        return f"Its label is wrong with {100 * doubt:.0f} %, and which is right is not clear."
    if decision == answer.LOOK:
        if drawn:
            return "Drawn at random: such rows show how many labels are wrong."
        other = f", and {suggested} is more likely" if suggested != given else ""
        return f"Its label is wrong with {100 * doubt:.0f} %{other}."
    return ""


def _rows(task: Task, material: Material, said: answer.Rows) -> list[dict[str, Any]]:
    """Return the judged rows of the file, the most doubtful first, as plain data; without what a page shows of them."""
    names, source = task.dataset.class_names, material.source
    in_source = np.full(len(material.own), -1)
    in_source[np.flatnonzero(material.own)] = material.places
    ranks = np.empty(len(said.order), dtype=np.int64)
    mine = material.own[said.positions]
    by_harm = np.argsort(-said.harm, kind="stable")
    by_harm = by_harm[mine[by_harm]]
    ranks[by_harm] = np.arange(1, len(by_harm) + 1)
    rows, is_image = [], task.dataset.modality == "image"
    for k in said.order:
        place = in_source[said.positions[k]]
        if place < 0:
            continue
        name = None if source.names is None else source.names[place]
        given, suggested = names[said.given[k]], names[said.suggested[k]]
        rows.append({
            "row": int(source.rows[place]), "id": None if is_image else name, "file": name if is_image else None,
            "given": given, "suggested": suggested, "probability": float(said.probability[k]), "harm": int(ranks[k]),
            "influence": None if np.isnan(said.influence[k]) else float(said.influence[k]),
            "loss": float(said.loss[k]), "doubt": float(said.doubt[k]),
            "confidence": float(said.confidence[k]), "stands_out": int(said.stands_out[k]),
            "of": int(said.judged_in[k]), "decision": str(said.decision[k]),
            "reason": _reason(said.decision[k], suggested, given, said.probability[k], said.doubt[k], said.drawn[k]),
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
    features = extract(dataset, {"train": trained, "all": np.arange(len(dataset.labels))}, quiet=True)["all"]
    acted = np.array([row["position"] for row in rows if row["decision"] != answer.KEEP], dtype=np.int64)
    helpful = [row for row in rows if row["influence"] is not None and row["influence"] < 0]
    helpful = [row["position"] for row in sorted(helpful, key=lambda row: row["influence"])]
    pools = {"harmful": acted, "helpful": np.array(helpful[: display.POOL], dtype=np.int64)}
    near = {kind: display.nearest(features, positions, pool) for kind, pool in pools.items()}
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


def _curves(task: Task, material: Material, said: answer.Rows) -> dict[str, Any]:
    mine = material.own[said.positions]
    counts = np.histogram(said.doubt[mine], EDGES)[0]
    names = task.dataset.class_names
    pairs = Counter((int(said.given[k]), int(said.suggested[k])) for k in np.flatnonzero(mine)
                    if said.decision[k] != answer.KEEP and said.given[k] != said.suggested[k])  # fmt: skip
    harm = np.sort(np.maximum(np.nan_to_num(said.influence[mine]), 0))[::-1]
    shares = np.linspace(0, 1, 101)
    total = np.concatenate([[0], np.cumsum(harm)]) / (harm.sum() or 1.0)
    at = np.interp(shares, np.linspace(0, 1, len(total)), total)
    return {"doubt": {"edges": EDGES.round(2).tolist(), "counts": counts.tolist()},
            "confusion": [{"given": names[given], "suggested": names[suggested], "rows": rows}
                          for (given, suggested), rows in pairs.most_common()],
            "cumulative": {"share": shares.tolist(), "harm": at.tolist()}}  # fmt: skip
