"""The parts of an audit as files, so that what is finished survives an interruption."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from datagradient.audit.judging import evidence_of, inputs_of, judgement_of, measure, refine
from datagradient.audit.task import WHOLE, Part, Task
from datagradient.errors import UserError
from datagradient.files import read_arrays, write_arrays
from datagradient.refine.crossfit import FOLDS, CrossFit

ARRAYS = ("probabilities", "influence", "validation", "validation_labels")


def part_file(folder: Path, name: str) -> Path:
    """Return the file that a part's results are in."""
    return folder / "work" / f"{name}.npz"


def do_part(task: Task, name: str, folder: Path) -> None:
    """Judge one part's rows, decide, and measure what that does to the rows held out; write it as one file."""
    part = task.parts[name]
    try:
        arrays = _judged(task, name, part)
    except UserError as error:
        where = "all rows" if name == WHOLE else f"{name.replace('-', ' ')} held out"
        raise UserError(f"{where}: {error}") from error
    write_arrays(part_file(folder, name), {"part": name}, **arrays)


def _judged(task: Task, name: str, part: Part) -> dict[str, np.ndarray]:
    inputs = inputs_of(task, part, task.models)
    crossfits, removal = refine(task, part, inputs)
    evidence = evidence_of(task, part, task.models[0], task.dataset.labels[part.judged], crossfits)
    arrays = {"judged": part.judged, "wrong": judgement_of(evidence).wrong / len(part.judged),
              "removed": removal.positions, "relabelled": removal.relabelled,
              "new_labels": removal.new_labels}  # fmt: skip
    if name == WHOLE:
        arrays |= {f"{kind}_{model}": getattr(crossfit, kind)
                   for model, crossfit in zip(task.models, crossfits, strict=True) for kind in ARRAYS}  # fmt: skip
    else:
        arrays |= measure(task, part, inputs[task.models[0]], removal)
    return arrays


def read_part(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Return the arrays that `do_part` wrote."""
    return read_arrays(part_file(folder, name))[0]


def crossfits_of(task: Task, whole: dict[str, np.ndarray]) -> list[CrossFit]:
    """Return the judgements of the whole file, of the family that is refined first."""
    return [CrossFit(**{kind: whole[f"{kind}_{model}"] for kind in ARRAYS}, seconds={}) for model in task.models]


def do_all(task: Task, folder: Path, said: Callable[[str], None]) -> None:
    """Do the parts that are not done yet, as many at once as there are processors.

    Args:
        task: the audit.
        folder: the audit's folder.
        said: receives a line whenever a part is done.
    """
    from joblib import Parallel, delayed, parallel_config

    waiting = [name for name in task.parts if not part_file(folder, name).exists()]
    if not waiting:
        return
    start, together = time.perf_counter(), min(cores(), len(waiting))
    if together == 1:
        for done, name in enumerate(waiting, start=1):
            do_part(task, name, folder)
            said(_progress(done, len(waiting), time.perf_counter() - start))
        return
    with parallel_config(backend="loky", inner_max_num_threads=1):
        jobs = Parallel(n_jobs=together, return_as="generator_unordered")
        for done, _ in enumerate(jobs(delayed(do_part)(task, name, folder) for name in waiting), start=1):
            said(_progress(done, len(waiting), time.perf_counter() - start))


def _progress(done: int, count: int, seconds: float) -> str:
    left = seconds / done * (count - done)
    return f"{done} of {count} parts done" + (f", about {left:.0f} s left" if done < count else "")


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def trainings(task: Task) -> int:
    """Return the number of models that an audit trains at most."""
    judges = FOLDS * len(task.models) * task.rounds
    return (task.folds + 1) * judges + 3 * task.folds


def on_stderr(line: str) -> None:
    """Write a line of progress."""
    print(line, file=sys.stderr, flush=True)
