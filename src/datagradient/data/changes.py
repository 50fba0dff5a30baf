"""Which files a data set was read from, and whether they have changed since.

`prepare` writes what ``load`` read into read.json beside the prepared file. When the workflow is planned, each record
is compared with the disk; a change renews the file ``source`` of the data set, an input of the rule `prepare`. Imports
nothing heavy: the Snakefile uses it.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

RECORD, STAMP = "read.json", "source"
LONG_AGO = 10**9  # seconds since 1970: older than any result, so that the stamp by itself renews nothing
# What the system and the libraries bring, and code: no sources of data.
_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr/lib", "/usr/share")
_CODE = re.compile(r"\.(py|pyc|so|pyd)$|\.(dist|egg)-info(/|$)")
_listeners: list[set[Path]] = []


@contextlib.contextmanager
def reading() -> Iterator[set[Path]]:
    """Note the paths of files that Python opens for reading, and of folders that it lists, while the block runs."""
    _install_hook()
    paths: set[Path] = set()
    _listeners.append(paths)
    try:
        yield paths
    finally:
        _listeners[:] = [other for other in _listeners if other is not paths]


@functools.cache
def _install_hook() -> None:
    sys.addaudithook(_hear)  # once: a hook cannot be taken away again, and does nothing while nobody listens


def _hear(event: str, arguments: tuple) -> None:
    if not _listeners or event not in ("open", "os.listdir", "os.scandir"):
        return
    path, _, flags = (*arguments, None, 0)[:3]
    if not isinstance(path, (str, bytes, os.PathLike)):
        return  # the number of a file that is open
    if event == "open":
        wanted = not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    else:  # Python's import system lists folders, too
        wanted = not sys._getframe(1).f_code.co_filename.startswith("<frozen importlib")
    if wanted:
        for paths in _listeners:
            paths.add(Path.cwd() / os.fsdecode(path))


def states(paths: Iterable[Path]) -> dict[str, dict]:
    """Return size, time and checksum of every file and folder of data among `paths`.

    What is gone by now, like scratch files, and what belongs to the system or to a library is left out. A path below
    the working folder is relative to it.
    """
    here, libraries = Path.cwd(), _libraries()
    data = [path for path in sorted({path.resolve() for path in paths}) if _is_data(path, libraries)]
    return {str(path.relative_to(here) if path.is_relative_to(here) else path): _state(path) for path in data}


@functools.cache
def _libraries() -> list[Path]:
    installed = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return [Path(path).resolve() for path in (*installed, site.getusersitepackages(), *_SYSTEM)]


def _is_data(path: Path, libraries: list[Path]) -> bool:
    if path.is_dir():  # but not one where results come and go, or where modules are looked for
        busy = Path.cwd().is_relative_to(path) or path in [
            Path(p).resolve() for p in (*sys.path, tempfile.gettempdir())
        ]
    else:
        busy = not path.is_file()
    return not (busy or _CODE.search(str(path)) or any(path.is_relative_to(top) for top in libraries))


def _state(path: Path) -> dict:
    facts = path.stat()
    return {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns, "sha256": _checksum(path, facts.st_mtime_ns)}


@functools.cache
def _checksum(path: Path, mtime_ns: int) -> str:
    """Return the checksum of a file's bytes, or of the names in a folder, as they are at one time of change."""
    if path.is_dir():
        names = "\0".join(sorted(entry.name for entry in path.iterdir()))
        return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def notice_changes(folder: str | Path) -> None:
    """Renew the stamp of a data set where what it was read from has changed since it was prepared.

    Only a prepared file that is younger than the stamp can make it younger: to plan twice changes nothing. The same
    bytes with another time are no change, and what is gone, like a download cache that was cleared or a local copy
    that was moved, is none either: nothing tells what it would hold. Where nothing can be written, nothing is: to plan
    takes no more than reading.

    Args:
        folder: ``results/<preset>/<data set>``; read.json lies in the folders of the prepared files.
    """
    with contextlib.suppress(OSError):
        _renew(Path(folder))


def _renew(folder: Path) -> None:
    stamp = folder / STAMP
    if not stamp.exists():
        folder.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        os.utime(stamp, (LONG_AGO, LONG_AGO))
    records = [*folder.glob(f"prepared/*/{RECORD}"), *folder.glob(f"scalability/{RECORD}")]
    younger = [record for record in records if record.stat().st_mtime_ns > stamp.stat().st_mtime_ns]
    changed = dict.fromkeys(path for record in younger for path in _changed(record))
    if changed:
        lines = ["Changed since the data set was prepared:", *changed, ""]
        stamp.write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")


def _changed(record: Path) -> list[str]:
    """Return the files and folders of a record that have other content now."""
    try:
        entries = json.loads(record.read_text(encoding="utf-8"))
        return [path for path, entry in entries.items() if _differs(Path(path), **entry)]
    except (ValueError, TypeError, AttributeError):  # nothing that `states` returned
        return [str(record)]


def _differs(path: Path, size: int, mtime_ns: int, sha256: str) -> bool:
    """Whether other bytes, or names in a folder, are there now; no where nothing can be read."""
    try:
        facts = path.stat()
        same = (facts.st_size, facts.st_mtime_ns) == (size, mtime_ns)
        return not same and _checksum(path, facts.st_mtime_ns) != sha256
    except OSError:
        return False
