"""Common parts of the figures: colours, markers, panels, and saving."""

import itertools
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from datagradient.data.conditions import SUFFIX
from datagradient.files import replacing
from datagradient.models import declared
from datagradient.pipeline.layout import modules
from datagradient.refine.policies import POLICIES
from datagradient.report.formats import dataset_titles, noise_words

# Okabe and Ito's colours, which most colour-blind readers can distinguish; in print, markers distinguish the lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "P", "v", "D", "X", "*", "<", ">", "p", "h")


def styles(wanted: list[tuple[str, str | None, str | None]]) -> dict[str, dict[str, str]]:
    """Return the style of lines by name, given each name's requested colour and marker.

    A name with no request, or whose request an earlier name already has, gets the first that no name requests. When
    all are used, they start again from the beginning.
    """
    chosen = {}
    for k, palette in ((1, COLOURS), (2, MARKERS)):
        asked = [entry[k] for entry in wanted if entry[k]]
        free = itertools.cycle([value for value in palette if value not in asked] or palette)
        seen = [entry[k] for entry in wanted]
        chosen[k] = [value if value and value not in seen[:place] else next(free) for place, value in enumerate(seen)]
    return {name: {"color": chosen[1][place], "marker": chosen[2][place]} for place, (name, *_) in enumerate(wanted)}


POLICY_STYLE = styles([(name, policy.colour, policy.marker) for name, policy in POLICIES.items()])
# Ways of using right labels look like the policies that they resemble; dashed are those that no model decides.
WAY_STYLE = {
    "crossfit": POLICY_STYLE["crossfit"], "repair": POLICY_STYLE["repair"], "loss": POLICY_STYLE["crossfit_loss"],
    "influence": POLICY_STYLE["influence"], "added": {**POLICY_STYLE["added"], "linestyle": "--"},
}  # fmt: skip
CHECK_STYLE = {
    "random": {**POLICY_STYLE["uniform"], "linestyle": "--"}, "harmful": POLICY_STYLE["crossfit"],
    "doubtful": POLICY_STYLE["repair"], "loss": POLICY_STYLE["crossfit_loss"], "uncertain": POLICY_STYLE["gradient"],
}  # fmt: skip
OVER_ITERATIONS = ("influence", "guarded", "random", "uniform")
# Group of influence_histogram.csv -> its words and colour.
GROUPS = {"clean": ("label as published", "#0072B2"), "flipped": ("wrong label", "#D55E00")}
NOISE_STYLE = [{"color": colour, "marker": marker} for colour, marker in zip(COLOURS, MARKERS, strict=False)]
MODEL_STYLE = styles([(name, declared(name).colour, declared(name).marker) for name in modules("models")])
# Solver of solvers.csv, or with its parameters where it is a name of those -> style.
LAST, RECORDED, PROJECTED = "last layer, cg", "last layer, record", "all layers, record"
SOLVER_STYLE = {
    "cg": {"color": "#0072B2", "marker": "o"},
    "lissa": {"color": "#D55E00", "marker": "s"},
    "ekfac": {"color": "#009E73", "marker": "^"},
    "ekfac+cg": {"color": "#56B4E9", "marker": "v"},
    LAST: {"color": "#CC79A7", "marker": "P"},
    RECORDED: {"color": "#000000", "marker": "D"},
    PROJECTED: {"color": "#E69F00", "marker": "X"},
}
PAPER_D = (0.41, 1.12)  # the paper's range of Cohen's d
STYLE = {
    "font.size": 8, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False,
    "figure.constrained_layout.use": True, "legend.frameon": False, "pdf.fonttype": 42,
}  # fmt: skip
PANEL, DPI, ROOM = (2.2, 1.55), 200, 0.15  # inches; dots per inch; inches around a legend


def _make_room(drawing: plt.Figure, canvas: FigureCanvasAgg) -> None:
    """Enlarge a figure to its own legend and labels: those of a single column of panels may be wider than it."""
    extents = [part.get_window_extent(canvas.get_renderer()) for part in (*drawing.legends, *drawing.texts)]
    sizes = [(extent.width / DPI + ROOM, extent.height / DPI + ROOM) for extent in extents]
    drawing.set_size_inches(max(sides) for sides in zip(drawing.get_size_inches(), *sizes, strict=True))


def save(drawing: plt.Figure, out: Path) -> None:
    """Write a figure as PNG to `out` and as PDF next to it.

    The canvases' own methods are used, because `savefig` draws a figure twice for each format.
    """
    drawing.set_dpi(DPI)
    canvas = FigureCanvasAgg(drawing)
    _make_room(drawing, canvas)
    with replacing(out.with_suffix(".png"), "wb") as stream:
        canvas.print_png(stream)
    drawing.set_layout_engine("none")  # keep the layout: computing it takes half of the time
    with replacing(out.with_suffix(".pdf"), "wb") as stream:
        FigureCanvasPdf(drawing).print_pdf(stream, metadata={"CreationDate": None})
    plt.close(drawing)


def values_and_errors(rows: list[dict], columns: tuple[str, str, str], scale: float) -> tuple[list, list]:
    """Return values, and the lengths of their error bars below and above."""
    value, low, high = ([scale * float(row[column]) for row in rows] for column in columns)
    below = [max(0.0, v - a) for v, a in zip(value, low, strict=True)]
    return value, [below, [max(0.0, b - v) for v, b in zip(value, high, strict=True)]]


def share_scale(axes: plt.Axes, which: str) -> None:
    """Make the axis "x" or "y" fit for recovered shares: linear up to one, beyond it logarithmic."""
    getattr(axes, f"set_{which}scale")("symlog", linthresh=1, linscale=2)
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(FixedLocator([-100, -10, -3, -1, -0.5, 0, 0.5, 1, 3, 10, 100]))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def plain_log_scale(axes: plt.Axes, which: str) -> None:
    """Make the axis "x" or "y" logarithmic, with plain numbers at its ticks, more of them where it is short."""
    getattr(axes, f"set_{which}scale")("log")
    axis, (low, high) = getattr(axes, f"{which}axis"), getattr(axes, f"get_{which}lim")()
    axis.set_major_locator(LogLocator(subs=(1,) if high / low > 50 else (1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10f}".rstrip("0").rstrip(".")))
    axis.set_minor_locator(NullLocator())


def new_panels(results: Path, rows: list[dict]) -> tuple[plt.Figure, dict]:
    """Return a figure with a column for each model, and a row for each data set and condition.

    Conditions with untrusted validation labels stand in the tables alone: with them no page would hold the figure.
    """
    titles = dataset_titles(results)
    rows = [row for row in rows if not row["noise"].endswith(SUFFIX)]
    models, datasets, noises = (list(dict.fromkeys(row[key] for row in rows)) for key in ("model", "dataset", "noise"))
    held = {(row["dataset"], row["noise"]) for row in rows}  # data sets may differ in conditions
    strips = [(dataset, noise) for dataset in datasets for noise in noises if (dataset, noise) in held]
    size = (PANEL[0] * len(models) + 0.4, PANEL[1] * len(strips) + 0.5)
    drawing, axes = plt.subplots(len(strips), len(models), figsize=size, squeeze=False)
    panels = {}
    for (dataset, noise), strip in zip(strips, axes, strict=True):
        for model, axis in zip(models, strip, strict=True):
            axis.set_title(in_lines(f"{titles[dataset]}, {model}", noise_words(noise), 48), fontsize=6)
            axis.yaxis.set_major_locator(MaxNLocator(5))
            panels[dataset, model, noise] = axis
    return drawing, panels


def in_lines(first: str, second: str, letters: int) -> str:
    """Return the two parts of a panel's title: in two lines if one line would have more letters than fit."""
    return f"{first},\n{second}" if len(first + second) + 2 > letters else f"{first}, {second}"


def finish(drawing: plt.Figure, panels: dict, x_label: str, y_label: str) -> None:
    """Add axis labels to a figure, and one legend of the lines in all of its panels."""
    drawing.supxlabel(x_label, fontsize=8)
    drawing.supylabel(y_label, fontsize=8)
    one_legend(drawing, list(panels.values()))


def one_legend(drawing: plt.Figure, axes: list[plt.Axes], columns: int | None = None) -> None:
    """Put one legend above a figure, with all labelled lines of the given axes."""
    entries = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if entries:
        drawing.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=columns or len(entries))


def panel_of(row: dict) -> tuple[str, str, str]:
    """Return the key of the panel that a row of a table belongs to."""
    return row["dataset"], row["model"], row["noise"]
