"""Statistics against hand-worked cases and the libraries."""

import itertools

import numpy as np
import pytest
from scipy import stats

from datagradient.errors import UserError
from datagradient.statistics import (
    bootstrap_interval,
    compare,
    comparison_rows,
    d_interval,
    effect_sizes,
    iteration_rows,
    t_interval,
    wilcoxon_p,
)


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


def test_correction_is_over_the_whole_table_and_says_so():
    found = comparison_rows(made_up())
    p = np.array([row["p_one_sided"] for row in found])
    assert [row["q_one_sided"] for row in found] == pytest.approx(stats.false_discovery_control(p))
    assert {row["family"] for row in found} == {"all 6 comparisons of this table"}


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
