"""The paper's tables as CSV, Markdown and LaTeX. They format the small result tables and compute nothing."""

from collections.abc import Callable
from pathlib import Path

from datagradient.files import read_json, read_rows, replacing

Rows = list[dict[str, str]]


def write_table(name: str, results: Path, out: Path) -> None:
    """Write one table to `out` (CSV), and beside it as Markdown and LaTeX with booktabs.

    Args:
        name: one of `TABLES`.
        results: folder of the small result tables.
        out: path of the CSV file.
    """
    import pandas as pd

    make, caption = TABLES[name]
    frame = pd.DataFrame(make(results))
    run = read_json(results / "provenance.json")
    made_by = (
        f"preset {run['preset']}, configuration {run['config_hash']}, version {run['version']}, {run['git_commit']}"
    )
    latex = frame.to_latex(index=False, escape=True, caption=caption, label=f"tab:{name}", position="tb")
    contents = {
        ".csv": frame.to_csv(index=False, lineterminator="\n"),
        ".md": f"{caption}\n\n{frame.to_markdown(index=False, disable_numparse=True)}\n\n{made_by}\n",
        ".tex": f"% {made_by}\n{latex}",
    }
    for suffix, content in contents.items():
        with replacing(out.with_suffix(suffix)) as stream:
            stream.write(content)


def main(results: Path) -> list[dict]:
    """Refinement by influence against the unrefined baseline and against random removal."""
    tests, titles = read_rows(results / "tests.csv"), _titles(results)
    rows = []
    for test in tests:
        if (test["policy"], test["against"]) != ("influence", "baseline"):
            continue
        same = ("dataset", "model", "noise", "policy", "metric")
        control = [other for other in tests if other["against"] == "random" and all(other[k] == test[k] for k in same)]
        rows.append({
            **_where(test, titles),
            "Metric": test["metric"],
            "Baseline": _mean_sd(test, "second"),
            "Refined": _mean_sd(test, "first"),
            "Difference [95 %]": f"{_points(test['mean_difference'])} {_range(test, 't_low', 't_high')}",
            "p": _p(test["p_one_sided"]),
            "q": _p(test["q_one_sided"]),
            "d": _number(test["d"]),
            **{name: text for other in control for name, text in (
                ("Against random [95 %]", f"{_points(other['mean_difference'])} {_range(other, 't_low', 't_high')}"),
                ("q against random", _p(other["q_one_sided"])))},
            "Unconverged solves": test["solver_unconverged"],
        })  # fmt: skip
    return rows


def tests(results: Path) -> list[dict]:
    """Every comparison, one row each."""
    titles = _titles(results)
    return [
        {
            **_where(test, titles),
            "Policy": test["policy"],
            "Against": test["against"],
            "Metric": test["metric"],
            "n": test["n"],
            "Difference": _points(test["mean_difference"]),
            "Bootstrap": _range(test, "low", "high") + f" {test['interval']}",
            "t interval": _range(test, "t_low", "t_high"),
            "p one-sided": _p(test["p_one_sided"]),
            "p two-sided": _p(test["p_two_sided"]),
            "q one-sided": _p(test["q_one_sided"]),
            "q two-sided": _p(test["q_two_sided"]),
            "Smallest p": f"{_p(test['smallest_p'])} / {_p(test['smallest_p_two_sided'])}",
            "d": _number(test["d"]),
            "d_z": _number(test["d_z"]),
            "g": _number(test["hedges_g"]),
            "Unconverged solves": test["solver_unconverged"],
        }
        for test in read_rows(results / "tests.csv")
    ]


def iterations(results: Path) -> list[dict]:
    """Means over seeds in every iteration."""
    titles, table = _titles(results), {}
    for row in read_rows(results / "iterations.csv"):
        key = tuple(row[name] for name in ("dataset", "model", "noise", "policy", "iteration"))
        table.setdefault(key, (row, {}))[1][row["metric"]] = row
    return [
        {
            **_where(row, titles),
            "Policy": row["policy"],
            "k": row["iteration"],
            "n": f"{float(metric['n_train']['mean']):.0f}",
            "Flipped removed": _share(metric["removed_flipped"]["mean"], metric["removed"]["mean"]),
            "Accuracy": _percent(metric["accuracy"]["mean"]),
            "F1": _percent(metric["f1"]["mean"]),
            "Validation": _percent(metric["val_accuracy"]["mean"]),
            "Optimism": _points(metric["optimism"]["mean"]),
            "DCS": _number(metric["dcs"]["mean"], 3),
            "Helpful": _percent(metric["helpful_share"]["mean"]),
            "Harm reduction": _number(metric["harm_reduction"]["mean"]),
            "Stationarity": _number(metric["stationarity"]["mean"], 3),
            "Unconverged solves": f"{float(metric['unconverged']['mean']) * int(row['n']):.0f}",
        }
        for row, metric in table.values()
    ]


def costs(results: Path) -> list[dict]:
    """What training and influence cost."""
    titles = _titles(results)
    steps = {"Training": "train", "Gradient of V": "val_gradient", "Solve": "solve", "Projection": "projection"}
    return [
        {
            "Data set": titles[row["dataset"]],
            "Model": row["model"],
            "Models": row["models_trained"],
            **{f"{name} [s]": _number(row[f"{step}_seconds"], 3) for name, step in steps.items()},
            "Influence / training": _number(row["ratio"]),
            "Solver steps": _number(row["solver_iterations"], 1),
            "Unconverged solves": row["solver_unconverged"],
        }
        for row in read_rows(results / "costs.csv")
    ]


def data(results: Path) -> list[dict]:
    """What the data sets are, and how many samples stand in two parts."""
    by_set: dict[str, Rows] = {}
    for row in read_rows(results / "data.csv"):
        by_set.setdefault(row["dataset"], []).append(row)
    sizes = {"Train": "n_train", "Influence": "n_influence", "Selection": "n_selection", "Test": "n_test"}
    pairs = [(part, "train") for part in ("Influence", "Selection", "Test")] + [("Test", "influence")]
    repeats = {f"{one} in {other}": f"{one.lower()}_rows_in_{other}" for one, other in pairs}
    return [
        {
            "Data set": rows[0]["title"],
            "Modality": rows[0]["modality"],
            "Classes": rows[0]["n_classes"],
            "F1": rows[0]["f1_kind"],
            **{name: _extent(rows, column) for name, column in {**sizes, "Features": "n_features", **repeats}.items()},
        }
        for rows in by_set.values()
    ]


_NOTE = "Means over seeds; differences in percentage points with Student's t interval, paired by seed;"
TABLES: dict[str, tuple[Callable[[Path], list[dict]], str]] = {
    "main": (main, f"Refinement by influence after the last iteration, on the test set. {_NOTE} p one-sided (refined "
                   "is better), exact Wilcoxon; q after Benjamini-Hochberg over the whole table of tests."),
    "tests": (tests, "All comparisons on the test set after the last iteration. Differences in percentage points, "
                     "paired by seed; the smallest p is what so many seeds can reach, one-sided / two-sided."),
    "iterations": (iterations, "Iterations, means over seeds. Optimism: gain in validation accuracy minus gain in test "
                               "accuracy, in points. Flipped removed: share of the samples removed in this iteration "
                               "whose label was flipped."),
    "costs": (costs, "Cost of influence: mean seconds per trained model, and all influence seconds over all training "
                     "seconds. Two jobs may have run at once; the ratio is what compares."),
    "data": (data, "Data sets: samples by part, features, and samples of a part that also stand in the training part "
                   "(range over seeds)."),
}  # fmt: skip


def _titles(results: Path) -> dict[str, str]:
    return {row["dataset"]: row["title"] for row in read_rows(results / "data.csv")}


def _where(row: dict, titles: dict[str, str]) -> dict[str, str]:
    return {"Data set": titles[row["dataset"]], "Model": row["model"], "Noise": row["noise"]}


def _extent(rows: Rows, column: str) -> str:
    values = [int(row[column]) for row in rows]
    return str(min(values)) if min(values) == max(values) else f"{min(values)}–{max(values)}"


def _mean_sd(test: dict, which: str) -> str:
    return f"{100 * float(test[f'mean_{which}']):.2f} ± {100 * float(test[f'sd_{which}']):.2f}"


def _percent(share: str) -> str:
    return f"{100 * float(share):.2f}"


def _share(part: str, whole: str) -> str:
    return _percent(float(part) / float(whole)) if float(whole) else "–"


def _points(difference: str) -> str:
    return f"{round(100 * float(difference), 2) + 0.0:+.2f}"  # adding zero turns −0.00 into +0.00


def _range(row: dict, low: str, high: str) -> str:
    return f"[{_points(row[low])}, {_points(row[high])}]"


def _p(value: str) -> str:
    return f"{float(value):.4g}"


def _number(value: str, digits: int = 2) -> str:
    return f"{float(value):.{digits}f}"
