"""Update requirements.lock from pyproject.toml, and environment.yml from the lock. Called by `make lock`."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Torch pins its own GPU libraries exactly, and only on systems that have them; without them the lock fits every system.
LEFT_OUT = re.compile(r"^(nvidia-|cuda-|triton==)")
# The committed results of networks are of this torch; torchvision goes with it. To renew them is a decision of its own.
HELD = ("torch==2.14.1", "torchvision==0.29.1")
LOCK, ENVIRONMENT = Path("requirements.lock"), Path("environment.yml")
LOCK_HEAD = "# Exact versions of everything; made by `make lock`, installed by `make`.\n"
ENVIRONMENT_HEAD = """# The same versions as requirements.lock, for conda; made by `make lock`.
name: datagradient
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def compile_lock() -> list[str]:
    """Return the pinned requirements, sorted."""
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "held.txt"
        held.write_text("\n".join(HELD), encoding="utf-8")
        command = [
            sys.executable, "-m", "piptools", "compile", "--quiet", "--extra", "all,test", "--constraint", str(held),
            "--strip-extras", "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links",
            "--no-emit-options", "--output-file", "-", "pyproject.toml",
        ]  # fmt: skip
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pins = [line.strip() for line in output.splitlines() if "==" in line and not line.startswith("#")]
    return sorted(pin for pin in pins if not LEFT_OUT.match(pin))


def environment(pins: list[str]) -> str:
    """Return the conda environment that installs the same pins."""
    return ENVIRONMENT_HEAD + "".join(f"      - {pin}\n" for pin in pins)


if __name__ == "__main__":
    locked = compile_lock()
    LOCK.write_text(LOCK_HEAD + "\n".join(locked) + "\n", encoding="utf-8")
    ENVIRONMENT.write_text(environment(locked), encoding="utf-8")
