"""The parts of an audit as files, so that what is finished survives an interruption."""

import contextlib
import hashlib
import os
import re
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from datagradient.auditing.folder import BEGUN, CHOICE
from datagradient.auditing.judging import Trained, evidence_of, inputs_of, judgement_of, measure, nobody, refine
from datagradient.auditing.screen import Progress
from datagradient.auditing.task import WHOLE, Task
from datagradient.errors import FileError, UserError
from datagradient.files import read_arrays, read_meta, write_arrays
from datagradient.refine.crossfit import FOLDS, CrossFit

ARRAYS = ("probabilities", "influence", "validation", "validation_labels")
ARMS = 3  # models that measure what a fold's decision does
# A terminal sends Ctrl-C to all processes, a batch system SIGTERM: only the main one heeds it, and ends the others.
STOPPING = (signal.SIGINT, signal.SIGTERM)
ORPHANED = 1.0  # seconds between two looks whether the main process is still there


def part_file(folder: Path, name: str) -> Path:
    """Return the file that a part's results are in."""
    return folder / "work" / f"{name}.npz"


def missing(task: Task, folder: Path) -> list[str]:
    """Return the names of the parts that are not done."""
    return [name for name in task.parts if not _is_done(folder, name)]


def _is_done(folder: Path, name: str) -> bool:
    """Return whether there is a part of this audit: a job may have ended after another audit was begun here."""
    path = part_file(folder, name)
    return path.exists() and read_meta(path).get("audit") == _fingerprint(folder)


def _fingerprint(folder: Path) -> str:
    """Return a hash of what an audit was begun with, and of its choice of a model."""
    digest = hashlib.sha256()
    for path in (folder / BEGUN, folder / CHOICE):
        digest.update(path.read_bytes() if path.exists() else b"")  # without a folder of its own there is none
    return digest.hexdigest()


def do_part(task: Task, name: str, folder: Path, trained: Trained = nobody) -> None:
    """Judge one part's rows, decide, and measure what that does to the rows held out; write it as one file.

    It is done in one thread wherever it is done, so that the results are the same bytes.
    """
    try:
        with one_thread(task):
            arrays = _judged(task, name, trained)
    except UserError as error:
        where = "all rows" if name == WHOLE else f"{name.replace('-', ' ')} held out"
        raise UserError(f"{where}: {error}") from error
    write_arrays(part_file(folder, name), {"part": name, "audit": _fingerprint(folder)}, **arrays)


def _judged(task: Task, name: str, trained: Trained) -> dict[str, np.ndarray]:
    part = task.parts[name]
    inputs = inputs_of(task, part, task.models)
    crossfits, removal = refine(task, part, inputs, trained)
    evidence = evidence_of(task, part, task.models[0], task.dataset.labels[part.judged], crossfits)
    arrays = {"judged": part.judged, "wrong": judgement_of(evidence).wrong / len(part.judged),
              "removed": removal.positions, "relabelled": removal.relabelled,
              "new_labels": removal.new_labels}  # fmt: skip
    if name == WHOLE:
        arrays |= {f"{kind}_{model}": getattr(crossfit, kind)
                   for model, crossfit in zip(task.models, crossfits, strict=True) for kind in ARRAYS}  # fmt: skip
    else:
        arrays |= measure(task, part, inputs[task.models[0]], removal, trained)
    return arrays


@contextlib.contextmanager
def one_thread(task: Task) -> Iterator[None]:
    """Let the libraries that an audit's models use compute in one thread."""
    from threadpoolctl import threadpool_limits

    for model in task.models:
        task.family(model)  # a library that is loaded later would not know of the limit
    with threadpool_limits(1):
        yield


def read_part(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Return the arrays that `do_part` wrote."""
    return read_arrays(part_file(folder, name))[0]


def crossfits_of(task: Task, whole: dict[str, np.ndarray]) -> list[CrossFit]:
    """Return the judgements of the whole file, of the family that is refined first."""
    return [CrossFit(**{kind: whole[f"{kind}_{model}"] for kind in ARRAYS}, seconds={}) for model in task.models]


def do_all(task: Task, folder: Path, said: Callable[[str], None], expected: float | None = None) -> None:
    """Do the parts that are not done yet, as many at once as there are processors.

    Args:
        task: the audit.
        folder: the audit's folder.
        said: receives words on how far the work is.
        expected: seconds that all parts take, roughly.

    Raises:
        UserError: a file cannot be written, or the system ended a process.
    """
    waiting = missing(task, folder)
    if not waiting:
        return
    marks, together = _Marks(task, folder, waiting), min(cores(), len(waiting))
    total = sum(map(marks.whole, waiting))
    seconds = None if expected is None else expected * total / trainings(task)
    done = _alone(task, waiting, folder, marks) if together == 1 else _together(task, waiting, folder, together)
    with marks, Progress(said, total, marks.trained, seconds) as progress, contextlib.closing(done):
        for name in done:
            marks.finish(name)
            progress.tell()


def _alone(task: Task, waiting: list[str], folder: Path, marks: "_Marks") -> Iterator[str]:
    """Do parts in this process, one after the other, and yield their names as they are done."""
    for name in waiting:
        with _silence():
            do_part(task, name, folder, marks.of(name))
        yield name


def _together(task: Task, waiting: list[str], folder: Path, count: int) -> Iterator[str]:
    """Do parts in so many processes, and yield their names as they are done.

    Whatever happens, no process is left behind.
    """
    from joblib import Parallel, delayed, parallel_config

    with parallel_config(backend="loky", inner_max_num_threads=1), _born_deaf():
        jobs = Parallel(n_jobs=count, return_as="generator_unordered")
        done = jobs(delayed(_in_process)(task, name, folder, os.getpid(), Path.cwd()) for name in waiting)
    try:
        yield from done
    except BrokenProcessPool as error:
        codes = re.search(r"exit codes of the workers are \{(.*)\}", str(error))
        how = f" ({codes[1]})" if codes else ""
        raise FileError(folder, f"the system ended a process of the audit{how}, perhaps because memory ran out: "
                                "--max-rows takes fewer rows") from None  # fmt: skip
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib warns of what is not finished
            done.close()


def _in_process(task: Task, name: str, folder: Path, main: int, current: Path) -> str:
    """Do a part in a process that ends with the main one, and may be of an earlier call with another current folder."""
    os.chdir(current)
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(main,), daemon=True).start()
    with _silence():
        do_part(task, name, folder, _Marks(task, folder, [name]).of(name))
    return name


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Leave out what libraries say, and bars of progress of single models, which would disturb that of the audit."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def _end_with(main: int) -> None:
    while os.getppid() == main:
        time.sleep(ORPHANED)
    os._exit(1)


@contextlib.contextmanager
def _born_deaf() -> Iterator[None]:
    """Let processes that start in the block ignore `STOPPING` from their first moment; programs inherit that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, signal.SIG_IGN) for number in STOPPING]
    try:
        yield
    finally:
        for number, handler in zip(STOPPING, before, strict=True):
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


class _Marks:
    """Small files with a byte for each model that a part has trained, so that another process can count them."""

    def __init__(self, task: Task, folder: Path, names: list[str]):
        self.files = {name: folder / "work" / f".{name}.trained" for name in names}
        self.task, self.finished = task, set[str]()

    def __enter__(self) -> "_Marks":
        self._remove()
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def of(self, name: str) -> Trained:
        """Return a function that notes that so many more models of a part are trained."""

        def trained(count: int) -> None:
            with contextlib.suppress(OSError), open(self.files[name], "ab") as stream:
                stream.write(b"." * count)

        return trained

    def whole(self, name: str) -> int:
        """Return how many models a part trains at most."""
        return FOLDS * len(self.task.models) * self.task.rounds + (0 if name == WHOLE else ARMS)

    def finish(self, name: str) -> None:
        """Note that a part is done."""
        self.finished.add(name)

    def trained(self) -> int:
        """Return how many models are trained; of parts that are done all count."""
        return sum(self.whole(name) if name in self.finished else min(_size(file), self.whole(name))
                   for name, file in self.files.items())  # fmt: skip

    def _remove(self) -> None:
        for file in self.files.values():
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def trainings(task: Task) -> int:
    """Return the number of models that an audit trains at most."""
    judges = FOLDS * len(task.models) * task.rounds
    return (task.folds + 1) * judges + ARMS * task.folds
