"""Locks between processes. The system releases them when their holder ends or is killed."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from datagradient.errors import UserError

PATIENCE = 5.0  # seconds that a process waits without a message


@contextlib.contextmanager
def locked(path: Path, purpose: str) -> Iterator[None]:
    """Hold an exclusive lock, waiting for it as long as necessary; after some seconds a line on stderr says so.

    The file remains, but has no meaning by itself: the lock belongs to the system (``flock``), which releases it as
    soon as a process is killed. On a file system without such locks, filelock warns and uses the file's existence as
    the lock; then a file left behind by another machine must be deleted by hand.

    Args:
        path: the lock's file; its folder is created.
        purpose: what the lock is for, e.g. ``"download of adult.data"``.

    Raises:
        OSError: the file cannot be created.
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


@contextlib.contextmanager
def locked_alone(path: Path, refusal: str) -> Iterator[None]:
    """Hold an exclusive lock, or refuse at once; otherwise as `locked`.

    Raises:
        UserError: another process holds it; the message is `refusal`.
        OSError: the file cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(refusal) from None
    try:
        yield
    finally:
        lock.release()
