"""Whether a pass is in forward mode, for which layers may define their own derivative."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_written_out = ContextVar("written_out", default=False)


@contextmanager
def written_out_tangents() -> Iterator[None]:
    """Make forward-mode passes over the layers cheap within this context; the layers then have no gradient.

    No layer is changed. The context belongs to its thread, can be nested, and also ends when an error is raised.
    """
    token = _written_out.set(True)
    try:
        yield
    finally:
        _written_out.reset(token)


def is_written_out() -> bool:
    """Return whether layers use their own forward-mode derivative, and have no gradient."""
    return _written_out.get()
