"""The scripts in benchmarks/ and tools/, as far as they run without hours of work."""

import ast
import runpy
from types import ModuleType

import pytest

from conftest import REPOSITORY, write_preset
from datagradient.commands.main import main
from datagradient.models import declared
from datagradient.pipeline.config import read_validated
from datagradient.pipeline.layout import Cell

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
