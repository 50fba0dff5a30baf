"""What the package promises about itself: light starts, extras, types, source hashes, the lock, the help texts."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from conftest import REPOSITORY, environment
from datagradient import __version__
from datagradient.commands.main import COMMANDS, LIBRARIES, main
from datagradient.influence.scores import solve
from datagradient.influence.solvers import SolverError
from datagradient.pipeline import sources
from datagradient.pipeline.provenance import config_hash, stamp
from datagradient.pipeline.sources import source_hash
from datagradient.report.style import styles
from datagradient.seeds import generator

HEAVY = {"torch", "mlflow", "sklearn", "pandas", "matplotlib", "statsmodels", "xgboost", "datasets"}


@pytest.mark.parametrize(
    "modules",
    [
        "datagradient.pipeline.jobs.removals",  # prune
        "datagradient.pipeline.jobs.models",  # evaluate
        "datagradient.pipeline.training, datagradient.influence.scores, datagradient.models.logistic",  # influence
        "datagradient.pipeline.workflow, datagradient.pipeline.layout, datagradient.pipeline.sources",  # the Snakefile
    ],
)
def test_light_jobs_import_nothing_heavy(modules):
    script = f"import sys, {modules}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert not HEAVY & set(loaded.split())


def test_the_snakefile_needs_no_numpy():
    """Snakemake, which reads it, does not bring NumPy: with conda, only the jobs' environment has it."""
    lines = (REPOSITORY / "Snakefile").read_text() + (REPOSITORY / "workflow/grid.smk").read_text()
    imports = [line for line in lines.splitlines() if line.startswith("from datagradient")]
    script = "\n".join(["import sys", *imports, "print('numpy' in sys.modules)"])
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "code", ["import datagradient", "from datagradient.commands.main import main; main(['--help'])"]
)
def test_import_and_help_load_the_standard_library_alone(code):
    script = f"import atexit, sys; atexit.register(lambda: print('LOADED', *sys.modules)); {code}"
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    loaded = {name.split(".")[0] for name in output.partition("LOADED")[2].split()}
    assert "datagradient" in loaded
    assert not loaded & {*BASE, *LIBRARIES}


# What the library alone brings, by the names that code imports.
BASE = {"numpy", "scipy", "sklearn", "tqdm"}
WITH_BASE = {"joblib", "threadpoolctl"}  # scikit-learn asks for them
# Imported, and brought by another one, which asks for it.
BROUGHT = {"alembic": "mlflow", "google": "mlflow", "pydantic_core": "pydantic", "sqlalchemy": "mlflow",
           "urllib3": "requests"}  # fmt: skip


def imported(files):
    """The libraries that files import anywhere, by the names that code imports."""
    names = set()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"datagradient"}


def declared_in(entries):
    return {re.match(r"[\w.-]+", entry)[0].lower() for entry in entries}


def test_the_library_and_its_extras_declare_what_the_package_imports():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    base = declared_in(project["dependencies"])
    brought = declared_in([entry for name in ("torch", "boosted", "pipeline") for entry in extras[name]])
    found = imported((REPOSITORY / "src").rglob("*.py"))
    assert found - BASE - WITH_BASE == set(LIBRARIES)
    distributions = importlib.metadata.packages_distributions()
    assert {distributions[name][0].lower() for name in BASE} == base
    for name in LIBRARIES:
        brought_by = {other.lower().replace("_", "-") for other in distributions[BROUGHT.get(name, name)]}
        assert brought_by & brought, name
    entries = (REPOSITORY / "src/datagradient/interface").glob("*.py")
    assert imported(entries) <= BASE | {"torch", "xgboost"}


@pytest.mark.parametrize(
    ("missing", "status", "words"),
    [
        ("pydantic", 2, "datagradient refine: pydantic is not installed; pip install 'datagradient[pipeline]'"),
        ("datagradient.pipeline.jobs", 1, "Traceback"),  # a mistake in the code, which a traceback says more of
    ],
)
def test_a_command_says_which_extra_brings_a_library(missing, status, words):
    options = ["refine", "--config", "config.json", "--dataset", "affairs", "--model", "logistic"]
    script = f"import sys; sys.modules[{missing!r}] = None; from datagradient.commands.main import main; " \
             f"sys.exit(main({options}))"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == status
    assert done.stderr.startswith(words)
    assert status == 1 or done.stderr.count("\n") == 1


def test_types_of_what_users_call_are_strict():
    command = [sys.executable, "-m", "mypy", "--no-error-summary"]
    checked = subprocess.run(command, cwd=REPOSITORY, env=environment(), check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_rooms_import_downwards_only():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    checked = subprocess.run(command, cwd=REPOSITORY, env=environment(), check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package that `source_hash` reads: its hashes, and what they are with one file changed."""
    copy = tmp_path_factory.mktemp("package") / "datagradient"
    shutil.copytree(sources.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def hashes():
        for function in (sources.source_hash, sources._tree, sources._dump, sources._imports_of, sources._file):
            function.cache_clear()
        return {"train": source_hash("train", "models.logistic"), "prune": source_hash("prune"),
                "figure": source_hash("figure"), "report": source_hash("report")}  # fmt: skip

    def edited(file, old, new):
        path, text = copy / file, (copy / file).read_text()
        assert old in text, (file, old)
        path.write_text(text.replace(old, new, 1))
        after = hashes()
        path.write_text(text)
        return after

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "PACKAGE", copy)
        yield hashes(), edited
    hashes()


ALL, TRAIN, FIGURE, NONE = {"train", "prune", "figure", "report"}, {"train"}, {"figure"}, set()
EDITS = [
    # What every command runs through, and the options of one.
    ("commands/options.py", "return config, path.parent", "return config, path.parents[0]", ALL),
    ("commands/main.py", "args.function(args)", "args.function(args) or 1", ALL),
    ("files/__init__.py", "allow_pickle=False", "allow_pickle=bool(0)", ALL),
    ("refine/removal.py", "fraction * len(labels)", "fraction * len(labels) + 1", {"prune"}),
    ("models/logistic.py", 'settings["tolerance"]', '2 * settings["tolerance"]', TRAIN),
    ("metrics.py", "axis=1", "axis=-1", ALL),
    ("pipeline/training.py", "len(clean)", "len(clean[:])", {"train", "prune"}),
    ("refine/policies.py", "score=None, keeps_mix=True", "score=None, keeps_mix=False", ALL - TRAIN),
    ("commands/removal.py", "if not cell.iteration", "if cell.iteration < 1", {"prune"}),
    # What families and policies look like.
    ("models/logistic.py", '"colour": "#0072B2"', '"colour": "#000000"', FIGURE),
    ("models/boosted.py", '"marker": "^"', '"marker": "v"', FIGURE),
    ("refine/policies.py", 'colour="#E69F00"', 'colour="#000000"', {"figure", "report"}),
    ("refine/policies.py", 'description="The largest training', 'description="The training', {"figure", "report"}),
    ("report/templates/report.html", "What was run", "What had been run", {"report"}),
    # What does nothing.
    ("files/__init__.py", "Reading and writing result files", "Writing and reading result files", NONE),
    ("refine/removal.py", "Remove the most harmful samples: the largest", "Remove the largest", NONE),
    ("models/logistic.py", "    features, counts =", "    # why\n    features, counts =", NONE),
    ("commands/options.py", "one of its seeds", "a seed", NONE),
    ("report/tables.py", "import re", "import re, json", NONE),
    ("models/boosted.py", "import json", "import json, re", NONE),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "changed"), EDITS)
def test_a_source_hash_changes_with_what_its_command_does_and_with_nothing_else(package, file, old, new, changed):
    before, edited = package
    after = edited(file, old, new)
    assert {command for command in before if before[command] != after[command]} == changed


def test_styles_that_nobody_asked_for_or_that_are_taken_are_chosen_from_the_palette():
    wanted = [("a", None, None), ("b", "#0072B2", "o"), ("c", "#0072B2", "o"), ("d", "#123456", "x")]
    chosen = styles(wanted)
    assert chosen["b"] == {"color": "#0072B2", "marker": "o"} and chosen["d"] == {"color": "#123456", "marker": "x"}
    for key in ("color", "marker"):
        assert len({style[key] for style in chosen.values()}) == 4
    assert len(styles([(str(k), None, None) for k in range(30)])) == 30


def test_conda_and_pip_install_the_same_versions():
    lock = [line for line in (REPOSITORY / "requirements.lock").read_text().splitlines() if "==" in line]
    conda = (REPOSITORY / "environment.yml").read_text().splitlines()
    assert [line.strip().removeprefix("- ") for line in conda if "==" in line] == lock


def test_citation_and_changelog_are_of_this_version():
    citation = (REPOSITORY / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\n" in citation
    newest = re.search(r"^## \[(.+?)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert newest in ("Unreleased", __version__)


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
        ("prepare --dataset affairs", "the following arguments are required: --config"),
        (
            "refine --config x --dataset affairs --model logistic --seed a",
            "--seed: a is not a whole number of at least 0",
        ),
        ("prepare --config none.json --dataset affairs", "none.json: not found"),
        ("track", "track: needs --config, or --report, or --rebuild"),
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
    with pytest.raises(SolverError, match="no solver 'lu'; legal: cg, record, explicit"):
        solve(None, None, "lu")
