"""An audit in its folder: all at once, or as the jobs of a workflow on one machine or many."""

import contextlib
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from datagradient.auditing.beginning import begin
from datagradient.auditing.folder import BEGUN, Place, check_unchanged, read_begun
from datagradient.auditing.reading import read_all
from datagradient.auditing.request import Request, request_of
from datagradient.errors import FileError, UserError

if TYPE_CHECKING:
    from datagradient.auditing.run import Audit
    from datagradient.auditing.setup import Prepared, Said

RULES = Path(__file__).with_name("Snakefile")


def audit_into(request: Request, place: Place, said: "Said", meanwhile: Callable[[], None] | None = None) -> "Audit":
    """Audit, or go on with an audit, and write its files to its folder; `meanwhile` is called before the work.

    Raises:
        UserError: the data or an option is wrong, or a file cannot be written.
        KeyboardInterrupt: the message says how to go on, if anything is finished.
    """
    start = time.perf_counter()
    with place, _kept(place):
        prepared = begin(request, place, said)
        if meanwhile is not None:
            meanwhile()
        return _finished(prepared, request, place.path, said, start)


def write_workflow(request: Request, place: Place, said: "Said") -> "Audit | list[str]":
    """Begin an audit whose parts are done by Snakemake; return the commands that do it, and write its files.

    An audit of too few rows has no parts: its outcome is written at once and returned.
    """
    start = time.perf_counter()
    with place, _kept(place):
        prepared = begin(request, place, said)
        if prepared.task is None:
            return _finished(prepared, request, place.path, said, start)
    return [parts_command(place.path), f"datagradient audit --collect {shlex.quote(str(place.path))}"]


def parts_command(folder: Path) -> str:
    """Return the command that does an audit's parts on the processors of this machine."""
    from datagradient.auditing.work import cores

    words = ["snakemake", "-s", str(RULES), "--directory", str(folder.absolute()), "--cores", str(cores())]
    return shlex.join(words)


def do_one(folder: Path, name: str) -> None:
    """Do one part of an audit that was begun as a workflow.

    Raises:
        UserError: no audit was begun in the folder, it has no such part, or its data have changed.
    """
    from datagradient.auditing.setup import stored_choice, task_of
    from datagradient.auditing.work import do_part

    before, facts = _content(folder), read_begun(folder)
    request, chosen = request_of(facts, folder), stored_choice(folder)
    if chosen is None:
        raise UserError(f"{folder}: no model was chosen yet: begin the audit again with --overwrite")
    request.prepare_device()
    read = read_all(request)
    check_unchanged(folder, request.facts(read.checksums, facts["path"]))
    task = task_of(read, request.options, chosen)
    if task is None or name not in task.parts:
        raise UserError(f"{folder}: has no part {name}; it has {', '.join(task.parts) if task else 'none'}")
    if _content(folder) != before:
        raise UserError(f"{folder}: another audit was begun here meanwhile")
    do_part(task, name, folder)


def collect(folder: Path, said: "Said") -> "Audit":
    """Write the files of an audit whose parts are done.

    Raises:
        UserError: no audit was begun in the folder, a part is missing, or its data have changed.
    """
    from datagradient.auditing.work import missing

    start, request = time.perf_counter(), request_of(read_begun(folder), folder)
    with Place(folder, resume=True) as place:
        prepared = begin(request, place, lambda _: None)
        waiting = [] if prepared.task is None else missing(prepared.task, folder)
        if waiting:
            raise UserError(f"{folder}: not done yet: {', '.join(waiting)}; run: {parts_command(folder)}")
        return _finished(prepared, request, folder, said, start)


@contextlib.contextmanager
def _kept(place: Place) -> Iterator[None]:
    """Say of an error that ends an audit what is left of it, and how it goes on."""
    again = f"give the command again with --resume{' instead of --overwrite' if place.overwrite else ''}"
    try:
        yield
    except KeyboardInterrupt:
        if not place.begun:
            raise
        raise KeyboardInterrupt(f"what is finished is kept in {place.path}; {again}") from None
    except FileError as error:
        if not place.begun or not error.path.is_relative_to(place.path):
            raise
        raise UserError(f"{error}; what is finished is kept: {again}") from None


def _content(folder: Path) -> bytes:
    """Return what begun.json holds; nothing if there is none."""
    return (folder / BEGUN).read_bytes() if (folder / BEGUN).exists() else b""


def _finished(prepared: "Prepared", request: Request, folder: Path, said: "Said", start: float) -> "Audit":
    """Do what is not done yet, say what comes next, and write the files of the outcome."""
    from datagradient.auditing.run import finish

    result = finish(prepared, request.options, folder, said, start)
    apply = f"datagradient apply {shlex.quote(str(folder / 'plan.json'))} --out NEW"
    review = shlex.quote(str(folder / "review.csv"))
    check = (f"Write the right class into the column checked of {review} where decision is look, "
             f"then give the same command with --trusted {review} --out ANOTHER")  # fmt: skip
    result.summary["next"] += ([apply] if result.plan["actions"] else []) + ([check] if result.rows else [])
    result.save(folder)
    return result
