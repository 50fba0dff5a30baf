"""What the chosen seeds can show at best, printed before any job runs. Imports nothing heavy, for the Snakefile."""

import math

LEVEL = 0.05
METRICS = 2  # accuracy and F1


def preflight(config: dict) -> str:
    """Return the smallest p that the seeds of a configuration can reach, and the resulting q after BH.

    A family is all comparisons of one policy with one other at one noise rate. If k of its m comparisons are unanimous
    over n seeds and the others are not, the smallest q is p·m/k, where p is the smallest p-value possible for n pairs.
    """
    n, units = len(config["seeds"]), len(config["seeds"]) * len(config["datasets"])
    m = METRICS * len(config["datasets"]) * len(config["models"])
    lines = [f"preflight: {n} seeds, families of {m} comparisons (accuracy and F1, all data sets and models)"]
    for side, p in (("one-sided", 0.5**n), ("two-sided", min(1.0, 0.5 ** (n - 1)))):
        needed = math.ceil(round(p * m / LEVEL, 9))
        can = (f"q <= {LEVEL} needs {needed} unanimous ones of the {m}" if needed <= m
               else f"no q can reach {LEVEL}, whatever the data")  # fmt: skip
        lines.append(f"  {side}: smallest p of one comparison {p:.4g}; after Benjamini-Hochberg {can}")
    lines.append(f"  pooled over data sets ({units} units): smallest p {0.5**units:.2g} one-sided")
    return "\n".join(lines)
