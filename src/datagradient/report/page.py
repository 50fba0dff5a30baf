"""The page of `datagradient audit`: which rows hurt, whether removing them helps, and why, in one offline HTML file."""

import re
from pathlib import Path

from datagradient.report import offline
from datagradient.report.amounts import capital, changed, changed_range, decimal, percent
from datagradient.report.audit_rows import table_data
from datagradient.report.charts import Drawing, Mark, curve, dot_plot, histogram

STYLES = ["page.css", "audit.css"]
SCRIPTS = ["page.js", "table.js", "audit.js"]
IN_MEMORY = ("DataFrame", "arrays")  # formats of data that are no file
COMMAND = re.compile(r"(datagradient|make|pip|python3?) ")  # begins a line that is to be run; others are to be read
BAR = 100  # width of the longest bar of the table of pairs


def audit_page(summary: dict, rows: list[dict], curves: dict) -> str:
    """Return the page of an audit as the text of one HTML file, which needs nothing else.

    All three are what the engine hands over (schema 1). A number that is not known is None. The metric is a share, the
    larger the better.

    Args:
        summary: content of summary.json.
        rows: rows with their samples, worst first; the page shows the first `audit_rows.ROWS`.
        curves: histogram of doubt, pairs of labels, cumulative harm.

    Raises:
        KeyError: something that the page shows is missing.
    """
    effect, data = summary["effect"], table_data(rows)
    content = {
        "summary": summary,
        "title": _title(summary["source"]),
        "headline": effect["headline"],
        "acted": any(fold["removed"] or fold["relabelled"] for fold in effect["by_fold"]),
        "change": effect["change"],
        "against_random": effect["against_random"],
        "random_change": _difference(effect["random"], effect["baseline"]),
        "folds": _folds(effect),
        "steps": [{"text": text, "is_command": bool(COMMAND.match(text))} for text in summary["next"]],
        "score_chart": _score(summary["score"]),
        "doubt": _doubt(curves["doubt"]),
        "cumulative": _cumulative(curves["cumulative"]),
        "pairs": _pairs(curves["confusion"]),
        "facts": _facts(summary),
        "rows": len(data["rows"]),
        "shortened": data["cut"],
        "changed_range": changed_range,
    }
    return offline.page("audit.html", STYLES, SCRIPTS, data, **content)


def _title(source: dict) -> str:
    """Return the name of the file or folder, or what data that are no file are called."""
    path = source["path"]
    return capital(path) if source["format"] in IN_MEMORY else re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path


def write_audit_page(path: Path, summary: dict, rows: list[dict], curves: dict) -> None:
    """Write the page of an audit, from what `audit_page` takes."""
    offline.write_page(path, audit_page(summary, rows, curves))


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _folds(effect: dict) -> Drawing | None:
    """Return the changes of each fold, and below them those of all folds with their intervals; None without changes."""
    if not any(fold["removed"] or fold["relabelled"] for fold in effect["by_fold"]):
        return None
    lines, words = [], []
    for fold in effect["by_fold"]:
        moved = {kind: _difference(fold[kind], fold["baseline"]) for kind in ("random", "refined")}
        lines.append((f"fold {fold['fold']}", [Mark(_points(value), kind) for kind, value in moved.items()]))
        words.append(f"fold {fold['fold']}: refined {changed(moved['refined'])}, random {changed(moved['random'])}")
    for label, kind, key in (("all folds", "refined", "change"), ("against random", "against", "against_random")):
        test = effect[key]
        lines.append((label, [Mark(_points(test["mean"]), kind, _points(test["low"]), _points(test["high"]))]))
        words.append(f"{label}: {changed(test['mean'])}, interval {changed_range(test['low'], test['high'])}")
    return dot_plot(
        lines, f"Change of {effect['metric']} by fold", f"{'; '.join(words)}.", "worse ← points → better",
        {"refined": "refined", "random": "as many removed at random"}, below=2,
    )  # fmt: skip


def _points(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _score(score: dict) -> Drawing | None:
    if score["value"] is None:
        return None
    words = f"{decimal(score['value'])}, interval {decimal(score['low'])} to {decimal(score['high'])}, from −1 to 1."
    mark = Mark(score["value"], "refined", score["low"], score["high"])
    return dot_plot([("score", [mark])], "Contribution score", words, "harmful rows prevail ← → helpful rows prevail",
                    {}, ends=(-1, 1))  # fmt: skip


def _doubt(doubt: dict) -> Drawing | None:
    if not sum(doubt["counts"]):
        return None
    return histogram(doubt["edges"], doubt["counts"], "Doubt", "probability that the label is wrong", "rows")


def _cumulative(found: dict) -> Drawing | None:
    """Return the share of the harm in the most harmful rows, and in words what is in 5 % of them."""
    share, harm = found["share"], found["harm"]
    if not share or not max(harm):
        return None
    worst = 0.05
    after = next((k for k, value in enumerate(share) if value >= worst), len(share) - 1)
    before = max(0, after - 1)
    step = share[after] - share[before]
    within = harm[before] + (harm[after] - harm[before]) * (worst - share[before]) / step if step else harm[after]
    words = f"{percent(worst, 0)} of the rows account for {percent(min(1, within), 0)} of the harm."
    return curve(share, harm, "Where the harm is", words, ("rows, most harmful first", "share of the harm"))


def _pairs(confusion: list[dict]) -> list[dict]:
    """Return pairs of labels, the most frequent first, with the width of their bars."""
    most = max((pair["rows"] for pair in confusion), default=1)
    ordered = sorted(confusion, key=lambda pair: -pair["rows"])
    return [pair | {"width": round(BAR * pair["rows"] / max(most, 1), 1)} for pair in ordered]


def _facts(summary: dict) -> list[tuple[str, object]]:
    """Return what the page is made from: terms and values, of what there is."""
    told, source, model = summary["provenance"], summary["source"], summary["model"]
    is_file = source["format"] not in IN_MEMORY
    facts = [
        ("File", source["path"] if is_file else None),
        ("SHA-256 of the file" if is_file else "SHA-256 of the data", source["sha256"]),
        ("Model", f"{model['title']} ({model['name']})" if model["name"] else model["title"]),
        ("Models that judge", ", ".join(model["judges"])),
        ("Folds", model["folds"]),
        ("Models trained", model["trainings"]),
        ("Seed", told["seed"]),
        ("datagradient", told["version"]),
        ("Git commit", told["git_commit"]),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in sorted(told["libraries"].items()))),
        ("Machine", told["machine"]),
        ("Started", told["started"]),
        ("Finished", told["finished"]),
        ("Seconds", decimal(summary["seconds"], 1)),
        ("Schema", summary["schema"]),
    ]
    return [(term, value) for term, value in facts if value not in (None, "")]
