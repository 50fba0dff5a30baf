"""The scripts in benchmarks/ and tools/, as far as they run without hours of work."""

import ast
import importlib
import runpy
import shutil
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from conftest import REPOSITORY, blobs, write_preset
from datagradient.commands.main import main
from datagradient.errors import UserError
from datagradient.files import read_rows, write_json, write_rows
from datagradient.influence.solvers import AgedRecord
from datagradient.models import declared, family
from datagradient.pipeline.config import read_validated
from datagradient.pipeline.layout import Cell
from datagradient.report.tables import TABLES, write_tables

SCRIPTS = [path for folder in ("benchmarks", "tools") for path in sorted((REPOSITORY / folder).glob("*.py"))]
NANO = """
preset: nano
models: [logistic, boosted]
seeds: [0, 1]
iterations: 1
noise: [0.2]
policies: [influence]
datasets: {affairs: {max_development: 300, max_test: 100}}
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_script_takes_from_the_package_exists(script, monkeypatch):
    """Its imports, those inside functions too, and the attributes of modules."""
    monkeypatch.syspath_prepend(str(script.parent))
    names = runpy.run_path(str(script), run_name="not main")
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("datagradient"):
            exec(ast.unparse(node), {})
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = names.get(node.value.id)
            if isinstance(module, ModuleType) and module.__name__.startswith("datagradient"):
                assert hasattr(module, node.attr), ast.unparse(node)


@pytest.mark.parametrize("family", ["logistic", "boosted"])
def test_memory_is_measured_of_training_and_of_scoring(family, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    from memory import peak_mib

    config = write_preset(tmp_path, NANO)
    for step in ("prepare", "noise --noise 0.2"):
        command, *options = step.split()
        assert main([command, "--config", str(config), "--dataset", "affairs", "--seed", "0", *options]) == 0
    cell, model = Cell(tmp_path, "affairs", family, "0.2", 0), tmp_path / "memory/model.npz"
    files = {"data": cell.data, "labels": cell.labels}
    settings = read_validated(config)["datasets"]["affairs"].get("models", {}).get(family) or declared(family).defaults
    trained = peak_mib("train", name=family, settings=settings, out=model, **files)
    scored = peak_mib("score", name=family, solver=declared(family).solver, model_file=model, **files)
    assert model.exists()
    assert all(20 < int(peak) < 2000 for peak in (trained, scored))
    with pytest.raises(SystemExit, match="score failed"):
        peak_mib("score", name=family, solver={"name": "lu"}, model_file=model, **files)


@pytest.fixture
def development(tmp_path, monkeypatch):
    """The module benchmarks/policies.py, for a preset of one small data set; it writes below a temporary folder."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    policies = importlib.import_module("policies")
    (tmp_path / "config").mkdir()
    shutil.copy(REPOSITORY / "config/defaults.yaml", tmp_path / "config")
    (tmp_path / "config/nano.yaml").write_text(NANO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(policies, "SEEDS", (0,))
    monkeypatch.setattr(policies, "CONDITIONS", ("0.2",))
    monkeypatch.setattr(policies, "stamp", lambda **facts: {"git_commit": "abcd", "version": "1", **facts})
    return policies


def test_the_development_benchmark_goes_on_where_it_was(development, monkeypatch):
    development.run("nano")
    lines = development.OUT.read_text().splitlines(keepends=True)
    rows = read_rows(development.OUT)
    names = {model: [row["candidate"] for row in rows if row["model"] == model] for model in ("logistic", "boosted")}
    assert names["boosted"] == list(development.CANDIDATES)
    assert names["logistic"] == [name for name in names["boosted"] if name != "BoostIn"]
    assert {row["trainings"] for row in rows if row["model"] == "logistic"} == {"2.0", "7.0"}
    (joint,) = {row["trainings"] for row in rows if row["candidate"] == "repair" and row["model"] == "boosted"}
    assert float(joint) > 7
    assert all(0 <= float(row["accuracy"]) <= 1 and int(row["samples"]) > 100 for row in rows)
    write_tables(["policies"], development.OUT.parent, development.OUT.parent / "tables")

    fits, cross_fit = [], development.cross_fit
    monkeypatch.setattr(development, "cross_fit", lambda model, *rest: fits.append(model) or cross_fit(model, *rest))
    development.run("nano")  # nothing is missing
    assert fits == []
    # The last of the trees is missing: the folds of logistic regression judge too.
    development.OUT.write_text("".join(lines[:-1]))
    development.run("nano")
    assert fits == ["logistic", "boosted"]
    times = ("trainings", "train_seconds")
    assert [{key: value for key, value in row.items() if key not in times} for row in read_rows(development.OUT)] == [
        {key: value for key, value in row.items() if key not in times} for row in rows]  # fmt: skip
    # The last of logistic regression is missing: trees need not be trained.
    fits.clear()
    last = len(names["logistic"])  # below the header
    development.OUT.write_text("".join([*lines[:last], *lines[last + 1 :]]))
    development.run("nano")
    assert fits == ["logistic"]


def test_rows_of_another_commit_or_configuration_are_dropped(development):
    row = {**dict.fromkeys(development.COLUMNS, "0"), "dataset": "affairs", "git_commit": "abcd"}
    facts = {"git_commit": "abcd", "config_hash": "0123"}
    write_rows(development.OUT, development.COLUMNS, [row, {**row, "git_commit": "other"}])
    write_json(development.OUT.with_suffix(".json"), facts)
    with pytest.raises(UserError, match="affairs/neural: preset nano has no such data set and model; legal: affairs/l"):
        development.run("nano", ["affairs/neural"])
    assert len(read_rows(development.OUT)) == 2
    assert [kept["git_commit"] for kept in development.rows_of(facts)] == ["abcd"]
    assert len(read_rows(development.OUT)) == 1
    assert development.rows_of({**facts, "config_hash": "4567"}) == read_rows(development.OUT) == []


def test_in_run_values_are_what_a_samples_part_of_a_step_does_to_the_validation_loss(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    from inrun import InRun

    torch.manual_seed(0)
    x, y, v, w = torch.randn(8, 3), torch.arange(8) % 2, torch.randn(16, 3), torch.arange(16) % 2

    def loss_after(weights, steps=3, rate=1e-4, watched=None):
        """Train with Adam on weighted losses in the last step; return the validation loss, in double precision."""
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.1)
        for step in range(steps):
            optimiser.zero_grad()
            with watched.watching() if watched and step == steps - 1 else nullcontext():
                losses = cross_entropy(network(x.double()), y, reduction="none")
                (losses * (weights if step == steps - 1 else 1)).mean().backward()
                optimiser.step()
        return float(cross_entropy(network(v.double()), w).detach())

    found = InRun(iter([torch.arange(8)]), 8, (v.double(), w))
    loss_after(torch.ones(8), watched=found)
    for sample in range(8):
        change = torch.zeros(8)
        change[sample] = 1e-3
        expected = (loss_after(1 + change) - loss_after(1 - change)) / 2e-3
        assert float(found.harm[sample]) == pytest.approx(expected, rel=2e-2, abs=1e-9)


def test_rates_stand_with_their_range_over_seeds(tmp_path):
    same = {
        "dataset": "adult",
        "schedule": "constant",
        "last_rate": 1.0,
        "overlap": 0.8,
        "agreement": 0.7,
        "accuracy": 0.85,
    }
    rows = [{**same, "rank_correlation": 0.9 + seed / 100, "refused": seed} for seed in (0, 1)]
    write_rows(tmp_path / "rates.csv", tuple(rows[0]), rows)
    (line,) = TABLES["rates"](tmp_path)
    assert list(line.values()) == [
        "adult", "constant", "1.00", "0.900 to 0.910", "0.80", "0.700", "1 of 2", "85.00",
    ]  # fmt: skip


def test_the_cheapest_solver_that_is_good_enough_under_each_condition_is_chosen(monkeypatch):
    """By score it would be the first, by cost the last, which is worse than chance allows where labels are right."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    from choose import by_condition, chosen, passes_added

    def rows(noise, *scores):
        names = (("cg", "0.1", "5.0"), ("record", "0.1", "0.5"), ("record", "1.0", "0.6"), ("ekfac", "0.1", "0.1"))
        common = {"dataset": "affairs", "model": "neural", "noise": noise, "curvature": "ggn", "parameters": "last",
                  "samples": "10", "n": "10", "steps": "3", "status": "converged", "auroc": "",
                  "tolerance": ""}  # fmt: skip
        return [{**common, **dict(zip(("solver", "damping", "forward_passes"), name, strict=True)), "lds": lds,
                 "lds_gap_low": gap} for name, (lds, gap) in zip(names, scores, strict=True)]  # fmt: skip

    table = [*rows("0", ("0.9", "0"), ("0.8", "-0.1"), ("0.7", "-0.1"), ("0.3", "0.2")),
             *rows("0.2", ("0.9", "0"), ("0.6", "-0.1"), ("0.8", "-0.1"), ("0.9", "0"))]  # fmt: skip
    assert chosen(by_condition(table, "affairs", "neural", {}))[0::6] == ("record", "1.0")
    dear = {("affairs", "neural", noise): 9.0 for noise in ("0", "0.2")}  # what the record adds to training
    assert chosen(by_condition(table, "affairs", "neural", dear))[0::6] == ("cg", "0.1")
    for row in table[:1]:
        row["status"] = "unconverged"
    assert chosen(by_condition(table, "affairs", "neural", dear))[0::6] == ("record", "1.0")
    overhead = {"ratio": "0.5", "train_seconds": "10", "forward_passes": "2", "train_ratio": "1.1"}
    assert passes_added(overhead) == pytest.approx(0.4)


@pytest.mark.parametrize("name", ["logistic", "boosted"])
def test_candidates_are_compared_with_a_converged_solve(name, random, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import solvers

    module = family(name)
    (inputs, labels), validation = blobs(random, 120, 3, 2), blobs(random, 60, 3, 2)
    model, _ = module.fit(inputs, labels, 2, declared(name).defaults, 0)
    cell = (module, model, SimpleNamespace(inputs=inputs, labels=labels), validation)
    candidate, seconds = solvers.timed_scores(*cell, {"name": "cg", "damping": 0.1, "tolerance": 0.1}, 1)
    assert set(seconds) >= {"setup", "solve"}
    row, kept = {"damping": 0.1, "lds": "0.5"}, random.random((12, 120)) < 0.5
    converged = solvers.add_references([row], [candidate.influence], kept, random.normal(size=12), name, *cell)
    assert float(row["rank_correlation"]) > 0.9 and row["lds_gap"] == "0.000"
    assert converged[0.1].shape == (120,)


def test_where_a_record_is_too_old_the_default_is_measured_by_a_pass_and_other_candidates_are_left_out(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import solvers

    def timed(module, model, samples, validation, options, repeats, records=None):
        if records:
            raise AgedRecord("old")
        return options["name"], {"setup": 1.0, "solve": 2.0}

    monkeypatch.setattr(solvers, "timed_scores", timed)
    given = (None, None, None, (), {"name": "record"}, 1, {"last": {}})
    scores, seconds, instead = solvers.as_refined(*given, True)
    assert (scores, instead, seconds["solve"]) == ("cg", " by a pass", 2.0)
    assert seconds["setup"] > 1  # trying it took time too
    with pytest.raises(AgedRecord, match="old"):
        solvers.as_refined(*given, False)
