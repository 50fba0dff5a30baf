"""What the modules of data sets declare. Imports nothing heavy, because the Snakefile uses it."""

import functools
import re
from pathlib import Path

from datagradient.errors import UserError, shown
from datagradient.files.literal import read_literal

HUMAN_LABELS = "HUMAN_LABELS"
# The name of a column is that of a condition, too: in paths, and unlike a rate or a rate's untrusted condition.
_COLUMN = re.compile("[a-z][a-z0-9_]*", re.ASCII)


@functools.cache
def human_labels_of(name: str) -> tuple[str, ...]:
    """Return the columns of human labels that a data set's module declares as ``HUMAN_LABELS``; () if it has none.

    That there is such a module is for others to check.
    """
    file = Path(__file__).parent / f"sets/{name}.py"
    return read_human_labels(file) if file.is_file() else ()


def read_human_labels(file: Path) -> tuple[str, ...]:
    """Read ``HUMAN_LABELS`` from the source of a module, which is not imported.

    Raises:
        UserError: it is not a tuple of different words.
    """
    columns = read_literal(file, HUMAN_LABELS)
    if columns is None:
        return ()
    words = isinstance(columns, tuple) and all(isinstance(word, str) and _COLUMN.fullmatch(word) for word in columns)
    if not words or not columns or len(set(columns)) < len(columns):
        raise UserError(f"{file}: {HUMAN_LABELS} is {shown(columns)}, and a tuple of different words of a-z, 0-9 and "
                        "'_' is needed")  # fmt: skip
    return columns
