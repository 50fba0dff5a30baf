"""Statistics against hand-worked cases and the libraries."""

import itertools

import numpy as np
import pytest
from scipy import stats

from datagradient.errors import UserError
from datagradient.evidence.comparisons import (
    comparison_rows,
    iteration_rows,
    pooled_rows,
    round_rows,
    safety_rows,
    tracking_rows,
)
from datagradient.evidence.statistics import (
    bootstrap_interval,
    compare,
    d_interval,
    effect_sizes,
    jackknife_interval,
    t_interval,
    wilcoxon_p,
)


def test_of_a_mean_the_jackknife_gives_the_interval_of_the_groups_means(random):
    groups = random.normal(size=(5, 20))
    without = np.array([np.delete(groups, k, axis=0).mean() for k in range(5)])
    assert jackknife_interval(without) == pytest.approx(t_interval(groups.mean(axis=1)))


def by_enumeration(difference, alternative):
    """The exact signed-rank p-value by counting through all sign patterns."""
    ranks = stats.rankdata(np.abs(difference))
    sums = np.array([np.dot(ranks, signs) for signs in itertools.product((0, 1), repeat=len(ranks))])
    found = ranks[difference > 0].sum()
    upper, lower = (sums >= found - 1e-9).mean(), (sums <= found + 1e-9).mean()
    return upper if alternative == "greater" else min(1, 2 * min(upper, lower))


def test_five_unanimous_seeds_reach_the_smallest_p_and_no_less():
    difference = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    assert wilcoxon_p(difference, "greater") == pytest.approx(1 / 32)
    assert wilcoxon_p(difference, "two-sided") == pytest.approx(1 / 16)
    found = compare(difference, np.zeros(5))
    assert (found["smallest_p"], found["smallest_p_two_sided"]) == (1 / 32, 1 / 16)


def test_a_zero_difference_is_left_out_and_doubles_p():
    assert wilcoxon_p(np.array([0.0, 0.2, 0.3, 0.4, 0.5]), "greater") == pytest.approx(1 / 16)
    assert wilcoxon_p(np.zeros(5), "two-sided") == 1.0


@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
def test_p_is_exact_with_and_without_ties(random, alternative):
    for n in (4, 5, 8):
        for _ in range(5):
            free, tied = random.normal(0.3, 1, size=n), random.integers(1, 4, size=n) * random.choice([-1, 1], size=n)
            for difference in (free, tied / 100):
                expected = by_enumeration(difference, alternative)
                assert wilcoxon_p(difference, alternative) == pytest.approx(expected)


def test_differences_that_differ_by_rounding_are_tied():
    difference = np.array([0.3 - 0.2, 0.1, 0.2 - 0.1, -0.1, 0.5])  # 0.1 in three roundings
    assert wilcoxon_p(difference, "greater") == pytest.approx(by_enumeration(np.round(difference, 12), "greater"))


def test_effect_sizes_by_hand():
    first, second = np.array([2.0, 4.0, 6.0]), np.array([1.0, 3.0, 2.0])
    found = effect_sizes(first, second)  # differences 1, 1, 4; variances 4 and 1
    assert found["d"] == pytest.approx(2 / np.sqrt(2.5))
    assert found["d_z"] == pytest.approx(2 / np.sqrt(3))
    assert found["hedges_g"] == pytest.approx(found["d"] * (1 - 3 / 15))


def test_effect_sizes_without_deviation():
    same = np.full(4, 0.5)
    assert effect_sizes(same, same) == {"d": 0, "d_z": 0, "hedges_g": 0}
    assert effect_sizes(same + 0.1, same)["d_z"] == np.inf


def test_intervals_enclose_the_mean_and_equal_the_libraries(random):
    values = random.normal(1, 2, size=12)
    low, high, kind = bootstrap_interval(values)
    assert low < values.mean() < high
    assert kind == "BCa"
    assert (low, high, kind) == bootstrap_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((expected.low, expected.high))
    assert bootstrap_interval(np.full(5, 0.3)) == (0.3, 0.3, "constant")


def test_interval_of_d_encloses_d_and_survives_constant_resamples(random):
    second = random.normal(size=5)
    first = second + 0.5 + 0.1 * random.normal(size=5)
    low, high = d_interval(first, second)
    assert low < effect_sizes(first, second)["d"] < high
    assert np.isnan(d_interval(np.ones(5), np.zeros(5))).all()


def test_interval_of_d_is_that_of_95_per_cent_of_resampled_pairs(random):
    second = random.normal(0, 3, size=15)
    first = second + random.normal(1, 1, size=15)

    def d(first, second, axis):
        return (first - second).mean(axis) / np.sqrt((first.var(axis, ddof=1) + second.var(axis, ddof=1)) / 2)

    expected = stats.bootstrap((first, second), d, paired=True, method="percentile", rng=0).confidence_interval
    assert d_interval(first, second) == pytest.approx(tuple(expected), abs=0.03 * (expected.high - expected.low))


def made_up(policies=("influence", "random"), gain=0.02, seeds=5):
    rows = []
    for seed in range(seeds):
        start = 0.8 + 0.001 * seed
        for policy in ("baseline", *policies):
            for iteration in [0] if policy == "baseline" else [1, 2]:
                change = (gain + 0.0003 * seed) * iteration if policy == "influence" else 0.0
                rows.append({
                    "dataset": "made", "model": "logistic", "noise": "0", "policy": policy, "seed": str(seed),
                    "iteration": str(iteration), "accuracy": str(start + change), "f1": str(start - change),
                    "val_accuracy": str(start + 2 * change), "selection_accuracy": str(start), "dcs": "0.1",
                    "helpful_share": "0.6", "harm_reduction": "0", "stationarity": "0", "n_train": "10",
                    "val_loss": "0.5", "selection_loss": "0.5", "test_loss": "0.5",
                    "removed": "1", "removed_flipped": "0", "solver_status": "converged",
                })  # fmt: skip
    return rows


def test_comparisons_pair_by_seed_whatever_the_order(random):
    rows = made_up()
    shuffled = [rows[i] for i in random.permutation(len(rows))]
    key = ("policy", "against", "metric")
    first, second = ({tuple(row[k] for k in key): row for row in comparison_rows(some)} for some in (rows, shuffled))
    assert first.keys() == second.keys()
    assert set(first) == {(p, a, m) for p, a in (("influence", "baseline"), ("influence", "random"),
                                                 ("random", "baseline")) for m in ("accuracy", "f1")}  # fmt: skip
    for which, row in first.items():
        assert row["mean_difference"] == pytest.approx(second[which]["mean_difference"])
    found = first["influence", "baseline", "accuracy"]
    assert found["mean_difference"] == pytest.approx(2 * (0.02 + 0.0006))
    assert found["p_one_sided"] == pytest.approx(1 / 32)
    assert first["influence", "baseline", "f1"]["p_one_sided"] == 1.0


def test_correction_is_over_one_policys_comparisons_with_one_other_and_says_so():
    found = comparison_rows(made_up())
    for policy, against in (("influence", "baseline"), ("influence", "random"), ("random", "baseline")):
        family = [row for row in found if (row["policy"], row["against"]) == (policy, against)]
        for side in ("one_sided", "two_sided"):
            expected = stats.false_discovery_control([row[f"p_{side}"] for row in family])
            assert [row[f"q_{side}"] for row in family] == pytest.approx(expected)
        name = f"gains of {policy} against {against} at noise 0: 2 comparisons"
        assert {row["family"] for row in family} == {name}


def two_sets(**options):
    """Two data sets and two models, the second data set's changes being halved."""
    rows = []
    for dataset, scale in (("one", 1.0), ("two", 0.5)):
        for model, shift in (("logistic", 0.0), ("neural", 0.01)):
            for row in made_up(gain=scale * (0.02 + shift), **options):
                rows.append({**row, "dataset": dataset, "model": model})
    return rows


def test_pooled_units_are_data_set_and_seed_with_models_averaged():
    found = {(row["policy"], row["against"], row["metric"]): row for row in pooled_rows(two_sets())}
    row = found["influence", "baseline", "accuracy"]
    assert row["n"] == 2 * 5
    by_hand = [2 * (gain + 0.0003 * seed) for gain in (0.025, 0.0125) for seed in range(5)]
    assert row["mean_difference"] == pytest.approx(np.mean(by_hand))
    assert (row["t_low"], row["t_high"]) == pytest.approx(t_interval(np.array(by_hand)))
    assert row["p_one_sided"] == row["smallest_p"] == pytest.approx(0.5**10)
    assert row["q_one_sided"] == pytest.approx(2 * row["p_one_sided"])  # of two gains, F1 being none
    optimism = found["influence", "baseline", "optimism"]  # a family of its own; validation gains twice what test gains
    assert optimism["mean_difference"] == pytest.approx(row["mean_difference"])


def test_rounds_pool_like_the_tests_of_the_last_round():
    rows = {(row["policy"], row["metric"], row["iteration"]): row for row in round_rows(two_sets())}
    last = next(row for row in pooled_rows(two_sets())
                if (row["policy"], row["against"], row["metric"]) == ("influence", "baseline", "accuracy"))  # fmt: skip
    assert rows["influence", "accuracy", 2].items() >= {key: last[key] for key in ("n", "t_low", "t_high")}.items()
    first = rows["influence", "accuracy", 1]["mean_difference"]
    assert first == pytest.approx(last["mean_difference"] / 2)


def test_safety_counts_runs_below_their_own_baseline():
    rows = two_sets()
    for row in rows:
        if row["policy"] == "random":
            row.update(removed="0", relabelled="0")
        if (row["policy"], row["dataset"], row["iteration"]) == ("random", "one", "2") and row["seed"] in "12":
            row["accuracy"] = str(float(row["accuracy"]) - 0.03)
            row["removed" if row["seed"] == "1" else "relabelled"] = "3"  # both are acts
    found = {row["policy"]: row for row in safety_rows(rows)}
    assert (found["influence"]["below"], found["influence"]["better_comparisons"]) == (0, 4)
    random = found["random"]
    assert (random["runs"], random["acted"], random["below"], random["below_share"]) == (20, 4, 4, 0.2)
    assert random["worst_change"] == pytest.approx(-0.03)
    assert random["mean_loss_where_below"] == pytest.approx(0.03)
    assert (random["worse_comparisons"], random["better_comparisons"]) == (0, 0)  # two seeds of five are no sure loss


def test_safety_counts_comparisons_whose_interval_lies_below_the_baseline():
    found = {row["policy"]: row for row in safety_rows(made_up(gain=-0.02))}["influence"]
    assert (found["worse_comparisons"], found["better_comparisons"], found["comparisons"]) == (1, 0, 1)


def test_tracking_is_the_mean_rank_correlation_within_runs():
    rows = two_sets()
    for row in rows:
        rises = row["dataset"] == "one"
        k = int(row["iteration"])
        row["dcs"], row["helpful_share"] = str(0.1 * k if rises else -0.1 * k), str(0.5)
    found = {row["score"]: row for row in tracking_rows(rows)}
    assert (found["dcs"]["n"], found["dcs"]["runs"], found["dcs"]["correlation"]) == (10, 20, pytest.approx(0))
    assert found["dcs"]["positive_share"] == 0.5
    assert found["iteration"]["runs"] == 20  # the number of the iteration, beside the scores
    assert (found["helpful_share"]["runs"], found["helpful_share"]["runs_without"]) == (0, 20)
    assert np.isnan(found["helpful_share"]["correlation"])


def test_missing_seeds_are_refused_by_name():
    rows = [row for row in made_up() if (row["policy"], row["seed"]) != ("influence", "3")]
    with pytest.raises(UserError, match="made, logistic, noise 0: influence and baseline have different seeds"):
        comparison_rows(rows)


def test_iterations_hold_means_changes_and_optimism():
    found = {(row["policy"], row["iteration"], row["metric"]): row for row in iteration_rows(made_up())}
    row = found["influence", "2", "accuracy"]
    assert row["change"] == pytest.approx(2 * (0.02 + 0.0006))
    assert row["mean"] == pytest.approx(0.802 + row["change"])
    assert row["change_low"] < row["change"] < row["change_high"]
    assert found["influence", "2", "optimism"]["mean"] == pytest.approx(row["change"])
    assert found["baseline", "0", "accuracy"]["change"] == 0
