"""What audits of data with planted mistakes said, as Markdown: results of benchmarks/audits.py and checking.py."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from datagradient.files import read_rows
from datagradient.report.formats import interval, points, wrapped

ORDERS = {"": "review", "_by_influence": "influence", "_by_loss": "loss", "_datalab": "Datalab"}
WAYS = {"": "by doubt", "_by_influence": "by influence"}  # of deciding what to remove and relabel
SAID = ("helps", "nothing", "too few", "hurts")
FIRST = 50  # rows of a review that the trials look at
TRUST = {"0": "no trusted labels", "1": "trusted labels"}


def trials_said(results: Path) -> str:
    """Return what audits said, by kind of mistake, with and without trusted labels; and what acting on it did."""
    lines = _head("mistakes", "labels", "data sets", *(f"said: {said}" for said in SAID), "right of those that said",
                  *(f"{what}, {way}" for what in ("mistakes among rows acted on", "mean true change")
                    for way in WAYS.values()))  # fmt: skip
    for keys, own in _by_kind(results):
        judged = [row for row in own if row["right"]]
        said = [str(sum(row["verdict"] == verdict for row in own)) for verdict in SAID]
        lines.append(
            _line(
                [
                    *keys,
                    str(len(own)),
                    *said,
                    f"{sum(int(row['right']) for row in judged)} of {len(judged)}",
                    *(_acted_right(own, way) for way in WAYS),
                    *(_mean_change(own, way) for way in WAYS),
                ]
            )
        )
    return "\n".join(lines)


def trials_found(results: Path) -> str:
    """Return how many mistakes each order finds, by kind of mistake, with and without trusted labels."""
    lines = _head("mistakes", "labels", *(f"found, {name}" for name in ORDERS.values()),
                  *(f"AUROC, {name}" for name in ORDERS.values()))  # fmt: skip
    for keys, own in _by_kind(results):
        findable = sum(map(_findable, own))
        found = [_percent(sum(_found(row, order) for row in own) / findable) for order in ORDERS]
        auroc = [f"{np.mean([float(row[f'auroc{order}']) for row in own]):.2f}" for order in ORDERS]
        lines.append(_line([*keys, *found, *auroc]))
    return "\n".join(lines)


def _by_kind(results: Path) -> Iterator[tuple[tuple[str, str], list[dict]]]:
    """Yield the trials of each kind of mistake, with and without trusted labels, and what they are in words."""
    rows = read_rows(results / "audits.csv")
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for trusted, words in TRUST.items():
            own = [row for row in rows if (row["kind"], row["trusted"]) == (kind, trusted)]
            if own:
                yield (kind, words), own


def seconds(results: Path) -> str:
    """Return how long audits took, by data set."""
    rows = read_rows(results / "audits.csv")
    lines = _head("data set", "rows", "seconds of an audit", "of Datalab")
    for name in dict.fromkeys(row["dataset"] for row in rows):
        own = [row for row in rows if row["dataset"] == name]
        spans = [_span([float(row[key]) for row in own]) for key in ("rows", "seconds", "seconds_datalab")]
        lines.append(_line([name, *spans]))
    return "\n".join(lines)


def checking(results: Path) -> str:
    """Return what audits say of one file as more and more of its rows are checked by hand, and what was not done."""
    rows = read_rows(results / "checking.csv")
    lines = _head("data set", "rows checked, wrong ones", "wrong labels left: expected [95 %]", "true",
                  "said: change of accuracy [95 %]", "accuracy as given", "with checked labels",
                  "if its proposal were carried out too")  # fmt: skip
    for row in rows:
        expected = _percent(row["expected_wrong_share"])
        if row["low"]:  # without checked labels there is no interval
            expected += f" [{_percent(row['low'])}, {_percent(row['high'])}]"
        lines.append(_line([
            row["dataset"], f"{row['checked']}, {row['checked_wrong']}", expected, _percent(row["left_wrong_share"]),
            f"{row['verdict']}: {points(row['change'])} {interval(row, 'change_low', 'change_high')}",
            *(f"{100 * float(row[f'accuracy_{arm}']):.2f}" for arm in ("given", "checked", "refined")),
        ]))  # fmt: skip
    gains = [float(row["accuracy_refined"]) - float(row["accuracy_checked"]) for row in rows]
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    acting = sum(int(row["acted"]) > 0 for row in rows)
    lines += ["", wrapped(
        f"In {acting or 'none'} of these {len(rows)} audits does the plan drop or relabel a row beyond those that were "
        f"checked. The last column is what dropping and "
        f"relabelling as proposed, whether the plan does so or not, would give: more than the checked labels alone in "
        f"{better}, less in {worse}."
    )]  # fmt: skip
    return "\n".join(lines)


def _acted_right(rows: list[dict], way: str) -> str:
    """Return the share of mistakes among all rows that the proposals of some trials remove or relabel."""
    counts = [(int(row[f"acted{way}"]), float(row[f"acted_right{way}"])) for row in rows if row[f"acted_right{way}"]]
    return _percent(sum(n * right for n, right in counts) / sum(n for n, _ in counts)) if counts else "–"


def _mean_change(rows: list[dict], way: str) -> str:
    changes = [float(row[f"true_change{way}"]) for row in rows if row[f"true_change{way}"]]
    return points(np.mean(changes)) if changes else "–"


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):,.0f}", f"{max(values):,.0f}"
    return low if low == high else f"{low} to {high}"


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
