"""The solvers that are worth their cost: python benchmarks/choose.py

The rule, written before the seeds were measured. Of each data set and model, by the rows of seed 0 (choice.csv):

1. A candidate is good enough if, under each condition, its solve did what it was asked for, its linear datamodeling
   score is not below the best by more than chance (the 95 % interval of the gap reaches 0), and its AUROC is at most
   `LEEWAY` below the best.
2. Candidates that differ in damping alone cost the same. Of such groups with one that is good enough, those count whose
   mean cost is at most `TIE` times that of the cheapest. What a record adds to training counts as cost; it is measured
   on seed 1 alone (overhead.csv).
3. Of their candidates that are good enough, the one with the highest mean linear datamodeling score is chosen.

Two things were added when seed 0 had been measured, before seed 1. On images and texts no solver of logistic regression
was good enough by both, since high damping finds flipped labels and none predicts the loss; there the score decides
alone. And logistic regression and trees have one solver for all kinds of data, of which the rows "any" say what is good
enough on all data sets. For trees it was not followed: what it chooses saves 7 % and stops after three steps. Nor, when
seed 1 was known, for texts: there the chosen one predicts nothing where labels are right, so the default stayed.

Writes results/benchmarks/chosen.csv: for each condition the chosen one, the one with the highest score, and the default
that was measured beside them, with what seed 1 (solvers.csv) says of each.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from datagradient.files import read_rows, write_rows
from datagradient.influence.options import RECORD, SOUND

OUT = Path("results/benchmarks")
ANY, ALIKE = "any", ("logistic", "boosted")  # families with one solver for all kinds of data
LEEWAY = 0.02  # of AUROC
TIE = 1.1  # times the cost of the cheapest group
# Of a candidate; all but damping: of a group.
KEYS = ("solver", "curvature", "parameters", "samples", "limit", "tolerance", "damping")
COLUMNS = (
    "dataset", "model", "which", *KEYS, "noise", "forward_passes", "lds", "lds_gap", "lds_gap_low", "auroc",
    "judged_forward_passes", "judged_lds", "judged_lds_gap", "judged_lds_gap_low", "judged_auroc",
)  # fmt: skip
MEASURED = ("forward_passes", "lds", "lds_gap", "lds_gap_low", "auroc")
Candidate = tuple[str, ...]
Table = dict[str, dict[Candidate, dict[str, str]]]  # by condition


def main() -> None:
    """Choose by seed 0, and write what both seeds say."""
    choice, judged, overhead = (read_rows(OUT / f"{name}.csv") for name in ("choice", "solvers", "overhead"))
    added = {(row["dataset"], row["model"], row["noise"]): passes_added(row) for row in overhead}
    rows = []
    cells = [*dict.fromkeys((row["dataset"], row["model"]) for row in choice), *((ANY, model) for model in ALIKE)]
    for dataset, model in cells:
        ours, theirs = (by_condition(table, dataset, model, added) for table in (choice, judged))
        every = candidates(ours)
        which = {
            "chosen": chosen(ours),
            "highest": max(every, key=lambda candidate: mean_of(ours, candidate, "lds")),
            "default": next(one for one in every if next(iter(ours.values()))[one]["default"] == "1"),
        }
        for word, one in which.items():
            for noise, found in ours.items():
                row = {
                    "dataset": dataset,
                    "model": model,
                    "which": word,
                    **dict(zip(KEYS, one, strict=True)),
                    "noise": noise,
                }
                row |= {key: found[one][key] for key in MEASURED}
                if one in theirs.get(noise, {}):
                    row |= {f"judged_{key}": theirs[noise][one][key] for key in MEASURED}
                rows.append(row)
    write_rows(OUT / "chosen.csv", COLUMNS, rows)


def passes_added(row: dict[str, str]) -> float:
    """Return the plain forward passes that the record of the last layer adds to one training; none is below 0."""
    forward = float(row["ratio"]) * float(row["train_seconds"]) / float(row["forward_passes"])
    return max(0.0, (float(row["train_ratio"]) - 1) * float(row["train_seconds"]) / forward)


def by_condition(
    table: list[dict[str, str]], dataset: str, model: str, added: dict[tuple[str, str, str], float]
) -> Table:  # fmt: skip
    """Return the rows of a data set and model by condition and candidate; the first of equal candidates counts.

    Of `ANY` data set, a condition is one of those of one data set. The forward passes of a record include what it adds
    to training.
    """
    found: Table = {}
    for measured in table:
        if measured["model"] == model and dataset in (measured["dataset"], ANY):
            row = {**measured, "limit": measured["steps"] if measured["status"] == "truncated" else ""}
            row["samples"] = "all" if row["samples"] == row["n"] else row["samples"]
            if row["solver"].startswith(RECORD):
                extra = added.get((row["dataset"], model, row["noise"]), 0.0)
                row["forward_passes"] = f"{float(row['forward_passes']) + extra:.3g}"
            condition = f"{row['dataset']} {row['noise']}" if dataset == ANY else row["noise"]
            found.setdefault(condition, {}).setdefault(tuple(row[key] for key in KEYS), row)
    return found


def candidates(table: Table) -> list[Candidate]:
    """Return those that every condition has."""
    first, *others = table.values()
    return [one for one in first if all(one in other for other in others)]


def good_enough(table: Table) -> list[Candidate]:
    """Return the candidates that are as good as the best under each condition, by the first part of the rule."""
    sound = [
        one
        for one in candidates(table)
        if all(found[one]["status"] in SOUND and float(found[one]["lds_gap_low"]) <= 0 for found in table.values())
    ]
    return [one for one in sound if all(is_near(found, one) for found in table.values())] or sound


def is_near(found: dict[Candidate, dict[str, str]], one: Candidate) -> bool:
    """Return whether a candidate finds wrong labels nearly as well as the best; true where none are known."""
    values = [float(row["auroc"]) for row in found.values() if row["auroc"]]
    return not values or float(found[one]["auroc"]) >= max(values) - LEEWAY


def groups(good: list[Candidate]) -> Iterator[list[Candidate]]:
    """Yield candidates that differ in damping alone."""
    for group in dict.fromkeys(one[:-1] for one in good):
        yield [one for one in good if one[:-1] == group]


def mean_of(table: Table, one: Candidate, column: str) -> float:
    """Return the mean of a column over the conditions."""
    return mean(float(found[one][column]) for found in table.values())


def chosen(table: Table) -> Candidate:
    """Return the candidate that the rule chooses."""
    good = good_enough(table)
    costs = {one[:-1]: mean(mean_of(table, each, "forward_passes") for each in group)
             for group in groups(good) for one in group[:1]}  # fmt: skip
    cheap = [one for one in good if costs[one[:-1]] <= TIE * min(costs.values())]
    return max(cheap, key=lambda one: mean_of(table, one, "lds"))


if __name__ == "__main__":
    main()
