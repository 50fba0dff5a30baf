"""One module a data set, each with ``load() -> Dataset``. A new module here is a new data set."""

import importlib

from datagradient.data.record import Dataset


def load(name: str) -> Dataset:
    """Load one data set by name; the configuration has checked that it exists."""
    return importlib.import_module(f"{__name__}.{name}").load()
