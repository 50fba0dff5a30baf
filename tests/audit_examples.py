"""Made-up audits for the tests of the page: what the engine hands over, for tables, texts and images."""

import base64
import io

import numpy as np
from PIL import Image

NASTY = "<script>alert(1)</script>\"'&amp;\u2028\u2029]]><!--"
EMOJI, HEBREW = "🦊 fox 👩🏽‍🔬", "שלום עולם"
WORDS = ("the", "film", "is", "long", "and", "plot", "it", "moves", "slowly", "but", "actor", "plays", "well", "scene")
STRONG = {"awful": -0.9, "boring": -0.6, "dull": -0.35, "fine": 0.3, "great": 0.7, "wonderful": 1.0}
NOT_JUDGED = "These data are too small to be judged"
HEADLINES = {"helps": "Refining this data helps", "nothing": "Nothing here is worth removing",
             "too few": "No clear answer", "hurts": "Keep your rows: removing them hurts"}  # fmt: skip
SENTENCES = {
    "helps": "Removing 21 rows and relabelling 9 would raise accuracy by +1.20 points (95 % interval +0.40 to +2.00).",
    "nothing": "Removing as many rows at random would do no less.",
    "too few": "With 40 rows, no change below 12 points could be told from chance.",
    "hurts": "Removing 21 rows would change accuracy by −1.10 points: hard rows are not wrong rows.",
}  # fmt: skip
CHANGES = {"helps": 0.012, "nothing": 0.0004, "hurts": -0.011}


def example(modality="table", verdict="helps", n=60, classes=("democrat", "republican"), columns=8, judged=True):
    """An audit: (summary, rows, curves). `judged`: whether there are folds, scores and curves."""
    random = np.random.default_rng(0)
    classes = list(classes)
    columns = [f"column {k}" for k in range(columns)] if isinstance(columns, int) else list(columns)
    rows = [_row(random, k, modality, classes, columns, n) for k in range(n)]
    decisions = {name: sum(row["decision"] == name for row in rows) for name in ("drop", "relabel", "look", "keep")}
    total = n + 375
    paths = {"table": "data/votes.csv", "text": "reviews.jsonl", "image": "animals"}
    summary = {
        "schema": 1,
        "provenance": {
            "version": "0.9.0", "git_commit": "0123456789abcdef", "libraries": {"numpy": "2.4.0", "xgboost": "3.3.0"},
            "machine": "2 cores, 24 GiB", "seed": 0, "input_sha256": "cd" * 32, "started": "2026-01-02T03:04:05+00:00",
            "finished": "2026-01-02T03:04:46+00:00",
        },
        "source": {
            "path": paths[modality], "format": {"table": "CSV", "text": "JSON lines", "image": "folder"}[modality],
            "sha256": "cd" * 32, "rows": total, "target": "vote", "id": "respondent", "modality": modality,
            "classes": [{"name": name, "rows": int(random.integers(20, 300))} for name in classes],
            "columns": [{"name": name, "kind": ("number", "category", "date", "text", "ignore")[k % 5],
                         "note": "the decimal mark is a comma" if k == 1 else "", "missing": k}
                        for k, name in enumerate(columns)] if modality == "table" else [],
            "said": ["Separator ';' and decimal mark ',' were recognised."],
        },
        "findings": {
            "set_aside": {"count": 12, "rows": [{"row": 17 + k, "name": f"r-{k}" if k % 2 else None,
                                                 "reason": "the label is missing"} for k in range(12)]},
            "duplicates": {"rows": 12, "conflicting_rows": 4, "conflicting": [[12, 45], [81, 90]]},
            "leaks": [{"column": "vote_code", "accuracy": 1.0}],
            "repeats": [{"file": "test.csv", "rows": 5}],
            "small_classes": [{"name": "independent", "rows": 3}],
        },
        "model": {"name": "boosted", "title": "boosted trees", "judges": ["boosted trees", "logistic regression"],
                  "folds": 5, "trainings": 63},
        "trusted": {"rows": 0, "expected_wrong": 37.2, "expected_wrong_share": 0.086, "low": 0.06, "high": 0.11,
                    "sentence": "8.6 % of the labels look wrong (interval 6.0 to 11.0 %)."},
        "effect": _effect(random, verdict, total, judged),
        "score": {"value": 0.31, "low": 0.27, "high": 0.35, "helpful_share": 0.78,
                  "sentence": "A few harmful rows stand against many that help a little."},
        "decisions": decisions | {"keep": decisions["keep"] + 375},
        "believe": "Rows are sorted by doubt: how likely the label is wrong, by models that have not seen the row.",
        "not_checked": ["13 rows without a label", "the class independent, which has 3 rows"],
        "next": ["datagradient apply out/plan.json --out votes-refined.csv",
                 "Check the first 100 rows of review.csv by hand, then audit again with --trusted."],
        "seconds": 41.2,
    }  # fmt: skip
    if not judged:
        summary["score"] |= dict.fromkeys(("value", "low", "high", "helpful_share"))
        summary["score"]["sentence"] = "There are too few rows for a score."
        summary["trusted"] |= dict.fromkeys(("expected_wrong", "expected_wrong_share", "low", "high"))
    return summary, rows, _curves(random, classes, judged)


def only(summary, **decisions):
    """The summary with other numbers of decisions."""
    return summary | {"decisions": {"drop": 0, "relabel": 0, "look": 0, "keep": summary["source"]["rows"]} | decisions}


def clean_file(summary):
    """The summary of a file in which nothing was found."""
    nothing = {
        "set_aside": {"count": 0, "rows": []}, "leaks": [], "repeats": [], "small_classes": [],
        "duplicates": {"rows": 0, "conflicting_rows": 0, "conflicting": []},
    }  # fmt: skip
    return only(summary) | {"findings": nothing, "not_checked": [], "next": []}


def replaced(content, text):
    """The content with every text replaced by another; keys, and texts that are names of choices, stay."""
    fixed = {"verdict", "kind", "decision", "modality", "src"}
    if isinstance(content, dict):
        return {key: value if key in fixed and isinstance(value, str) else replaced(value, text)
                for key, value in content.items()}  # fmt: skip
    if isinstance(content, list):
        return [replaced(value, text) for value in content]
    return text if isinstance(content, str) else content


def _row(random, k, modality, classes, columns, n):
    given, suggested = (classes[int(place)] for place in random.choice(len(classes), 2, replace=len(classes) == 1))
    decision = ("drop", "relabel", "look", "keep")[min(3, int(4 * k / max(n, 1) + random.random() * 0.6))]
    doubt = float(np.clip(1 - k / max(n, 1) + 0.05 * random.normal(), 0, 1))
    near = {
        kind: [{"row": int(random.integers(1000)), "given": classes[int(random.integers(len(classes)))],
                "distance": float(random.random()), "shown": _shown(random, modality, columns)} for _ in range(3)]
        for kind in ("helpful", "harmful")
    }  # fmt: skip
    return {
        "row": int(7 * k + 3), "id": f"r-{k:04d}", "file": f"cat/img_{k}.png" if modality == "image" else None,
        "given": given, "suggested": suggested, "probability": doubt, "harm": k + 1,
        "influence": float(4 - 6 * k / max(n, 1)), "loss": float(4 * doubt), "doubt": doubt, "confidence": 1 - doubt,
        "stands_out": int(random.integers(5)), "of": 4, "decision": decision,
        "reason": f"Models trained without this row predict {suggested} ({doubt:.0%}).",
        "shown": _shown(random, modality, columns), "near": near,
    }  # fmt: skip


def _shown(random, modality, columns):
    if modality == "image":
        return {"kind": "image", "src": picture(random)}
    if modality == "text":
        parts = [[f"{word} ", 0.0] for word in random.choice(WORDS, 60)]
        for place, word in zip(random.choice(60, 5, replace=False), random.choice(list(STRONG), 5), strict=True):
            parts[place] = [f"{word} ", STRONG[word]]
        return {"kind": "text", "parts": parts}
    cells = [{"name": name, "value": f"{random.normal():.3g}", "unusual": ""} for name in columns]
    for cell in cells[1::4]:
        cell["unusual"] = "smallest 1 %"
    return {"kind": "table", "cells": cells}


def picture(random, size=32):
    """A picture as a data URI: a blot of one colour on another."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    blot = (x**2 + y**2 * (1 + random.random()) < 0.04 + 0.1 * random.random())[..., None]
    inside, outside = random.integers(0, 256, (2, 3))
    pixels = np.where(blot, inside, outside) + random.integers(-9, 9, (size, size, 3))
    stream = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, "png")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _effect(random, verdict, rows, judged):
    effect = {
        "verdict": verdict, "sentence": SENTENCES[verdict], "metric": "accuracy",
        "measured_on": "held-out rows with their given labels", "rows": rows,
    }  # fmt: skip
    effect["headline"] = HEADLINES[verdict] if judged else NOT_JUDGED
    if not judged or verdict == "too few":
        numbers = dict.fromkeys(("baseline", "refined", "random"))
        none = {"mean": None, "low": None, "high": None, "folds_better": 0, "folds": 0}
        return effect | numbers | {"change": none, "against_random": none, "by_fold": []}
    moved = CHANGES[verdict]
    folds = []
    for k in range(5):
        baseline, noise = 0.91 + 0.01 * random.normal(), 0.003 * random.normal(size=2)
        values = {"baseline": baseline, "refined": baseline + moved + noise[0], "random": baseline - 0.001 + noise[1]}
        folds.append({"fold": k + 1, "rows": rows // 5, **values, "removed": 20 - k, "relabelled": 8 + k})
    mean = {name: float(np.mean([fold[name] for fold in folds])) for name in ("baseline", "refined", "random")}

    def test(first, second):
        moved = [fold[first] - fold[second] for fold in folds]
        middle = float(np.mean(moved))
        return {"mean": middle, "low": middle - 0.008, "high": middle + 0.008,
                "folds_better": sum(value > 0 for value in moved), "folds": 5}  # fmt: skip

    return effect | mean | {"change": test("refined", "baseline"), "against_random": test("refined", "random"),
                            "by_fold": folds}  # fmt: skip


def _curves(random, classes, judged):
    edges = [k / 20 for k in range(21)]
    if not judged:
        return {"doubt": {"edges": edges, "counts": [0] * 20}, "confusion": [], "cumulative": {"share": [], "harm": []}}
    share = [k / 100 for k in range(101)]
    mixed = [(given, suggested) for given in classes for suggested in classes if given != suggested]
    pairs = [{"given": one, "suggested": other, "rows": int(random.integers(1, 40))} for one, other in mixed]
    counts = [int(320 * 0.6**k) for k in range(17)] + [3, 5, 21]
    return {
        "doubt": {"edges": edges, "counts": counts}, "confusion": pairs,
        "cumulative": {"share": share, "harm": [min(1.0, 1.02 * (1 - (1 - value) ** 6)) for value in share]},
    }  # fmt: skip
