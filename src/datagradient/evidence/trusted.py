"""What few right labels are worth: the recovered share, by the way of using them and by their number."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datagradient.errors import UserError
from datagradient.evidence.recovered import POOLED, measured
from datagradient.files import read_rows, write_rows

COLUMNS = (
    "dataset", "model", "condition", "way", "labels", "mean_labels", "seeds", "noisy", "refined", "true_labels",
    "share", "low", "high",
)  # fmt: skip
ALL = "all"  # for a number of labels: all that there are
CHECK = "check_"  # ways that begin with it give training samples their right labels
Sizes = dict[tuple[str, str], dict[str, int]]  # by data set and seed: labels of the training and the validation parts
Use = tuple[str, str, str]  # condition, way, number of labels
Where = tuple[str, str]  # data set and model


def write_shares(results: Path) -> None:
    """Write trusted_shares.csv from trusted.csv and data.csv, next to them."""
    rows = read_rows(results / "trusted.csv", "way", "labels", "noisy", "accuracy", "true_labels")
    data = read_rows(results / "data.csv", "dataset", "seed", "n_train", "n_influence", "n_selection")
    sizes = {(row["dataset"], row["seed"]): {"training": int(row["n_train"]),
                                             "validation": int(row["n_influence"]) + int(row["n_selection"])}
             for row in data}  # fmt: skip
    for row in rows:
        if (row["dataset"], row["seed"]) not in sizes:
            raise UserError(f"{results / 'data.csv'}: has no {row['dataset']} of seed {row['seed']}, and trusted.csv "
                            "has; collect the results again")  # fmt: skip
    write_rows(results / "trusted_shares.csv", list(COLUMNS), share_rows(rows, sizes))


def share_rows(rows: list[dict], sizes: Sizes) -> list[dict]:
    """Return one row per condition, data set and model, way and number of labels.

    Shares, intervals and NaN are those of `recovered_rows`. Rows of the model ``pooled`` are over the models of a data
    set. Those of the data set ``pooled`` are over all data sets, in conditions that several of them have; a number of
    labels that only some of them have is left out, since the others would be missing from its sums.

    Args:
        rows: of trusted.csv.
        sizes: of the parts that labels are taken from. As many labels as there are count as ``all``, which may be
            different numbers; ``mean_labels`` is their mean.
    """
    found: dict[Use, dict[Where, dict[str, np.ndarray]]] = {}  # by seed the accuracies that `measured` takes
    counts: dict[Use, dict[Where, list[int]]] = {}
    for row in rows:
        where, labels = (row["dataset"], row["model"]), int(row["labels"])
        part = "training" if row["way"].startswith(CHECK) else "validation"
        use = (row["noise"], row["way"], ALL if labels >= sizes[row["dataset"], row["seed"]][part] else str(labels))
        accuracies = [float(row[name]) for name in ("noisy", "accuracy", "true_labels")]
        found.setdefault(use, {}).setdefault(where, {})[row["seed"]] = np.array([*accuracies, np.nan])  # no oracle
        counts.setdefault(use, {}).setdefault(where, []).append(labels)
    table = []
    for condition in dict.fromkeys(condition for condition, _, _ in found):
        uses = _in_order([use for use in found if use[0] == condition])
        for (dataset, model), members in _groups(list(dict.fromkeys(where for use in uses for where in found[use]))):
            for use in uses:
                if found[use].keys() >= set(members):
                    row = {"dataset": dataset, "model": model, "condition": condition, "way": use[1], "labels": use[2],
                           "mean_labels": float(np.mean([np.mean(counts[use][where]) for where in members])),
                           **measured([found[use][where] for where in members])}  # fmt: skip
                    table.append({name: row[name] for name in COLUMNS})
    return table


def _groups(cells: list[Where]) -> Iterator[tuple[Where, list[Where]]]:
    """Yield data set and model of each group of rows, pooled ones first, with the data sets and models in it."""
    datasets = list(dict.fromkeys(dataset for dataset, _ in cells))
    if len(datasets) > 1:
        yield (POOLED, POOLED), cells
    for dataset in datasets:
        own = [where for where in cells if where[0] == dataset]
        yield (dataset, POOLED), own
        yield from ((where, [where]) for where in own)


def _in_order(uses: list[Use]) -> list[Use]:
    """Return ways as they come, each from no label to all."""
    ways = list(dict.fromkeys(way for _, way, _ in uses))
    return sorted(uses, key=lambda use: (ways.index(use[1]), np.inf if use[2] == ALL else int(use[2])))
