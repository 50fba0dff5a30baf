"""Locks between processes. The system frees them when their holder ends, also by a kill."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 5.0  # seconds that a process waits in silence


@contextlib.contextmanager
def locked(path: Path, purpose: str) -> Iterator[None]:
    """Hold an exclusive lock, waiting for it as long as it takes; after some seconds a line on stderr says so.

    The file stays and means nothing by itself: the lock is the system's (``flock``), so that of a killed process is
    free at once. Where a file system has no such locks, filelock warns and takes the file's existence for the lock;
    then one left behind on another machine must be deleted by hand.

    Args:
        path: the lock's file; its folder is made.
        purpose: what the lock is for, e.g. ``"download of adult.data"``.

    Raises:
        OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        print(f"{purpose}: waiting for another process that holds {path}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
