"""Scoring in shards gives the bytes of one pass."""

import shutil

import pytest

from conftest import write_preset
from datagradient.commands.main import main
from datagradient.commands.options import shard
from datagradient.errors import UserError
from datagradient.files import read_json
from datagradient.influence.glm import ROWS
from datagradient.models import declared
from datagradient.models.neural import SCORING_BATCH
from datagradient.pipeline.jobs import models, refinement, scores
from datagradient.pipeline.layout import Cell, modules, solver_for
from datagradient.pipeline.scoring import gather_shards, shard_of

LOGISTIC = {"l2": 0.001, "tolerance": 1e-6, "max_iterations": 10000}
BOOSTED = {"rounds": 10, "depth": 3, "learning_rate": 0.3, "subsample": 0.5, "columns": 0.5, "max_features": 100,
           "l2": 1.0, "max_bins": 32}  # fmt: skip
NEURAL = {"network": "small", "width": 8, "vocabulary": 1000, "epochs": 1, "batch_size": 64, "learning_rate": 0.01,
          "weight_decay": 0.05, "averaging": 0, "precision": "float32"}  # fmt: skip
CG = {"name": "cg", "damping": 0.1, "tolerance": 1e-4, "max_iterations": 100, "samples": 500}
CASES = {
    "logistic": ("logistic", LOGISTIC, {**CG, "samples": None}),
    "boosted": ("boosted", BOOSTED, CG),
    "last layer": ("neural", NEURAL, {**CG, "parameters": "last"}),
    "from a record": ("neural", NEURAL, {**CG, "name": "record", "parameters": "last"}),
    "from an aged record": ("neural", {**NEURAL, "learning_rate": 0.3}, {**CG, "name": "record", "parameters": "last"}),
    "all layers": ("neural", NEURAL, {**CG, "parameters": "all"}),
}
OTHERS = [declared(name) for name in modules("models") if name not in ("logistic", "boosted", "neural")]
CASES |= {family.name: (family.name, family.defaults, solver_for(family.solver, "table")) for family in OTHERS}
PRESET = f"preset: p\nmodels: [{', '.join(modules('models'))}]\nnoise: [0.2]\nseeds: [0, 1]\ndatasets: {{affairs: }}\n"


@pytest.fixture(scope="module")
def affairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("affairs")
    config = str(write_preset(folder, PRESET))
    assert main(["prepare", "--config", config, "--dataset", "affairs"]) == 0
    assert main(["noise", "--config", config, "--dataset", "affairs", "--noise", "0.2"]) == 0
    return folder


@pytest.mark.parametrize("case", CASES)
def test_shards_give_the_bytes_of_one_pass(affairs, case):
    model, settings, solver = CASES[case]
    config = read_json(affairs / "config.json")
    config["datasets"]["affairs"]["models"][model] = settings
    config["model_settings"][model]["solver"] = solver
    cell, count = Cell(affairs, "affairs", model, "0.2", 0), 3
    models.train(config, cell)
    scores.score(config, cell)
    whole, expected = cell.file("scores.npz").read_bytes(), read_json(cell.file("influence.json"))
    scores.direction(config, cell)
    for number in (1, 0, 2):
        scores.project(config, cell, number, count)
    scores.gather(cell, count)
    assert cell.file("scores.npz").read_bytes() == whole
    found = read_json(cell.file("influence.json"))
    for record in (expected, found):
        assert record.pop("seconds").keys() == {"setup", "val_gradient", "solve", "projection"}
        record.pop("other_scores_seconds")
    assert found == expected
    shards = [scores.shard_file(cell, number, count) for number in range(count)]
    for wrong in (shards[1:], [shards[0], *shards]):  # one is missing, one there twice
        with pytest.raises(UserError, match="the shards are not all samples"):
            gather_shards(cell.file("direction.npz"), wrong, cell.file("scores.npz"))


@pytest.mark.parametrize(("n", "count"), [(1, 4), (ROWS, 2), (10 * ROWS + 1, 3), (25_000, 4)])
def test_shards_are_all_samples_from_multiples_of_the_block_on(n, count):
    every = [shard_of(n, number, count) for number in range(count)]
    assert [row for rows in every for row in range(n)[rows]] == list(range(n))
    assert all(rows.start % ROWS == 0 for rows in every if rows.start < rows.stop)
    assert all(ROWS % batch == 0 for batch in SCORING_BATCH.values())


def test_a_shard_is_one_of_so_many():
    assert shard("2-of-5") == (1, 5)
    for wrong in ("0-of-5", "6-of-5", "1", "a-of-b"):
        with pytest.raises(Exception, match="is not like 1-of-4"):
            shard(wrong)


@pytest.mark.parametrize("parameters", ["last", "projected"])
def test_a_job_of_all_steps_gives_the_bytes_of_single_steps_from_a_record(affairs, tmp_path, parameters):
    config = {**read_json(affairs / "config.json"), "policies": ["influence"], "iterations": 1}
    config["datasets"]["affairs"]["models"]["neural"] = {**NEURAL, "epochs": 4}
    config["model_settings"]["neural"]["solver"] = {**CG, "name": "record", "parameters": parameters}
    found = []
    for folder in ("steps", "job"):
        shutil.copytree(affairs / "affairs/prepared", tmp_path / folder / "affairs/prepared")
        cell = Cell(tmp_path / folder, "affairs", "neural", "0.2", 0)
        if folder == "job":
            refinement.refine(config, cell)
        else:
            models.train(config, cell)
            scores.score(config, cell)
        found.append(cell.file("scores.npz").read_bytes())
        assert read_json(cell.file("influence.json"))["solver"]["note"] == ""
    assert found[0] == found[1]
