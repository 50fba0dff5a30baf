"""The recovered share: how much of the accuracy that wrong labels cost a policy brings back."""

import numpy as np

from datagradient.data.conditions import PUBLISHED, TRUSTED, UNTRUSTED, base_of, is_untrusted
from datagradient.evidence.runs import at_end, cell_of, check_seeds, end_of, runs_of
from datagradient.evidence.statistics import CONFIDENCE, RESAMPLES, ROUNDING
from datagradient.models import declared
from datagradient.pipeline.layout import BASELINE
from datagradient.refine.crossfit import FOLDS
from datagradient.refine.policies import ORACLE_REMOVAL, POLICIES, TRUE_LABELS
from datagradient.seeds import generator

COLUMNS = (
    "dataset", "model", "condition", "validation", "policy", "seeds", "noisy", "refined", "true_labels", "share", "low",
    "high", "trainings", "oracle_removal", "share_of_oracle", "oracle_low", "oracle_high",
)  # fmt: skip
POOLED = "pooled"
Runs = dict[tuple, list[dict]]
Cells = dict[tuple[str, str], dict[str, np.ndarray]]  # by data set and model: by seed the accuracies of `_accuracies`


def recovered_rows(rows: list[dict]) -> list[dict]:
    """Return one row per policy and condition with wrong labels: pooled, and for each data set and model.

    With means over seeds, summed over data sets and models in pooled rows::

        share = Σ (refined − noisy) / Σ (true labels − noisy)

    of test accuracies: of the policy's last model, of the unrefined one, and of the one trained with the right labels.
    ``share_of_oracle`` has the model without exactly the wrong labels in place of the last. Both stand beside a 95 %
    percentile bootstrap interval over seeds, and are NaN where there is nothing to recover. In a condition with
    untrusted validation labels the ideal models are those of its trusted twin, since they see no validation label.
    Without a model trained with the right labels there is no row.

    ``trainings`` is the number of models that a policy needs, the unrefined one counted, those of its cross-fitting
    included. Folds of cheaper families count by their training seconds relative to the family's own.

    Raises:
        UserError: models to be compared have different seeds.
    """
    runs, last = runs_of(rows), max(int(row["iteration"]) for row in rows)
    families = list(dict.fromkeys(row["model"] for row in rows))  # in a preset they stand from cheap to dear
    found: dict[str, dict[str, Cells]] = {}
    for cell in dict.fromkeys(cell_of(row) for row in rows):
        dataset, model, condition, policy = cell
        if policy == BASELINE or condition == PUBLISHED:
            continue
        accuracies = _accuracies(runs, last, cell)
        if accuracies:
            found.setdefault(condition, {}).setdefault(policy, {})[dataset, model] = accuracies
    table = []
    for condition, policies in found.items():
        needed = {
            (*where, policy): _trainings(runs, last, families, (*where, condition, policy))
            for policy, cells in policies.items() for where in cells
        }  # fmt: skip
        for dataset, model in [
            (POOLED, POOLED),
            *dict.fromkeys(where for cells in policies.values() for where in cells),
        ]:
            for policy, cells in policies.items():
                counted = {where: cells[where] for where in cells if dataset == POOLED or where == (dataset, model)}
                if counted:
                    keys = {"dataset": dataset, "model": model, "condition": base_of(condition), "policy": policy,
                            "validation": UNTRUSTED if is_untrusted(condition) else TRUSTED}  # fmt: skip
                    trainings = float(np.mean([needed[*where, policy] for where in counted]))
                    row = {**keys, **measured(list(counted.values())), "trainings": trainings}
                    table.append({name: row[name] for name in COLUMNS})
    return table


def _accuracies(runs: Runs, last: int, cell: tuple[str, str, str, str]) -> dict[str, np.ndarray]:
    """Return by seed the test accuracies (4,): noisy, refined, with true labels, by oracle removal (or NaN).

    Empty where the policy or the model with the right labels was not run.
    """
    *where, policy = cell
    ideal = (*where[:2], base_of(where[2]))
    wanted = [(*where, BASELINE), cell, (*ideal, TRUE_LABELS), (*ideal, ORACLE_REMOVAL)]
    values = [at_end(runs, last, key, "accuracy") for key in wanted]
    if not values[1] or not values[2]:
        return {}
    check_seeds(where, dict(zip((BASELINE, policy, TRUE_LABELS), values, strict=False)))
    if values[3]:
        check_seeds(where, {BASELINE: values[0], ORACLE_REMOVAL: values[3]})
    return {seed: np.array([value.get(seed, np.nan) for value in values]) for seed in sorted(values[0], key=int)}


def measured(cells: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Return means and shares over some cells, which count alike however many seeds they have.

    Args:
        cells: by seed the test accuracies (4,): noisy, refined, with true labels, by oracle removal (or NaN).

    Returns:
        the columns of `recovered_rows` from ``seeds`` on, but for ``trainings``.
    """
    means = np.mean([np.mean(list(cell.values()), axis=0) for cell in cells], axis=0)
    gains: dict[str, np.ndarray] = {}  # by seed, over the noisy model: of refined, true labels, oracle removal
    for cell in cells:
        for seed, values in cell.items():
            gains[seed] = gains.get(seed, 0) + (values[1:] - values[0]) / len(cell)
    seeds = sorted(gains, key=int)
    draws = _draws([tuple(seed in cell for cell in cells) for seed in seeds])
    refined, right, oracle = np.array([gains[seed] for seed in seeds]).T
    return {
        "seeds": len(seeds),
        **dict(zip(("noisy", "refined", "true_labels", "oracle_removal"), map(float, means), strict=True)),
        **dict(zip(("share", "low", "high"), _share(refined, right, draws), strict=True)),
        **dict(zip(("share_of_oracle", "oracle_low", "oracle_high"), _share(refined, oracle, draws), strict=True)),
    }


def _draws(held_by: list[tuple[bool, ...]]) -> np.ndarray:
    """Return resampled positions of seeds (resamples, seeds), given which cells have each.

    A seed is drawn for all of its cells together. It is replaced by one that the same cells have, so that each cell
    keeps as many seeds as it has.
    """
    random = generator(0, "bootstrap", "recovered")
    alike = [np.array([i for i, held in enumerate(held_by) if held == kind]) for kind in dict.fromkeys(held_by)]
    return np.concatenate(
        [places[random.integers(len(places), size=(RESAMPLES, len(places)))] for places in alike], axis=1
    )


def _share(gain: np.ndarray, possible: np.ndarray, draws: np.ndarray) -> tuple[float, float, float]:
    """Return the sum of gains over the sum of possible ones, both (seeds,), and its bootstrap interval.

    NaN where nothing can be gained. Resamples where nothing can are left out; where they are more than 5 %, there is no
    interval, and none where all resamples are the same, as with a single seed.
    """
    if not possible.sum() > ROUNDING:  # NaN too
        return float("nan"), float("nan"), float("nan")
    gains, possibles = gain[draws].sum(axis=1), possible[draws].sum(axis=1)
    usable = possibles > ROUNDING
    low = high = float("nan")
    if usable.mean() >= CONFIDENCE and (draws != draws[0]).any():
        low, high = np.quantile(gains[usable] / possibles[usable], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(gain.sum() / possible.sum()), float(low), float(high)


def _trainings(runs: Runs, last: int, families: list[str], cell: tuple[str, str, str, str]) -> float:
    """Return how many models of the family a policy needs; `families` are those of the preset, from cheap to dear."""
    dataset, model, condition, name = cell
    policy = POLICIES[name]
    if policy.ideal:
        return 1.0
    trained = 1.0 + end_of(name, last)
    if not policy.needs_crossfit:
        return trained
    cheaper = families[: families.index(model)] if policy.joint and declared(model).random else []

    def seconds(family: str) -> float:
        return float(
            np.mean(list(at_end(runs, last, (dataset, family, condition, BASELINE), "train_seconds").values()))
        )

    return trained + FOLDS * (1 + sum(map(seconds, cheaper)) / seconds(model) if cheaper else 1)
