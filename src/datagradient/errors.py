"""The exceptions that the command line shows as a single line instead of a traceback, and what they have in common."""

import reprlib
from pathlib import Path

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = 12


class UserError(ValueError):
    """Something the user can fix. The message names the file, key or sample at fault and what to do."""


class FileError(UserError):
    """A file that a command cannot use: ``path`` is the file at fault."""

    def __init__(self, path: str | Path, message: str):
        super().__init__(f"{path}: {message}")
        self.path = Path(path)


def shown(value: object) -> str:
    """Return a value as it stands in a message: on one line, and not longer than one."""
    return _SHORT.repr(value)


def one_line(text: object) -> str:
    """Return a message without line breaks, which names of files and words of libraries may hold."""
    return " ".join(line.strip() for line in str(text).splitlines())
