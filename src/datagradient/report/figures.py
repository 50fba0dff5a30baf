"""The figures, drawn from the small result tables. Nothing is computed here."""

from collections.abc import Callable
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from datagradient.data.conditions import SUFFIX, TRUSTED
from datagradient.errors import UserError
from datagradient.files import read_rows
from datagradient.influence.options import RECORD
from datagradient.refine.policies import ORACLE_REMOVAL, TRUE_LABELS
from datagradient.report import experiment_figures
from datagradient.report.formats import POOLED, dataset_titles, noise_words
from datagradient.report.style import (
    GROUPS,
    LAST,
    MODEL_STYLE,
    NOISE_STYLE,
    OVER_ITERATIONS,
    PAPER_D,
    POLICY_STYLE,
    PROJECTED,
    RECORDED,
    SOLVER_STYLE,
    STYLE,
    finish,
    in_lines,
    new_panels,
    one_legend,
    panel_of,
    save,
    share_scale,
    values_and_errors,
)


def write_figures(names: list[str], results: Path, folder: Path) -> None:
    """Draw figures to a folder, each as PNG and as PDF.

    Args:
        names: keys of `FIGURES`.
        results: folder of the small result tables.
        folder: target folder.
    """
    for name in names:
        if name not in FIGURES:
            raise UserError(f"no figure {name!r}; legal: {', '.join(FIGURES)}")
    for name in names:
        with plt.rc_context(STYLE):
            save(FIGURES[name](results), folder / f"{name}.png")


def pipeline(_: Path) -> plt.Figure:
    """The steps of the computation and their order."""
    boxes = {
        "raw data": (0, 1), "split by seed\ntrain · influence ·\nselection · test": (1, 1),
        "flip labels\n(training part only)": (2, 1), "train on $D_k$\n→ $\\theta_k$": (3, 1),
        "evaluate\n(selection, test)": (4, 1), "score: $I_i = -g_i^T S$\n$S=(H+\\delta I)^{-1}\\nabla L_V$": (3, 0),
        "remove the largest\nof those with $I_i > 0$": (2, 0), "statistics, claims,\ntables, figures": (4, 0),
    }  # fmt: skip
    arrows = [
        (0, 1, ""),
        (1, 2, ""),
        (2, 3, "$D_0$"),
        (3, 4, ""),
        (3, 5, ""),
        (5, 6, ""),
        (6, 3, "$D_{k+1}$"),
        (4, 7, ""),
    ]
    drawing, axis = plt.subplots(figsize=(6.9, 1.9))
    places = list(boxes.values())
    for text, (x, y) in boxes.items():
        axis.text(x, y, text, ha="center", va="center", fontsize=7,
                  bbox={"boxstyle": "round,pad=0.4", "facecolor": "#EAF3FA", "edgecolor": "#0072B2"})  # fmt: skip
    for start, end, label in arrows:
        (x0, y0), (x1, y1) = places[start], places[end]
        gap = 0.42 if y0 == y1 else 0.3
        shift_x, shift_y = gap * (x1 > x0) - gap * (x1 < x0), 0.27 * (y1 > y0) - 0.27 * (y1 < y0)
        if y0 != y1 and x0 != x1:
            shift_x = 0.3
        axis.annotate("", (x1 - shift_x, y1 - shift_y), (x0 + shift_x, y0 + shift_y), arrowprops={"arrowstyle": "->"})
        axis.text((x0 + x1) / 2 - 0.2 * (y0 < y1), (y0 + y1) / 2 + 0.07, label, ha="center", fontsize=7)
    axis.set(xlim=(-0.45, 4.5), ylim=(-0.4, 1.4))
    axis.set_axis_off()
    return drawing


def accuracy(results: Path) -> plt.Figure:
    """Change of test accuracy over iterations by policy."""
    return _over_iterations(results, "accuracy", "Change of test accuracy [points]")


def f1(results: Path) -> plt.Figure:
    """Change of F1 over iterations by policy."""
    return _over_iterations(results, "f1", "Change of test F1 [points]")


def contribution(results: Path) -> plt.Figure:
    """Dataset contribution score against test accuracy, by iteration."""
    rows = read_rows(results / "iterations.csv")
    drawing, panels = new_panels(results, rows)
    style = POLICY_STYLE["influence"]
    for key, axis in panels.items():
        panel_rows = [row for row in rows if panel_of(row) == key and row["policy"] in ("baseline", "influence")]
        (x, x_errors), (y, y_errors) = (
            values_and_errors([row for row in panel_rows if row["metric"] == metric], ("mean", "low", "high"), scale)
            for metric, scale in (("dcs", 1), ("accuracy", 100))
        )
        axis.errorbar(x, y, xerr=x_errors, yerr=y_errors, linewidth=0.6, markersize=3, linestyle="-", **style)
        for k, place in enumerate(zip(x, y, strict=True)):
            axis.annotate(str(k), place, xytext=(3, 3), textcoords="offset points", fontsize=7)
    finish(drawing, panels, "Dataset contribution score (iteration beside each point)", "Test accuracy [%]")
    return drawing


def optimism(results: Path) -> plt.Figure:
    """Gain of validation accuracy against gain of test accuracy after the last iteration."""
    rows = read_rows(results / "iterations.csv")
    last = str(max(int(row["iteration"]) for row in rows))
    titles, noises = dataset_titles(results), list(dict.fromkeys(row["noise"] for row in rows))
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    size = (2.2 * len(datasets) + 0.4, 2.0 * len(noises) + 0.5)
    drawing, axes = plt.subplots(len(noises), len(datasets), figsize=size, squeeze=False)
    for (i, noise), (j, dataset) in ((a, b) for a in enumerate(noises) for b in enumerate(datasets)):
        axis = axes[i, j]
        if not any((row["noise"], row["dataset"]) == (noise, dataset) for row in rows):
            axis.set_axis_off()  # the data set does not have this condition
            continue
        for row in rows:
            if (row["noise"], row["dataset"], row["iteration"], row["metric"]) != (noise, dataset, last, "accuracy"):
                continue
            if row["policy"] not in ("influence", "uniform"):
                continue
            keys = ("dataset", "model", "noise", "policy", "iteration")
            same = [candidate for candidate in rows if candidate["metric"] == "val_accuracy"
                    and all(candidate[key] == row[key] for key in keys)]  # fmt: skip
            (x, x_errors), (y, y_errors) = (values_and_errors(point_rows, ("change", "change_low", "change_high"), 100)
                                            for point_rows in (same, [row]))  # fmt: skip
            style = MODEL_STYLE.get(row["model"], {"color": "0.3", "marker": "o"})
            face = style["color"] if row["policy"] == "influence" else "white"
            label = f"{row['model']}, {row['policy']}"
            axis.errorbar(x, y, xerr=x_errors, yerr=y_errors, linestyle="", linewidth=0.8, markersize=5,
                          markerfacecolor=face, label=label, **style)  # fmt: skip
        axis.axline((0, 0), slope=1, color="0.6", linewidth=0.8, zorder=0, label="equal gains")
        axis.axhline(0, color="0.85", linewidth=0.8, zorder=0)
        axis.set_title(in_lines(titles[dataset], noise_words(noise), 36))
    drawing.supxlabel("Gain of validation accuracy [points]", fontsize=8)
    drawing.supylabel("Gain of test accuracy [points]", fontsize=8)
    one_legend(drawing, list(axes.flat), 3)
    return drawing


def influence(results: Path) -> plt.Figure:
    """Distribution of the scores of the unrefined models."""
    rows = read_rows(results / "influence_histogram.csv")
    drawing, panels = new_panels(results, rows)
    for key, axis in panels.items():
        for group, (words, colour) in GROUPS.items():
            bins = [row for row in rows if panel_of(row) == key and row["group"] == group]
            if bins:
                edges = [float(row["low"]) for row in bins] + [float(bins[-1]["high"])]
                axis.stairs(
                    [float(row["share"]) for row in bins], edges, color=colour, fill=True, alpha=0.5, label=words
                )
        axis.axvline(0, color="0.4", linewidth=0.8)
        axis.set_yscale("log")
    finish(drawing, panels, "Influence [standard deviations]", "Share of samples")
    return drawing


def recovered(results: Path) -> plt.Figure:
    """Share of the accuracy lost by wrong labels that each policy recovers, one panel per condition."""
    titles, rows = dataset_titles(results), read_rows(results / "recovered.csv", "condition", "validation", "share")
    policies = [name for name in dict.fromkeys(row["policy"] for row in rows)
                if name not in (TRUE_LABELS, ORACLE_REMOVAL)]  # fmt: skip
    conditions, validations = (list(dict.fromkeys(row[key] for row in rows)) for key in ("condition", "validation"))
    lines = {condition: list(dict.fromkeys((row["dataset"], row["model"]) for row in rows
                                           if row["condition"] == condition)) for condition in conditions}  # fmt: skip
    heights = [len(lines[condition]) for condition in conditions]
    band = max(0.3, 0.055 * len(policies))  # inches for a data set and model
    size = (2.9 * len(validations) + 1.1, band * sum(heights) + 0.35 * len(conditions) + 0.7)
    drawing, axes = plt.subplots(len(conditions), len(validations), figsize=size, squeeze=False, sharex=True,
                                 sharey="row", height_ratios=heights)  # fmt: skip
    for (i, condition), (j, validation) in ((a, b) for a in enumerate(conditions) for b in enumerate(validations)):
        axis = axes[i, j]
        panel = [row for row in rows if (row["condition"], row["validation"]) == (condition, validation)]
        _recovered_panel(axis, panel, policies, lines[condition])
        ideal = [row for row in rows if (row["condition"], row["policy"]) == (condition, ORACLE_REMOVAL)]
        if panel:
            places = {where: place for place, where in enumerate(lines[condition])}
            for row in ideal:  # run with trusted validation labels alone, which it does not see
                place = places[row["dataset"], row["model"]]
                axis.vlines(float(row["share"]), place - 0.46, place + 0.46, linestyle="--", linewidth=1,
                            color=POLICY_STYLE[ORACLE_REMOVAL]["color"], label=ORACLE_REMOVAL)  # fmt: skip
        axis.set_title(_validated(condition, validation))
        axis.set_yticks(range(len(lines[condition])), [model if dataset == POOLED else f"{titles[dataset]}, {model}"
                                                       for dataset, model in lines[condition]])  # fmt: skip
    for strip in axes:
        strip[0].invert_yaxis()
    drawing.supxlabel("Share of the accuracy lost by wrong labels that is recovered [95 % interval]", fontsize=8)
    one_legend(drawing, list(axes.flat), 5)
    return drawing


def summary(results: Path) -> plt.Figure:
    """Share of the accuracy lost by wrong labels that each policy recovers, pooled, as wide as a column of a page."""
    rows = [row for row in read_rows(results / "recovered.csv", "condition", "validation", "share")
            if row["dataset"] == POOLED and row["policy"] != TRUE_LABELS]  # fmt: skip
    policies = sorted(dict.fromkeys(row["policy"] for row in rows), key=ORACLE_REMOVAL.__eq__)  # the ideal one last
    conditions = list(dict.fromkeys((row["condition"], row["validation"]) for row in rows))
    drawing, axis = plt.subplots(figsize=(3.4, (0.1 + 0.07 * len(conditions)) * len(policies) + 1))
    for share in (0, 1):
        axis.axvline(share, color="0.6", linewidth=0.8, zorder=0)
    for k, (condition, validation) in enumerate(conditions):
        own = [row for row in rows if (row["condition"], row["validation"]) == (condition, validation)]
        x, errors = values_and_errors(own, ("share", "low", "high"), 1)
        y = [policies.index(row["policy"]) + 0.8 * ((k + 0.5) / len(conditions) - 0.5) for row in own]
        axis.errorbar(x, y, xerr=errors, linestyle="", markersize=3.5, linewidth=1,
                      label=_validated(condition, validation), **NOISE_STYLE[k % len(NOISE_STYLE)])  # fmt: skip
    axis.set_yticks(range(len(policies)), policies)
    axis.invert_yaxis()
    axis.set_xlabel("Recovered share, pooled [95 % interval]")
    share_scale(axis, "x")
    drawing.legend(loc="outside upper left", fontsize=7)
    return drawing


def controls(results: Path) -> plt.Figure:
    """Change of test accuracy by every policy, side by side."""
    titles, tests = dataset_titles(results), read_rows(results / "tests.csv")
    tests = [row for row in tests if (row["metric"], row["against"]) == ("accuracy", "baseline")]
    datasets, models, noises, policies = (
        list(dict.fromkeys(row[key] for row in tests)) for key in ("dataset", "model", "noise", "policy")
    )
    size = (2.2 * len(models) + 0.9, (0.19 * len(policies) + 0.55) * len(datasets) + 0.5)
    drawing, axes = plt.subplots(len(datasets), len(models), figsize=size, squeeze=False, sharey=True)
    for (i, dataset), (j, model) in ((a, b) for a in enumerate(datasets) for b in enumerate(models)):
        axis = axes[i, j]
        axis.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        for k, noise in enumerate(noises):
            panel_tests = {row["policy"]: row for row in tests
                   if (row["dataset"], row["model"], row["noise"]) == (dataset, model, noise)}  # fmt: skip
            if not panel_tests:  # the data set does not have this condition
                continue
            held = [policy for policy in policies if policy in panel_tests]  # ideal ones need wrong labels
            x, errors = values_and_errors([panel_tests[policy] for policy in held],
                                           ("mean_difference", "t_low", "t_high"), 100)  # fmt: skip
            apart = min(0.24, 0.8 / len(noises))
            places = [policies.index(policy) + apart * (k - (len(noises) - 1) / 2) for policy in held]
            axis.errorbar(x, places, xerr=errors, linestyle="", markersize=3.5, linewidth=1, label=noise_words(noise),
                          **NOISE_STYLE[k % len(NOISE_STYLE)])  # fmt: skip
        axis.set_title(f"{titles[dataset]}, {model}")
        axis.set_yticks(range(len(policies)), policies)
    axes[0, 0].set_ylim(len(policies) - 0.5, -0.5)  # the first on top, and room for markers beside the last
    drawing.supxlabel("Change of test accuracy against the unrefined baseline [points]", fontsize=8)
    one_legend(drawing, list(axes.flat), min(len(noises), 3))
    return drawing


def effects(results: Path) -> plt.Figure:
    """Cohen's d of test accuracy with intervals, as a forest plot."""
    titles, tests = dataset_titles(results), read_rows(results / "tests.csv")
    tests = [row for row in tests if (row["metric"], row["policy"]) == ("accuracy", "influence")
             and not row["noise"].endswith(SUFFIX)]  # fmt: skip
    names = list(dict.fromkeys(panel_of(row) for row in tests))
    drawing, axis = plt.subplots(figsize=(6.5, 0.3 * len(names) + 1.2))
    axis.axvspan(*PAPER_D, color="0.88", label="paper's range")
    axis.axvline(0, color="0.4", linewidth=0.8)
    styles = {"baseline": POLICY_STYLE["influence"], **{name: POLICY_STYLE[name] for name in ("random", "uniform")}}
    for shift, (against, style) in enumerate(styles.items()):
        rows = [row for row in tests if row["against"] == against]
        if not rows:
            continue
        d, low, high = ([float(row[name]) for row in rows] for name in ("d", "d_low", "d_high"))
        places = [names.index(panel_of(row)) + 0.25 * (shift - 1) for row in rows]
        axis.hlines(places, low, high, color=style["color"], linewidth=1)
        axis.plot(d, places, linestyle="", markersize=3.5, label=f"against {against}", **style)
    axis.set_yticks(range(len(names)), [f"{titles[d]}, {model}, {noise_words(noise)}" for d, model, noise in names])
    axis.invert_yaxis()
    axis.set_xscale("symlog", linthresh=1, linscale=0.7)  # near zero linear, further out logarithmic
    axis.xaxis.set_major_locator(FixedLocator([-30, -10, -3, -1, 0, 1, 3, 10, 30]))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("Cohen's d of test accuracy [95 % interval]")
    drawing.legend(loc="outside upper center", ncols=4)
    return drawing


def detection(results: Path) -> plt.Figure:
    """Share of the wrong labels found against the inspected share of the training set."""
    curves = read_rows(results / "detection_curves.csv")
    drawing, panels = new_panels(results, curves)
    for key, axis in panels.items():
        panel = [row for row in curves if panel_of(row) == key]
        axis.axline((0, 0), slope=1, color="0.6", linewidth=0.8, zorder=0)
        for score in dict.fromkeys(row["score"] for row in panel):
            x, y = (
                [100 * float(row[name]) for row in panel if row["score"] == score] for name in ("looked_at", "found")
            )
            axis.plot(x, y, linewidth=1.1, markersize=3, markevery=10, label=score, **POLICY_STYLE[score])
    finish(drawing, panels, "Training samples looked at, the most suspicious first [%]", "Wrong labels found [%]")
    return drawing


def solvers(results: Path) -> plt.Figure:
    """Cost and quality of solvers for networks; results are those of benchmarks/solvers.py."""
    rows = [row for row in read_rows(results / "solvers.csv") if row["model"] == "neural"]
    datasets, noises = (list(dict.fromkeys(row[key] for row in rows)) for key in ("dataset", "noise"))
    words = {"auroc": "AUROC of wrong labels", "lds": "Linear datamodeling score"}
    strips = [(column, noise) for column in words for noise in noises
              if any(row[column] for row in rows if row["noise"] == noise)]  # fmt: skip
    size = (2.3 * len(datasets) + 0.4, 2.0 * len(strips) + 0.4)
    drawing, axes = plt.subplots(len(strips), len(datasets), figsize=size, squeeze=False, sharex=True)
    for (i, (column, noise)), (j, dataset) in ((a, b) for a in enumerate(strips) for b in enumerate(datasets)):
        axis, panel_rows = axes[i, j], [row for row in rows if row["dataset"] == dataset and row["noise"] == noise]
        if not panel_rows:  # the data set does not have this condition
            axis.set_axis_off()
            continue
        for solver, style in SOLVER_STYLE.items():
            points = [row for row in panel_rows if _called(row) == solver]
            x, y = ([float(row[key]) for row in points] for key in ("forward_passes", column))
            axis.plot(x, y, linestyle="", markersize=4, alpha=0.8, label=solver, **style)
        for row in panel_rows:
            if row["default"] == "1":
                axis.plot(float(row["forward_passes"]), float(row[column]), "o", markersize=10, markerfacecolor="none",
                          color="black", label="default")  # fmt: skip
        axis.axvline(5, color="0.6", linewidth=0.8, linestyle=":")
        axis.set_xscale("log")
        axis.set_title(in_lines(dataset, noise_words(noise), 36))
        axis.set_ylabel(words[column] if j == 0 else "")
    for column_of_axes in axes.T:
        [axis for axis in column_of_axes if axis.axison][-1].tick_params(labelbottom=True)
    drawing.supxlabel("Cost [plain forward passes over the training set]; dotted: 5", fontsize=8)
    drawing.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return drawing


def _called(row: dict) -> str:
    """Return the key of `SOLVER_STYLE` for a row of solvers.csv."""
    names = {RECORD: RECORDED, f"{RECORD}-all": PROJECTED}
    return names.get(row["solver"], LAST if row["parameters"] == "last" else row["solver"])


FIGURES: dict[str, Callable[[Path], plt.Figure]] = {
    "pipeline": pipeline, "summary": summary, "recovered": recovered, "accuracy": accuracy, "f1": f1,
    "controls": controls, "effects": effects, "contribution": contribution, "optimism": optimism,
    "influence": influence, "detection": detection, "solvers": solvers, **experiment_figures.FIGURES,
}  # fmt: skip


def _validated(condition: str, validation: str) -> str:
    """Return in words which labels are wrong, as a title."""
    words = noise_words(condition if validation == TRUSTED else f"{condition}{SUFFIX}")
    return words[:1].upper() + words[1:]


def _recovered_panel(axis: plt.Axes, rows: list[dict], policies: list[str], lines: list[tuple[str, str]]) -> None:
    """Draw the policies of one condition, from the top of each line down; the first line is the pooled one."""
    axis.axhspan(-0.5, 0.5, color="0.93", zorder=0)
    for share in (0, 1):
        axis.axvline(share, color="0.6", linewidth=0.8, zorder=0)
    for k, policy in enumerate(policies):
        own = {(row["dataset"], row["model"]): row for row in rows if row["policy"] == policy}
        shown = [(place, own[where]) for place, where in enumerate(lines) if where in own]
        x, errors = values_and_errors([row for _, row in shown], ("share", "low", "high"), 1)
        y = [place + 0.84 * ((k + 0.5) / len(policies) - 0.5) for place, _ in shown]
        axis.errorbar(x, y, xerr=errors, linestyle="", markersize=3, linewidth=0.8, label=policy,
                      **POLICY_STYLE[policy])  # fmt: skip
    axis.set_ylim(-0.5, len(lines) - 0.5)
    share_scale(axis, "x")


def _over_iterations(results: Path, metric: str, label: str) -> plt.Figure:
    rows = [row for row in read_rows(results / "iterations.csv", "metric", "policy") if row["metric"] == metric]
    drawing, panels = new_panels(results, rows)
    for key, axis in panels.items():
        panel_rows = [row for row in rows if panel_of(row) == key]
        start = [row for row in panel_rows if row["policy"] == "baseline"]
        for shift, policy in enumerate(OVER_ITERATIONS):
            line = [*start, *(row for row in panel_rows if row["policy"] == policy)]
            if len(line) == len(start):
                continue
            mean, errors = values_and_errors(line, ("change", "change_low", "change_high"), 100)
            x = [int(row["iteration"]) + 0.07 * (shift - 1.5) for row in line]
            axis.errorbar(x, mean, yerr=errors, label=policy, capsize=1.5, markersize=3, linewidth=1,
                          **POLICY_STYLE[policy])  # fmt: skip
        axis.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        axis.set_xticks(range(max(int(row["iteration"]) for row in panel_rows) + 1))
    finish(drawing, panels, "Iteration", label)
    return drawing
