"""Conditions: human labels and how they are joined with images, wrong validation labels, and what jobs make of them."""

import functools
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import conftest
from conftest import finish, merged, write_preset
from datagradient.commands.main import main
from datagradient.data import sets
from datagradient.data.conditions import base_of, is_untrusted, rate_of
from datagradient.data.declared import human_labels_of, read_human_labels
from datagradient.data.fetch import SourceFile, checksum
from datagradient.data.human_labels import align, check_columns, read_columns
from datagradient.data.parquet import read_image_names
from datagradient.data.record import Dataset
from datagradient.data.splits import OWNED, SplitPlan, flip_labels, flipped_parts, split
from datagradient.errors import UserError
from datagradient.files import read_arrays, read_json, read_rows, write_arrays
from datagradient.metrics import measure
from datagradient.pipeline import layout
from datagradient.pipeline.config import model_settings, validate
from datagradient.pipeline.jobs import labels as label_jobs
from datagradient.pipeline.jobs import refinement
from datagradient.pipeline.jobs.models import held_out
from datagradient.pipeline.jobs.scores import load
from datagradient.pipeline.layout import Cell
from datagradient.refine.loop import refine

CLASSES = ("cat", "dog", "frog")
CLEAN = np.array([2, 0, 1, 1, 0, 2, 0, 1])
HUMAN = np.array([2, 1, 1, 0, 0, 2, 2, 1])
COLUMNS = {"clean_label": CLEAN, "worse_label": HUMAN}


def names_of(clean):
    """The name of the image at each position of CIFAR-10's own order."""
    return [f"train_{CLASSES[y]}_{(clean[:i] == y).sum():04d}.jpg" for i, y in enumerate(clean)]


def aligned(order=None, names=(), columns=COLUMNS, labels=None, is_shuffled=True):
    """The human labels of a made-up copy whose rows are those of `order`."""
    order = np.arange(len(CLEAN)) if order is None else order
    labels = CLEAN[order] if labels is None else labels
    return align(columns, labels, CLASSES, names or [None] * len(order), is_shuffled, "copy.parquet")


# Joining labels with images


def test_a_shuffled_copy_is_joined_by_the_names_of_its_images(random):
    order = random.permutation(len(CLEAN))
    names = [names_of(CLEAN)[i] for i in order]
    found = aligned(order, names)
    assert found.keys() == {"worse_label"}
    np.testing.assert_array_equal(found["worse_label"], HUMAN[order])


def test_without_names_rows_are_joined_by_position():
    np.testing.assert_array_equal(aligned(is_shuffled=False)["worse_label"], HUMAN)


def renamed(place, name):
    names = names_of(CLEAN)
    names[place] = name
    return names


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "copy.parquet: its rows are shuffled and the names of its images are missing"),
        ({"names": renamed(3, "image_3.jpg")}, r"row 3: 'image_3.jpg' is not like train_cat_0.jpg"),
        ({"names": renamed(3, "train_cow_0.jpg")}, r"row 3: 'train_cow_0.jpg' is not like .* cat, dog, frog"),
        ({"names": renamed(3, "test_dog_1.jpg")}, "row 3: 'test_dog_1.jpg' is not like"),
        ({"names": renamed(3, "train_dog_-1.jpg")}, "row 3: 'train_dog_-1.jpg' is not like"),
        ({"names": renamed(3, "train_dog_3.jpg")}, "row 3: 'train_dog_3.jpg': there are 3 images of this class"),
        ({"names": renamed(3, "train_dog_0.png")}, "'train_dog_0.png' is the name of row 2 and of row 3"),
        ({"names": renamed(3, None)}, "row 3 has no name, and other rows have one"),
        ({"names": names_of(CLEAN)[:-1], "order": np.arange(7)}, "the image train_dog_2 is missing"),
        ({"names": names_of(CLEAN), "labels": np.roll(CLEAN, 1)}, "row 0 is dog, and clean_label says frog"),
        ({"labels": np.roll(CLEAN, 1), "is_shuffled": False}, "row 0 is dog, and clean_label says frog"),
        ({"order": np.arange(7), "is_shuffled": False}, "has 7 training rows, and clean_label has 8"),
        ({"columns": {**COLUMNS, "worse_label": HUMAN + 1}}, "column worse_label: 3 in row 0 is none of the 3 classes"),
    ],
)
def test_rows_that_cannot_be_joined_are_refused_in_one_line(given, message):
    with pytest.raises(UserError, match=message) as caught:
        aligned(**given)
    assert "\n" not in str(caught.value)


# The file


def save(content, file):
    """Save as CIFAR-10N's file was saved: by an older NumPy, whose modules had other names."""
    torch.save(content, file, _use_new_zipfile_serialization=False)
    file.write_bytes(file.read_bytes().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))


def test_a_file_of_columns_is_read(tmp_path):
    save(COLUMNS, tmp_path / "human.pt")
    found = read_columns(tmp_path / "human.pt", ["worse_label"], 8)
    assert found.keys() == COLUMNS.keys()
    np.testing.assert_array_equal(found["worse_label"], HUMAN)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([HUMAN], "holds a list, and a dictionary of arrays is needed"),
        ({"clean_label": CLEAN}, "column worse_label is missing"),
        ({"worse_label": HUMAN}, "column clean_label is missing"),
        ({**COLUMNS, "best": HUMAN}, "column 'best' is unknown; it may have clean_label, worse_label"),
        ({**COLUMNS, "worse_label": HUMAN[:7]}, "column worse_label has 7 labels, and the data set has 8 training"),
        ({**COLUMNS, "worse_label": HUMAN.tolist()}, r"column worse_label is not an array \(n,\) of int64"),
        ({**COLUMNS, "worse_label": HUMAN[:, None]}, r"column worse_label is not an array \(n,\) of int64"),
        ({**COLUMNS, "worse_label": HUMAN.astype(float)}, "holds something else than a dictionary of arrays"),
        ({**COLUMNS, "path": Path("x")}, "holds something else than a dictionary of arrays"),
    ],
)
def test_a_file_of_something_else_is_refused_in_one_line(tmp_path, content, message):
    save(content, tmp_path / "human.pt")
    with pytest.raises(UserError, match=f"human.pt: {message}.*replace it") as caught:
        read_columns(tmp_path / "human.pt", ["worse_label"], 8)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["nothing", "text", "cut"])
def test_a_damaged_file_is_refused(tmp_path, damage):
    file = tmp_path / "human.pt"
    save(COLUMNS, file)
    file.write_bytes({"nothing": b"", "text": b"no pickle", "cut": file.read_bytes()[:300]}[damage])
    with pytest.raises(UserError, match=r"human.pt: holds something else"):
        read_columns(file, ["worse_label"], 8)
    with pytest.raises(UserError, match=r"no.pt: cannot be read \(No such file"):
        read_columns(tmp_path / "no.pt", ["worse_label"], 8)


def test_what_a_module_declares_is_read_without_importing_it(tmp_path):
    file = tmp_path / "made.py"
    file.write_text("import nothing_of_that_name\nHUMAN_LABELS = ('a', 'b_1')\n")
    assert read_human_labels(file) == ("a", "b_1")
    assert human_labels_of("digits") == ()
    for wrong in ("('a', 'a')", "'a'", "()", "('0.2',)", "('a-untrusted',)", "(1,)", "('a/b',)"):
        file.write_text(f"HUMAN_LABELS = {wrong}\n")
        with pytest.raises(UserError, match=r"made.py: HUMAN_LABELS is .* a tuple of different words"):
            read_human_labels(file)
    file.write_text("HUMAN_LABELS = tuple(names)\n")
    with pytest.raises(UserError, match=r"made.py: HUMAN_LABELS is read without running the file"):
        read_human_labels(file)


@pytest.mark.usefixtures("real_data")
def test_labels_of_real_images_are_as_often_wrong_as_published():
    from datagradient.data.sets import cifar10

    images = read_image_names(cifar10.TRAIN, cifar10.TEST)
    columns, source = sets.human_labels("cifar10")
    assert tuple(columns) == human_labels_of("cifar10")
    assert list(source) == [cifar10.HUMAN_FILE.path]
    wrong = {name: np.mean(labels[:50_000] != images.labels) for name, labels in columns.items()}
    assert [round(wrong[name], 3) for name in ("aggre_label", "random_label1", "worse_label")] == [0.09, 0.172, 0.402]
    assert all(len(labels) == 60_000 and (labels[50_000:] == -1).all() for labels in columns.values())


# Names and settings


def test_a_name_says_what_is_wrong():
    assert [rate_of(name) for name in ("0", "0.2", "0.2-untrusted", "worse_label", "worse_label-untrusted")] == [
        0, 0.2, 0.2, None, None,
    ]  # fmt: skip
    assert base_of("worse_label-untrusted") == base_of("worse_label") == "worse_label"
    assert is_untrusted("0.2-untrusted") and not is_untrusted("0.2")


PRESET = """
preset: mine
models: [logistic]
validation: [trusted, untrusted]
datasets:
  affairs:
  cifar10: {human_labels: [worse_label, aggre_label], models: {logistic: {l2: [0.1, 0.2, 0.3, 0.4]}}}
"""


def validated(folder, text):
    (folder / "mine.yaml").write_text(text)
    return validate(*merged(folder / "mine.yaml"))


def test_conditions_are_rates_then_people_then_the_same_with_wrong_validation_labels(tmp_path):
    config = validated(tmp_path, PRESET)
    images = ["0", "0.2", "worse_label", "aggre_label"]
    images += ["0.2-untrusted", "worse_label-untrusted", "aggre_label-untrusted"]
    assert layout.conditions(config, "cifar10") == images
    assert layout.conditions(config, "affairs") == ["0", "0.2", "0.2-untrusted"]
    assert layout.all_conditions(config) == ["0", "0.2", "0.2-untrusted", "worse_label", "aggre_label", *images[5:]]
    settings = [model_settings(config, "cifar10", "logistic", name)["l2"] for name in images]
    assert settings == [0.1, 0.2, 0.3, 0.4, 0.2, 0.3, 0.4]
    used = {(keys["dataset"], keys["noise"]) for keys in layout.grid(config)}
    tables = ("0", "0.2", "0.2-untrusted")
    assert used == {("cifar10", name) for name in images} | {("affairs", name) for name in tables}
    assert {keys["noise"] for keys in layout.rate_grid(config)} == {"0", "0.2"}
    assert {path.parts[-5] for path in layout.varied(config, "r", "fractions")} == {"noise-0", "noise-0.2"}
    assert {path.parts[-5] for path in layout.varied(config, "r", "sensitivity")} == {"noise-0.2"}


def test_a_preset_that_asks_for_nothing_is_as_before(tmp_path):
    config = validated(tmp_path, "preset: mine\ndatasets: {affairs: , cifar10: {human_labels: }}")
    assert "validation" not in config
    assert all("human_labels" not in options for options in config["datasets"].values())
    assert layout.all_conditions(config) == ["0", "0.2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("validation: [untrusted]", r"validation: \['untrusted'\] lacks trusted, which has to be one; add it"),
        ("validation: [trusted, some]", "validation.1: 'some' is not one of trusted, untrusted"),
        ("validation: [trusted, trusted]", "validation: .* is not a list without repeats"),
        ("validation: trusted", "validation: 'trusted' is not a list"),
        ("datasets: {cifar10: {human_labels: [best]}}", "cifar10.human_labels.0: 'best' is not one of aggre_label"),
        ("datasets: {cifar10: {human_labels: [worse_label, worse_label]}}", "human_labels: .* without repeats"),
        ("datasets: {cifar10: {human_labels: []}}", r"human_labels: \[\] is not a list .*, or null"),
        ("datasets: {digits: {human_labels: [worse_label]}}",
         "digits.human_labels: .* is not null, and nothing else is legal: data set digits has no human labels"),
        ("datasets: {cifar10: {human_labels: [worse_label], models: {logistic: {l2: [1, 2]}}}}",
         r"l2: \[1, 2\] is not one value for each condition of 0, 0.2, worse_label"),
        ("iterations: 100\nseeds: [0, 1]\nvalidation: [trusted, untrusted]\nnoise: [" + ", ".join(
            f"0.{i:03d}" for i in range(1, 50)) + "]", "conditions, policies, seeds and iterations make 235200 models"),
    ],
)  # fmt: skip
def test_mistakes_are_refused_in_one_line(tmp_path, text, message):
    given = f"preset: mine\nmodels: [logistic]\n{text}\n"
    with pytest.raises(UserError, match=f"mine.yaml: .*{message}") as caught:
        validated(tmp_path, given if "datasets" in given else given + "datasets: {affairs: , digits: }")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", layout.JOBS)
def test_data_sets_with_different_conditions_plan(clone, tmp_path, size):
    run = functools.partial(conftest.snakemake, config=PRESET + f"one_job: {size}\niterations: 1\nseeds: [0, 1]\n")
    planned = finish(run(clone, tmp_path, "results/mine/metrics.csv", "--dry-run", quiet=()))
    assert "cifar10/prepared/seed-1/noise-worse_label-untrusted/labels.npz" in planned
    assert "affairs/prepared/seed-0/noise-0.2-untrusted/labels.npz" in planned
    assert "affairs/prepared/seed-0/noise-worse_label" not in planned
    assert ("refine_logistic_2" in planned) == (size == "family")


# Labels


def test_flips_of_the_training_part_are_the_same_whether_or_not_validation_is_trusted(random):
    right = {part: random.integers(3, size=n) for part, n in zip(OWNED, (300, 60, 60), strict=True)}
    trusted, untrusted = (flipped_parts(right, 0.2, 3, 5, word) for word in (False, True))
    np.testing.assert_array_equal(trusted["train"], flip_labels(right["train"], 0.2, 3, 5)[0])
    np.testing.assert_array_equal(trusted["train"], untrusted["train"])
    for part in OWNED[1:]:
        assert trusted[part] is right[part]
        assert (untrusted[part] != right[part]).sum() == 12
    same = flip_labels(right["influence"], 0.2, 3, 5)[1]
    masks = [untrusted[part] != right[part] for part in OWNED[1:]]
    assert (masks[0] != masks[1]).any() and all((mask != same).any() for mask in masks)  # generators of their own


ROWS, TESTED = 360, 60
HUMAN_RATE = 0.3


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A data set with human labels from a file of its own: its right labels, those of people, and the file."""
    random = np.random.default_rng(3)
    right, is_test = np.arange(ROWS) % 3, np.arange(ROWS) >= ROWS - TESTED
    human = np.where(random.random(ROWS) < HUMAN_RATE, (right + 1) % 3, right)
    human[is_test] = -1
    file = tmp_path / "data/people/labels.csv"
    file.parent.mkdir(parents=True)
    pd.Series(human).to_csv(file, index=False, header=False)
    table = pd.DataFrame(right[:, None] + random.normal(size=(ROWS, 4)), columns=list("abcd"))
    module = types.ModuleType("datagradient.data.sets.affairs")  # in the place of one that presets may name
    module.__file__ = "affairs.py"
    module.HUMAN_FILE = SourceFile("people/labels.csv", "https://x.org", {f"sha256:{checksum(file, 'sha256')}": "x"})
    module.load = lambda: Dataset("affairs", "Made", "table", table, right, CLASSES, is_test)
    module.human_labels = lambda: {"worse": pd.read_csv(file, header=None)[0].to_numpy(), "other": right}
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("DATAGRADIENT_DATA", str(tmp_path / "data"))
    columns = {"affairs": ("worse", "other")}
    monkeypatch.setattr("datagradient.pipeline.config.human_labels_of", lambda name: columns.get(name, ()))
    config = validated_with(tmp_path, monkeypatch)
    return module, right, human, file, config


def validated_with(folder, monkeypatch):
    from datagradient.pipeline import config

    config._schema.cache_clear()
    monkeypatch.setattr(config, "_schema", functools.cache(config._schema.__wrapped__))
    return write_preset(folder, """
        preset: mine
        models: [logistic]
        noise: [0.0, 0.2]
        validation: [trusted, untrusted]
        datasets:
          digits: {max_development: 200, max_test: 100}
          affairs: {human_labels: [worse], models: {logistic: {l2: [0.01, 0.02, 0.03]}}}
        policies: [influence, uniform, guarded]
        seeds: [0, 1]
        iterations: 1
        """)  # fmt: skip


CONDITIONS = ["0", "0.2", "worse", "0.2-untrusted", "worse-untrusted"]
WITHOUT_PEOPLE = ["0", "0.2", "0.2-untrusted"]


@pytest.fixture
def run(made, tmp_path):
    """Prepared data and labels of every condition for seed 0: a cell by condition."""
    keys = ["--config", str(made[-1]), "--dataset", "affairs"]
    assert main(["prepare", *keys]) == 0
    for condition in CONDITIONS:
        assert main(["noise", *keys, "--noise", condition]) == 0
    return {condition: Cell(tmp_path, "affairs", "logistic", condition, 0) for condition in CONDITIONS}


def test_labels_are_those_that_the_owner_has(made, run):
    _, right, human, file, _ = made
    data, facts = read_arrays(run["0"].data)
    assert facts["human_labels"] == ["worse"]
    assert facts["source"] == {"people/labels.csv": f"sha256:{checksum(file, 'sha256')}"}
    assert str(file) in read_json(run["0"].data.with_name("read.json"))
    assert not any(name.startswith(("human_other", "human_worse_test")) for name in data)
    rows = {part: data[f"rows_{part}"] for part in OWNED}
    for condition, cell in run.items():
        arrays, about = read_arrays(cell.labels)
        found = {"train": arrays["labels"], "influence": arrays["labels_influence"],
                 "selection": arrays["labels_selection"]}  # fmt: skip
        for part in OWNED:
            wrong = part == "train" or condition.endswith("-untrusted")
            if not wrong or condition == "0":
                expected = right[rows[part]]
            elif "worse" in condition:
                expected = human[rows[part]]
            else:
                expected = flip_labels(right[rows[part]], 0.2, 3, 0, part)[0]
            np.testing.assert_array_equal(found[part], expected)
        np.testing.assert_array_equal(arrays["flipped"], found["train"] != right[rows["train"]])
        assert about["noise"] == {"0": 0.0, "0.2": 0.2}.get(condition, condition)
    trusted, untrusted = (read_arrays(run[name].labels)[0] for name in ("0.2", "0.2-untrusted"))
    for name in ("labels", "flipped"):
        assert trusted[name].tobytes() == untrusted[name].tobytes()


def test_scores_metrics_and_guard_see_the_labels_of_the_owner(made, run):
    config = read_json(made[-1])
    for condition, cell in run.items():
        refinement.refine(config, cell)
        owned, right = read_arrays(cell.labels)[0], read_arrays(cell.data)[0]
        predictions, facts = read_arrays(cell.file("predictions.npz"))
        metrics = read_json(cell.file("metrics.json"))["metrics"]
        assert facts["noise"] == {"0": 0.0, "0.2": 0.2}.get(condition, condition)
        assert facts["settings"]["l2"] == {"0": 0.01, "0.2": 0.02, "worse": 0.03}[base_of(condition)]
        for part, prefix in (("influence", "val_"), ("selection", "selection_")):
            np.testing.assert_array_equal(predictions[f"labels_{part}"], owned[f"labels_{part}"])
            values = measure(predictions[f"probabilities_{part}"], owned[f"labels_{part}"])
            assert {name: metrics[prefix + name] for name in values} == values
        np.testing.assert_array_equal(predictions["labels_test"], right["labels_test"])
        np.testing.assert_array_equal(load(config, cell).validation[1], owned["labels_influence"])
        after = read_arrays(cell.at(policy="influence", iteration=1).file("predictions.npz"))[0]
        losses = [measure(found["probabilities_selection"], owned["labels_selection"])["loss"]
                  for found in (predictions, after)]  # fmt: skip
        assert read_json(cell.guard)["selection_loss"] == pytest.approx(losses)
    trusted, untrusted = (read_arrays(run[name].file("scores.npz"))[0] for name in ("worse", "worse-untrusted"))
    np.testing.assert_array_equal(trusted["labels"], untrusted["labels"])
    assert np.abs(trusted["influence"] - untrusted["influence"]).max() > 1e-3


def test_what_is_collected_holds_every_condition(made, run, monkeypatch):
    config = made[-1]
    monkeypatch.chdir(config.parent)
    options = ["--config", "config.json"]
    assert main(["prepare", *options, "--dataset", "digits"]) == 0
    for dataset, conditions in {"digits": WITHOUT_PEOPLE, "affairs": CONDITIONS}.items():
        for condition in conditions:
            assert main(["noise", *options, "--dataset", dataset, "--noise", condition]) == 0
        assert main(["refine", *options, "--dataset", dataset, "--model", "logistic"]) == 0
    assert main(["collect", *options]) == 0 and main(["statistics", "--results", "."]) == 0
    for table, first in (("metrics.csv", 0), ("detection.csv", 1)):  # of labels that are known to be wrong
        found = {(row["dataset"], row["noise"]): None for row in read_rows(table)}
        expected = {"affairs": CONDITIONS[first:], "digits": WITHOUT_PEOPLE[first:]}
        assert list(found) == [(dataset, noise) for dataset, names in expected.items() for noise in names]
    for figure in ("accuracy", "f1", "controls", "contribution", "optimism", "detection", "influence", "effects"):
        assert main(["figure", figure, "--results", ".", "--out", "figures"]) == 0
    tables = "main controls effects tests rounds safety detection pooled tracking iterations"
    assert main(["table", *tables.split(), "--results", ".", "--out", "tables"]) == 0


def test_refining_in_memory_with_wrong_validation_labels_gives_what_the_jobs_write(made, run):
    cell, module = run["0.2-untrusted"], made[0]
    refinement.refine(read_json(made[-1]), cell)
    found = refine(module.load(), "logistic", policies=["influence", "uniform", "guarded"], noise=0.2,
                   validation="untrusted", seed=0, iterations=1, settings={"l2": 0.02})  # fmt: skip
    for step in found.steps:
        files = cell.at(policy=step.policy, iteration=step.iteration)
        arrays, facts = read_arrays(files.file("scores.npz"))
        np.testing.assert_array_equal(step.scored.arrays["influence"], arrays["influence"])
        assert step.trained.samples.facts == {name: facts[name] for name in step.trained.samples.facts}
    assert found.kept == read_json(cell.guard)["iteration"]
    with pytest.raises(UserError, match="validation is 'some'; legal: trusted, untrusted"):
        refine(module.load(), "logistic", validation="some")


def test_files_of_an_earlier_version_are_refused(made, run):
    cell = run["0.2"]
    arrays, facts = read_arrays(cell.labels, "labels", "flipped")
    write_arrays(cell.labels, facts, **arrays)
    with pytest.raises(UserError, match=r"labels.npz: has no labels_influence, .*; make it again with 'noise'$"):
        held_out(replace(cell))
    arrays = {**arrays, "labels_influence": arrays["labels"], "labels_selection": arrays["labels"]}
    write_arrays(cell.labels, facts, **arrays)
    with pytest.raises(UserError, match=r"labels.npz: was not made from .* make it again with 'noise'$"):
        held_out(cell)
    data, facts = read_arrays(cell.data)
    write_arrays(cell.data, {**facts, "human_labels": []}, **data)
    with pytest.raises(UserError, match=r"features.npz: has no human labels worse: make it again with 'prepare'$"):
        label_jobs.give_labels(cell.data, "worse", cell.labels)


def test_a_condition_that_the_data_set_does_not_have_is_refused(made, capsys):
    command = ["noise", "--config", str(made[-1]), "--dataset", "affairs", "--noise", "0-untrusted"]
    assert main(command) == 2
    assert f"has no noise 0-untrusted; it has {', '.join(CONDITIONS)}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "human_labels\\(\\) has no column worse"),
        ({"worse": np.zeros(3, int)}, r"column worse: int64 of shape \(3,\)"),
        ({"worse": np.zeros(ROWS)}, "column worse: float64"),
        ({"worse": np.full(ROWS, -1)}, "column worse: -1 in row 0, and 3 classes ask for 0 … 2"),
    ],
)
def test_human_labels_that_are_not_those_of_the_rows_are_refused(made, columns, message):
    with pytest.raises(UserError, match=f"data set affairs: .*{message}"):
        check_columns(columns, ["worse"], made[0].load())


def test_a_split_is_the_same_with_human_labels(made, run):
    expected = split(made[0].load(), 0, SplitPlan())
    data, _ = read_arrays(run["0"].data)
    for part, rows in expected.items():
        np.testing.assert_array_equal(data[f"rows_{part}"], rows)
