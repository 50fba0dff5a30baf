"""One module a model family. Each has the same functions, so no job needs to know which it is:

``fit(inputs, labels, n_classes, settings, seed, weights=None) -> (model, record)``, ``save(path, model, meta)``,
``load(path) -> (model, meta)``, ``probabilities(model, inputs) -> (n, classes)`` and
``problem(model, inputs, labels, rows, curvature, parameters) -> influence problem``.
``SETTINGS`` says what each of its settings may be, in the words of `datagradient.pipeline.schema`, which reads it
without importing the module; ``config/defaults.yaml`` holds their defaults. ``INPUTS`` is the form of the samples that
it takes: ``"features"`` for vectors, ``"raw"`` for images and token numbers.
"""

import importlib
from types import ModuleType
from typing import Any

from datagradient import __version__
from datagradient.errors import UserError
from datagradient.files import read_meta


def family(name: str) -> ModuleType:
    """Return the module of one model family; the configuration has checked that it exists."""
    return importlib.import_module(f"{__name__}.{name}")


def load(name: str, path: str, data: str) -> tuple[Any, dict]:
    """Read a model of a family and the facts about it.

    Raises:
        UserError: the file holds a model of another family or version, or one of other data than `data`.
    """
    facts, data_facts = read_meta(path), read_meta(data)
    expected = {"model": name, "version": __version__, "dataset": data_facts["dataset"], "seed": data_facts["seed"]}
    for key, value in expected.items():
        if facts.get(key) != value:
            raise UserError(f"{path}: {key} is {facts.get(key)}, and {value} is needed for {data}: train it again")
    return family(name).load(path)
