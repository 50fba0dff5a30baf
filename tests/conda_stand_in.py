"""What Snakemake asks of conda, answered offline: for test_conda.py.

An environment is made by venv and sees the packages of the Python that runs this, without what is installed there as a
link to a folder; it is refused unless these packages have the versions that the file pins.
"""

import argparse
import importlib.metadata
import json
import shlex
import site
import sys
import venv
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ACTIVATE = 'export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n'
# Every start of an environment's Python is a line of a file in that environment.
STARTED = """import sys

with open(f"{sys.prefix}/started", "a", encoding="utf-8") as started:
    print(*sys.orig_argv[1:], file=started)
"""


def install(folder):
    """Write bin/conda and bin/activate; Snakemake finds the first on PATH, and the second beside it."""
    (folder / "bin").mkdir(parents=True)
    conda = folder / "bin/conda"
    conda.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, __file__, str(folder)])} "$@"\n')
    conda.chmod(0o755)
    (folder / "bin/activate").write_text(ACTIVATE)


def misfits(file):
    """What an environment file pins and this Python has not, and what it does not pin."""
    for entry in yaml.safe_load(file.read_text())["dependencies"]:
        if isinstance(entry, dict):
            yield from filter(None, map(misfit, entry["pip"]))
        elif entry not in ("pip", f"python={sys.version_info.major}.{sys.version_info.minor}"):
            yield f"{entry}: not here"


def misfit(pin):
    requirement = Requirement(pin)
    if not pin.startswith(f"{requirement.name}=="):
        return f"{pin}: no exact version"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{pin}: not here"
    return None if requirement.specifier.contains(version, prereleases=True) else f"{pin}: {version} is here"


def create(file, prefix):
    if wrong := list(misfits(file)):
        sys.exit("\n".join(wrong))
    venv.create(prefix, symlinks=True)
    (packages,) = prefix.glob("lib/python*/site-packages")
    (packages / "here.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    (packages / "sitecustomize.py").write_text(STARTED)


def main(folder, *command):
    match command:
        case ["--version"]:
            print("conda 24.7.1")  # the oldest that Snakemake takes
        case ["info", "--json"]:
            print(json.dumps({"conda_prefix": folder, "platform": "linux-64"}))
        case ["config", "--get", "channel_priority", "--json"]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["env", "create", *options]:
            parser = argparse.ArgumentParser(prog="conda env create")
            for flag in ("--quiet", "--no-default-packages"):
                parser.add_argument(flag, action="store_true")
            for option in ("--file", "--prefix"):
                parser.add_argument(option, type=Path, required=True)
            given = parser.parse_args(options)
            create(given.file, given.prefix)
        case ["clean", "-y", "--tarballs"]:
            pass
        case _:
            sys.exit(f"the stand-in for conda has no answer to: {shlex.join(command)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
