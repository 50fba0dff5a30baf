"""Tables of the experiments: cost as the training set grows, fidelity, few trusted labels, sensitivity of scores."""

from collections.abc import Callable
from pathlib import Path

from datagradient.files import read_rows
from datagradient.report.formats import (
    POOLED,
    dataset_titles,
    number,
    number_of_labels,
    percent,
    trusted_shares,
    with_default,
    with_interval,
)

# Table -> the file with the results that states the code of the measurement.
MEASUREMENTS = {"scalability": "scalability", "slopes": "scalability", "streamed": "streamed", "fidelity": "fidelity",
                "trusted": "trusted", "checked": "trusted", "sensitivity": "sensitivity"}  # fmt: skip


def scalability(results: Path) -> list[dict]:
    """Cost of training and influence by size of the training set and solver."""
    titles = dataset_titles(results)
    return [
        {
            "Data set": titles[row["dataset"]],
            "Model": row["model"],
            "n": row["n"] + (" (enlarged)" if row["n"] != row["originals"] else ""),
            "Solver": with_default(row, "solver"),
            "Validation": row["n_validation"],
            "Curvature": row["n_curvature"],
            "Training [s]": number(row["train_seconds"], 2),
            "Training with a record / without": number(row["train_ratio"], 3) if row["train_ratio"] else "",
            "Influence [s]": number(row["influence_seconds"], 3),
            "Set up / V / solve / project [s]": " / ".join(
                number(row[f"{step}_seconds"], 3) for step in ("setup", "val_gradient", "solve", "projection")),
            "Influence / training": number(row["ratio"], 4),
            "Three rounds / one training": number(row["three_rounds_ratio"], 3),
            "and retraining": number(row["three_rounds_with_training_ratio"], 2),
            "Forward passes": number(row["forward_passes"], 1),
            "Solve": f"{row['solver_iterations']} steps, {row['solver_status']}",
            "Data / record / scoring / peak [MiB]": " / ".join(
                number(row[f"{what}_mib"], 0) for what in ("data", "record", "scoring", "peak")),
        }
        for row in read_rows(results / "scalability.csv")
    ]  # fmt: skip


def slopes(results: Path) -> list[dict]:
    """Growth of time with the size of the training set, by solver; the slope of training stands beside each."""
    titles, training, table = dataset_titles(results), {}, {}
    names = {"influence": "Influence", "setup": "Setting up", "val_gradient": "Gradient of V", "solve": "Solve",
             "projection": "Projection"}  # fmt: skip
    for row in read_rows(results / "slopes.csv"):
        cell, text = (row["dataset"], row["model"]), with_interval(row, "slope", "low", "high")
        if row["what"] == "train":
            training[cell] = text
            continue
        line = table.setdefault((*cell, row["solver"]), {
            "Data set": titles[row["dataset"]], "Model": row["model"], "Solver": row["solver"], "Sizes": row["sizes"],
            "Training [95 %]": training.get(cell, "")})  # fmt: skip
        line[f"{names[row['what']]} [95 %]"] = text
    return list(table.values())


def streamed(results: Path) -> list[dict]:
    """Time and memory of scoring a stream."""
    titles = dataset_titles(results)
    return [
        {
            "Data set": f"{titles[row['dataset']]}, enlarged",
            "Model": row["model"],
            "Samples scored": row["n"],
            "Seconds": number(row["seconds"], 1),
            "Microseconds a sample": number(1e6 * float(row["seconds"]) / int(row["n"]), 1),
            "S itself [s]": number(row["direction_seconds"], 1),
            "Peak memory [MiB]": number(row["peak_mib"], 0),
            "Held at once": row["chunk"],
            "Solve": row["solver_status"],
        }
        for row in read_rows(results / "streamed.csv")
    ]  # fmt: skip


def fidelity(results: Path) -> list[dict]:
    """Predicted against actual changes of the validation loss."""
    titles, table = dataset_titles(results), {}
    names = {"influence": "Halves: influence", "gradient": "Halves: gradient", "loss": "Halves: loss",
             "proximal": "Single, proximal refit", "retrained": "Single, retrained"}  # fmt: skip
    for row in read_rows(results / "fidelity.csv"):
        key = tuple(row[name] for name in ("dataset", "model", "noise"))
        line = table.setdefault(key, {"Data set": titles[key[0]], "Model": key[1], "Noise": key[2]})
        line[f"{names[row['method']]} [95 %]"] = with_interval(row, "correlation", "low", "high")
        if row["method"] == "proximal":
            line["Slope"] = number(row["slope"])
            line["Not converged"] = f"{row['unconverged']} of {int(row['n']) + int(row['unconverged'])}"
        elif row["method"] == "retrained":
            line["Random variation in retraining"] = number(row["noise_share"]) if row["noise_share"] else ""
    for row in read_rows(results / "stability.csv"):
        line = table[row["dataset"], row["model"], row["noise"]]
        line["Initialisations: Kendall / Jaccard"] = f"{number(row['kendall'])} / {number(row['jaccard'])}"
    return list(table.values())


def trusted(results: Path) -> list[dict]:
    """Recovered share by the number of trusted validation labels."""
    return _by_number(results, trusted_shares(results, checked=False), "Trusted")


def checked(results: Path) -> list[dict]:
    """Recovered share by the number of training labels that are checked."""
    return _by_number(results, trusted_shares(results, checked=True), "Checked")


def _by_number(results: Path, rows: list[dict], title: str) -> list[dict]:
    """Return a line for each condition, data set, model and number of labels, with a column for each way."""
    titles, table = {POOLED: POOLED, **dataset_titles(results)}, {}
    for row in rows:
        line = table.setdefault(tuple(row[name] for name in ("condition", "dataset", "model", "labels")), {
            "Labels": row["condition"], "Data set": titles[row["dataset"]], "Model": row["model"],
            title: number_of_labels(row), "Seeds": row["seeds"], "Unrefined [%]": percent(row["noisy"]),
            "True labels [%]": percent(row["true_labels"]),
        })  # fmt: skip
        line[row["way"]] = with_interval(row, "share", "low", "high") if row["share"] != "nan" else "–"
    return list(table.values())


def sensitivity(results: Path) -> list[dict]:
    """Sensitivity of the scores."""
    titles = dataset_titles(results)
    columns = {"kendall": ("Kendall", 2), "jaccard": ("Jaccard", 2), "auroc": ("AUROC", 3)}
    return [
        {
            "Data set": titles[row["dataset"]],
            "Model": row["model"],
            "Varied": row["what"],
            "Value": row["value"] if row["value"] == "default" else with_default(row, "value"),
            "Status": row["status"].partition(":")[0],
            "Residual": f"{float(row['residual']):.1e}" if row["residual"] else "",
            "Steps": row["steps"],
            **{title: number(row[name], digits) if row[name] else "" for name, (title, digits) in columns.items()},
            "LDS [95 %]": with_interval(row, "lds", "lds_low", "lds_high") if row["lds"] else "",
        }
        for row in read_rows(results / "sensitivity.csv")
    ]  # fmt: skip


TABLES: dict[str, Callable[[Path], list[dict]]] = {
    "scalability": scalability, "slopes": slopes, "streamed": streamed, "fidelity": fidelity,
    "trusted": trusted, "checked": checked, "sensitivity": sensitivity,
}  # fmt: skip
