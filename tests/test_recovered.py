"""The recovered share against numbers worked by hand."""

import math

import numpy as np
import pytest

from datagradient.errors import UserError
from datagradient.evidence.comparisons import analyse
from datagradient.evidence.recovered import COLUMNS, recovered_rows
from datagradient.files import read_rows, write_rows
from datagradient.refine.crossfit import FOLDS, CrossFit
from datagradient.refine.policies import POLICIES
from datagradient.refine.repair import DECISIONS, Evidence
from datagradient.report.figures import write_figures
from datagradient.report.tables import write_tables

IN_ROUNDS = ("influence", "guarded", "random", "uniform", "loss", "gradient", "confident")
ENDS = {"baseline": 0, **dict.fromkeys(IN_ROUNDS, 3)}


def models(accuracies, noise="0.2", dataset="one", model="logistic", seeds=(0, 1, 2), seconds=1.0):
    """Rows of metrics.csv; accuracies by policy, one number or one for each seed. Earlier rounds are far off."""
    rows = []
    for policy, values in accuracies.items():
        end = ENDS.get(policy, 1)
        for seed, value in zip(seeds, np.broadcast_to(values, len(seeds)), strict=True):
            for iteration in range(min(1, end), end + 1):
                rows.append({
                    "dataset": dataset, "model": model, "noise": noise, "policy": policy, "seed": str(seed),
                    "iteration": str(iteration), "accuracy": str(value if iteration == end else 0.1),
                    "train_seconds": str(seconds * (1 + 0.1 * (seed - seeds[0]))),
                })  # fmt: skip
    return rows


NOISY, RIGHT = {"baseline": 0.7}, {"true_labels": 0.8, "oracle_removal": 0.78}


def found(rows):
    keys = ("dataset", "model", "condition", "validation", "policy")
    return {tuple(row[key] for key in keys): row for row in recovered_rows(rows)}


def test_a_share_is_a_ratio_of_sums_over_seeds_at_each_policys_end():
    rows = models({"baseline": [0.7, 0.6, 0.5], "influence": [0.71, 0.62, 0.56], "crossfit": [0.74, 0.65, 0.55],
                   "true_labels": [0.8, 0.7, 0.7], "oracle_removal": [0.8, 0.66, 0.68]})  # fmt: skip
    row = found(rows)["one", "logistic", "0.2", "trusted", "influence"]
    assert tuple(row) == COLUMNS
    assert (row["seeds"], row["noisy"], row["refined"]) == (3, pytest.approx(0.6), pytest.approx(0.63))
    assert (row["true_labels"], row["oracle_removal"]) == (pytest.approx(2.2 / 3), pytest.approx(2.14 / 3))
    assert row["share"] == pytest.approx(0.09 / 0.4)  # the mean of the three shares would be 0.2
    assert row["share_of_oracle"] == pytest.approx(0.09 / 0.34)
    assert 0.1 <= row["low"] < row["share"] < row["high"] <= 0.3 + 1e-12  # the shares of single seeds
    assert found(rows)["one", "logistic", "0.2", "trusted", "crossfit"]["share"] == pytest.approx(0.14 / 0.4)
    right, oracle = (found(rows)["one", "logistic", "0.2", "trusted", name] for name in RIGHT)
    assert (right["share"], right["low"], right["high"]) == pytest.approx((1, 1, 1))
    assert oracle["share"] == pytest.approx(0.34 / 0.4)
    assert (oracle["share_of_oracle"], oracle["oracle_low"], oracle["oracle_high"]) == pytest.approx((1, 1, 1))


def test_the_interval_is_the_percentile_bootstrap_of_the_ratio():
    random = np.random.default_rng(5)
    noisy, seeds = 0.7 + 0.01 * random.normal(size=20), range(20)
    gain, right = 0.04 + 0.02 * random.normal(size=20), 0.1 + 0.02 * random.normal(size=20)
    rows = models({"baseline": noisy, "influence": noisy + gain, "true_labels": noisy + right}, seeds=seeds)
    row = found(rows)["one", "logistic", "0.2", "trusted", "influence"]
    drawn = random.integers(20, size=(20_000, 20))
    expected = np.quantile(gain[drawn].sum(1) / right[drawn].sum(1), [0.025, 0.975])
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected), abs=0.05 * np.ptp(expected))
    assert str(found(rows)) == str(found(rows))  # the same draws each time


def test_the_interval_of_constant_gains_is_their_share():
    row = found(models(NOISY | {"influence": 0.75} | RIGHT))["pooled", "pooled", "0.2", "trusted", "influence"]
    assert (row["share"], row["low"], row["high"]) == pytest.approx((0.5, 0.5, 0.5))
    assert (row["oracle_low"], row["oracle_high"]) == pytest.approx((5 / 8, 5 / 8))


def test_pooled_rows_come_first_and_sum_over_data_sets_and_models():
    rows = models(NOISY | {"influence": 0.75} | RIGHT)
    rows += models({"baseline": 0.5, "influence": 0.5, "true_labels": 0.8, "oracle_removal": 0.7}, dataset="two",
                   model="boosted")  # fmt: skip
    table = recovered_rows(rows)
    assert [row["dataset"] for row in table] == ["pooled"] * 3 + ["one"] * 3 + ["two"] * 3
    row = table[0]
    assert (row["model"], row["policy"], row["seeds"]) == ("pooled", "influence", 3)
    assert (row["noisy"], row["refined"], row["true_labels"]) == pytest.approx((0.6, 0.625, 0.8))
    assert (row["share"], row["share_of_oracle"]) == pytest.approx((0.05 / 0.4, 0.05 / 0.28))


def test_seeds_are_resampled_for_all_cells_of_a_seed_together():
    """What one cell gains in a seed the other loses in the same seed: together they always gain the same."""
    gains = np.array([0.09, 0.01, -0.03])
    rows = models({"baseline": 0.7, "influence": 0.7 + gains, "true_labels": 0.8})
    rows += models({"baseline": 0.7, "influence": 0.75 - gains, "true_labels": 0.8}, dataset="two")
    row = found(rows)["pooled", "pooled", "0.2", "trusted", "influence"]
    assert (row["share"], row["low"], row["high"]) == pytest.approx((0.25, 0.25, 0.25))


def test_families_may_have_different_seeds():
    """Each cell keeps as many seeds as it has: 3 of one family, 5 of the other, whose gains are constant."""
    rows = models(NOISY | {"influence": 0.75} | RIGHT, seeds=(0, 1, 2))
    rows += models(NOISY | {"influence": 0.70} | RIGHT, model="boosted", seeds=(0, 1, 2, 3, 4))
    row = found(rows)["pooled", "pooled", "0.2", "trusted", "influence"]
    assert row["seeds"] == 5
    assert (row["share"], row["low"], row["high"]) == pytest.approx((0.05 / 0.2,) * 3)
    assert (row["noisy"], row["refined"]) == pytest.approx((0.7, 0.725))


def test_an_untrusted_condition_takes_the_ideal_models_from_its_trusted_twin():
    rows = models(NOISY | {"influence": 0.75} | RIGHT, noise="worse_label")
    rows += models(NOISY | {"influence": 0.72, "uniform": 0.69}, noise="worse_label-untrusted")
    table = found(rows)
    assert {key[3:] for key in table if key[0] == "one"} == {
        ("trusted", "influence"), ("trusted", "true_labels"), ("trusted", "oracle_removal"),
        ("untrusted", "influence"), ("untrusted", "uniform"),
    }  # fmt: skip
    row = table["one", "logistic", "worse_label", "untrusted", "influence"]
    assert (row["share"], row["share_of_oracle"]) == pytest.approx((0.2, 0.25))
    assert (row["true_labels"], row["oracle_removal"]) == pytest.approx((0.8, 0.78))
    assert table["one", "logistic", "worse_label", "untrusted", "uniform"]["share"] == pytest.approx(-0.1)


def test_without_the_models_of_right_labels_or_without_wrong_labels_there_is_no_row():
    assert recovered_rows(models(NOISY | {"influence": 0.75, "oracle_removal": 0.78})) == []
    assert recovered_rows(models(NOISY | {"influence": 0.75} | RIGHT, noise="0")) == []
    half = models(NOISY | {"influence": 0.75} | RIGHT) + models(NOISY | {"influence": 0.75}, dataset="two")
    assert {row["dataset"] for row in recovered_rows(half)} == {"pooled", "one"}


def test_without_oracle_removal_its_columns_are_nan_and_the_others_stand():
    row = found(models(NOISY | {"influence": 0.75, "true_labels": 0.8}))[
        "one", "logistic", "0.2", "trusted", "influence"
    ]
    assert row["share"] == pytest.approx(0.5)
    assert all(math.isnan(row[name]) for name in ("oracle_removal", "share_of_oracle", "oracle_low", "oracle_high"))


@pytest.mark.parametrize("right", [0.7, 0.65])
def test_where_right_labels_gain_nothing_there_is_no_share(right):
    rows = models(NOISY | {"influence": 0.75, "true_labels": right})
    row = found(rows)["one", "logistic", "0.2", "trusted", "influence"]
    assert all(math.isnan(row[name]) for name in ("share", "low", "high"))
    assert row["refined"] == pytest.approx(0.75)


def test_where_right_labels_may_gain_nothing_there_is_no_interval():
    rows = models(NOISY | {"influence": 0.75, "true_labels": [0.8, 0.69, 0.69]})
    row = found(rows)["one", "logistic", "0.2", "trusted", "influence"]
    assert row["share"] == pytest.approx(0.15 / 0.08)
    assert math.isnan(row["low"]) and math.isnan(row["high"])


def test_different_seeds_of_models_that_are_compared_are_refused_by_name():
    rows = models(NOISY | {"influence": 0.75}) + models(RIGHT, seeds=(0, 1))
    with pytest.raises(UserError, match=r"one, logistic, noise 0\.2: baseline and true_labels have different seeds"):
        recovered_rows(rows)
    rows = models(NOISY | {"influence": 0.75, "true_labels": 0.8}) + models({"oracle_removal": 0.8}, seeds=(0, 1))
    with pytest.raises(UserError, match=r"one, logistic, noise 0\.2: baseline and oracle_removal have different seeds"):
        recovered_rows(rows)


def test_trainings_count_folds_in_units_of_the_familys_own_training():
    once = ("crossfit", "repair", "crossfit_loss", "crossfit_uniform")
    policies = dict.fromkeys(("influence", "guarded", "uniform", "confident", *once), 0.75)
    rows = models(NOISY | policies | RIGHT, seconds=1.0) + models(
        NOISY | policies | RIGHT, model="boosted", seconds=4.0
    )
    rows += models(NOISY | policies | RIGHT, model="neural", seconds=10.0)

    def trainings(dataset, model):
        return {key[4]: row["trainings"] for key, row in found(rows).items() if key[:2] == (dataset, model)}

    plain = {"influence": 4, "guarded": 4, "uniform": 4, "confident": 4 + FOLDS, "true_labels": 1, "oracle_removal": 1,
             **dict.fromkeys(once, 2 + FOLDS)}  # fmt: skip
    assert trainings("one", "logistic") == plain
    assert trainings("one", "boosted") == pytest.approx(plain | {"repair": 2 + FOLDS * (1 + 1 / 4)})
    assert trainings("one", "neural") == pytest.approx(plain | {"repair": 2 + FOLDS * (1 + 5 / 10)})
    assert trainings("pooled", "pooled")["repair"] == pytest.approx(2 + FOLDS * (3 + 0.75) / 3)


def test_a_policy_says_rightly_whether_cheaper_families_count(random):
    right = np.arange(400) % 2
    labels = np.where(random.random(400) < 0.3, 1 - right, right)

    def judged(sharpness):
        one = np.clip(0.5 + sharpness * (right - 0.5) + 0.2 * random.normal(size=400), 0.02, 0.98)
        both = np.stack([1 - one, one], axis=1)
        return CrossFit(both, 0.5 - both, both, right, {})

    own, cheaper = judged(0.6), judged(0.9)
    for name, decide in DECISIONS.items():
        if POLICIES[name].ideal:
            continue
        alone, both = (decide(Evidence(labels, parts, True, False, 0)) for parts in ([own], [own, cheaper]))
        same = np.array_equal(alone.positions, both.positions) and np.array_equal(alone.relabelled, both.relabelled)
        assert same == (not POLICIES[name].joint), name


def test_statistics_write_the_table_and_report_shows_it(tmp_path, monkeypatch):
    monkeypatch.setattr("datagradient.evidence.comparisons.TABLES", {})
    rows = models(NOISY | {"influence": [0.74, 0.75, 0.77]} | RIGHT)
    rows += models(NOISY | {"influence": 0.72}, noise="0.2-untrusted")
    rows += models({"baseline": 0.7, "influence": 0.75, "true_labels": 0.7, "oracle_removal": 0.7}, dataset="two")
    write_rows(tmp_path / "metrics.csv", list(rows[0]), rows)
    analyse(tmp_path / "metrics.csv")
    assert tuple(read_rows(tmp_path / "recovered.csv")[0]) == COLUMNS
    titles = [{"dataset": name, "title": name.title()} for name in ("one", "two")]
    write_rows(tmp_path / "data.csv", ["dataset", "title"], titles)
    (tmp_path / "provenance.json").write_text('{"git_commit": "c", "preset": "p", "config_hash": "h", "version": "1"}')
    write_tables(["recovered"], tmp_path, tmp_path / "tables")
    table = read_rows(tmp_path / "tables/recovered.csv")
    where = ("Labels", "Validation", "Data set", "Model")
    assert [tuple(row[key] for key in where) for row in table] == [
        ("0.2", "trusted", "pooled", "pooled"), ("0.2", "trusted", "One", "logistic"),
        ("0.2", "trusted", "Two", "logistic"), ("0.2", "untrusted", "pooled", "pooled"),
        ("0.2", "untrusted", "One", "logistic"),
    ]  # fmt: skip
    assert table[1]["influence"].startswith("0.53 [0.")
    assert (table[2]["influence"], table[4]["influence"], table[4]["oracle_removal"]) == ("–", "0.20 [0.20, 0.20]", "")
    write_figures(["recovered"], tmp_path, tmp_path / "figures")
    assert (tmp_path / "figures/recovered.png").stat().st_size > 10_000


def test_statistics_without_a_share_write_a_table_without_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("datagradient.evidence.comparisons.TABLES", {})
    rows = models(NOISY | {"influence": 0.75})
    write_rows(tmp_path / "metrics.csv", list(rows[0]), rows)
    analyse(tmp_path / "metrics.csv")
    assert (tmp_path / "recovered.csv").read_text() == f"{','.join(COLUMNS)}\n"
