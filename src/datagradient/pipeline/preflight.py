"""What the chosen seeds can show at best, printed before any job runs. Imports nothing heavy, for the Snakefile."""

import math

from datagradient.pipeline.layout import all_conditions, conditions, seeds_of

LEVEL = 0.05
METRICS = 2  # accuracy and F1


def preflight(config: dict) -> str:
    """Return the smallest p that the seeds of a configuration can reach, and the resulting q after BH.

    A family is all comparisons of one policy with one other in one condition: on all data sets that have the condition,
    by all models. A policy that does not run in a condition has no family there. If k of the m comparisons of a family
    are unanimous, each over n seeds or more, and the others are not, their q is at most p·m/k, where p is the smallest
    p-value possible for n pairs.
    """
    by_sets: dict[tuple[str, ...], list[str]] = {}
    for condition in all_conditions(config):
        having = tuple(name for name in config["datasets"] if condition in conditions(config, name))
        by_sets.setdefault(having, []).append(condition)
    return "\n".join(line for having, names in by_sets.items() for line in _family(config, having, names))


def _family(config: dict, datasets: tuple[str, ...], names: list[str]) -> list[str]:
    """Return the lines about conditions that the same data sets have."""
    by_seeds: dict[int, list[str]] = {}
    for model in config["models"]:
        by_seeds.setdefault(len(seeds_of(config, model)), []).append(model)
    by_seeds = dict(sorted(by_seeds.items(), reverse=True))
    each = METRICS * len(datasets)
    m, units = each * len(config["models"]), len(datasets) * max(by_seeds)
    where = "all data sets" if len(datasets) == len(config["datasets"]) else ", ".join(datasets)
    lines = [f"preflight: condition {', '.join(names)}: families of {m} comparisons (accuracy and F1, {where}, all "
             "models)"]  # fmt: skip
    for n, models in by_seeds.items():
        for side, spent in (("one-sided", 0), ("two-sided", 1)):
            ways = []  # with those of n seeds and more, or of fewer too, whose p is larger
            for seeds in (seeds for seeds in by_seeds if seeds <= n):
                enough = each * sum(len(by_seeds[most]) for most in by_seeds if most >= seeds)
                needed = math.ceil(round(_smallest(seeds - spent) * m / LEVEL, 9))
                if needed <= enough:
                    least = "" if enough == m else f" with {seeds} seeds or more"
                    ways.append(f"q <= {LEVEL} needs {needed} unanimous ones of the {enough}{least}")
            can = ways[0] if ways else f"no q can reach {LEVEL}, whatever the data"
            lines.append(f"  {n} seeds ({', '.join(models)}), {side}: smallest p of one comparison "
                         f"{_smallest(n - spent):.4g}; after Benjamini-Hochberg {can}")  # fmt: skip
    lines.append(f"  pooled over data sets ({units} units): smallest p {_smallest(units):.2g} one-sided")
    return lines


def _smallest(signs: int) -> float:
    """Return the probability that so many differences all have the expected sign, where either is as likely."""
    return 0.5**signs
