"""Repairs with few trusted labels, and labels checked by hand; families with fewer seeds than the others."""

import pytest

from conftest import write_preset
from datagradient.commands.main import main
from datagradient.files import read_json
from datagradient.pipeline.layout import Cell, grid, varied

PRESET = """
preset: few
datasets: {digits: {max_development: 400, max_test: 100}}
models: [logistic, boosted]
policies: [influence]
noise: [0.0, 0.2]
validation: [trusted, untrusted]
seeds: [3, 4]
first_seeds: {boosted: 2}
trusted: {labels: [0, 20, 1000], checked: [10, 30], seeds: 1}
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
