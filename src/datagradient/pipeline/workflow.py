"""Functions of the Snakefile other than rules. Imports only what Snakemake itself depends on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from datagradient.errors import UserError
from datagradient.pipeline.config import validate
from datagradient.pipeline.layout import root
from datagradient.pipeline.orchestration import Clock
from datagradient.pipeline.progress import show
from datagradient.pipeline.provenance import RUN_VARIABLE, run_facts

TRAINING = ("train", "refine")  # names, or beginnings of names, of the rules that train models
COLLECT = "collect"  # name of the rule that makes metrics.csv of all models
_lock = None
_clock: Clock | None = None


def validated_config(config: dict, files: list[str]) -> dict:
    """Validate the configuration and set the environment that jobs inherit; return the configuration."""
    try:
        full = validate(config, [Path(file) for file in files])
    except UserError as error:
        sys.exit(f"configuration: {error}")
    source = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
    # Without conda the jobs use the Python that runs Snakemake, even if its environment is not activated.
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    os.environ[RUN_VARIABLE] = run_facts(full)
    return full


def start_run(preset: str, workflow: Any) -> None:
    """Show the progress of the jobs that are about to run; of a whole preset, start the clock for orchestration.csv."""
    import psutil

    global _clock
    jobs, results = list(workflow.dag.needrun_jobs()), Path(root(preset))
    trained = [job for job in workflow.dag.jobs if job.rule.name.startswith(TRAINING)]
    starts_over = (results / "metrics.csv").exists() and bool(trained) and all(map(workflow.dag.needrun, trained))
    cores = workflow.resource_settings.cores or workflow.resource_settings.nodes or 1
    if any(job.rule.name == COLLECT for job in workflow.dag.jobs):  # else parts alone were asked for
        _clock = Clock(results / "clock.json", psutil.Process().create_time(), cores, starts_over)
    show(preset, jobs, _clock.tick if _clock else lambda: None, workflow.output_settings.quiet or ())


def finish_run(preset: str) -> None:
    """Write orchestration.csv and its table if the run covered the whole preset."""
    results = Path(root(preset))
    if _clock is not None:
        _clock.tick()
        command = ["python", "-m", "datagradient", "orchestration", "--results", str(results)]
        if subprocess.run([*command, "--out", f"paper_tables/{preset}"], check=False).returncode:
            print(f"results/{preset}/orchestration.csv was not written, for the reason above; run 'datagradient "
                  f"orchestration' again in the environment of the jobs", file=sys.stderr)  # fmt: skip


def lock_preset(preset: str) -> None:
    """Prevent two runs on the same results. The system releases the lock even if a run is killed.

    Snakemake's own lock (switched off in the default profile) survives a kill and then has to be
    removed by hand.
    """
    import fcntl

    from snakemake.exceptions import WorkflowError

    global _lock
    path = Path("results") / f".{preset}.lock"
    path.parent.mkdir(exist_ok=True)
    _lock = open(path, "w", encoding="utf-8")
    try:
        fcntl.flock(_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WorkflowError(
            f"another run of preset {preset} is at work in this folder; wait for it or stop it"
        ) from None
    except OSError:
        print(f"{path}: this file system has no locks: do not start a second run here", file=sys.stderr)
