"""Whether a pass is a forward-mode one, for which layers may have a derivative of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_written_out = ContextVar("written_out", default=False)


@contextmanager
def written_out_tangents() -> Iterator[None]:
    """Within this context a forward-mode pass over the layers is cheap, and they have no gradient.

    It changes no layer: a context belongs to its thread, may stand in another, and ends with an error too.
    """
    token = _written_out.set(True)
    try:
        yield
    finally:
        _written_out.reset(token)


def is_written_out() -> bool:
    """Return whether layers use their own forward-mode derivative, and have no gradient."""
    return _written_out.get()
