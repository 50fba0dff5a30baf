"""What `pip install datagradient` brings, and what it does not: a wheel in an empty environment, without extras."""

import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import numpy as np
import pytest

from conftest import REPOSITORY, copy_repository
from datagradient import __version__

SOURCES = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "MANIFEST.in"}
GENERATED = {"PKG-INFO", "setup.cfg"}
EXTRAS = ("torch", "xgboost", "snakemake", "mlflow", "matplotlib", "pandas", "pydantic", "yaml")
# Runs here too, so that it says what the numbers are.
SCORING = """
import json, sys
import numpy as np
from sklearn.linear_model import LogisticRegression
from datagradient import influence_scores

random = np.random.default_rng(0)
features = random.normal(size=(90, 3))
labels = (features[:, 0] + random.normal(size=90) > 0).astype(int)
train, held_out = (features[:60], labels[:60]), (features[60:], labels[60:])
model = LogisticRegression(tol=1e-9, max_iter=1000).fit(*train)
result = influence_scores(model, train, held_out, verify=2)
found = {"values": result.values.tolist(), "actual": result.verification.actual.tolist()}
"""


def run(*command, folder, path=None, check=True):
    outside = ("PYTHONPATH", "VIRTUAL_ENV")
    clean = {name: value for name, value in os.environ.items() if name not in outside}
    clean |= {"PYTHONPATH": str(path)} if path else {}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=clean, check=False, capture_output=True, text=True)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def pip(*arguments, folder, python=sys.executable, check=True):
    options = ("--quiet", "--disable-pip-version-check", "--no-compile")
    return run(sys.executable, "-m", "pip", "--python", python, "install", *options, *arguments, folder=folder,
               check=check)  # fmt: skip


def resolved(*arguments, folder, python=sys.executable):
    """The names of what pip would install; nothing is installed."""
    report = pip("--dry-run", "--report", "-", *arguments, folder=folder, python=python).stdout
    return {item["metadata"]["name"].lower() for item in json.loads(report)["install"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what the wheel is built by."""
    folder = tmp_path_factory.mktemp("wheels") / "a folder"
    folder.mkdir()
    needed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["build-system"]["requires"]
    reached = pip("--target", folder / "backend", *needed, folder=folder, check=False)
    if reached.returncode:
        pytest.skip(f"pip reaches no registry, which the empty environment is filled from: {reached.stderr[-300:]}")
    return folder


@pytest.fixture(scope="module")
def built(folder):
    """The wheel, made from the sdist, which is made from a copy: setuptools writes into the folder that it builds."""
    copy = folder / "sources"
    copy_repository(copy)
    for data in ("results/quick/scores.npz", "shared/data/adult.data"):  # what a run leaves, and a user's copies
        (copy / data).parent.mkdir(parents=True)
        (copy / data).touch()
    # Isolated by hand: `build` would make an environment for the sdist, and one more for the wheel.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", copy, folder=folder,
        path=folder / "backend")  # fmt: skip
    (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def scripts(folder, built):
    """The scripts of an environment with the wheel and what it asks for, in the versions of the lock."""
    run(sys.executable, "-m", "venv", "--without-pip", "empty environment", folder=folder)
    scripts = folder / "empty environment" / "bin"
    pip("--constraint", REPOSITORY / "requirements.lock", built[0], folder=folder, python=scripts / "python")
    return scripts


def test_wheel_and_sdist_hold_the_package_alone(built):
    """No tests, which need the whole repository; no results and no data."""
    wheel, sdist = built
    package = {path.relative_to(REPOSITORY / "src").as_posix() for path in (REPOSITORY / "src/datagradient").rglob("*")
               if path.is_file() and "__pycache__" not in path.parts}  # fmt: skip
    not_code = {"py.typed", "auditing/Snakefile", "report/templates/audit.html"}
    assert {f"datagradient/{name}" for name in not_code} <= package
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if ".dist-info/" not in name} == package
    assert any(name.endswith("licenses/LICENSE") for name in names)
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    names = {name for name in names if not name.startswith("src/datagradient.egg-info/")}
    assert names == {f"src/{name}" for name in package} | SOURCES | GENERATED


def test_scores_without_extras_are_those_with_all(folder, scripts):
    (folder / "scoring.py").write_text(f"{SCORING}\njson.dump(found, sys.stdout)\n")
    found = json.loads(run(scripts / "python", "scoring.py", folder=folder).stdout)
    here = {}
    exec(SCORING, here)
    for name, values in here["found"].items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-12)


def test_nothing_of_the_extras_is_installed(folder, scripts):
    script = f"import importlib.util; print([name for name in {EXTRAS} if importlib.util.find_spec(name)])"
    assert run(scripts / "python", "-c", script, folder=folder).stdout.strip() == "[]"


def test_the_extra_torch_brings_torch_and_no_other_extra(folder, built, scripts):
    lock = ("--constraint", REPOSITORY / "requirements.lock")
    found = resolved(*lock, f"{built[0]}[torch]", folder=folder, python=scripts / "python")
    assert found & {*EXTRAS, "pyyaml"} == {"torch"}


def test_the_versions_of_the_lock_satisfy_all_extras(folder, built):
    """They are installed here, as test_conda.py checks; to resolve them in an empty environment takes a minute."""
    assert resolved("--no-index", f"{built[0]}[all,test]", folder=folder) <= {"datagradient"}


def test_the_command_line_explains_itself_without_extras(folder, scripts):
    assert run(scripts / "datagradient", "--version", folder=folder).stdout.split() == ["datagradient", __version__]
    assert "refine" in run(scripts / "datagradient", "--help", folder=folder).stdout
    assert "--dataset" in run(scripts / "python", "-m", "datagradient", "train", "--help", folder=folder).stdout


@pytest.mark.parametrize("command", [
    "refine --config config.json --dataset affairs --model logistic",
    "train --config config.json --dataset affairs --model logistic --noise 0 --seed 0",
    "figure accuracy --results results --out figures",
])  # fmt: skip
def test_a_command_says_which_extra_it_lacks(folder, scripts, command):
    done = run(scripts / "datagradient", *command.split(), folder=folder, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith(f"datagradient {command.split()[0]}: ")
    assert line.endswith(" is not installed; pip install 'datagradient[pipeline]'")
