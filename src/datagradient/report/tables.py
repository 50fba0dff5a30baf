"""The paper's tables as CSV, Markdown and LaTeX. They format the small result tables and compute nothing."""

import re
from collections.abc import Callable
from pathlib import Path

from datagradient.errors import UserError
from datagradient.files import read_json, read_rows, replacing
from datagradient.report import benchmark_tables, experiment_tables
from datagradient.report.formats import (
    dataset_titles,
    difference,
    extent,
    interval,
    mean_and_deviation,
    mean_and_sd,
    number,
    p_value,
    percent,
    points,
    share,
)

Rows = list[dict[str, str]]
LONG = 40  # rows, from which a table runs over several pages


def write_tables(names: list[str], results: Path, folder: Path) -> None:
    """Write tables to a folder, each as CSV, as Markdown, and as LaTeX with booktabs.

    Args:
        names: of `TABLES`.
        results: folder of the small result tables.
        folder: where to.
    """
    for name in names:
        if name not in TABLES:
            raise UserError(f"no table {name!r}; legal: {', '.join(TABLES)}")
    for name in names:
        _write_table(name, results, folder / f"{name}.csv")


def _write_table(name: str, results: Path, out: Path) -> None:
    import pandas as pd

    make, caption = TABLES[name]
    frame = pd.DataFrame(make(results)).fillna("")
    run = read_json(results / "provenance.json")
    commits = sorted({cell["git_commit"] for cell in run.get("cells", {}).values()}) or [run["git_commit"]]
    made_by = (
        f"preset {run['preset']}, configuration {run['config_hash']}, version {run['version']}, {', '.join(commits)}"
    )
    measured = ""
    if name in experiment_tables.MEASUREMENTS:
        measured = _measured_by(results / f"{experiment_tables.MEASUREMENTS[name]}.json")
    place = {"longtable": True} if len(frame) > LONG else {"position": "tb"}
    plain = re.sub(r"([_%&#])", r"\\\1", caption)
    latex = frame.to_latex(index=False, escape=True, caption=plain, label=f"tab:{name}", **place)
    contents = {
        ".csv": frame.to_csv(index=False, lineterminator="\n"),
        ".md": f"{caption}\n\n{frame.to_markdown(index=False, disable_numparse=True)}\n\n{made_by}\n{measured}",
        ".tex": f"% {made_by}\n{f'% {measured}' if measured else ''}{latex}",
    }
    for suffix, content in contents.items():
        with replacing(out.with_suffix(suffix)) as stream:
            stream.write(content)


def _measured_by(provenance: Path) -> str:
    """Return a line with the code that an experiment was measured by, which may be later than the run's."""
    content = read_json(provenance)
    commits = sorted({run["git_commit"] for run in content.get("runs", [content])})
    return f"measured by {', '.join(commits)}\n"


def verdict(results: Path) -> list[dict]:
    """The paper's claims, what was measured, and the verdict on each."""

    def value(claim: dict, key: str) -> str:
        return "" if claim[key] is None else f"{claim[key]:.3g}"

    return [
        {
            **{key: claim[key] for key in ("claim", "statement", "paper")},
            **{key: value(claim, key) for key in ("measured", "low", "high")},
            **{key: claim[key] for key in ("unit", "interval", "verdict", "detail", "source")},
        }
        for claim in read_json(results / "claims.json")["claims"]
    ]


def main(results: Path) -> list[dict]:
    """Refinement by influence against the unrefined baseline and against random removal."""
    tests, titles = read_rows(results / "tests.csv", "policy", "against"), dataset_titles(results)
    same = ("dataset", "model", "noise", "metric")
    found = {(test["against"], *(test[key] for key in same)): test for test in tests if test["policy"] == "influence"}
    rows = []
    for (against, *where), test in found.items():
        if against != "baseline":
            continue
        row = {
            **_where(test, titles),
            "Metric": test["metric"],
            "Baseline": mean_and_sd(test, "second"),
            "Refined": mean_and_sd(test, "first"),
            "Difference [95 %]": difference(test),
            "p": p_value(test["p_one_sided"]),
            "q": p_value(test["q_one_sided"]),
            "d": number(test["d"]),
        }
        for control in ("random", "uniform"):
            other = found.get((control, *where))
            if other:
                row |= {f"Against {control} [95 %]": difference(other), f"q ({control})": p_value(other["q_one_sided"])}
        rows.append({**row, "Unconverged solves": test["solver_unconverged"]})
    return rows


def controls(results: Path) -> list[dict]:
    """Every policy against the unrefined baseline, side by side."""
    titles, table = dataset_titles(results), {}
    for test in read_rows(results / "tests.csv"):
        if test["against"] == "baseline":
            key = tuple(test[name] for name in ("dataset", "model", "noise", "metric"))
            row = table.setdefault(key, {**_where(test, titles), "Metric": test["metric"]})
            row[test["policy"]] = difference(test)
    return list(table.values())


def safety(results: Path) -> list[dict]:
    """How often a policy ends below its own baseline."""
    return [
        {
            "Policy": row["policy"],
            "Noise": row["noise"],
            "Runs": row["runs"],
            "Removed any": row["acted"],
            "Ended below baseline": f"{row['below']} ({percent(row['below_share'])} %)",
            "Mean change": points(row["mean_change"]),
            "Mean loss where below": points(f"-{row['mean_loss_where_below']}"),
            "Worst": points(row["worst_change"]),
            "Data sets and models worse / better": f"{row['worse_comparisons']} / {row['better_comparisons']} "
                                                   f"of {row['comparisons']}",
        }
        for row in read_rows(results / "safety.csv")
    ]  # fmt: skip


def rounds(results: Path) -> list[dict]:
    """What every policy has changed after one round, two and so on."""
    table: dict[tuple, dict] = {}
    for row in read_rows(results / "rounds.csv"):
        keys = tuple(row[name] for name in ("policy", "noise", "metric"))
        line = table.setdefault(keys, dict(zip(("Policy", "Noise", "Metric"), keys, strict=True)))
        line[f"After round {row['iteration']} [95 %]"] = difference(row)
    return list(table.values())


def pooled(results: Path) -> list[dict]:
    """Tests over all data sets and models together."""
    return [
        {
            "Policy": row["policy"],
            "Against": row["against"],
            "Noise": row["noise"],
            "Metric": row["metric"],
            "n": row["n"],
            "Difference [95 %]": difference(row),
            "p one-sided": p_value(row["p_one_sided"]),
            "q": p_value(row["q_one_sided"]),
            "p two-sided": p_value(row["p_two_sided"]),
            "q two-sided": p_value(row["q_two_sided"]),
            "Smallest p": p_value(row["smallest_p"]),
        }
        for row in read_rows(results / "pooled.csv")
    ]


def tests(results: Path) -> list[dict]:
    """Every test, of every policy against the baseline and against random removal."""
    titles = dataset_titles(results)
    return [
        {
            **_where(test, titles),
            "Policy": test["policy"],
            "Against": test["against"],
            "Metric": test["metric"],
            "n": test["n"],
            "Difference": points(test["mean_difference"]),
            "Bootstrap": f"{interval(test, 'low', 'high')} {test['interval']}",
            "p one-sided": p_value(test["p_one_sided"]),
            "q": p_value(test["q_one_sided"]),
            "p two-sided": p_value(test["p_two_sided"]),
            "q two-sided": p_value(test["q_two_sided"]),
            "Smallest p": f"{p_value(test['smallest_p'])} / {p_value(test['smallest_p_two_sided'])}",
            "Unconverged solves": test["solver_unconverged"],
        }
        for test in read_rows(results / "tests.csv")
    ]


def effects(results: Path) -> list[dict]:
    """Effect sizes of refinement by influence."""
    titles = dataset_titles(results)
    return [
        {
            **_where(test, titles),
            "Metric": test["metric"],
            "Against": test["against"],
            "d [95 %]": f"{number(test['d'])} [{number(test['d_low'])}, {number(test['d_high'])}]",
            "d_z": number(test["d_z"]),
            "Hedges' g": number(test["hedges_g"]),
        }
        for test in read_rows(results / "tests.csv")
        if test["policy"] == "influence"
    ]


def detection(results: Path) -> list[dict]:
    """How well each score finds flipped labels."""
    titles, cells = dataset_titles(results), {}
    for row in read_rows(results / "detection.csv"):
        cells.setdefault(tuple(row[key] for key in ("dataset", "model", "noise", "score")), []).append(row)
    return [
        {
            **_where(rows[0], titles),
            "Score": rows[0]["score"],
            "AUROC": mean_and_deviation(rows, "auroc", 1, 3),
            "Precision [%]": mean_and_deviation(rows, "precision", 100, 1),
            "Recall [%]": mean_and_deviation(rows, "recall", 100, 1),
            "Looked at": extent(rows, "removed"),
            "Seeds": len(rows),
        }
        for rows in cells.values()
    ]


def tracking(results: Path) -> list[dict]:
    """How far the contribution score follows test accuracy."""
    return [
        {
            "Score": "(number of the iteration)" if row["score"] == "iteration" else row["score"],
            "Noise": row["noise"],
            "Rank correlation [95 %]": f"{number(row['correlation'])} [{number(row['low'])}, {number(row['high'])}]",
            "Positive [%]": percent(row["positive_share"]),
            "Runs": row["runs"],
            "Without variation": row["runs_without"],
        }
        for row in read_rows(results / "tracking.csv")
    ]


def iterations(results: Path) -> list[dict]:
    """Means over seeds in every iteration."""
    titles, table = dataset_titles(results), {}
    for row in read_rows(results / "iterations.csv"):
        key = tuple(row[name] for name in ("dataset", "model", "noise", "policy", "iteration"))
        table.setdefault(key, (row, {}))[1][row["metric"]] = row
    return [
        {
            **_where(row, titles),
            "Policy": row["policy"],
            "k": row["iteration"],
            "n": f"{float(metric['n_train']['mean']):.0f}",
            "Flipped removed": share(metric["removed_flipped"]["mean"], metric["removed"]["mean"]),
            "Accuracy": percent(metric["accuracy"]["mean"]),
            "F1": percent(metric["f1"]["mean"]),
            "Validation": percent(metric["val_accuracy"]["mean"]),
            "Optimism": points(metric["optimism"]["mean"]),
            "Change of validation loss": f"{float(metric['val_loss']['change']):+.4f}",
            "Change of selection loss": f"{float(metric['selection_loss']['change']):+.4f}",
            "DCS": number(metric["dcs"]["mean"], 3),
            "Helpful": percent(metric["helpful_share"]["mean"]),
            "Harm reduction": number(metric["harm_reduction"]["mean"]),
            "Stationarity": number(metric["stationarity"]["mean"], 3),
            "Unconverged solves": f"{float(metric['unconverged']['mean']) * int(row['n']):.0f}",
        }
        for row, metric in table.values()
    ]


def costs(results: Path) -> list[dict]:
    """What training and influence cost."""
    titles = dataset_titles(results)
    steps = {
        "Training": "train",
        "Setting up": "setup",
        "Gradient of V": "val_gradient",
        "Solve": "solve",
        "Projection": "projection",
    }
    return [
        {
            "Data set": titles[row["dataset"]],
            "Model": row["model"],
            "Models": row["models_trained"],
            **{f"{name} [s]": number(row[f"{step}_seconds"], 3) for name, step in steps.items()},
            "Influence / training": number(row["ratio"]),
            "Solver steps": number(row["solver_iterations"], 1),
            "Median residual": f"{float(row['solver_residual']):.2g}",
            "Stopped by count": row["solver_truncated"],
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
            **{name: extent(rows, column) for name, column in {**sizes, "Features": "n_features", **repeats}.items()},
        }
        for rows in by_set.values()
    ]


def orchestration(results: Path) -> list[dict]:
    """What a run spent outside training and scoring."""
    row = read_rows(results / "orchestration.csv")[0]
    names = {"Wall": "wall", "Training": "fit", "Cross-validation": "cross_validation", "Predicting": "predict",
             "Scoring": "score"}  # fmt: skip
    return [{
        "Cores": row["cores"], "Runs": row["runs"],
        **{f"{name} [s]": number(row[f"{key}_seconds"], 0) for name, key in names.items()},
        "Outside, of wall × cores [%]": percent(row["outside_share"]),
    }]  # fmt: skip


def environment(results: Path) -> list[dict]:
    """What the results were made with: code, libraries, machine, data."""
    run = read_json(results / "provenance.json")
    facts = {
        "Preset": run["preset"], "Configuration": run["config_hash"], "Version": run["version"],
        "Commit": run["git_commit"], "Machine": run["machine"], "Started": run["started"], "Finished": run["finished"],
        **{f"Library {name}": version for name, version in run["libraries"].items()},
        **{f"Data {name}": source for name, source in run["data"].items()},
    }  # fmt: skip
    return [{"What": name, "Value": value} for name, value in facts.items()]


_NOTE = "Means over seeds; differences in percentage points with Student's t interval, paired by seed;"
_FAMILY = "q after Benjamini-Hochberg over all comparisons of one policy with one other at one noise rate;"
TABLES: dict[str, tuple[Callable[[Path], list[dict]], str]] = {
    "verdict": (verdict, "The paper's claims and what was found. Judged on the data as published, influence against "
                         "the unrefined baseline, by the rules in src/datagradient/evidence/claims.py; only C6 can "
                         "become partly confirmed by what flipped labels give. A pooled interval is conditional on "
                         "these data sets and their test sets."),
    "main": (main, f"Refinement by influence after the last iteration, on the test set. {_NOTE} p one-sided "
                   f"(refined is better; two-sided ones in the table of tests), exact Wilcoxon; {_FAMILY} random "
                   "draws from each class as many as influence removed of it, which by itself shifts the balance of "
                   "the classes and can lower F1 much; uniform, the neutral control, draws from all samples alike. "
                   "A solve that was stopped after a fixed number of steps does not count as unconverged."),
    "controls": (controls, f"Every policy against the unrefined baseline. {_NOTE} all remove equally many samples, but "
                           "for guarded, which keeps an iteration of influence (+0.00 [+0.00, +0.00]: it never acted); "
                           "confident rates labels once, the others score again in each round."),
    "safety": (safety, "How often a policy ends below its own unrefined baseline on test accuracy, over all data sets, "
                       "models and seeds; changes in percentage points. Worse and better: the t interval over seeds "
                       "lies below or above 0."),
    "pooled": (pooled, "Tests over all data sets and models together. A unit is one split of one data set, the mean "
                       f"over its models. {_NOTE} exact Wilcoxon; {_FAMILY} optimism is the gain in validation "
                       "accuracy minus the gain in test accuracy, a family of its own; its one-sided alternative is "
                       "more than 0. Splits of one data set share its samples, and three data sets are few: these "
                       "tests speak of these data sets and test sets, not of others."),
    "rounds": (rounds, "Change against the unrefined baseline after each round of removal, pooled over data sets and "
                       f"models as in the pooled tests. {_NOTE.removesuffix(';')}. With as many rounds as the "
                       "paper, the last column is what is tested; the others show whether stopping earlier would have "
                       "been better, and no round was chosen by them."),
    "tests": (tests, "All comparisons on the test set after the last iteration. Differences in percentage points, "
                     f"paired by seed; {_FAMILY} the smallest p is what so many seeds can reach, one-sided / "
                     "two-sided. Unconverged solves are those of the policy's models and of their baseline."),
    "effects": (effects, "Effect sizes of refinement by influence: Cohen's d (deviation pooled over seeds) with a "
                         "percentile bootstrap interval over seeds, which from five seeds covers nearer 83 than 95 "
                         "percent, and where the deviation is small reaches to values that five seeds cannot support; "
                         "d_z of paired differences; Hedges' g."),
    "iterations": (iterations, "Iterations, means over seeds. Optimism: gain in validation accuracy minus gain in test "
                               "accuracy, in points. Changes of loss are against iteration 0. Flipped removed: share "
                               "of the samples removed in this iteration whose label was flipped."),
    "detection": (detection, "Finding flipped labels with the scores of the unrefined models, mean and standard "
                             "deviation over seeds. Precision and recall among as many samples as the first round "
                             "removes, so that recall cannot exceed their share of the flipped ones. confident uses "
                             "models of its own, from cross-validation."),
    "tracking": (tracking, "Does the contribution score follow test accuracy? Spearman correlation over the iterations "
                           "of each run of influence, four points in three rounds, mean over runs (unit: one split of "
                           "one data set). The number of the iteration is no score: a score that rises in every "
                           "round says no more than that number. C6 asks for 0.5, our number."),
    "costs": (costs, "Cost of influence: mean seconds per trained model, and all influence seconds over all training "
                     "seconds. Two jobs may have run at once; the ratio is what compares. Stopped by count: solves "
                     "whose number of steps was fixed beforehand; they missed no tolerance."),
    "orchestration": (orchestration, "Where a run's time went, by a clock on the wall, from the first line of output "
                                     "to the report. Outside: what is not training, cross-validation, predicting or "
                                     "scoring: starting programs, loading, preparing, experiments, writing, "
                                     "scheduling, tables, figures, MLflow, the report."),
    "data": (data, "Data sets: samples by part, features, and samples of a part that also stand in the training part "
                   "(range over seeds)."),
    "environment": (environment, "What the results were made with."),
    **experiment_tables.TABLES,
    **benchmark_tables.TABLES,
}  # fmt: skip


def _where(row: dict, titles: dict[str, str]) -> dict[str, str]:
    return {"Data set": titles[row["dataset"]], "Model": row["model"], "Noise": row["noise"]}
