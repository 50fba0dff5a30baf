"""The small tables of statistics from metrics.csv: rows are joined by key, and families are named."""

from pathlib import Path

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from datagradient.errors import UserError
from datagradient.evidence import recovered
from datagradient.evidence.runs import at_end, cell_of, check_seeds, end_of, runs_of
from datagradient.evidence.statistics import ROUNDING, compare, mean_and_interval, t_interval, wilcoxon_p
from datagradient.files import read_rows, write_rows
from datagradient.pipeline.layout import BASELINE, GUARDED
from datagradient.refine.policies import POLICIES, adds_validation

ITERATION_COLUMNS = (
    "dataset", "model", "noise", "policy", "iteration", "metric", "n", "mean", "sd", "low", "high",
    "change", "change_low", "change_high",
)  # fmt: skip
COST_COLUMNS = (
    "dataset", "model", "models_trained", "train_seconds", "setup_seconds", "val_gradient_seconds",
    "solve_seconds", "projection_seconds", "influence_seconds", "ratio", "solver_iterations",
    "solver_residual", "solver_unconverged", "solver_truncated",
)  # fmt: skip
METRICS = ("accuracy", "f1")
RANDOM = tuple(name for name, policy in POLICIES.items() if policy.is_random)  # the controls of the others
CONTRIBUTION_SCORES = (
    "dcs", "helpful_share", "harm_reduction", "dcs_selection", "helpful_share_selection", "harm_reduction_selection",
)  # fmt: skip
TRACKED = (
    "accuracy", "f1", "val_accuracy", "selection_accuracy", "val_loss", "selection_loss", "test_loss", "dcs",
    "helpful_share", "harm_reduction", "stationarity", "optimism", "n_train", "removed", "removed_flipped",
    "unconverged",
)  # fmt: skip


def analyse(metrics: Path) -> None:
    """Read metrics.csv and write the tables of `TABLES` next to it, and recovered.csv, which may hold no row."""
    rows = read_rows(metrics, "dataset", "model", "policy", "seed", "iteration")
    if not rows:
        raise UserError(f"{metrics}: holds no trained model; collect the results again")
    for name, make in TABLES.items():
        table = make(rows)
        write_rows(metrics.with_name(f"{name}.csv"), list(table[0]), table)
    write_rows(metrics.with_name("recovered.csv"), list(recovered.COLUMNS), recovered.recovered_rows(rows))


def iteration_rows(rows: list[dict]) -> list[dict]:
    """Return mean, deviation and 95 % t interval over seeds of each metric and its change, for each iteration.

    The change is against iteration 0 of the same seed. ``optimism`` is the change of the validation
    accuracy minus the change of the test accuracy.
    """
    baseline = {(*cell_of(row)[:3], row["seed"]): row for row in rows if row["policy"] == BASELINE}
    cells: dict[tuple, list[dict]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        cells.setdefault((*cell_of(row), row["iteration"]), []).append(row)
    return [
        dict(zip(ITERATION_COLUMNS, (*cell, metric, len(members), *_spread(values), *mean_and_interval(change)),
                 strict=True))
        for cell, members in cells.items() for metric in TRACKED
        for values, change in [_values_and_changes(members, baseline, metric)]
    ]  # fmt: skip


def cost_rows(rows: list[dict]) -> list[dict]:
    """Return mean seconds per trained model, and ratio: all influence seconds over all training seconds."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        if row["policy"] != GUARDED:  # its models are those of influence
            groups.setdefault((row["dataset"], row["model"]), []).append(row)
    means = [name for name in COST_COLUMNS if name.endswith(("_seconds", "_iterations"))]
    table = []
    for (dataset, model), members in groups.items():
        mean = {name: float(np.mean([float(row[name]) for row in members])) for name in means}
        table.append({
            "dataset": dataset, "model": model, "models_trained": len(members), **mean,
            "ratio": mean["influence_seconds"] / mean["train_seconds"],
            "solver_residual": float(np.median([float(row["solver_residual"]) for row in members])),
            **{f"solver_{status}": sum(row["solver_status"] == status for row in members)
               for status in ("unconverged", "truncated")},
        })  # fmt: skip
    return table


def _values_and_changes(members: list[dict], baseline: dict, metric: str) -> tuple[np.ndarray, np.ndarray]:
    first = [baseline[(*cell_of(row)[:3], row["seed"])] for row in members]

    def change(name: str) -> np.ndarray:
        return np.array([float(row[name]) - float(start[name]) for row, start in zip(members, first, strict=True)])

    if metric == "unconverged":
        marks = np.array([float(row["solver_status"] == "unconverged") for row in members])
        return marks, marks
    if metric == "optimism":
        gap = change("val_accuracy") - change("accuracy")
        return gap, gap
    return np.array([float(row[metric]) for row in members]), change(metric)


def _spread(values: np.ndarray) -> tuple[float, float, float, float]:
    mean, low, high = mean_and_interval(values)
    return mean, float(values.std(ddof=1)), low, high


def comparison_rows(rows: list[dict]) -> list[dict]:
    """Return one row per comparison: each policy against the baseline and against the controls, for each metric.

    A family of the Benjamini–Hochberg correction is all comparisons of one policy with one other at one noise rate:
    all data sets, models and metrics. One- and two-sided p-values are corrected separately.
    """
    last = max(int(row["iteration"]) for row in rows)
    runs = runs_of(rows)
    tests = [_compare(runs, last, *comparison) for comparison in _comparisons(rows, last)]
    _correct(tests)
    return tests


def _correct(tests: list[dict]) -> None:
    """Add q-values and the family's name to every test. Optimism, for which more is worse, is a separate family."""
    families: dict[tuple, list[dict]] = {}
    for test in tests:
        kind = "optimism" if test["metric"] == "optimism" else "gains"
        families.setdefault((test["policy"], test["against"], test["noise"], kind), []).append(test)
    for (policy, against, noise, kind), members in families.items():
        for side in ("one_sided", "two_sided"):
            adjusted = multipletests([test[f"p_{side}"] for test in members], method="fdr_bh")[1]
            for test, q in zip(members, adjusted, strict=True):
                test[f"q_{side}"] = float(q)
        for test in members:
            test["family"] = f"{kind} of {policy} against {against} at noise {noise}: {len(members)} comparisons"


def pooled_rows(rows: list[dict]) -> list[dict]:
    """Return one row per policy, control, metric and noise rate, over all data sets and models together.

    The unit is one split of one data set: the mean difference over its models, because models trained on the same split
    do not vary independently. The units of a test are thus (data set, seed).
    """
    last, tests = max(int(row["iteration"]) for row in rows), []
    for key, difference in _pooled(rows, last).items():
        low, high = t_interval(difference)
        tests.append({
            **dict(zip(("policy", "against", "noise", "metric"), key, strict=True)), "n": len(difference),
            "mean_difference": float(difference.mean()), "t_low": low, "t_high": high,
            "p_one_sided": wilcoxon_p(difference, "greater"), "p_two_sided": wilcoxon_p(difference, "two-sided"),
            "smallest_p": 0.5 ** len(difference), "units": "mean over the models that each data set and seed has",
        })  # fmt: skip
    _correct(tests)
    return tests


def round_rows(rows: list[dict]) -> list[dict]:
    """Return the change by each policy against the baseline after each round, pooled as in `pooled_rows`."""
    rounds = sorted({int(row["iteration"]) for row in rows} - {0})
    columns = ("policy", "against", "noise", "metric")
    return [
        {**dict(zip(columns, key, strict=True)), "iteration": k, "n": len(difference),
         **dict(zip(("mean_difference", "t_low", "t_high"), mean_and_interval(difference), strict=True))}
        for k in rounds for key, difference in _pooled(rows, k).items()
        if key[1] == BASELINE and k == end_of(key[0], k)
    ]  # fmt: skip


def _pooled(rows: list[dict], iteration: int) -> dict[tuple, np.ndarray]:
    """Return the differences after an iteration by (policy, against, noise, metric), one per (data set, seed)."""
    # The difference of the gap is the optimism: the gain on validation minus the gain on test.
    rows = [{**row, "optimism": float(row["val_accuracy"]) - float(row["accuracy"])} for row in rows]
    groups, runs = {}, runs_of(rows)
    for cell, against, metric in _comparisons(rows, iteration, (*METRICS, "optimism")):
        dataset, _, noise, policy = cell
        units = groups.setdefault((policy, against, noise, metric), {})
        for seed, (first, second) in _pairs(runs, iteration, cell, against, metric).items():
            units.setdefault((dataset, seed), []).append(first - second)
    return {key: np.array([np.mean(unit) for unit in units.values()]) for key, units in groups.items()}


def safety_rows(rows: list[dict]) -> list[dict]:
    """Return how often each policy ends below its own baseline on test accuracy, and by how much, by noise rate.

    ``acted`` counts the runs in which the policy removed or relabelled samples. ``worse_comparisons`` counts data sets
    and models whose 95 % t interval over seeds lies below 0.
    """
    last = max(int(row["iteration"]) for row in rows)
    changes: dict[tuple, dict[tuple, np.ndarray]] = {}
    runs = runs_of(rows)
    acted = {(*cell_of(row), row["seed"]) for row in rows if int(row["removed"]) or int(row["relabelled"])}
    for cell, against, metric in _comparisons(rows, last):
        if (against, metric) == (BASELINE, "accuracy"):
            pairs = _pairs(runs, last, cell, against, metric).values()
            changes.setdefault((cell[3], cell[2]), {})[cell[:2]] = np.array([first - second for first, second in pairs])
    table = []
    for (policy, noise), cells in changes.items():
        run_changes = np.concatenate(list(cells.values()))
        below = run_changes[run_changes < -ROUNDING]
        intervals = [t_interval(change) for change in cells.values()]
        table.append({
            "policy": policy, "noise": noise, "runs": len(run_changes),
            "acted": sum(cell[2:4] == (noise, policy) for cell in acted),
            "below": len(below),
            "below_share": len(below) / len(run_changes), "mean_change": float(run_changes.mean()),
            "worst_change": float(run_changes.min()),
            "mean_loss_where_below": float(-below.mean()) if len(below) else 0.0, "comparisons": len(cells),
            "worse_comparisons": sum(high < 0 for _, high in intervals),
            "better_comparisons": sum(low > 0 for low, _ in intervals),
        })  # fmt: skip
    return table


def tracking_rows(rows: list[dict]) -> list[dict]:
    """Return how closely each definition of the contribution score follows test accuracy over a run's iterations.

    The number of the iteration is included for comparison: a score that merely rises in every round is no better.

    For each run (data set, model, seed) of ``influence``, the rank correlation over its iterations is computed; the
    unit is one split of one data set, the mean over its models. With k + 1 points a single correlation is imprecise and
    biased towards 0, and so is their mean. A run in which one of the two does not change has no correlation; these runs
    are counted.
    """
    runs: dict[tuple, list[dict]] = {}
    for row in sorted(rows, key=lambda row: int(row["iteration"])):
        if row["policy"] in (BASELINE, "influence"):
            runs.setdefault((row["noise"], row["dataset"], row["seed"], row["model"]), []).append(row)
    table = []
    for score in (name for name in (*CONTRIBUTION_SCORES, "iteration") if name in rows[0]):
        for noise in dict.fromkeys(key[0] for key in runs):
            units: dict[tuple, list[float]] = {}
            for (_, dataset, seed, _), run in ((key, run) for key, run in runs.items() if key[0] == noise):
                x, y = (np.array([float(row[name]) for row in run]) for name in (score, "accuracy"))
                if np.ptp(x) > ROUNDING and np.ptp(y) > ROUNDING:
                    units.setdefault((dataset, seed), []).append(float(stats.spearmanr(x, y).statistic))
            values = np.array([np.mean(unit) for unit in units.values()])
            correlations = [correlation for unit in units.values() for correlation in unit]
            mean, low, high = mean_and_interval(values) if len(values) > 1 else (np.nan,) * 3
            table.append({
                "score": score, "noise": noise, "n": len(values), "runs": len(correlations),
                "runs_without": sum(key[0] == noise for key in runs) - len(correlations),
                "correlation": mean, "low": low, "high": high,
                "positive_share": float(np.mean(np.array(correlations) > 0)) if correlations else 0.0,
            })  # fmt: skip
    return table


def _comparisons(rows: list[dict], last: int, metrics: tuple[str, ...] = METRICS) -> list[tuple]:
    """Return (cell, against, metric) of every comparison; a cell is data set, model, noise and policy."""
    ends = (row for row in rows if row["policy"] != BASELINE and int(row["iteration"]) == end_of(row["policy"], last))
    cells = dict.fromkeys(cell_of(row) for row in ends)
    return [
        (cell, against, metric)
        for cell in cells for against in (BASELINE, *_controls(cell[3]))
        if against == BASELINE or (*cell[:3], against) in cells
        for metric in metrics
        # The optimism of a model that was trained on the validation parts says nothing.
        if metric != "optimism" or not any(map(adds_validation, (cell[3], against)))
    ]  # fmt: skip


def _controls(policy: str) -> tuple[str, ...]:
    """Return the policies that a policy is compared with."""
    if POLICIES[policy].once:
        return POLICIES[policy].against
    # A guarded model may have lost fewer samples than a control, so the two are not comparable.
    return () if policy in (*RANDOM, GUARDED) else RANDOM


def _pairs(
    runs: dict[tuple, list[dict]], last: int, cell: tuple, against: str, metric: str
) -> dict[str, tuple[float, float]]:
    """Return, by seed, the metric of a policy after the last iteration and that of the policy compared with it."""
    *where, policy = cell
    first, second = (at_end(runs, last, (*where, which), metric) for which in (policy, against))
    check_seeds(where, {policy: first, against: second})
    return {seed: (first[seed], second[seed]) for seed in sorted(first, key=int)}


def _compare(
    runs: dict[tuple, list[dict]], last: int, cell: tuple[str, str, str, str], against: str, metric: str
) -> dict:
    *where, policy = cell
    pairs = _pairs(runs, last, cell, against, metric).values()
    used = [(*where, which) for which in (policy, BASELINE)]
    return {
        **dict(zip(("dataset", "model", "noise"), where, strict=True)),
        "policy": policy,
        "against": against,
        "metric": metric,
        **compare(*map(np.array, zip(*pairs, strict=True))),
        # `guarded` repeats the model that it keeps, which counts once.
        "solver_unconverged": len({
            (row["seed"], row["n_train"] if policy == GUARDED else key)
            for key, members in runs.items() if key[:4] in used for row in members
            if row["solver_status"] == "unconverged"
        }),
    }  # fmt: skip


TABLES = {
    "tests": comparison_rows, "pooled": pooled_rows, "rounds": round_rows, "safety": safety_rows,
    "tracking": tracking_rows, "iterations": iteration_rows, "costs": cost_rows,
}  # fmt: skip
