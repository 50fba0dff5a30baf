"""One module per data set, each with ``load() -> Dataset``. A new module here is a new data set.

The module has the name of its `Dataset`. The files that ``load`` opens for reading in Python, and the folders that it
lists, become inputs of the workflow: when one changes, the set is prepared again. Files that a library opens outside
Python (pyarrow's readers, HDF5) are not detected: list them in ``FILES``, a tuple of paths in the module.
"""

import importlib
import traceback
from pathlib import Path
from zipfile import BadZipFile

from datagradient.data.record import Dataset
from datagradient.errors import UserError


def load(name: str) -> Dataset:
    """Load one data set by name; the configuration has already been checked for it.

    Raises:
        UserError: a file cannot be read, lacks a column or holds a value that ``load`` does not expect; or ``load``
            does not return a Dataset with the module's name.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    try:
        dataset = module.load()
    except UserError:
        raise
    except (OSError, EOFError, ValueError, LookupError, BadZipFile) as error:  # raised by readers of files
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == module.__file__
        ]
        place = f" ({module.__file__}, line {lines[-1]})" if lines else ""
        reason = " ".join(str(error).split())
        raise UserError(f"data set {name}: cannot be read{place}: {type(error).__name__}: {reason}") from error
    if not isinstance(dataset, Dataset):
        raise UserError(f"{module.__file__}: load() returns a {type(dataset).__name__}, and a Dataset is needed")
    if dataset.name != name:
        raise UserError(f"{module.__file__}: load() returns a data set named {dataset.name!r}: the name must be the "
                        f"module's, {name!r}")  # fmt: skip
    return dataset


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
