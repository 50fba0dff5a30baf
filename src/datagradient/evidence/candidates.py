"""Candidates for removal and relabelling, over data sets and models; rows are those of benchmarks/policies.py."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datagradient.data.conditions import PUBLISHED
from datagradient.evidence.statistics import ROUNDING

VALUES = ("accuracy", "noisy", "true_labels", "oracle_removal", "removed", "relabelled", "samples", "trainings")
Means = dict[str, float]  # over the seeds of one data set and model


@dataclass(frozen=True)
class Pool:
    """What a candidate does to accuracy over some data sets and models, which count alike.

    Attributes:
        change: mean change against the unrefined model.
        share: Σ (refined − noisy) / Σ (true labels − noisy); NaN where there is nothing to recover.
        share_of_oracle: Σ (refined − noisy) / Σ (oracle removal − noisy); NaN likewise.
    """

    change: float
    share: float
    share_of_oracle: float


@dataclass(frozen=True)
class Summary:
    """One candidate in one condition.

    Attributes:
        condition: which labels the training samples have.
        candidate: its name.
        pooled: over all data sets and models.
        by_family: over the data sets of each model family.
        precision: share of wrong labels among the samples that it removes or relabels, mean over data sets and models;
            NaN where no label is known to be wrong, or it touches none.
        removed: share of the training samples, mean over data sets and models.
        relabelled: likewise.
        trainings: number of models that it costs, mean over data sets and models.
        seeds: of each data set and model.
    """

    condition: str
    candidate: str
    pooled: Pool
    by_family: dict[str, Pool]
    precision: float
    removed: float
    relabelled: float
    trainings: float
    seeds: tuple[int, ...]


def summaries(rows: Sequence[dict]) -> list[Summary]:
    """Return one summary per condition and candidate: within a condition, the largest pooled share first.

    Where there is nothing to recover, the largest change comes first. Of a cell that stands there twice for a seed, the
    later row counts.
    """
    found: dict[tuple[str, str], dict[tuple[str, str], dict[str, dict]]] = {}
    for row in rows:
        cells = found.setdefault((row["condition"], row["candidate"]), {})
        cells.setdefault((row["dataset"], row["model"]), {})[row["seed"]] = row
    table = [_summary(*key, cells) for key, cells in found.items()]
    conditions = sorted(dict.fromkeys(one.condition for one in table), key=lambda name: name != PUBLISHED)
    return [one for name in conditions for one in sorted(table, key=_order) if one.condition == name]


def _order(one: Summary) -> tuple[float, float]:
    return -np.nan_to_num(one.pooled.share, nan=-np.inf), -one.pooled.change


def _summary(condition: str, candidate: str, cells: dict[tuple[str, str], dict[str, dict]]) -> Summary:
    by_seed = {where: list(runs.values()) for where, runs in cells.items()}
    means = {where: {name: _mean(runs, name) for name in VALUES} for where, runs in by_seed.items()}
    touched = [_mean(some, "precision") for some in ([run for run in runs if run["precision"]]
                                                     for runs in by_seed.values()) if some]  # fmt: skip
    families = dict.fromkeys(model for _, model in cells)
    return Summary(
        condition, candidate, pool(list(means.values())),
        {model: pool([mean for where, mean in means.items() if where[1] == model]) for model in families},
        float(np.mean(touched)) if touched else float("nan"),
        *(float(np.mean([mean[name] / mean["samples"] for mean in means.values()]))
          for name in ("removed", "relabelled")),
        float(np.mean([mean["trainings"] for mean in means.values()])),
        tuple(len(runs) for runs in by_seed.values()),
    )  # fmt: skip


def _mean(runs: Sequence[dict], name: str) -> float:
    return float(np.mean([float(run[name]) for run in runs]))


def pool(cells: Sequence[Means]) -> Pool:
    """Return sums of gains over sums of possible gains, as `datagradient.evidence.recovered` pools them."""
    gain, right, oracle = (
        sum(cell[name] - cell["noisy"] for cell in cells) for name in ("accuracy", "true_labels", "oracle_removal")
    )
    share, share_of_oracle = (gain / most if most > ROUNDING else float("nan") for most in (right, oracle))
    return Pool(gain / len(cells), share, share_of_oracle)
