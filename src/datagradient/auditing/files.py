"""The files of an audit: report.html, review.csv, samples.parquet, plan.json, summary.json."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagradient.auditing import answer
from datagradient.auditing.folder import BEGUN, OURS, PLAN_FILE, SAMPLES_FILE, WORK, others_in
from datagradient.auditing.outcome import with_shown
from datagradient.auditing.plan import SCHEMA
from datagradient.auditing.review import (
    CHECKED,
    DOUBTFUL,
    DRAWN,
    RANDOM,
    REVIEW_FILE,
    Entry,
    class_of,
    is_unsure,
    read_entries,
)
from datagradient.errors import UserError
from datagradient.files import read_json, replacing, write_json

if TYPE_CHECKING:
    from datagradient.auditing.material import Checked
    from datagradient.auditing.run import Audit
    from datagradient.data.readers import Source

REVIEW = ("row", "id", "file", "given", "suggested", "probability", "harm", "influence", "loss", "doubt", "confidence",
          "stands_out", "of", "decision", "reason", DRAWN, CHECKED)  # fmt: skip
DIGITS = 6  # of numbers in review.csv
NUMBERS = ("probability", "influence", "loss", "doubt", "confidence")
COUNTS = ("harm", "stands_out", "of")


def write_all(result: "Audit", folder: Path) -> None:
    """Write the outcome's files; summary.json, the last one, says that all are there.

    What was written by hand into ``result.review``, and into a review of the same data that the folder holds, is kept.

    Raises:
        UserError: the folder holds other files, or an audit of other data, or labels that would be lost.
    """
    from datagradient.report.page import write_audit_page

    rows = review_rows(result)
    if "review" in vars(result):  # otherwise nobody has written into it: it is made when it is asked for
        again = "audit again with it as trusted"
        rows = _with_written(rows, read_entries(result.review, "result.review"), result, "result.review", again)
    rows = _with_written(rows, _written(result, folder), result, folder / REVIEW_FILE, "move the file away first")
    shown = with_shown(result.material.dataset, result.rows) if result.material.dataset is not None else []
    # The plan says which data the folder is about: it comes first.
    write_json(folder / PLAN_FILE, result.plan)
    with replacing(folder / REVIEW_FILE) as stream:
        writer = csv.DictWriter(stream, REVIEW, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: _cell(row.get(name)) for name in REVIEW} for row in rows)
    write_samples(result, folder / SAMPLES_FILE)
    write_audit_page(folder / "report.html", result.summary, shown, result.curves)
    write_json(folder / "summary.json", result.summary)


def _written(result: "Audit", folder: Path) -> list[Entry]:
    """Return what was written by hand into the review of a folder, which holds nothing or an audit of the same data."""
    held, elsewhere = ([path.name for path in folder.iterdir()] if folder.is_dir() else []), "give another folder"
    for name in others_in(held):
        raise UserError(f"{folder}: holds {name}, which is not of an audit: {elsewhere}")
    if PLAN_FILE in held:
        before, now = read_json(folder / PLAN_FILE, source=dict)["source"], result.source.facts
        for key, what in (("sha256", "data"), ("target", "labels")):
            if before.get(key) != now.get(key):
                raise UserError(f"{folder}: holds an audit of other {what}: {elsewhere}")
    else:
        for name in sorted({*held} & {*OURS} - {BEGUN, WORK}):
            raise UserError(f"{folder}: holds {name}, and no {PLAN_FILE} says of which data: {elsewhere}")
    return read_entries(folder / REVIEW_FILE) if REVIEW_FILE in held else []


def _with_written(
    rows: list[dict], written: list[Entry], result: "Audit", review: str | Path, remedy: str
) -> list[dict[str, Any]]:
    """Return rows of a review with what was written by hand into another one of the same data."""
    left = {entry.row: entry for entry in written}
    names = {name: number for number, name in enumerate(result.source.dataset.class_names)}
    kept = []
    for row in rows:
        entry = left.pop(row["row"], None)
        if entry is None or (CHECKED in row and is_unsure(entry.label, names)):
            kept.append(row)
        elif CHECKED not in row or is_unsure(row[CHECKED], names):
            kept.append({**row, CHECKED: str(entry.label), DRAWN: entry.drawn})
        elif _is_same(entry.label, row[CHECKED], result.source):
            kept.append(row)
        else:
            raise UserError(f"{review}: row {entry.row} was checked as {str(entry.label)!r} there, and as "
                            f"{row[CHECKED]!r} in this audit: {remedy}")  # fmt: skip
    for row in left:
        raise UserError(f"{review}: row {row} was checked by hand there, and is not in the review of this audit: "
                        f"{remedy}")  # fmt: skip
    return kept


def _is_same(label: Any, other: Any, source: "Source") -> bool:
    """Return whether two labels that were written by hand are the same text, or mean the same class."""
    names = {name: number for number, name in enumerate(source.dataset.class_names)}
    meant = class_of(label, names, source.classes)
    return str(label) == str(other) or (meant is not None and meant == class_of(other, names, source.classes))


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
    return [*result.rows, *checked_rows(result.source, result.checked)]


def checked_rows(source: "Source", checked: "Checked | None") -> list[dict[str, Any]]:
    """Return the rows whose labels came with a review, as plain data; a label that was changed is a decision."""
    if checked is None:
        return []
    names, is_image = source.dataset.class_names, source.dataset.modality == "image"
    rows = []
    for place, given, label, drawn in zip(
        checked.places.tolist(), checked.given, checked.labels, checked.drawn, strict=True
    ):
        name = None if source.names is None else source.names[place]
        rows.append({
            "row": int(source.rows[place]), "id": None if is_image else name, "file": name if is_image else None,
            "given": names[given], "suggested": names[label],
            "decision": answer.RELABEL if label != given else answer.KEEP, "reason": "Checked by hand.",
            DRAWN: RANDOM if drawn else DOUBTFUL, CHECKED: names[label],
        })  # fmt: skip
    return rows


def write_samples(result: "Audit", path: Path) -> None:
    """Write one row for each row of the file, in its order; those that were not judged say why."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    by_row = {row["row"]: row for row in review_rows(result)}
    set_aside = {entry.row: entry for entry in result.source.set_aside}
    source = result.source
    names = source.names or [None] * len(source.rows)
    place = {int(row): k for k, row in enumerate(source.rows)}
    lines = []
    for row in sorted({*place, *set_aside}):
        found, aside = by_row.get(row, {}), set_aside.get(row)
        given = found.get("given")
        if given is None and row in place:
            given = source.dataset.class_names[source.dataset.labels[place[row]]]
        lines.append({
            "row": row, "name": names[place[row]] if row in place else aside.name, "given": given,
            "suggested": found.get("suggested"), **{name: found.get(name) for name in (*NUMBERS, *COUNTS)},
            "decision": found.get("decision", "keep"),
            "reason": found.get("reason") or (f"set aside: {aside.reason}" if aside else
                                              "" if row in by_row else "not judged"),
        })  # fmt: skip
    text, number, count = pa.string(), pa.float64(), pa.int64()
    schema = pa.schema([
        ("row", count), ("name", text), ("given", text), ("suggested", text), *((name, number) for name in NUMBERS),
        *((name, count) for name in COUNTS), ("decision", text), ("reason", text),
    ])  # fmt: skip
    table = pa.Table.from_pylist(lines, schema=schema)
    with replacing(path, "wb") as stream:
        pq.write_table(table, stream)
