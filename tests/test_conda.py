"""`snakemake --use-conda` with a stand-in for conda, which makes environments of the packages that are here."""

import os
import subprocess

import pytest

import conda_stand_in
from conftest import REPOSITORY, finish, snakemake

MICRO = """
preset: micro
models: [logistic]
seeds: [0, 1]
datasets: {affairs: {max_development: 600, max_test: 300}}
"""
PREPARED = "results/micro/affairs/prepared/seed-0"


@pytest.fixture
def conda(tmp_path, monkeypatch):
    """The stand-in as the first conda on PATH."""
    folder = tmp_path / "conda"
    conda_stand_in.install(folder)
    monkeypatch.setenv("PATH", os.pathsep.join((str(folder / "bin"), os.environ["PATH"])))
    return folder / "bin/conda"


def test_jobs_run_in_the_environment_of_environment_yml(clone, conda, tmp_path):
    folder, target = tmp_path / "run", f"{PREPARED}/noise-0.2/labels.npz"
    finish(snakemake(clone, folder, target, "--use-conda", config=MICRO))
    assert (folder / target).exists()
    (made_from,) = (folder / ".snakemake/conda").glob("*.yaml")
    assert made_from.read_text() == (REPOSITORY / "environment.yml").read_text()
    (started,) = (folder / ".snakemake/conda").glob("*/started")
    commands = [line.split()[:3] for line in started.read_text().splitlines()]
    assert commands == [["-m", "datagradient", "prepare"], ["-m", "datagradient", "noise"]]


@pytest.mark.parametrize(("pin", "other"), [("numpy==", "numpy==0."), ("numpy==", "numpy>="), ("python=3", "python=2")])
def test_an_environment_of_other_versions_is_refused(conda, tmp_path, pin, other):
    """So the jobs of the test above ran with the versions of the lock."""
    text = (REPOSITORY / "environment.yml").read_text()
    (tmp_path / "other.yml").write_text(text.replace(f"- {pin}", f"- {other}"))
    command = [conda, "env", "create", "--file", tmp_path / "other.yml", "--prefix", tmp_path / "other"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith(other) and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "other").exists()
