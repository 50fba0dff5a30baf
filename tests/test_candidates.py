"""The development benchmark's summaries and table, against numbers worked by hand."""

import math

import pytest

from datagradient.evidence.candidates import summaries
from datagradient.files import write_json, write_rows
from datagradient.report.benchmark_tables import policies
from datagradient.report.tables import write_tables

COLUMNS = ("dataset", "model", "condition", "seed", "candidate", "samples", "removed", "relabelled", "precision",
           "trainings", "accuracy", "noisy", "true_labels", "oracle_removal")  # fmt: skip
IDEAL = (0.70, 0.80, 0.75)  # of noisy labels, true labels, oracle removal


def rows(candidate, accuracies, model="logistic", dataset="one", condition="0.2", ideal=IDEAL, precision=0.5,
         trainings=7.0, removed=30, relabelled=10):  # fmt: skip
    """Rows of policies.csv, as text, one for each seed."""
    values = [(dataset, model, condition, seed, candidate, 200, removed, relabelled, precision, trainings, accuracy,
               *ideal) for seed, accuracy in enumerate(accuracies)]  # fmt: skip
    return [dict(zip(COLUMNS, map(str, row), strict=True)) for row in values]


def two_cells():
    """Gains of 0.05 of 0.10 possible over two seeds (0.02 and 0.08), and of 0.01 of 0.02 over one."""
    return [
        *rows("both", [0.72, 0.78]),
        *rows("both", [0.61], model="boosted", ideal=(0.60, 0.62, 0.64), precision=1.0, trainings=9.0, removed=0,
              relabelled=20),
    ]  # fmt: skip


def test_a_pooled_share_is_a_ratio_of_sums_of_means_over_seeds():
    (found,) = summaries(two_cells())
    assert (found.condition, found.candidate, found.seeds) == ("0.2", "both", (2, 1))
    assert found.pooled.share == pytest.approx(0.06 / 0.12)
    assert found.pooled.share_of_oracle == pytest.approx(0.06 / 0.09)
    assert found.pooled.change == pytest.approx(0.03)
    assert {model: pool.share for model, pool in found.by_family.items()} == pytest.approx(
        {"logistic": 0.5, "boosted": 0.5}
    )
    assert found.by_family["boosted"].share_of_oracle == pytest.approx(0.25)
    assert (found.precision, found.trainings) == pytest.approx((0.75, 8.0))
    assert (found.removed, found.relabelled) == pytest.approx(((0.15 + 0) / 2, (0.05 + 0.1) / 2))


def test_the_largest_share_comes_first_and_of_published_labels_the_largest_change():
    published = {"condition": "0", "ideal": (0.7, 0.7, 0.7), "precision": ""}
    table = [*rows("little", [0.71]), *rows("harm", [0.69]), *rows("much", [0.79]), *rows("much", [0.69], **published),
             *rows("little", [0.70], **published)]  # fmt: skip
    found = [(one.condition, one.candidate) for one in summaries(table)]
    assert found == [("0", "little"), ("0", "much"), ("0.2", "much"), ("0.2", "little"), ("0.2", "harm")]
    first = summaries(table)[0]
    assert all(map(math.isnan, (first.pooled.share, first.pooled.share_of_oracle, first.precision)))


def test_a_row_that_stands_there_twice_counts_once():
    (found,) = summaries([*rows("twice", [0.9]), *rows("twice", [0.75])])
    assert (found.pooled.share, found.seeds) == (pytest.approx(0.5), (1,))


def test_precision_leaves_out_runs_that_touch_nothing():
    (found,) = summaries([*rows("one", [0.7], precision=""), *rows("one", [0.7], dataset="two", precision=0.4)])
    assert found.precision == pytest.approx(0.4)


def test_the_table_shows_shares_points_and_where_it_comes_from(tmp_path):
    table = [*two_cells(), *rows("trees", [0.69], model="boosted", trainings=2.0),
             *rows("both", [0.7012], condition="0", ideal=(0.7, 0.7, 0.7), precision="")]  # fmt: skip
    write_rows(tmp_path / "policies.csv", list(COLUMNS), table)
    published, both, trees = policies(tmp_path)
    assert (published["Recovered"], published["logistic"], published["boosted"]) == ("+0.12 points",) * 2 + ("",)
    assert (published["Of oracle removal"], published["Precision [%]"]) == ("–", "–")
    assert [both[name] for name in ("Recovered", "Of oracle removal", "boosted", "Trainings", "Seeds")] == [
        "0.50", "0.67", "0.50", "8.0", "1–2"]  # fmt: skip
    assert (both["Removed [%]"], both["Relabelled [%]"], both["Data sets × models"]) == ("7.50", "7.50", 2)
    assert [trees[name] for name in ("Recovered", "logistic", "boosted", "Seeds")] == ["-0.10", "", "-0.10", "1"]
    facts = {"preset": "made up", "config_hash": "0123", "version": "1", "git_commit": "abcd"}
    write_json(tmp_path / "policies.json", facts)
    write_tables(["policies"], tmp_path, tmp_path / "tables")
    text = (tmp_path / "tables/policies.md").read_text()
    assert "preset made up, configuration 0123, version 1, abcd" in text
