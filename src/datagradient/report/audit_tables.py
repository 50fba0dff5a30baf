"""What audits of data with planted mistakes said, as Markdown: results of benchmarks/audits.py and checking.py."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datagradient.files import read_rows
from datagradient.report.formats import interval, points

ORDERS = {"": "review", "_by_influence": "influence", "_by_loss": "loss", "_datalab": "Datalab"}
WAYS = {"": "by doubt", "_by_influence": "by influence"}  # of deciding what to remove and relabel
SAID = ("helps", "nothing", "too few", "hurts")
FIRST = 50  # rows of a review that the trials look at
TRUST = {"0": "no trusted labels", "1": "trusted labels"}


def trials(results: Path) -> str:
    """Return every trial: what was said, what is true, and how many of the first rows are mistakes by which order."""
    lines = _head("data set", "mistakes", "labels", "rows, mistakes", "said: change of accuracy [95 %]", "true change",
                  *(f"found, {name}" for name in ORDERS.values()), "acted, of them mistakes",
                  "seconds: audit, Datalab")  # fmt: skip
    for row in read_rows(results / "audits.csv"):
        found = [f"{_found(row, order)} of {_findable(row)}" for order in ORDERS]
        acted = f"{row['acted']}, {_percent(row['acted_right'])}" if row["acted_right"] else "0"
        cells = [row["dataset"], row["kind"], TRUST[row["trusted"]], f"{row['rows']}, {row['planted']}",
                 f"{row['verdict']}: {points(row['change'])} {interval(row, 'low', 'high')}",
                 points(row["true_change"]), *found, acted,
                 f"{float(row['seconds']):.0f}, {float(row['seconds_datalab']):.0f}"]  # fmt: skip
        lines.append(_line(cells))
    return "\n".join(lines)


def trials_in_short(results: Path) -> str:
    """Return the trials by kind of mistake, with and without trusted labels."""
    rows = read_rows(results / "audits.csv")
    lines = _head("mistakes", "labels", "data sets", *(f"said: {said}" for said in SAID), "right of those that said",
                  *(f"found, {name}" for name in ORDERS.values()),
                  *(f"AUROC, {name}" for name in ORDERS.values()),
                  *(f"{what}, {way}" for what in ("mistakes among rows acted on", "mean true change")
                    for way in WAYS.values()))  # fmt: skip
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for trusted, words in TRUST.items():
            own = [row for row in rows if (row["kind"], row["trusted"]) == (kind, trusted)]
            if not own:
                continue
            judged = [row for row in own if row["right"]]
            findable = sum(map(_findable, own))
            found = [_percent(sum(_found(row, order) for row in own) / findable) for order in ORDERS]
            auroc = [f"{np.mean([float(row[f'auroc{order}']) for row in own]):.2f}" for order in ORDERS]
            said = [str(sum(row["verdict"] == verdict for row in own)) for verdict in SAID]
            lines.append(_line([kind, words, str(len(own)), *said,
                                f"{sum(int(row['right']) for row in judged)} of {len(judged)}",
                                *found, *auroc, *(_acted_right(own, way) for way in WAYS),
                                *(_mean_change(own, way) for way in WAYS)]))  # fmt: skip
    return "\n".join(lines)


def checking(results: Path) -> str:
    """Return what audits say of one file as more and more of its rows are checked by hand."""
    lines = _head("data set", "rows checked, wrong ones", "wrong labels left: expected [95 %]", "true",
                  "said: change of accuracy [95 %]", "accuracy as given", "with checked labels",
                  "with the plan too")  # fmt: skip
    for row in read_rows(results / "checking.csv"):
        expected = _percent(row["expected_wrong_share"])
        if row["low"]:  # without checked labels there is no interval
            expected += f" [{_percent(row['low'])}, {_percent(row['high'])}]"
        lines.append(_line([
            row["dataset"], f"{row['checked']}, {row['checked_wrong']}", expected, _percent(row["left_wrong_share"]),
            f"{row['verdict']}: {points(row['change'])} {interval(row, 'change_low', 'change_high')}",
            *(f"{100 * float(row[f'accuracy_{arm}']):.2f}" for arm in ("given", "checked", "refined")),
        ]))  # fmt: skip
    return "\n".join(lines)


def _acted_right(rows: list[dict], way: str) -> str:
    """Return the share of mistakes among all rows that the proposals of some trials remove or relabel."""
    counts = [(int(row[f"acted{way}"]), float(row[f"acted_right{way}"])) for row in rows if row[f"acted_right{way}"]]
    return _percent(sum(n * right for n, right in counts) / sum(n for n, _ in counts)) if counts else "–"


def _mean_change(rows: list[dict], way: str) -> str:
    changes = [float(row[f"true_change{way}"]) for row in rows if row[f"true_change{way}"]]
    return points(np.mean(changes)) if changes else "–"


def _found(row: dict, order: str) -> int:
    return round(FIRST * float(row[f"precision{order}"]))


def _findable(row: dict) -> int:
    return min(FIRST, int(row["planted"]))


def _percent(share: str | float) -> str:
    return f"{100 * float(share):.0f} %"


def _head(*names: str) -> list[str]:
    return [_line(names), "|---" * len(names) + "|"]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
