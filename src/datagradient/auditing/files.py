"""The files of an audit: report.html, review.csv, samples.parquet, plan.json, summary.json."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagradient.auditing import answer
from datagradient.auditing.material import CHECKED, DOUBTFUL, DRAWN, RANDOM
from datagradient.auditing.outcome import with_shown
from datagradient.auditing.plan import SCHEMA
from datagradient.files import replacing, write_json

if TYPE_CHECKING:
    from datagradient.auditing.run import Audit

REVIEW = ("row", "id", "file", "given", "suggested", "probability", "harm", "influence", "loss", "doubt", "confidence",
          "stands_out", "of", "decision", "reason", DRAWN, CHECKED)  # fmt: skip
DIGITS = 6  # of numbers in review.csv
NUMBERS = ("probability", "influence", "loss", "doubt", "confidence")
COUNTS = ("harm", "stands_out", "of")


def write_all(result: "Audit", folder: Path) -> None:
    """Write the outcome's files; summary.json, the last one, says that all are there."""
    from datagradient.report.page import write_audit_page

    with replacing(folder / "review.csv") as stream:
        writer = csv.DictWriter(stream, REVIEW, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: _cell(row.get(name)) for name in REVIEW} for row in review_rows(result))
    write_samples(result, folder / "samples.parquet")
    write_json(folder / "plan.json", result.plan)
    rows = with_shown(result.material.dataset, result.rows) if result.material.dataset is not None else []
    write_audit_page(folder / "report.html", result.summary, rows, result.curves)
    write_json(folder / "summary.json", result.summary)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return round(value, DIGITS) if isinstance(value, float) else value


def plan_of(result: "Audit") -> dict[str, Any]:
    """Return the decisions as plan.json holds them: rows of the file to drop, and rows that get another label."""
    actions: list[dict[str, Any]] = []
    for row in sorted(review_rows(result), key=lambda row: row["row"]):
        if row["decision"] in (answer.DROP, answer.RELABEL):
            named = {"file": row["file"]} if row["file"] is not None else {}
            new = {"label": row["suggested"]} if row["decision"] == answer.RELABEL else {}
            actions.append({"row": row["row"], **named, "decision": row["decision"], **new})
    return {"schema": SCHEMA, "source": result.source.facts, "actions": actions,
            "verdict": result.effect["verdict"]}  # fmt: skip


def review_rows(result: "Audit") -> list[dict[str, Any]]:
    """Return the judged rows, worst first, then those that were checked by hand, with their labels."""
    if result.checked is None:
        return result.rows
    checked, source = result.checked, result.source
    names, is_image = source.dataset.class_names, source.dataset.modality == "image"
    more = []
    for place, given, label, drawn in zip(
        checked.places.tolist(), checked.given, checked.labels, checked.drawn, strict=True
    ):
        name = None if source.names is None else source.names[place]
        more.append({
            "row": int(source.rows[place]), "id": None if is_image else name, "file": name if is_image else None,
            "given": names[given], "suggested": names[label],
            "decision": answer.RELABEL if label != given else answer.KEEP, "reason": "Checked by hand.",
            DRAWN: RANDOM if drawn else DOUBTFUL, CHECKED: names[label],
        })  # fmt: skip
    return [*result.rows, *more]


def write_samples(result: "Audit", path: Path) -> None:
    """Write one row for each row of the file, in its order; those that were not judged say why."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    by_row = {row["row"]: row for row in review_rows(result)}
    reasons = {entry.row: f"set aside: {entry.reason}" for entry in result.source.set_aside if entry.row is not None}
    source = result.source
    names = source.names or [None] * len(source.rows)
    place = {int(row): k for k, row in enumerate(source.rows)}
    lines = []
    for row in sorted({*place, *reasons}):
        found = by_row.get(row, {})
        given = found.get("given")
        if given is None and row in place:
            given = source.dataset.class_names[source.dataset.labels[place[row]]]
        lines.append({
            "row": row, "name": names[place[row]] if row in place else None, "given": given,
            "suggested": found.get("suggested"), **{name: found.get(name) for name in (*NUMBERS, *COUNTS)},
            "decision": found.get("decision", "keep"),
            "reason": found.get("reason") or reasons.get(row, "" if row in by_row else "not judged"),
        })  # fmt: skip
    text, number, count = pa.string(), pa.float64(), pa.int64()
    schema = pa.schema([
        ("row", count), ("name", text), ("given", text), ("suggested", text), *((name, number) for name in NUMBERS),
        *((name, count) for name in COUNTS), ("decision", text), ("reason", text),
    ])  # fmt: skip
    table = pa.Table.from_pylist(lines, schema=schema)
    with replacing(path, "wb") as stream:
        pq.write_table(table, stream)
