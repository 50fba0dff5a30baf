"""Which files a data set was read from, and whether they have changed since.

`prepare` records the files that ``load`` read in read.json, next to the prepared file. When the workflow is planned,
each record is compared with the disk; a change updates the file ``source`` of the data set, an input of the rule
`prepare`. Imports nothing heavy, because the Snakefile uses it.
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
LONG_AGO = 10**9  # seconds since 1970: older than any result, so that a new stamp reruns nothing
# Files of the system and of libraries, and code: these are not sources of data.
_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr/lib", "/usr/share")
_CODE = re.compile(r"\.(py|pyc|so|pyd)$|\.(dist|egg)-info(/|$)")
_listeners: list[set[Path]] = []


@contextlib.contextmanager
def reading() -> Iterator[set[Path]]:
    """Record the paths of files that Python opens for reading, and of folders that it lists, while the block runs."""
    _install_hook()
    paths: set[Path] = set()
    _listeners.append(paths)
    try:
        yield paths
    finally:
        _listeners[:] = [listener for listener in _listeners if listener is not paths]


@functools.cache
def _install_hook() -> None:
    sys.addaudithook(_hear)  # once: a hook cannot be removed, and does nothing while there is no listener


def _hear(event: str, arguments: tuple) -> None:
    if not _listeners or event not in ("open", "os.listdir", "os.scandir"):
        return
    path, _, flags = (*arguments, None, 0)[:3]
    if not isinstance(path, (str, bytes, os.PathLike)):
        return  # the descriptor of an open file
    if event == "open":
        wanted = not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    else:  # Python's import system also lists folders
        wanted = not sys._getframe(1).f_code.co_filename.startswith("<frozen importlib")
    if wanted:
        for paths in _listeners:
            paths.add(Path.cwd() / os.fsdecode(path))


def states(paths: Iterable[Path]) -> dict[str, dict]:
    """Return size, time and checksum of every file and folder of data among `paths`.

    Files that no longer exist, such as scratch files, and files of the system or of a library are left out. A path
    below the working folder is relative to it.
    """
    here, libraries = Path.cwd(), _libraries()
    data = [path for path in sorted({path.resolve() for path in paths}) if _is_data(path, libraries)]
    return {str(path.relative_to(here) if path.is_relative_to(here) else path): _state(path) for path in data}


@functools.cache
def _libraries() -> list[Path]:
    installed = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return [Path(path).resolve() for path in (*installed, site.getusersitepackages(), *_SYSTEM)]


def _is_data(path: Path, libraries: list[Path]) -> bool:
    if path.is_dir():  # but not a folder in which results appear, or in which modules are searched
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
    """Return the checksum of a file's bytes, or of the names in a folder; cached by the time of the last change."""
    if path.is_dir():
        names = "\0".join(sorted(entry.name for entry in path.iterdir()))
        return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def notice_changes(folder: str | Path) -> None:
    """Update the stamp of a data set if its sources have changed since it was prepared.

    Only prepared files newer than the stamp are compared, so planning twice changes nothing. The same bytes with
    another time do not count as a change. Nor do missing files, such as a cleared download cache or a local copy that
    was moved: their content is unknown. If the folder is not writable, nothing is written: read access is enough for
    planning.

    Args:
        folder: ``results/<preset>/<data set>``; read.json is in the folders of the prepared files.
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
    """Return the files and folders of a record whose content has changed."""
    try:
        entries = json.loads(record.read_text(encoding="utf-8"))
        return [path for path, entry in entries.items() if _differs(Path(path), **entry)]
    except (ValueError, TypeError, AttributeError):  # not written by `states`
        return [str(record)]


def _differs(path: Path, size: int, mtime_ns: int, sha256: str) -> bool:
    """Return whether a file's bytes, or the names in a folder, have changed; False if they cannot be read."""
    try:
        facts = path.stat()
        same = (facts.st_size, facts.st_mtime_ns) == (size, mtime_ns)
        return not same and _checksum(path, facts.st_mtime_ns) != sha256
    except OSError:
        return False
