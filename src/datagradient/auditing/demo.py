"""A first look: mistakes planted in scikit-learn's handwritten digits, and how many of them an audit finds."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from datagradient.auditing.folder import BEGUN, Place, clear
from datagradient.auditing.request import Request
from datagradient.auditing.run import Audit, run_audit
from datagradient.data import sets
from datagradient.data.readers import ReadOptions
from datagradient.errors import UserError
from datagradient.files import read_json
from datagradient.seeds import generator

PLANTED = 0.1  # share of the labels
TITLE = "handwritten digits"
FIRST = 50  # rows that a person would check first


def run_demo(folder: Path, said: Callable[[str], None]) -> Audit:
    """Plant mistakes, audit, say how many were found, and write the audit to a folder.

    Raises:
        UserError: the folder holds something that is not an earlier demo.
    """
    finished = folder / "summary.json"
    if finished.exists() and read_json(finished, source=dict)["source"].get("path") != TITLE:
        raise UserError(f"{folder}: holds an audit that is no demo; give another --out")
    if finished.exists() or not (folder / BEGUN).exists():  # else it goes on, and refuses other data
        with Place(folder, overwrite=finished.exists()):
            clear(folder)
    images, labels, wrong = planted()
    said(f"{len(labels)} handwritten digits of 8 × 8 pixels, from scikit-learn. {wrong.sum()} labels, "
         f"{100 * PLANTED:.0f} %, are made wrong at random; the audit does not know which.")  # fmt: skip
    try:
        result = run_audit(Request((images, labels), ReadOptions()), folder, said)
    except UserError as error:
        raise UserError(f"{error}".replace("use --overwrite", "give another --out")) from None
    found = [bool(wrong[row["row"]]) for row in result.rows]
    doubtful = sum(row["doubt"] > 0.5 for row in result.rows)
    said("")
    said(f"{result.effect['headline']}.")
    said(result.effect["sentence"])
    said(result.summary["trusted"]["sentence"])
    said(f"{wrong.sum()} mistakes were planted, and the audit expects about "
         f"{result.summary['trusted']['expected_wrong']:.0f}. Of the first {FIRST} rows of review.csv, "
         f"{sum(found[:FIRST])} are planted; of the {doubtful} rows whose label is more likely wrong than right, "
         f"{sum(found[:doubtful])} are.")  # fmt: skip
    result.summary["source"]["path"] = TITLE
    result.save(folder)
    shutil.rmtree(folder / "work", ignore_errors=True)
    said(f"Open {folder / 'report.html'} in a browser. Then: datagradient audit YOUR.csv --target COLUMN")
    return result


def planted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the digits' images, labels of which some are wrong, and which (n,)."""
    digits = sets.load("digits")
    random, classes = generator(0, "planted mistakes"), len(digits.class_names)
    wrong = np.zeros(len(digits.labels), dtype=bool)
    wrong[random.permutation(len(wrong))[: round(PLANTED * len(wrong))]] = True
    others = (digits.labels + random.integers(1, classes, len(wrong))) % classes
    return digits.samples, np.where(wrong, others, digits.labels), wrong
