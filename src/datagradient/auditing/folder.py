"""The folder of an audit: begun once, by one process at a time, and resumed after an interruption."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datagradient.auditing.review import REVIEW_FILE, check_kept
from datagradient.errors import FileError, UserError
from datagradient.files import read_json, write_json
from datagradient.files.locks import locked_alone

BEGUN = "begun.json"
CHOICE = "work/choice.json"  # the choice of a model is made once, also for jobs of a workflow
WORK = "work"  # folder of the parts
PLAN_FILE, SAMPLES_FILE = "plan.json", "samples.parquet"
OURS = (BEGUN, WORK, "report.html", "summary.json", REVIEW_FILE, SAMPLES_FILE, PLAN_FILE)
HIDDEN = (".snakemake",)  # of a workflow that was run in the folder
LOCK = ".audit.lock"


class Place:
    """The folder of one audit; in its block no other process audits into it.

    Nothing is written before `begin`, so that a call that fails until then leaves nothing behind.

    Args:
        path: the folder.
        overwrite: whether an audit that it holds is replaced.
        resume: whether an audit that it holds goes on.
        trusted: a review whose labels are not lost with those of an audit that is replaced.

    Attributes:
        path: the folder.
        begun: whether it holds an audit that `resume` goes on with.
    """

    def __init__(self, path: str | Path, overwrite: bool = False, resume: bool = False, trusted: Any = None):
        self.path, self.overwrite, self.resume, self.trusted = Path(path), overwrite, resume, trusted
        self.begun = self._is_locked = False
        self._held = contextlib.ExitStack()
        check_folder(self.path, overwrite, resume, trusted)

    def __enter__(self) -> "Place":
        """Lock a folder that holds an audit."""
        if (self.path / BEGUN).exists():
            self._lock()
        return self

    def __exit__(self, *_: object) -> None:
        """Release the folder."""
        self._held.close()
        self._is_locked = False

    def check(self, facts: dict[str, Any]) -> None:
        """Refuse to go on with an audit whose data or options were others; `facts` are those of begun.json."""
        if self.resume:
            check_unchanged(self.path, facts)
            self.begun = True

    def begin(self, facts: dict[str, Any]) -> None:
        """Begin an audit, unless it goes on."""
        if self.begun:
            return
        self._lock()
        check_folder(self.path, self.overwrite, False, self.trusted)  # another audit may have come first
        clear(self.path)
        write_json(self.path / BEGUN, facts)
        self.begun = True

    def _lock(self) -> None:
        if self._is_locked:
            return
        try:
            self._held.enter_context(locked_alone(self.path / LOCK, f"{self.path}: another audit is at work there"))
        except OSError as error:
            raise FileError(self.path, f"cannot be written ({error.strerror or error})") from None
        self._is_locked = True


def check_folder(folder: Path, overwrite: bool, resume: bool, trusted: Any = None) -> None:
    """Refuse a folder that cannot be written, or that is not empty, unless its audit is to be replaced or resumed.

    Labels that somebody has written into the review of an audit are not replaced, unless they are in `trusted`, too.
    """
    if overwrite and resume:
        raise UserError("--overwrite and --resume: give one of them")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; give another --out")
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: cannot be written ({there} is {'not yours' if there.is_dir() else 'a file'}); "
                        "give another --out")  # fmt: skip
    held = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if resume:
        if BEGUN not in held:
            raise UserError(f"{folder}: --resume: no audit was begun here; leave --resume out")
        return
    for name in others_in(held):
        raise UserError(f"{folder}: holds {name}, which is not of an audit; give another --out")
    ours = [name for name in held if name in OURS]
    if ours and not {BEGUN, PLAN_FILE} & set(held):
        raise UserError(f"{folder}: holds {ours[0]}, and no {PLAN_FILE} of an audit; give another --out")
    if ours and not overwrite:
        raise UserError(f"{folder}: holds an audit; --resume goes on with it, --overwrite replaces it")
    check_kept(folder, trusted)


def check_apart(folder: Path, inputs: Iterable[str | Path | None]) -> None:
    """Refuse a folder that holds one of the files or folders that are read, or lies in one: they are never changed."""
    for path in filter(None, inputs):
        source, out = Path(path).resolve(), folder.resolve()
        if out.is_relative_to(source):
            raise UserError(f"{folder}: is {'' if out == source else 'inside '}{path}, which is never changed; give "
                            "another --out")  # fmt: skip
        if any(source == out / name or source.is_relative_to(out / name) for name in OURS):
            raise UserError(f"{path}: lies in {folder}, where the audit's own {source.name} would stand; give another "
                            "--out")  # fmt: skip


def others_in(names: Iterable[str]) -> list[str]:
    """Return the names that are not of an audit's files, of all that a folder holds; hidden ones are of nobody."""
    return sorted(name for name in names if name not in OURS and not name.startswith("."))


def clear(folder: Path) -> None:
    """Remove the files of an earlier audit from a folder, the one that says that it is one last."""
    for name in (*HIDDEN, *OURS[1:], OURS[0]):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def read_begun(folder: Path) -> dict[str, Any]:
    """Return what is known of an audit that was begun in a folder.

    Raises:
        UserError: there is none.
    """
    if not (folder / BEGUN).exists():
        raise UserError(f"{folder}: no audit was begun here")
    return read_json(folder / BEGUN, version=str, python=str, files=dict, checksums=dict, options=dict, reading=dict)


def check_unchanged(folder: Path, facts: dict[str, Any]) -> None:
    """Refuse to go on with the audit of a folder with another version, other data, or other options.

    Args:
        folder: holds an audit that was begun.
        facts: what begun.json would hold if it were begun now.
    """
    before, now = read_begun(folder), json.loads(json.dumps(facts))
    if before["version"] != now["version"]:
        raise UserError(f"{folder}: this audit was begun by datagradient {before['version']}, and this is "
                        f"{now['version']}; use --overwrite")  # fmt: skip
    for name in sorted(before["checksums"] | now["checksums"]):
        if before["checksums"].get(name) != now["checksums"].get(name):
            raise UserError(f"{folder}: the {name} {'have' if name == 'data' else 'has'} changed since this audit was "
                            "begun; use --overwrite")  # fmt: skip
    for kind in ("options", "reading"):
        for key, value in now[kind].items():
            earlier = before[kind].get(key)
            if value != earlier:
                what = "was not given: leave it out" if earlier in (None, []) else f"was {earlier}: give that again"
                raise UserError(f"{folder}: --resume: --{key.replace('_', '-')} {what}, or use --overwrite")
