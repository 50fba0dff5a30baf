"""The rows of metrics.csv by their keys, and the iteration that stands for a policy."""

from collections.abc import Sequence

from datagradient.errors import UserError
from datagradient.pipeline.layout import BASELINE
from datagradient.refine.policies import POLICIES


def cell_of(row: dict) -> tuple[str, str, str, str]:
    """Return data set, model, condition and policy of a row."""
    return row["dataset"], row["model"], row["noise"], row["policy"]


def end_of(policy: str, last: int) -> int:
    """Return the iteration that stands for a policy after iteration `last`: policies that decide once have but one."""
    return 0 if policy == BASELINE else 1 if POLICIES[policy].once else last


def runs_of(rows: list[dict]) -> dict[tuple, list[dict]]:
    """Return the rows, one per seed, by data set, model, condition, policy and iteration."""
    runs: dict[tuple, list[dict]] = {}
    for row in rows:
        runs.setdefault((*cell_of(row), row["iteration"]), []).append(row)
    return runs


def at_end(runs: dict[tuple, list[dict]], last: int, cell: tuple, metric: str) -> dict[str, float]:
    """Return a metric by seed at the end of a policy; empty where it was not run.

    Args:
        runs: as `runs_of` returns them.
        last: the iteration after which policies are compared.
        cell: data set, model, condition and policy.
        metric: a column.
    """
    return {row["seed"]: float(row[metric]) for row in runs.get((*cell, str(end_of(cell[3], last))), ())}


def check_seeds(where: Sequence[str], values: dict[str, dict[str, float]]) -> None:
    """Refuse values by seed, by policy, whose seeds differ; `where` is data set, model and condition."""
    (first, seeds), *others = values.items()
    for policy, by_seed in others:
        if by_seed.keys() != seeds.keys():
            raise UserError(f"{where[0]}, {where[1]}, noise {where[2]}: {first} and {policy} have different seeds")
