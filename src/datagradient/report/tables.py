"""The paper's tables as CSV, Markdown and LaTeX, formatted from the small result tables. Nothing is computed here."""

import re
from collections.abc import Callable
from pathlib import Path

from datagradient.errors import UserError
from datagradient.files import read_json, read_rows, replacing
from datagradient.refine.policies import TRUE_LABELS, adds_validation
from datagradient.report import benchmark_tables, captions, experiment_tables, verdicts
from datagradient.report.formats import (
    POOLED,
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
    with_interval,
)

Rows = list[dict[str, str]]
LONG = 40  # rows; a longer table runs over several pages


def write_tables(names: list[str], results: Path, folder: Path) -> None:
    """Write tables to a folder, each as CSV, as Markdown, and as LaTeX with booktabs.

    Args:
        names: keys of `TABLES`.
        results: folder of the small result tables.
        folder: target folder.
    """
    for name in names:
        if name not in TABLES:
            raise UserError(f"no table {name!r}; legal: {', '.join(TABLES)}")
    for name in names:
        _write_table(name, results, folder / f"{name}.csv")


def _write_table(name: str, results: Path, out: Path) -> None:
    import pandas as pd

    frame, caption = pd.DataFrame(TABLES[name](results)).fillna(""), captions.TABLES[name]
    own = results / f"{name}.json"  # of a benchmark with a script of its own
    run = read_json(own if name in benchmark_tables.APART and own.exists() else results / "provenance.json")
    made = run.get("cells", {}).values()  # of benchmarks, by cell; of a preset, all that its models name
    commits = sorted({cell["git_commit"] for cell in made}) or run.get("git_commits") or [run["git_commit"]]
    made_by = (
        f"preset {run['preset']}, configuration {run['config_hash']}, version {run['version']}, {', '.join(commits)}"
    )
    measured = ""
    if name in experiment_tables.MEASUREMENTS:
        measured = _measured_by(results / f"{experiment_tables.MEASUREMENTS[name]}.json")
    place = {"longtable": True} if len(frame) > LONG else {"position": "tb"}
    plain = re.sub(r"([_%&#])", r"\\\1", caption)
    latex = frame.to_latex(index=False, escape=True, caption=plain, label=f"tab:{name}", **place)
    note = NOTES[name](results) if name in NOTES else ""
    contents = {
        ".csv": frame.to_csv(index=False, lineterminator="\n"),
        ".md": f"{caption}\n\n{frame.to_markdown(index=False, disable_numparse=True)}\n\n{note}{made_by}\n{measured}",
        ".tex": f"% {made_by}\n{f'% {measured}' if measured else ''}{latex}",
    }
    for suffix, content in contents.items():
        with replacing(out.with_suffix(suffix)) as stream:
            stream.write(content)


def _measured_by(provenance: Path) -> str:
    """Return a line with the commit of an experiment's code, which may be later than that of the run."""
    content = read_json(provenance)
    commits = sorted({run["git_commit"] for run in content.get("runs", [content])})
    return f"measured by {', '.join(commits)}\n"


def verdict(results: Path) -> list[dict]:
    """The paper's claims, our measurements, and the verdict on each claim."""

    def value(claim: dict, key: str) -> str:
        return "" if claim[key] is None else f"{claim[key]:.3g}"

    return [
        {
            **{key: claim[key] for key in ("claim", "statement", "paper")},
            **{key: value(claim, key) for key in ("measured", "low", "high")},
            **{key: claim[key] for key in ("unit", "interval", "verdict", "detail", "source")},
            **verdicts.texts(claim),
        }
        for claim in read_json(results / "claims.json")["claims"]
    ]


def verdict_summary(results: Path) -> str:
    """Return under which condition the paper's numbers appear, with an empty line after it."""
    text = verdicts.summary(read_json(results / "claims.json")["claims"])
    return f"{text}\n\n" if text else ""


def main(results: Path) -> list[dict]:
    """Refinement by influence against the unrefined baseline and against random removal."""
    tests, titles = read_rows(results / "tests.csv", "policy", "against"), dataset_titles(results)
    same = ("dataset", "model", "noise", "metric")
    tests = [test for test in tests if test["policy"] == "influence"]
    by_control = {(test["against"], *(test[key] for key in same)): test for test in tests}
    rows = []
    for (against, *where), test in by_control.items():
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
            control_test = by_control.get((control, *where))
            if control_test:
                row[f"Against {control} [95 %]"] = difference(control_test)
                row[f"q ({control})"] = p_value(control_test["q_one_sided"])
        rows.append({**row, "Unconverged solves": test["solver_unconverged"]})
    return rows


def recovered(results: Path) -> list[dict]:
    """Share of the accuracy lost by wrong labels that each policy recovers, by condition."""
    titles, table = {POOLED: POOLED, **dataset_titles(results)}, {}
    rows = read_rows(results / "recovered.csv", "condition", "validation", "policy", "share")
    policies = [name for name in dict.fromkeys(row["policy"] for row in rows) if name != TRUE_LABELS]
    for row in rows:
        key = tuple(row[name] for name in ("condition", "validation", "dataset", "model"))
        line = table.setdefault(key, {
            "Labels": row["condition"], "Validation": row["validation"], "Data set": titles[row["dataset"]],
            "Model": row["model"], "Seeds": row["seeds"], "Unrefined [%]": percent(row["noisy"]),
            "True labels [%]": percent(row["true_labels"]), **dict.fromkeys(policies, ""),
        })  # fmt: skip
        if row["policy"] in policies:
            line[row["policy"]] = with_interval(row, "share", "low", "high") if row["share"] != "nan" else "–"
    return list(table.values())


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
    """Frequency with which a policy ends below its own baseline."""
    return [
        {
            "Policy": row["policy"],
            "Noise": row["noise"],
            "Runs": row["runs"],
            "Changed any": row["acted"],
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
    """Changes by every policy after each round."""
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
    """Every test, of every policy against the baseline and the policies that it is compared with."""
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
    """Detection of flipped labels by each score."""
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
    """Agreement of the contribution score with test accuracy."""
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
            # Of a model that was trained on the validation parts neither says anything.
            "Validation": "" if adds_validation(row["policy"]) else percent(metric["val_accuracy"]["mean"]),
            "Optimism": "" if adds_validation(row["policy"]) else points(metric["optimism"]["mean"]),
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
    """Cost of training and influence."""
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
    """The data sets, and the number of samples that occur in two parts."""
    by_set: dict[str, Rows] = {}
    for row in read_rows(results / "data.csv"):
        by_set.setdefault(row["dataset"], []).append(row)
    sizes = {"Train": "n_train", "Influence": "n_influence", "Selection": "n_selection", "Test": "n_test"}
    pairs = [(part, "train") for part in ("Influence", "Selection", "Test")] + [("Test", "influence")]
    repeats = {f"{first} in {second}": f"{first.lower()}_rows_in_{second}" for first, second in pairs}
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
    """The time of a run outside training and scoring."""
    row = read_rows(results / "orchestration.csv")[0]
    names = {"Wall": "wall", "Training": "fit", "Folds": "cross_validation", "Predicting": "predict",
             "Scoring": "score"}  # fmt: skip
    runs = {"Runs": row["runs"]} if "runs" in row else {}  # older results do not count them
    return [{
        "Cores": row["cores"], **runs,
        **{f"{name} [s]": number(row[f"{key}_seconds"], 0) for name, key in names.items()},
        "Outside, of wall × cores [%]": percent(row["outside_share"]),
    }]  # fmt: skip


def environment(results: Path) -> list[dict]:
    """The origin of the results: code, libraries, machine, data."""
    run = read_json(results / "provenance.json")
    facts = {
        "Preset": run["preset"], "Configuration": run["config_hash"], "Version": run["version"],
        "Commit": ", ".join(run.get("git_commits", [run["git_commit"]])), "Machine": run["machine"],
        "Started": run["started"], "Finished": run["finished"],
        **{f"Library {name}": version for name, version in run["libraries"].items()},
        **{f"Data {name}": source for name, source in run["data"].items()},
    }  # fmt: skip
    return [{"What": name, "Value": value} for name, value in facts.items()]


TABLES: dict[str, Callable[[Path], list[dict]]] = {
    "verdict": verdict, "recovered": recovered, "main": main, "controls": controls, "safety": safety, "pooled": pooled,
    "rounds": rounds, "tests": tests, "effects": effects, "iterations": iterations, "detection": detection,
    "tracking": tracking, "costs": costs, "orchestration": orchestration, "data": data, "environment": environment,
    **experiment_tables.TABLES, **benchmark_tables.TABLES,
}  # fmt: skip
# Table -> what is said below it in Markdown.
NOTES: dict[str, Callable[[Path], str]] = {"verdict": verdict_summary}


def _where(row: dict, titles: dict[str, str]) -> dict[str, str]:
    return {"Data set": titles[row["dataset"]], "Model": row["model"], "Noise": row["noise"]}
