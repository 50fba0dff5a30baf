"""Figures of the experiments: cost as the training set grows, fidelity, few trusted labels, sensitivity."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

from matplotlib import pyplot as plt

from datagradient.files import read_rows
from datagradient.influence.options import SOUND
from datagradient.report.formats import (
    POOLED,
    dataset_titles,
    extent,
    noise_words,
    number_of_labels,
    trusted_shares,
)
from datagradient.report.style import (
    CHECK_STYLE,
    MODEL_STYLE,
    NOISE_STYLE,
    PANEL,
    POLICY_STYLE,
    WAY_STYLE,
    finish,
    new_panels,
    one_legend,
    panel_of,
    plain_log_scale,
    share_scale,
    values_and_errors,
)

PAPER_RATIO = 0.44  # influence over training
OWN = "the default, or its solver without a record"
# Solver of scalability.csv -> label and style; all others are `OWN`.
COST_STYLE = {
    OWN: {"label": OWN, "color": "#0072B2", "marker": "o"},
    "record": {"label": "record of the last epoch", "color": "#009E73", "marker": "^"},
    "cg-all": {"label": "all layers, converged", "color": "#CC79A7", "marker": "P"},
    "lissa": {"label": "LiSSA, as in the paper", "color": "#D55E00", "marker": "s"},
}
METHOD_STYLE = {"influence": POLICY_STYLE["influence"], "gradient": POLICY_STYLE["gradient"],
                "loss": POLICY_STYLE["loss"]}  # fmt: skip
AXIS_LABELS = {
    "damping": "Damping", "curvature samples": "Samples that curvature is averaged over",
    "validation samples": "Validation samples", "solver": "Solver", "curvature": "Curvature, three steps",
    "LiSSA steps": "LiSSA steps, damping at least 0.1 (hollow: not converged)",
    "LiSSA batch": "LiSSA batch, damping at least 0.1 (hollow: not converged)",
}  # fmt: skip
COLUMNS = 3  # of panels that stand in rows
METHOD_WORDS = {"proximal": "refit nearby", "retrained": "retrained"}


def scalability(results: Path) -> plt.Figure:
    """Influence over training as the training set grows: a row for each model family, a column for each data set."""
    rows, titles = read_rows(results / "scalability.csv"), dataset_titles(results)
    datasets, models = (list(dict.fromkeys(row[key] for row in rows)) for key in ("dataset", "model"))
    models.sort(key=lambda model: -len({row["solver"] for row in rows if row["model"] == model}))
    size = (PANEL[0] * max(len(datasets), 2) + 0.4, PANEL[1] * len(models) + 0.9)
    drawing, axes = plt.subplots(len(models), len(datasets), figsize=size, squeeze=False, sharex=True, sharey=True)
    panels = dict(zip(itertools.product(models, datasets), axes.flat, strict=True))
    for (model, dataset), axis in panels.items():
        cell_rows = [row for row in rows if (row["dataset"], row["model"]) == (dataset, model)]
        for solver in dict.fromkeys(row["solver"] for row in cell_rows):
            _draw_cost(axis, [row for row in cell_rows if row["solver"] == solver], solver)
        axis.axhline(PAPER_RATIO, color="black", linewidth=0.8, linestyle="--", label=f"paper: {PAPER_RATIO}")
        axis.set_title(f"{titles[dataset]}, {model}")
        axis.tick_params(labelsize=7)
        axis.set_visible(bool(cell_rows))
    for strip, side in [*((strip, "left") for strip in axes), *((strip[::-1], "bottom") for strip in axes.T)]:
        next(axis for axis in strip if axis.get_visible()).tick_params(**{f"label{side}": True})
    for which in "xy":
        plain_log_scale(axes[0, 0], which)
    drawing.supxlabel("Training samples (hollow: not converged, or no record)", fontsize=8)
    drawing.supylabel("Influence / training", fontsize=8)
    one_legend(drawing, sorted(axes.flat, key=lambda axis: -len(axis.lines)), 3)
    return drawing


def _draw_cost(axis: plt.Axes, line: list[dict], solver: str) -> None:
    """Draw one solver's cost: a marker is hollow where the solve missed its tolerance, or there was no record."""
    style = COST_STYLE.get(solver, COST_STYLE[OWN])
    points = [(int(row["n"]), float(row["ratio"]), row["solver_status"] in SOUND) for row in line]
    axis.plot([n for n, *_ in points], [ratio for _, ratio, _ in points], linewidth=1, markersize=3.5, **style)
    for n, ratio, sound in points:
        if not sound:
            axis.plot(n, ratio, style["marker"], markersize=3.5, markerfacecolor="white", color=style["color"])


def streamed(results: Path) -> plt.Figure:
    """Seconds and peak memory of scoring a stream of samples."""
    rows = read_rows(results / "streamed.csv")
    n = [int(row["n"]) / 1e6 for row in rows]
    drawing, axes = plt.subplots(1, 2, figsize=(5.0, 2.2))
    for axis, column, label in zip(axes, ("seconds", "peak_mib"), ("Seconds", "Peak memory [MiB]"), strict=True):
        axis.plot(n, [float(row[column]) for row in rows], "o-", color="#0072B2", markersize=3, linewidth=1)
        axis.set(xlabel="Million samples scored with one S", ylabel=label, xlim=(0, None))
        axis.set_ylim(0, 1.1 * axis.get_ylim()[1])
    return drawing


def fidelity(results: Path) -> plt.Figure:
    """Linear datamodeling score of each score, and correlation with refits of single samples."""
    rows, titles = read_rows(results / "fidelity.csv"), dataset_titles(results)
    cells = list(dict.fromkeys((row["dataset"], row["model"]) for row in rows))
    noises = list(dict.fromkeys(row["noise"] for row in rows))
    panels = [("group", noise) for noise in noises] + [("single", noise) for noise in noises]
    size = (1.65 * len(panels) + 1.6, 0.28 * len(cells) + 1.1)
    drawing, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, sharex=True, squeeze=False)
    styles = {**METHOD_STYLE, "proximal": POLICY_STYLE["guarded"], "retrained": POLICY_STYLE["random"]}
    for axis, (kind, noise) in zip(axes[0], panels, strict=True):
        panel_rows = [row for row in rows if (row["kind"], row["noise"]) == (kind, noise)]
        methods = list(dict.fromkeys(row["method"] for row in panel_rows))
        for shift, method in enumerate(methods):
            method_rows = [row for row in panel_rows if row["method"] == method and row["correlation"] != "nan"]
            x, errors = values_and_errors(method_rows, ("correlation", "low", "high"), 1)
            offset = 0.22 * (shift - (len(methods) - 1) / 2)
            y = [cells.index((row["dataset"], row["model"])) + offset for row in method_rows]
            axis.errorbar(
                x,
                y,
                xerr=errors,
                linestyle="",
                markersize=3.5,
                linewidth=0.9,
                label=METHOD_WORDS.get(method, method),
                **styles[method],
            )
        axis.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        axis.set_title(f"{'random halves' if kind == 'group' else 'single samples'}, {noise_words(noise)}", fontsize=7)
    axes[0, 0].set_yticks(range(len(cells)), [f"{titles[dataset]}, {model}" for dataset, model in cells])
    axes[0, 0].set_xlim(-1.1, 1.1)
    axes[0, 0].invert_yaxis()
    drawing.supxlabel("Rank correlation of predicted with actual change of the validation loss [95 %]", fontsize=8)
    one_legend(drawing, axes.flat, 5)
    return drawing


def single(results: Path) -> plt.Figure:
    """Predicted against actual change of the validation loss when one sample is removed."""
    rows, titles = read_rows(results / "single.csv"), dataset_titles(results)
    datasets, models, noises = (list(dict.fromkeys(row[key] for row in rows)) for key in ("dataset", "model", "noise"))
    size = (PANEL[0] * len(models) + 0.4, PANEL[1] * len(datasets) + 0.6)
    drawing, axes = plt.subplots(len(datasets), len(models), figsize=size, squeeze=False)
    for i, dataset in enumerate(datasets):
        for j, model in enumerate(models):
            axis = axes[i, j]
            for k, noise in enumerate(noises):
                cell = [row for row in rows if (row["dataset"], row["model"], row["noise"]) == (dataset, model, noise)]
                x, y = ([float(row[name]) for row in cell] for name in ("predicted", "proximal"))
                axis.plot(
                    x, y, linestyle="", markersize=3.5, label=noise_words(noise), **NOISE_STYLE[k % len(NOISE_STYLE)]
                )
            axis.axline((0, 0), slope=1, color="0.6", linewidth=0.8, zorder=0)
            axis.ticklabel_format(style="sci", scilimits=(0, 0))
            axis.set_title(f"{titles[dataset]}, {model}", fontsize=7)
    drawing.supxlabel("Predicted change of the validation loss, −I/n", fontsize=8)
    drawing.supylabel("Change by a proximal refit", fontsize=8)
    drawing.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return drawing


def trusted(results: Path) -> plt.Figure:
    """Recovered share by the number of trusted validation labels."""
    rows = trusted_shares(results, checked=False)
    return _by_number(results, rows, WAY_STYLE, "Trusted validation labels")


def checked(results: Path) -> plt.Figure:
    """Recovered share by the number of training labels that are checked."""
    rows = trusted_shares(results, checked=True)
    return _by_number(results, rows, CHECK_STYLE, "Training labels checked by hand")


def _by_number(results: Path, rows: list[dict], styles: dict[str, dict], label: str) -> plt.Figure:
    """Draw a panel for each condition and data set, over all models, and a line for each way."""
    titles, rows = {POOLED: "All data sets", **dataset_titles(results)}, [row for row in rows if row["model"] == POOLED]
    panels = list(dict.fromkeys((row["condition"], row["dataset"]) for row in rows))
    strips = math.ceil(len(panels) / COLUMNS)
    size = (PANEL[0] * COLUMNS + 0.4, 2.0 * strips + 0.6)
    drawing, axes = plt.subplots(strips, COLUMNS, figsize=size, squeeze=False, sharey=True)
    share_scale(axes[0, 0], "y")
    for axis, (condition, dataset) in zip(axes.flat, panels, strict=False):
        panel_rows = [row for row in rows if (row["condition"], row["dataset"]) == (condition, dataset)]
        numbers = {row["labels"]: number_of_labels(row).replace(" ", "\n") for row in panel_rows}  # from none to all
        places = {labels: place for place, labels in enumerate(numbers)}
        for k, (way, style) in enumerate(styles.items()):
            line = [row for row in panel_rows if row["way"] == way]
            y, errors = values_and_errors(line, ("share", "low", "high"), 1)
            x = [places[row["labels"]] + 0.08 * (k - (len(styles) - 1) / 2) for row in line]
            axis.errorbar(x, y, yerr=errors, label=way, markersize=4, linewidth=1, elinewidth=0.7, **style)
        for share in (0, 1):
            axis.axhline(share, color="0.6", linewidth=0.8, zorder=0)
        axis.text(0, 1, "right labels", color="0.4", va="bottom")
        if all(row["share"] == "nan" for row in panel_rows):
            axis.text(0.5, 0.5, "right labels gain nothing", ha="center", transform=axis.transAxes)
        axis.set_xticks(range(len(numbers)), numbers.values())
        axis.set_title(f"{titles[dataset]},\n{noise_words(condition)}")
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    bottom, top = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(min(bottom, -0.2), max(top, 3))  # with room for the words above the line
    drawing.supxlabel(f"{label}, not to scale; {extent(rows, 'seeds')} seeds [95 % interval]", fontsize=8)
    drawing.supylabel("Recovered share", fontsize=8)
    one_legend(drawing, list(axes.flat), len(styles))
    return drawing


def sensitivity(what: str) -> Callable[[Path], plt.Figure]:
    """Return the figure of one variation: quality, and agreement with the default's scores."""

    def draw(results: Path) -> plt.Figure:
        """Draw a column for each data set, a row for each measure, and the models as lines."""
        rows, titles = read_rows(results / "sensitivity.csv"), dataset_titles(results)
        rows = [row for row in rows if row["what"] == what]
        datasets = list(dict.fromkeys(row["dataset"] for row in rows))
        columns = {"lds": "Datamodeling score", "auroc": "AUROC of flips",
                   "jaccard": "Removed alike (Jaccard)"}  # fmt: skip
        columns = {name: label for name, label in columns.items() if any(row[name] for row in rows)}
        size = (2.2 * len(datasets) + 0.4, 1.6 * len(columns) + 0.5)
        drawing, axes = plt.subplots(
            len(columns), len(datasets), figsize=size, squeeze=False, sharex="col", sharey="row"
        )
        for j, dataset in enumerate(datasets):
            values = _in_order({row["value"] for row in rows if row["dataset"] == dataset})
            for i, (column, label) in enumerate(columns.items()):
                axis = axes[i, j]
                models = list(dict.fromkeys(row["model"] for row in rows))
                for shift, model in enumerate(models):
                    points = [row for row in rows if (row["dataset"], row["model"]) == (dataset, model) and row[column]]
                    points.sort(key=lambda row: values.index(row["value"]))
                    _draw_model(axis, points, column, values, model, 0.1 * (shift - (len(models) - 1) / 2))
                axis.set_xlim(-0.4, len(values) - 0.6)
                axis.set_xticks(range(len(values)), values, rotation=30, fontsize=6)
                if column == "jaccard":
                    axis.set_ylim(0, 1.02)
                if i == 0:
                    axis.set_title(titles[dataset])
                if j == 0:
                    axis.set_ylabel(label, fontsize=7)
        drawing.supxlabel(AXIS_LABELS.get(what, what), fontsize=8)
        one_legend(drawing, axes.flat, 4)
        return drawing

    return draw


def _draw_model(axis: plt.Axes, points: list[dict], column: str, values: list[str], model: str, shift: float) -> None:
    """Draw one model's points: joined if values are numbers, hollow if the solve did not converge."""
    style = MODEL_STYLE[model]
    places, y = [values.index(row["value"]) + shift for row in points], [float(row[column]) for row in points]
    joined = [k for k, row in enumerate(points) if row["value"] == "all" or not _in_words(row["value"])]
    axis.plot([places[k] for k in joined], [y[k] for k in joined], linewidth=1, color=style["color"])
    axis.plot(places, y, markersize=3.5, clip_on=False, label=model, **{**style, "linestyle": ""})
    if column == "lds":
        low, high = ([float(row[name]) for row in points] for name in ("lds_low", "lds_high"))
        axis.vlines(places, low, high, color=style["color"], linewidth=0.7, alpha=0.6)
    for place, row, height in zip(places, points, y, strict=True):
        if row["default"] == "1":
            axis.plot(place, height, "o", markersize=9, markerfacecolor="none", color="black", clip_on=False,
                      label="default")  # fmt: skip
        if row["status"] == "unconverged":
            axis.plot(place, height, style["marker"], markersize=3.5, markerfacecolor="white", color=style["color"],
                      clip_on=False)  # fmt: skip


def fractions(results: Path) -> plt.Figure:
    """Change of test accuracy after one round of removal, by how much is removed."""
    rows = read_rows(results / "fractions.csv")
    drawing, panels = new_panels(results, rows)
    for key, axis in panels.items():
        panel_rows = [row for row in rows if panel_of(row) == key]
        for policy, seed in dict.fromkeys((row["policy"], row["seed"]) for row in panel_rows):
            line = [row for row in panel_rows if (row["policy"], row["seed"]) == (policy, seed)]
            x, y = ([100 * float(row[name]) for row in line] for name in ("fraction", "accuracy_change"))
            axis.plot(x, y, linewidth=0.8, markersize=3, alpha=0.8, label=policy, **POLICY_STYLE[policy])
        axis.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    finish(drawing, panels, "At most so much of the training set removed in one round [%]; a line is a seed",
           "Change of test accuracy [points]")  # fmt: skip
    return drawing


def _in_order(values: set[str]) -> list[str]:
    """Return values in the order of the numbers they are, with words last."""

    return sorted(values, key=lambda value: (True, 0.0, value) if _in_words(value) else (False, float(value), value))


def _in_words(value: str) -> bool:
    try:
        float(str(value))  # a cell of a CSV file would name its place
    except ValueError:
        return True
    return False


FIGURES: dict[str, Callable[[Path], plt.Figure]] = {
    "scalability": scalability, "streamed": streamed, "fidelity": fidelity, "single": single, "fractions": fractions,
    "trusted": trusted, "checked": checked,
    "damping": sensitivity("damping"), "curvature-samples": sensitivity("curvature samples"),
    "validation-samples": sensitivity("validation samples"), "lissa-steps": sensitivity("LiSSA steps"),
    "lissa-batch": sensitivity("LiSSA batch"), "solver": sensitivity("solver"), "curvature": sensitivity("curvature"),
}  # fmt: skip
