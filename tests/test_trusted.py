"""Repairs with few trusted labels, and labels checked by hand; families with fewer seeds than the others."""

import math

import pytest

from conftest import finish, snakemake, write_preset
from datagradient.commands.main import main
from datagradient.errors import UserError
from datagradient.evidence.trusted import COLUMNS, share_rows, write_shares
from datagradient.experiments import trusted
from datagradient.files import read_json, read_rows, write_rows
from datagradient.pipeline.layout import Cell, grid, varied
from datagradient.report.figures import write_figures
from datagradient.report.tables import write_tables

PRESET = """
preset: few
datasets: {digits: {max_development: 400, max_test: 100}}
models: [logistic, boosted]
policies: [influence]
noise: [0.0, 0.2]
validation: [trusted, untrusted]
seeds: [3, 4]
first_seeds: {boosted: 2}
trusted: {labels: [0, 20, 1000], checked: [10, 30], seeds: {logistic: 1, boosted: 1, neural: 1}}
"""


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    file = write_preset(folder, PRESET)
    keys = ["--config", str(file), "--dataset", "digits"]
    assert main(["prepare", *keys]) == 0 and main(["noise", *keys, "--noise", "0.2"]) == 0
    return folder, file, [*keys, "--model", "logistic", "--seed", "3"]


def test_ways_of_using_few_labels_remove_as_many_samples_and_checks_correct_as_many_as_they_say(preset):
    folder, file, keys = preset
    assert main(["trusted", *keys, "--noise", "0.2"]) == 0
    rows = read_json(Cell(folder, "digits", "logistic", "0.2", 3).file("trusted.json"))["rows"]
    found = {(row["way"], row["labels"]): row for row in rows}
    assert len(found) == len(rows) == 5 * 3 + 5 * 2
    assert {labels for way, labels in found if way == "crossfit"} == {0, 20, 80}  # 1000: all of both parts
    for labels in (0, 20, 80):
        counts = {found[way, labels]["removed"] for way in ("crossfit", "loss")}
        repair = found["repair", labels]
        assert counts == {repair["removed"] + repair["relabelled"]} and counts != {0}
        assert found["added", labels]["removed"] == 0
    assert found["influence", 0]["removed"] == 0 and found["influence", 80]["removed"] > 0
    assert found["influence", 0]["accuracy"] == found["added", 0]["accuracy"] == rows[0]["noisy"]
    checks = [row for row in rows if row["way"].startswith("check_")]
    # A checked label that was right stays as it is.
    assert {row["labels"] for row in checks} == {10, 30} and all(row["relabelled"] == row["labels"] for row in checks)
    assert varied(read_json(file), folder, "trusted") == [
        Cell(folder, "digits", model, "0.2", 3).file("trusted.json") for model in ("logistic", "boosted")
    ]


@pytest.mark.parametrize("condition", ["0", "0.2-untrusted"])
def test_trusted_labels_are_counted_where_training_labels_alone_are_wrong(preset, capsys, condition):
    folder, _, keys = preset
    assert main(["trusted", *keys, "--noise", condition]) == 2
    assert "--noise" in capsys.readouterr().err
    assert not Cell(folder, "digits", "logistic", condition, 3).file("trusted.json").exists()


def test_a_dear_family_may_have_the_first_seeds_alone():
    config = {"datasets": {"digits": {}}, "models": ["logistic", "boosted"], "noise": [0.2], "policies": ["influence"],
              "seeds": [5, 6, 7], "first_seeds": {"boosted": 2}, "iterations": 1}  # fmt: skip
    seeds = {(keys["model"], keys["seed"]) for keys in grid(config)}
    assert seeds == {("logistic", 5), ("logistic", 6), ("logistic", 7), ("boosted", 5), ("boosted", 6)}


SIZES = {(dataset, seed): {"training": 200, "validation": size}
         for dataset, size in (("one", 100), ("two", 40)) for seed in "01"}  # fmt: skip


def used(way, labels, accuracies, noisy, right, dataset="one", model="logistic", noise="0.2"):
    """Rows of trusted.csv, as texts, one for each seed; noisy, right: with the labels as they are, with right ones."""
    return [
        dict(zip(trusted.COLUMNS, map(str, (dataset, model, noise, seed, way, labels, 0, 0, *values)), strict=True))
        for seed, values in enumerate(zip(accuracies, noisy, right, strict=True))
    ]


# Gains over the noisy model, seed by seed: of logistic 0.05, 0.05 of 0.2, 0.1; of boosted 0.1, 0.1 of 0.1, 0.1.
LOGISTIC, BOOSTED = {"noisy": (0.6, 0.7), "right": (0.8, 0.8)}, {"noisy": (0.5, 0.5), "right": (0.6, 0.6)}


def found(rows):
    table = share_rows(rows, SIZES)
    assert all(tuple(row) == COLUMNS for row in table)
    return {tuple(row[name] for name in ("dataset", "model", "way", "labels")): row for row in table}


def test_a_share_is_a_ratio_of_sums_over_seeds_and_models():
    rows = used("repair", 20, (0.65, 0.75), **LOGISTIC) + used("repair", 20, (0.6, 0.6), **BOOSTED, model="boosted")
    table = found(rows)
    assert [key[1] for key in table] == ["pooled", "logistic", "boosted"]
    row = table["one", "logistic", "repair", "20"]
    assert (row["seeds"], row["noisy"], row["refined"], row["true_labels"]) == pytest.approx((2, 0.65, 0.7, 0.8))
    # A resample has the first seed twice, the second twice, or both: shares of 0.05 / 0.2, 0.05 / 0.1, or 0.1 / 0.3.
    assert (row["share"], row["low"], row["high"]) == pytest.approx((1 / 3, 0.25, 0.5))
    row = table["one", "pooled", "repair", "20"]
    assert (row["share"], row["low"], row["high"]) == pytest.approx((0.3 / 0.5, 0.15 / 0.3, 0.15 / 0.2))
    assert row["mean_labels"] == 20


def test_pooled_rows_are_over_numbers_of_labels_that_all_data_sets_have():
    rows = [*used("repair", 0, (0.65, 0.75), **LOGISTIC), *used("repair", 50, (0.65, 0.75), **LOGISTIC),
            *used("repair", 100, (0.7, 0.75), **LOGISTIC), *used("check_loss", 50, (0.7, 0.75), **LOGISTIC),
            *used("check_loss", 200, (0.8, 0.8), **LOGISTIC)]  # fmt: skip
    rows += [*used("repair", 0, (0.5, 0.5), **BOOSTED, dataset="two"),
             *used("repair", 40, (0.6, 0.6), **BOOSTED, dataset="two"),
             *used("check_loss", 50, (0.5, 0.55), **BOOSTED, dataset="two")]  # fmt: skip
    table = found(rows)
    assert [key[2:] for key in table if key[0] == "one" and key[1] == "logistic"] == [
        ("repair", "0"), ("repair", "50"), ("repair", "all"), ("check_loss", "50"), ("check_loss", "all"),
    ]  # fmt: skip
    pooled = [key[2:] for key in table if key[0] == "pooled"]
    assert pooled == [("repair", "0"), ("repair", "all"), ("check_loss", "50")]
    row = table["pooled", "pooled", "repair", "all"]
    assert (row["mean_labels"], row["share"]) == (70, pytest.approx((0.15 + 0.2) / (0.3 + 0.2)))
    assert table["pooled", "pooled", "check_loss", "50"]["share"] == pytest.approx((0.15 + 0.05) / (0.3 + 0.2))
    assert table["two", "pooled", "repair", "all"]["mean_labels"] == 40
    people = share_rows([row | {"noise": "worse_label"} for row in rows if row["dataset"] == "one"], SIZES)
    assert {row["dataset"] for row in people} == {"one"}  # one data set's rows are not said again as pooled


def test_where_right_labels_gain_nothing_there_is_no_share_and_of_one_seed_no_interval():
    row = found(used("repair", 20, (0.7, 0.6), (0.6, 0.6), (0.6, 0.6)))["one", "logistic", "repair", "20"]
    assert all(math.isnan(row[name]) for name in ("share", "low", "high")) and row["refined"] == pytest.approx(0.65)
    row = found(used("repair", 20, (0.65, 0.75), **LOGISTIC)[:1])["one", "logistic", "repair", "20"]
    assert row["share"] == pytest.approx(0.25) and math.isnan(row["low"]) and math.isnan(row["high"])


@pytest.fixture
def results(tmp_path):
    """trusted.csv of two data sets, one of which gains nothing by right labels, and of labels that people gave."""
    none = {"noisy": (0.6, 0.6), "right": (0.6, 0.6)}
    rows = []
    for way in ("crossfit", "repair", "loss", "influence", "added", *(f"check_{way}" for way in (
            "random", "harmful", "doubtful", "loss", "uncertain"))):  # fmt: skip
        for labels in (20, 200 if way.startswith("check_") else 100):
            rows += used(way, labels, (0.65, 0.75), **LOGISTIC) + used(way, 20, (0.6, 0.7), **none, dataset="two")
            rows += used(way, labels, (0.65, 0.75), **LOGISTIC, noise="worse_label")
    write_rows(tmp_path / "trusted.csv", trusted.COLUMNS, rows)
    data = [{"dataset": dataset, "title": dataset.title(), "seed": seed, "n_train": size["training"],
             "n_influence": size["validation"] // 2, "n_selection": size["validation"] // 2}
            for (dataset, seed), size in SIZES.items()]  # fmt: skip
    write_rows(tmp_path / "data.csv", list(data[0]), data)
    (tmp_path / "trusted.json").write_text('{"runs": [{"git_commit": "measured"}]}')
    (tmp_path / "provenance.json").write_text('{"git_commit": "c", "preset": "p", "config_hash": "h", "version": "1"}')
    return tmp_path


def test_tables_and_figures_show_the_shares(results):
    assert main(["trusted-shares", "--results", str(results)]) == 0
    write_tables(["trusted", "checked"], results, results / "tables")
    for name, title, most in (("trusted", "Trusted", "all (100)"), ("checked", "Checked", "all (200)")):
        table = read_rows(results / f"tables/{name}.csv")
        where = ("Labels", "Data set", "Model", title)
        assert [tuple(row[key] for key in where) for row in table] == [
            ("0.2", "pooled", "pooled", "20"),
            *(("0.2", "One", model, labels) for model in ("pooled", "logistic") for labels in ("20", most)),
            *(("0.2", "Two", model, "20") for model in ("pooled", "logistic")),
            *(("worse_label", "One", model, labels) for model in ("pooled", "logistic") for labels in ("20", most)),
        ]  # fmt: skip
        assert {row["Seeds"] for row in table} == {"2"}
        assert (table[1]["loss"], table[5]["loss"]) == ("0.33 [0.25, 0.50]", "–")
        assert "measured by measured" in (results / f"tables/{name}.md").read_text()
    write_figures(["trusted", "checked"], results, results / "figures")
    for name in ("trusted", "checked"):
        assert (results / f"figures/{name}.png").stat().st_size > 10_000


def test_a_seed_whose_sizes_are_unknown_is_named(results):
    rows = read_rows(results / "data.csv")
    write_rows(results / "data.csv", list(rows[0]), rows[:-1])
    with pytest.raises(UserError, match=r"data\.csv: has no two of seed 1, and trusted\.csv has; collect"):
        write_shares(results)
    assert not (results / "trusted_shares.csv").exists()


@pytest.mark.parametrize("asked", [True, False])
def test_a_preset_that_asks_for_trusted_labels_plans_their_tables_and_figures(clone, tmp_path, asked):
    config = PRESET if asked else PRESET[: PRESET.index("trusted: {")]
    plan = finish(snakemake(clone, tmp_path, "all", "experiments", "--dry-run", config=config, quiet=()))
    made = [f"{folder}/few/{name}.{kind}" for folder, kind in (("paper_tables", "md"), ("figures", "pdf"))
            for name in ("trusted", "checked")]  # fmt: skip
    assert [name in plan for name in (*made, "rule trusted_shares:")] == [asked] * 5
    assert plan.count("rule trusted:") == 2 * asked  # a seed, two families
