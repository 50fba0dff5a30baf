"""Exceptions that the command line shows as a single line instead of a traceback, and helpers for their messages."""

import reprlib
from pathlib import Path

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = 12


class UserError(ValueError):
    """An error that the user can fix. The message names the file, key or sample at fault and the remedy."""


class FileError(UserError):
    """A file that a command cannot use: ``path`` is the file at fault."""

    def __init__(self, path: str | Path, message: str):
        super().__init__(f"{path}: {message}")
        self.path, self._message = Path(path), message

    def __reduce__(self) -> tuple:
        """Copy and pickle, as between processes."""
        return type(self), (self.path, self._message)


def shown(value: object) -> str:
    """Return a value in the form used in messages: on one line, shortened if necessary."""
    return _SHORT.repr(value)


def one_line(text: object) -> str:
    """Return a message without line breaks, which file names and messages of libraries may contain."""
    return " ".join(line.strip() for line in str(text).splitlines())
