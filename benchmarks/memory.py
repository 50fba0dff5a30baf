"""The most memory that training a model takes, and scoring with it, each measured in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

# Nothing heavy stands here: what this file imports counts in the memory of the process that it is run by.


def peak_mib(step: str, **about: object) -> str:
    """Return the most MiB that a step takes, its libraries and data included; arguments are those of its function.

    The process asks Linux for its own peak: what the parent learns when it ends counts the parent's memory too.
    """
    command = [sys.executable, __file__, step, json.dumps(about, default=str)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"benchmarks/memory.py: {step} failed: {process.stderr}")
    return process.stdout.split()[-1]


def train(name: str, settings: dict, data: str, labels: str, out: str) -> None:
    """Train a model of a family on all training samples, and write it to `out`."""
    from datagradient.models import declared, family
    from datagradient.pipeline.provenance import stamp
    from datagradient.pipeline.training import load_training_set

    module, samples = family(name), load_training_set(declared(name).inputs, data, labels, None)
    model, _ = module.fit(samples.inputs, samples.labels, samples.n_classes, settings, samples.seed)
    module.save(Path(out), model, stamp(**samples.facts, model=name, settings=settings))


def score(name: str, solver: dict, data: str, labels: str, model_file: str) -> None:
    """Score all training samples of a model that `train` wrote."""
    from datagradient.pipeline.scoring import load_work
    from datagradient.refine.scoring import score_all

    score_all(load_work(name, solver, model_file, data, labels, None))


STEPS = {"train": train, "score": score}

if __name__ == "__main__":
    STEPS[sys.argv[1]](**json.loads(sys.argv[2]))
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(f"{int(peak.split()[1]) / 1024:.0f}")  # given in KiB
