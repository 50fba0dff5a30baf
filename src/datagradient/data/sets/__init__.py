"""One module per data set, each with ``load() -> Dataset``. A new module here is a new data set.

The module has the name of its `Dataset`. The files that ``load`` opens for reading in Python, and the folders that it
lists, become inputs of the workflow: when one changes, the set is prepared again. Files that a library opens outside
Python (pyarrow's readers, HDF5) are not detected: list them in ``FILES``, a tuple of paths in the module.

A module may have labels that people gave: ``HUMAN_LABELS``, a literal tuple of the names of their columns, and
``human_labels() -> {column: labels (n,)}``, class numbers for the rows of the `Dataset`, −1 for rows of the official
test set. If they are in a file of their own, its `SourceFile` is ``HUMAN_FILE``.
"""

import contextlib
import importlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from zipfile import BadZipFile

import numpy as np

from datagradient.data.fetch import fetch
from datagradient.data.record import Dataset
from datagradient.errors import UserError


def load(name: str) -> Dataset:
    """Load one data set by name; the configuration has already been checked for it.

    Raises:
        UserError: a file cannot be read, lacks a column or holds a value that ``load`` does not expect; or ``load``
            does not return a Dataset with the module's name.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    with _reading(name, module):
        dataset = module.load()
    if not isinstance(dataset, Dataset):
        raise UserError(f"{module.__file__}: load() returns a {type(dataset).__name__}, and a Dataset is needed")
    if dataset.name != name:
        raise UserError(f"{module.__file__}: load() returns a data set named {dataset.name!r}: the name must be the "
                        f"module's, {name!r}")  # fmt: skip
    return dataset


def human_labels(name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the human labels of a data set that declares some, by column, and their file with its checksum.

    Raises:
        UserError: they cannot be read, or are not those of the data set's rows.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    with _reading(name, module):
        columns = module.human_labels()
    file = getattr(module, "HUMAN_FILE", None)
    return columns, {file.path: fetch(file).checksum} if file else {}


@contextlib.contextmanager
def _reading(name: str, module: ModuleType) -> Iterator[None]:
    """Turn what readers of files raise into one line that names the data set and the line of its module."""
    try:
        yield
    except UserError:
        raise
    except (OSError, EOFError, ValueError, LookupError, BadZipFile) as error:
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == module.__file__
        ]
        place = f" ({module.__file__}, line {lines[-1]})" if lines else ""
        reason = " ".join(str(error).split())
        raise UserError(f"data set {name}: cannot be read{place}: {type(error).__name__}: {reason}") from error


def declared_files(name: str) -> list[Path]:
    """Return the ``FILES`` of a data set's module.

    Raises:
        UserError: one of them does not exist.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    files = getattr(module, "FILES", ())
    paths = [Path(file) for file in ([files] if isinstance(files, (str, Path)) else files)]
    for path in paths:
        if not path.exists():
            raise UserError(f"{module.__file__}: FILES: {path}: not found")
    return paths
