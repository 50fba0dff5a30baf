"""Tables of the experiments: cost as the training set grows, fidelity, what scores depend on."""

from collections.abc import Callable
from pathlib import Path

from datagradient.files import read_rows
from datagradient.report.formats import dataset_titles, number, with_interval

# Table -> the file beside the results that says which code they were measured by.
MEASUREMENTS = {"scalability": "scalability", "slopes": "scalability", "streamed": "streamed", "fidelity": "fidelity",
                "sensitivity": "sensitivity"}  # fmt: skip


def scalability(results: Path) -> list[dict]:
    """What training and influence cost by the size of the training set."""
    titles = dataset_titles(results)
    return [
        {
            "Data set": titles[row["dataset"]],
            "Model": row["model"],
            "n": row["n"] + (" (enlarged)" if row["n"] != row["originals"] else ""),
            "Validation": row["n_validation"],
            "Curvature": row["n_curvature"],
            "Training [s]": number(row["train_seconds"], 2),
            "Influence [s]": number(row["influence_seconds"], 3),
            "Set up / V / solve / project [s]": " / ".join(
                number(row[f"{step}_seconds"], 3) for step in ("setup", "val_gradient", "solve", "projection")),
            "Influence / training": number(row["ratio"], 3),
            "Three rounds / one training": number(row["three_rounds_ratio"], 3),
            "and retraining": number(row["three_rounds_with_training_ratio"], 2),
            "Forward passes": number(row["forward_passes"], 1),
            "By the cost model": number(row["predicted_forward_passes"], 1) if row["model"] == "neural" else "",
            "Solver": f"{row['solver_iterations']} steps, {row['solver_status']}",
            "Data / scoring / peak [MiB]": " / ".join(
                number(row[f"{what}_mib"], 0) for what in ("data", "scoring", "peak")),
        }
        for row in read_rows(results / "scalability.csv")
    ]  # fmt: skip


def slopes(results: Path) -> list[dict]:
    """How time grows with the training set."""
    titles, table = dataset_titles(results), {}
    names = {"influence": "Influence", "train": "Training", "setup": "Setting up", "val_gradient": "Gradient of V",
             "solve": "Solve", "projection": "Projection"}  # fmt: skip
    for row in read_rows(results / "slopes.csv"):
        line = table.setdefault((row["dataset"], row["model"]), {
            "Data set": titles[row["dataset"]], "Model": row["model"], "Sizes": row["sizes"]})  # fmt: skip
        line[f"{names[row['what']]} [95 %]"] = f"{number(row['slope'])} [{number(row['low'])}, {number(row['high'])}]"
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


def sensitivity(results: Path) -> list[dict]:
    """What scores depend on."""
    titles = dataset_titles(results)
    columns = {"kendall": ("Kendall", 2), "jaccard": ("Jaccard", 2), "auroc": ("AUROC", 3)}
    return [
        {
            "Data set": titles[row["dataset"]],
            "Model": row["model"],
            "Varied": row["what"],
            "Value": row["value"] + (" (default)" if row["default"] == "1" and row["value"] != "default" else ""),
            "Status": row["status"].partition(":")[0],
            "Residual": f"{float(row['residual']):.1e}" if row["residual"] else "",
            "Steps": row["steps"],
            **{title: number(row[name], digits) if row[name] else "" for name, (title, digits) in columns.items()},
            "LDS [95 %]": with_interval(row, "lds", "lds_low", "lds_high") if row["lds"] else "",
        }
        for row in read_rows(results / "sensitivity.csv")
    ]  # fmt: skip


TABLES: dict[str, tuple[Callable[[Path], list[dict]], str]] = {
    "scalability": (
        scalability,
        "Cost of influence as the training set grows: training, and the median of repeated scorings of "
        "the same model, alone on the machine, on one thread. Curvature: the samples that it is averaged "
        "over; where these are all, one pass over them serves solve and projection of a last layer, and is "
        "booked with the solve. Three rounds: the other reading of the paper's ratio, "
        "extrapolated from this one in proportion to the samples that are left: all influence of three "
        "iterations over one training, and with the three trainings that follow. Forward passes: cost in "
        "plain forward passes over the training set, and by the cost model, which counts with the number "
        "of solver steps that were taken, but not the fixed cost of calls and small matrices. "
        "Enlarged: mirror images and shifts, for cost alone. Memory of a "
        "process that only scores: the training samples, what scoring adds to all that is loaded, the "
        "peak of scoring.",
    ),
    "slopes": (
        slopes,
        "Growth with the training set: least-squares slope of log seconds against log n, with Student's t "
        "interval. 1 is linear growth, less where a fixed part still weighs. Single steps: over the sizes "
        "beyond the sample that curvature is averaged over, if there is one.",
    ),
    "streamed": (
        streamed,
        "Scoring beyond the memory: one S, and a stream of images and their variants, a chunk at a time, on "
        "one thread. Seconds are those of the scores along S. Memory is that of the process that has trained "
        "the model and holds the original images too. Only cost is measured.",
    ),
    "fidelity": (
        fidelity,
        "Predicted against actual change of the loss on the influence part. Halves: linear datamodeling "
        "score, the rank correlation over models trained on random halves. Single: rank correlation over "
        "single removals, evenly spaced in the order of the scores. A proximal refit stays near the "
        "trained parameters (for logistic regression it is the exact refit); slope is of its change "
        "against the predicted one. Retrained: the mean over initialisations, by the mean score of the "
        "same models. Random variation: the variance of that mean due to the initialisation, relative to the variance "
        "between samples; near or above 1, retraining shows nothing else. Intervals are 95 percent bootstrap over "
        "halves or samples. Initialisations: agreement of scores of models that differ only in their seed, over all "
        "samples (Kendall's tau) and over those that would be removed (Jaccard index). One split; for networks it is "
        "the one on which, with other random halves, their solvers were chosen.",
    ),
    "sensitivity": (
        sensitivity,
        "What the scores depend on, at the highest noise rate, on one split: agreement (Kendall's tau of "
        "all samples, Jaccard index of those that would be removed) with the default's scores, for LiSSA "
        "and for the kind of curvature with the first row of the same kind; linear datamodeling score, "
        "and AUROC of finding flipped labels. Exact Hessian: three steps, for more meet negative curvature. "
        "Nothing was chosen by this table.",
    ),
}
