"""The origin of a result: preset, configuration, seed, code version, libraries, machine."""

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path

from datagradient import __version__
from datagradient.errors import UserError

# Facts that must agree between files that are read together.
SHARED = ("dataset", "seed", "noise", "model", "settings", "training_set")

# The workflow sets this variable once, so that a job knows its preset and need not run git.
RUN_VARIABLE = "DATAGRADIENT_RUN"
# What results depend on: words, tests and figures may change.
CODE = (":/src/datagradient", ":/config/*.yaml", ":/workflow", ":/Snakefile", ":/benchmarks", ":/requirements.lock")
LIBRARIES = (
    "numpy", "scipy", "scikit-learn", "scikit-image", "statsmodels", "cleanlab", "mlflow", "snakemake", "xgboost",
    "torch", "torchvision",
)  # fmt: skip


def config_hash(config: dict) -> str:
    """Return a short hash of a configuration that does not depend on the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def git_commit() -> str:
    """Return the commit of the code, with ``-dirty-`` and a hash of what differs where `CODE` does, or ``unknown``."""
    try:
        if not (Path(_git("rev-parse", "--show-toplevel")) / "src" / "datagradient").is_dir():
            return "unknown"  # installed inside another repository
        commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", *CODE)
        if changed:
            changed += _git("diff", "HEAD", "--", *CODE)
            top = Path(_git("rev-parse", "--show-toplevel"))
            for name in _git("ls-files", "--others", "--exclude-standard", "--full-name", "--", *CODE).splitlines():
                changed += hashlib.sha256((top / name).read_bytes()).hexdigest()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty-{hashlib.sha256(changed.encode()).hexdigest()[:8]}" if changed else commit


def _git(*arguments: str) -> str:
    folder = Path(__file__).parents[1]
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def run_facts(config: dict) -> str:
    """Return the value of `RUN_VARIABLE` for the jobs of one workflow run."""
    facts = {"preset": config["preset"], "config_hash": config_hash(config), "git_commit": git_commit()}
    return json.dumps(facts, sort_keys=True)


@functools.cache
def library_versions() -> dict[str, str]:
    """Return the installed versions of the libraries that results depend on."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def check_shared(files: dict[str | Path, dict], *ignored: str) -> None:
    """Refuse files that do not belong together: different data, seed, noise, model, settings or training set.

    Args:
        files: the facts stored in each file; facts missing from a file are not compared.
        ignored: names of `SHARED` that may differ.

    Raises:
        UserError: names both files and the fact.
    """
    first: dict[str, tuple[str | Path, object]] = {}
    for path, facts in files.items():
        for key in SHARED:
            if key in facts and key not in ignored:
                first_path, value = first.setdefault(key, (path, facts[key]))
                if value != facts[key]:
                    name = key.replace("_", " ")
                    raise UserError(f"{path}: does not belong to {first_path}: its {name} is {facts[key]}, there it is "
                                    f"{value}; give files of the same run, or make them again")  # fmt: skip


@functools.cache
def machine() -> str:
    """Return a one-line description of the machine: system, architecture, processor, cores."""
    return f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def stamp(**facts: object) -> dict:
    """Return the provenance of a result made now by this process; `facts` (e.g. the seed) are added.

    Holds no time of day: the same job on the same machine gives the same bytes.
    """
    given = os.environ.get(RUN_VARIABLE)
    run = json.loads(given) if given else {"preset": "by hand", "config_hash": "", "git_commit": git_commit()}
    return {**run, "version": __version__, "libraries": library_versions(), "machine": machine(), **facts}
