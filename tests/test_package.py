"""What the package promises about itself: light starts, source hashes, the lock, the help texts."""

import subprocess
import sys

import pytest

from conftest import REPOSITORY
from datagradient.cli import COMMANDS, main
from datagradient.influence.scores import solve
from datagradient.influence.solvers import SolverError
from datagradient.provenance import config_hash, stamp
from datagradient.seeds import generator
from datagradient.sources import _reach, source_hash

HEAVY = {"torch", "mlflow", "sklearn", "pandas", "matplotlib", "statsmodels", "xgboost", "datasets"}


@pytest.mark.parametrize(
    "modules",
    [
        "datagradient.refine",  # prune
        "datagradient.files, datagradient.metrics",  # evaluate
        "datagradient.training, datagradient.influence.scores, datagradient.models.logistic",  # influence
        "datagradient.workflow, datagradient.layout, datagradient.sources",  # the Snakefile
    ],
)
def test_light_jobs_import_nothing_heavy(modules):
    script = f"import sys, {modules}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert not HEAVY & set(loaded.split())


def test_source_hashes_follow_what_a_command_reaches():
    def names(*modules):
        return {path.stem for path in _reach({f"datagradient.{module}" for module in modules})}

    assert {"refine", "files", "seeds", "errors"} <= names("refine")
    assert "figures" not in names("refine")
    assert "glm" in names("models.logistic")
    assert source_hash("train", "models.logistic") != source_hash("train")
    assert source_hash("prune") == source_hash("prune")


def test_conda_and_pip_install_the_same_versions():
    lock = [line for line in (REPOSITORY / "requirements.lock").read_text().splitlines() if "==" in line]
    conda = (REPOSITORY / "environment.yml").read_text().splitlines()
    assert [line.strip().removeprefix("- ") for line in conda if "==" in line] == lock


@pytest.mark.parametrize("command", [function.__name__.replace("_", "-") for function in COMMANDS])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_generators_depend_on_seed_and_purpose_only():
    first = generator(0, "noise", 0.2).random(3).tolist()
    assert first == generator(0, "noise", 0.2).random(3).tolist()
    assert first != generator(1, "noise", 0.2).random(3).tolist()
    assert first != generator(0, "noise", 0.1).random(3).tolist()


def test_stamp_and_hash_are_stable(monkeypatch):
    monkeypatch.setenv("DATAGRADIENT_RUN", '{"preset": "p", "config_hash": "h", "git_commit": "c"}')
    assert stamp(seed=1) == stamp(seed=1)
    assert stamp(seed=1)["seed"] == 1
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1}) != config_hash({"a": 2, "b": 2})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("prepare --dataset nope --seed 0 --out x", "invalid choice: 'nope' (choose from"),
        ("prepare --dataset digits --seed a --out x", "--seed: a is not a whole number of at least 0"),
        ("prepare --dataset digits --seed 0 --out x --plan {", "--plan: '{' is not JSON"),
        (
            "prepare --dataset digits --seed 0 --out x --plan [1]",
            "--plan: [1] is not a mapping with the keys influence",
        ),
        ('prepare --dataset digits --seed 0 --out x --plan {"tset":1}', "--plan: tset: unknown; legal: influence"),
        (
            'train --model logistic --settings {"l2":1} --data x --labels x --out x',
            "--settings: tolerance: missing; needed are l2",
        ),
        (
            'influence --model logistic --solver {"nme":1} --model-file x --data x --labels x --out x',
            "--solver: nme: unknown; legal: name",
        ),
        ("noise --data x --rate 1 --out x", "1 is not a number in [0, 1)"),
        ("prune --policy influence --fraction 0 --iteration 1 --scores x --out x", "0 is not a number in (0, 1)"),
        ("track", "track: needs --config, --dataset and --model, or --report, or --rebuild"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(arguments, message, capsys):
    try:
        assert main(arguments.split()) == 2
    except SystemExit as stop:  # argparse's own way out
        assert stop.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_an_unknown_solver_is_refused():
    with pytest.raises(SolverError, match="no solver 'lu'; legal: cg, explicit"):
        solve(None, None, "lu")
