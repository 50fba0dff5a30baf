"""Tables of the benchmarks: solvers, published libraries, and candidates for removal and relabelling."""

import math
from collections.abc import Callable
from pathlib import Path

from datagradient.data.conditions import PUBLISHED
from datagradient.evidence.candidates import Pool, summaries
from datagradient.files import read_rows
from datagradient.report.formats import number, percent, points


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


def rates(results: Path) -> list[dict]:
    """Scores from a record at several final learning rates; results are those of benchmarks/rates.py."""
    rows, names = read_rows(results / "rates.csv"), ("dataset", "schedule")
    table = []
    for key in dict.fromkeys(tuple(row[name] for name in names) for row in rows):
        own = [row for row in rows if tuple(row[name] for name in names) == key]
        table.append({
            "Data set": key[0], "Learning rate after the warm-up": key[1],
            "Last ÷ highest": number(own[0]["last_rate"]),
            **{title: _range([float(row[column]) for row in own], digits) for title, column, digits in
               (("Rank correlation", "rank_correlation", 3), ("Of the 5 % removed, the same", "overlap", 2),
                ("Least, of the samples compared", "agreement", 3))},
            "Refused": f"{sum(row['refused'] == '1' for row in own)} of {len(own)}",
            "Validation accuracy [%]": percent(sum(float(row["accuracy"]) for row in own) / len(own)),
        })  # fmt: skip
    return table


def _range(values: list[float], digits: int) -> str:
    least, most = (number(value, digits) for value in (min(values), max(values)))
    return least if least == most else f"{least} to {most}"


def policies(results: Path) -> list[dict]:
    """Candidates for removal and relabelling on development seeds; results are those of benchmarks/policies.py."""
    found = summaries(read_rows(results / "policies.csv"))
    families = dict.fromkeys(model for one in found for model in one.by_family)
    return [
        {
            "Labels": one.condition,
            "Candidate": one.candidate,
            "Recovered": _recovered(one.condition, one.pooled),
            "Of oracle removal": _or_dash(one.pooled.share_of_oracle, number),
            **{model: _recovered(one.condition, one.by_family[model]) if model in one.by_family else ""
               for model in families},
            "Precision [%]": _or_dash(one.precision, percent),
            "Removed [%]": percent(one.removed),
            "Relabelled [%]": percent(one.relabelled),
            "Trainings": number(one.trainings, 1),
            "Data sets × models": len(one.seeds),
            "Seeds": str(min(one.seeds)) if len(set(one.seeds)) == 1 else f"{min(one.seeds)}–{max(one.seeds)}",
        }
        for one in found
    ]  # fmt: skip


def _recovered(condition: str, pooled: Pool) -> str:
    """Return the recovered share; of labels as published, which are not known to be wrong, the change in points."""
    return f"{points(pooled.change)} points" if condition == PUBLISHED else _or_dash(pooled.share, number)


def _or_dash(value: float, text: Callable[[float], str]) -> str:
    return "–" if math.isnan(value) else text(value)


TABLES: dict[str, Callable[[Path], list[dict]]] = {
    "peers": peers, "policies": policies, "rates": rates, "solvers": solvers,
}  # fmt: skip
# Tables whose origin stands in a file of their name, if there is one, instead of provenance.json.
APART = ("policies", "rates", "peers")
