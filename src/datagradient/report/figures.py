"""The figures. They read the small result tables and draw; nothing is computed here."""

from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from datagradient.files import read_rows, replacing

# Okabe and Ito's colours, told apart by most colour-blind readers; markers tell them apart in print.
POLICY_STYLE = {
    "influence": {"color": "#0072B2", "marker": "o"},
    "random": {"color": "#D55E00", "marker": "s"},
}
GROUP_COLOURS = {"clean": "#0072B2", "flipped": "#D55E00"}
PAPER_D = (0.41, 1.12)  # the paper's range of Cohen's d
STYLE = {
    "font.size": 8, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False,
    "figure.constrained_layout.use": True, "savefig.dpi": 200, "legend.frameon": False, "pdf.fonttype": 42,
}  # fmt: skip
NOISE_WORDS = {"0": "as published"}


def write_figure(name: str, results: Path, out: Path) -> None:
    """Draw one figure to `out` (PNG) and beside it as PDF.

    Args:
        name: one of `FIGURES`.
        results: folder of the small result tables.
        out: path of the PNG file.
    """
    with plt.rc_context(STYLE):
        drawing = FIGURES[name](results)
    for suffix, metadata in ((".png", {}), (".pdf", {"CreationDate": None})):
        with replacing(out.with_suffix(suffix), "wb") as stream:
            drawing.savefig(stream, format=suffix[1:], metadata=metadata)
    plt.close(drawing)


def accuracy(results: Path) -> plt.Figure:
    """Change of test accuracy over iterations by policy."""
    return _over_iterations(results, "accuracy", "change", 100, "Change of test accuracy [points]")


def contribution(results: Path) -> plt.Figure:
    """Dataset contribution score over iterations by policy."""
    return _over_iterations(results, "dcs", "value", 1, "Dataset contribution score")


def influence(results: Path) -> plt.Figure:
    """Distribution of the scores of the unrefined models."""
    rows = read_rows(results / "influence_histogram.csv")
    drawing, panels = _panels(results, rows)
    for key, axis in panels.items():
        for group, colour in GROUP_COLOURS.items():
            bins = [row for row in rows if _panel(row) == key and row["group"] == group]
            if bins:
                edges = [float(row["low"]) for row in bins] + [float(bins[-1]["high"])]
                axis.stairs(
                    [float(row["share"]) for row in bins], edges, color=colour, fill=True, alpha=0.5, label=group
                )
        axis.axvline(0, color="0.4", linewidth=0.8)
        axis.set_yscale("log")
    _finish(drawing, panels, "Influence [standard deviations]", "Share of samples")
    return drawing


def effects(results: Path) -> plt.Figure:
    """Cohen's d of test accuracy with intervals, as a forest plot."""
    titles, tests = _titles(results), read_rows(results / "tests.csv")
    tests = [row for row in tests if (row["metric"], row["policy"]) == ("accuracy", "influence")]
    drawing, axis = plt.subplots(figsize=(6.5, 0.26 * len(tests) + 1.2))
    axis.axvspan(*PAPER_D, color="0.88", label="paper's range")
    axis.axvline(0, color="0.4", linewidth=0.8)
    styles = {"baseline": POLICY_STYLE["influence"], "random": POLICY_STYLE["random"]}
    for against, style in styles.items():
        rows = [(place, row) for place, row in enumerate(tests) if row["against"] == against]
        d, low, high = ([float(row[name]) for _, row in rows] for name in ("d", "d_low", "d_high"))
        places = [place for place, _ in rows]
        axis.hlines(places, low, high, color=style["color"], linewidth=1.2)
        axis.plot(d, places, linestyle="", markersize=4, label=f"against {against}", **style)
    labels = [f"{titles[row['dataset']]}, {row['model']}, {_noise(row['noise'])}" for row in tests]
    axis.set_yticks(range(len(tests)), labels)
    axis.invert_yaxis()
    axis.set_xscale("symlog", linthresh=1, linscale=0.7)  # near zero linear, further out logarithmic
    axis.xaxis.set_major_locator(FixedLocator([-30, -10, -3, -1, 0, 1, 3, 10, 30]))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("Cohen's d of test accuracy [95 % interval]")
    drawing.legend(loc="outside upper center", ncols=3)
    return drawing


FIGURES: dict[str, Callable[[Path], plt.Figure]] = {
    "accuracy": accuracy, "contribution": contribution, "influence": influence, "effects": effects,
}  # fmt: skip


def _over_iterations(results: Path, metric: str, what: str, scale: float, label: str) -> plt.Figure:
    rows = [row for row in read_rows(results / "iterations.csv") if row["metric"] == metric]
    columns = {"value": ("mean", "low", "high"), "change": ("change", "change_low", "change_high")}[what]
    drawing, panels = _panels(results, rows)
    for key, axis in panels.items():
        own = [row for row in rows if _panel(row) == key]
        start = [row for row in own if row["policy"] == "baseline"]
        for shift, (policy, style) in enumerate(POLICY_STYLE.items()):
            line = [*start, *(row for row in own if row["policy"] == policy)]
            mean, low, high = ([scale * float(row[column]) for row in line] for column in columns)
            x = [int(row["iteration"]) + 0.06 * shift for row in line]
            errors = [[m - a for m, a in zip(mean, low, strict=True)], [b - m for m, b in zip(mean, high, strict=True)]]
            axis.errorbar(x, mean, yerr=errors, label=policy, capsize=2, markersize=4, linewidth=1.2, **style)
        axis.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        axis.set_xticks(range(max(int(row["iteration"]) for row in own) + 1))
    _finish(drawing, panels, "Iteration", label)
    return drawing


def _panels(results: Path, rows: list[dict]) -> tuple[plt.Figure, dict]:
    """Return a figure with one column per data set and model and one row per noise rate."""
    titles = _titles(results)
    columns = list(dict.fromkeys((row["dataset"], row["model"]) for row in rows))
    noises = list(dict.fromkeys(row["noise"] for row in rows))
    size = (2.2 * len(columns) + 0.4, 1.9 * len(noises) + 0.5)
    drawing, axes = plt.subplots(len(noises), len(columns), figsize=size, squeeze=False, sharex=True)
    panels = {}
    for (dataset, model), strip in zip(columns, axes.T, strict=True):
        for noise, axis in zip(noises, strip, strict=True):
            axis.set_title(f"{titles[dataset]}, {model}\n{_noise(noise)}")
            panels[dataset, model, noise] = axis
    return drawing, panels


def _finish(drawing: plt.Figure, panels: dict, x_label: str, y_label: str) -> None:
    drawing.supxlabel(x_label, fontsize=8)
    drawing.supylabel(y_label, fontsize=8)
    lines, labels = list(panels.values())[-1].get_legend_handles_labels()
    drawing.legend(lines, labels, loc="outside upper center", ncols=len(labels))


def _panel(row: dict) -> tuple[str, str, str]:
    return row["dataset"], row["model"], row["noise"]


def _noise(noise: str) -> str:
    return NOISE_WORDS.get(noise, f"{float(noise):.0%} of labels flipped")


def _titles(results: Path) -> dict[str, str]:
    return {row["dataset"]: row["title"] for row in read_rows(results / "data.csv")}
