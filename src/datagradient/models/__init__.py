"""One module a model family. Each has the same functions, so no job needs to know which it is:

``fit(features, labels, n_classes, settings, seed) -> (model, record)``, ``save(path, model, meta)``,
``load(path) -> (model, meta)``, ``probabilities(model, features) -> (n, classes)`` and
``problem(model, features, labels) -> influence problem``.
``SETTINGS`` names its settings, the ones that ``config/defaults.yaml`` lists for the family.
"""

import importlib
from types import ModuleType


def family(name: str) -> ModuleType:
    """Return the module of one model family; the configuration has checked that it exists."""
    return importlib.import_module(f"{__name__}.{name}")
