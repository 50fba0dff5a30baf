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


TABLES: dict[str, Callable[[Path], list[dict]]] = {"peers": peers, "solvers": solvers}
