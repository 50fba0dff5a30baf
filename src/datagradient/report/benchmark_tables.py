"""Tables of the benchmarks: cost and quality of solvers, and of published libraries."""

from collections.abc import Callable
from pathlib import Path

from datagradient.files import read_rows
from datagradient.report.formats import number


def solvers(results: Path) -> list[dict]:
    """Cost and quality of solvers; results are those of benchmarks/solvers.py."""
    return [
        {
            "Data set": row["dataset"],
            "Model": row["model"],
            "Noise": row["noise"],
            "Solver": row["solver"] + (" (Hessian)" if row["curvature"] == "hessian" else ""),
            "Parameters": row["parameters"],
            "Damping": row["damping"],
            "Steps": row["steps"],
            "Samples": row["samples"],
            "Default": "default" if row["default"] == "1" else "",
            "Status": row["status"],
            "Forward passes": row["forward_passes"],
            "Of training": row["ratio"],
            "AUROC": number(row["auroc"], 3) if row["auroc"] else "",
            "LDS [95 %]": f"{row['lds']} [{row['lds_low']}, {row['lds_high']}]",
            "Gap to best LDS [95 %]": f"{row['lds_gap']} [{row['lds_gap_low']}, {row['lds_gap_high']}]",
            "Rank correlation": number(row["rank_correlation"], 3),
        }
        for row in read_rows(results / "solvers.csv")
    ]


def peers(results: Path) -> list[dict]:
    """Published libraries on the same networks; results are those of benchmarks/peers.py."""
    return [
        {
            "Data set": row["dataset"],
            "Noise": row["noise"],
            "Method": f"{row['method']} ({row['version']})",
            "Covers": row["covers"],
            "Forward passes": row["forward_passes"],
            "Times ours": row["times_ours"],
            "AUROC": row["auroc"],
            "LDS [95 %]": f"{row['lds']} [{row['lds_low']}, {row['lds_high']}]" if row["lds"] else "",
            "Rank correlation": row["rank_correlation"],
            "Status": row["status"],
        }
        for row in read_rows(results / "peers.csv")
    ]


TABLES: dict[str, tuple[Callable[[Path], list[dict]], str]] = {
    "peers": (peers, "Published libraries beside this project, on the same trained networks, in one process: cost in "
                     "plain forward passes over the training set and in multiples of ours; quality as in the table of "
                     "solvers. Rank correlation: with a converged solve over all layers."),
    "solvers": (solvers, "Cost and quality of solvers and dampings on one model each. Forward passes: cost in plain "
                         "forward passes over the training set. AUROC: of finding flipped labels. LDS: linear "
                         "datamodeling score, rank correlation with the loss of models trained on random halves. Rank "
                         "correlation: with the scores of a converged solve at the same damping, for networks over "
                         "all layers. All on validation data, one seed. Intervals are over the random halves alone; "
                         "the best is the best of all rows, so gaps to it are biased upwards. The default's time is "
                         "the median of five, the others' a single one. A high LDS means that the loss of the part "
                         "that is scored against is predicted, not that removal helps test accuracy."),
}  # fmt: skip
