"""The model families. A module in this folder is a family: nothing else names it.

At the top of the module stands ``FAMILY``, which says what the family is and what its settings may be: a mapping of
plain words, numbers, tuples and None, since it is read without importing the module (to import torch takes seconds).
Its keys are those of `Family`. Under ``settings`` each setting stands with its default: ``{"type": "whole" or
"number", limits, "null": True where null is legal, "default": …}``, the limits being ``gt`` or ``ge`` and, if there is
an upper one, ``lt`` or ``le``; or ``{"words": (…), "default": …}``. ``solver`` holds the options of
`datagradient.influence.options`, and under ``table``, ``text`` and ``image`` what overrides them for that kind of data.
A preset may override any default.

The module's functions, the same for every family:

``fit(inputs, labels, n_classes, settings, seed, weights=None) -> (model, record)``
    Train. ``inputs`` (n, …) have the declared form; ``labels`` (n,) are 0 to n_classes − 1, with no class missing;
    ``weights`` (n,) are those of the samples' losses, None for 1. The same seed gives the same model. The record holds
    plain values, at least ``optimiser``, ``iterations`` and ``seconds``, those inside the fit.
``probabilities(model, inputs) -> (n, n_classes)``
    The class probabilities; rows sum to 1.
``problem(model, inputs, labels, rows=None) -> problem``
    The model on its training set as influence sees it, a `datagradient.influence.scores.Problem`. ``rows`` are the
    samples that curvature is averaged over, None for all. A family whose ``solver`` declares ``curvature`` or
    ``parameters`` gets them as further keyword arguments.
``fit_recorded(…, parameters) -> (model, record, kept)`` and
``probabilities_recorded(model, inputs) -> (probabilities, kept)``
    Only of a family that declares ``records``: as `fit` and `probabilities`, and what ``problem`` and its
    ``mean_gradient`` take in the place of these inputs, so that they need not pass through the model again; None if
    nothing was kept. The model and the probabilities are the same bytes as without. What is kept has a method
    ``arrays()``, plain arrays by name, from which ``record_of(model, arrays)`` makes it again.
``save(path, model, meta)`` and ``load(path) -> (model, meta)``
    Write and read one file of plain arrays, with `datagradient.files.write_arrays` and without pickle. A model that was
    read predicts the same bytes.

``tests/test_models.py`` holds every family to this. docs/extending.md shows a complete one.
"""

import functools
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from datagradient import __version__
from datagradient.errors import UserError, shown
from datagradient.files.literal import read_literal


@dataclass(frozen=True)
class Family:
    """What a model family declares of itself.

    Attributes:
        name: of its module.
        file: its module.
        inputs: ``"features"`` for vectors; ``"raw"`` for images, token numbers, and of tables vectors.
        random: whether the trained model depends on the seed.
        settings: what each setting of the training may be, in the words of `datagradient.pipeline.schema`.
        defaults: the default of each setting.
        solver: how S is solved for, with what overrides it by the kind of data; ``name`` is the solver.
        gpu: whether its jobs ask for a GPU where the preset says ``gpu: 1``.
        records: whether `fit_recorded` and `probabilities_recorded` keep what the solver ``record`` goes by.
        single_precision: whether it is scored in float32: a converged solve is then less exact.
        colour: in figures, like ``"#0072B2"``; None, or the colour of an earlier family, for a free one.
        marker: in figures, one of matplotlib's; as `colour`.
    """

    name: str
    file: Path
    inputs: str
    random: bool
    settings: dict[str, tuple | dict]
    defaults: dict[str, Any]
    solver: dict[str, Any]
    gpu: bool = False
    records: bool = False
    single_precision: bool = False
    colour: str | None = None
    marker: str | None = None


def family(name: str) -> ModuleType:
    """Return the module of one model family; the configuration has checked that it exists."""
    return importlib.import_module(f"{__name__}.{name}")


@functools.cache
def declared(name: str) -> Family:
    """Return what a model family declares of itself; errors are those of `read_declaration`."""
    return read_declaration(Path(__file__).with_name(f"{name}.py"))


def read_declaration(file: Path) -> Family:
    """Read ``FAMILY`` from the source of a family's module, which is not imported.

    Raises:
        UserError: there is none, it is no literal, or a key or value of it is not legal: one line that names the file.
    """
    content = _declaration(file)
    where = f"{file}: FAMILY"
    _check_keys(where, content, LEGAL, NEEDED)
    for key, value in content.items():
        is_legal, words = LEGAL[key]
        if not is_legal(value):
            raise UserError(f"{where}: {key}: {shown(value)} is not {words}")
    settings = {name: _setting(f"{where}: settings.{name}", entry) for name, entry in content["settings"].items()}
    types, defaults = ({name: entry[k] for name, entry in settings.items()} for k in (0, 1))
    return Family(**{**content, "name": file.stem, "file": file, "settings": types, "defaults": defaults})


def load(name: str, path: str, data: str) -> tuple[Any, dict]:
    """Read a model of a family and the facts about it.

    Raises:
        UserError: the file holds a model of another family or version, or one of other data than `data`.
    """
    from datagradient.files import read_meta  # which imports numpy: the Snakefile reads declarations alone

    facts, data_facts = read_meta(path), read_meta(data)
    expected = {"model": name, "version": __version__, "dataset": data_facts["dataset"], "seed": data_facts["seed"]}
    for key, value in expected.items():
        if facts.get(key) != value:
            raise UserError(f"{path}: {key} is {facts.get(key)}, and {value} is needed for {data}: train it again")
    return family(name).load(path)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_colour(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("#[0-9A-Fa-f]{6}", value) is not None


# Key of FAMILY -> whether a value is legal, and what is, in words.
LEGAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "inputs": (lambda value: value in ("features", "raw"), "'features' or 'raw'"),
    "random": (_is_flag, "True or False"),
    "settings": (_is_mapping, "a mapping of settings"),
    "solver": (lambda value: _is_mapping(value) and "name" in value, "a mapping with the name of a solver"),
    "gpu": (_is_flag, "True or False"),
    "records": (_is_flag, "True or False"),
    "single_precision": (_is_flag, "True or False"),
    "colour": (lambda value: value is None or _is_colour(value), "a colour like '#0072B2', or None"),
    "marker": (lambda value: value is None or (isinstance(value, str) and len(value) == 1), "one character, or None"),
}
NEEDED = ("inputs", "random", "settings", "solver")
LOWER, UPPER = ("gt", "ge"), ("lt", "le")


def _declaration(file: Path) -> dict:
    content = read_literal(file, "FAMILY")
    if content is None:
        raise UserError(f"{file}: declares no FAMILY; see logistic.py beside it")
    if not _is_mapping(content):
        raise UserError(f"{file}: FAMILY is {shown(content)}, and a mapping of words to values is needed")
    return content


def _setting(where: str, content: object) -> tuple[tuple | dict, Any]:
    """Return what a declared setting may be, and its default."""
    if not _is_mapping(content):
        raise UserError(f"{where}: {shown(content)} is not a mapping with type, limits and default, or with words")
    if "words" in content:
        _check_keys(where, content, ("words", "default"), ("words", "default"))
        words = content["words"]
        if not (isinstance(words, tuple) and words and all(isinstance(word, str) for word in words)):
            raise UserError(f"{where}: words: {shown(words)} is not a tuple of words")
        return words, content["default"]
    _check_keys(where, content, ("type", *LOWER, *UPPER, "null", "default"), ("type", "default"))
    if content["type"] not in ("whole", "number"):
        raise UserError(f"{where}: type: {shown(content['type'])} is not 'whole' or 'number'")
    limits = {key: content[key] for key in (*LOWER, *UPPER) if key in content}
    if sum(key in limits for key in LOWER) != 1 or sum(key in limits for key in UPPER) > 1:
        raise UserError(f"{where}: needs one lower limit, gt or ge, and has at most one upper limit, lt or le")
    if not all(map(_is_number, limits.values())) or content.get("null", True) is not True:
        raise UserError(f"{where}: limits are numbers, and null, where it stands, is True")
    return {key: value for key, value in content.items() if key != "default"}, content["default"]


def _check_keys(where: str, content: dict, legal: Any, needed: tuple[str, ...]) -> None:
    for key in content:
        if key not in legal:
            raise UserError(f"{where}: {shown(key)} is unknown; legal: {', '.join(legal)}")
    for key in needed:
        if key not in content:
            raise UserError(f"{where}: {key} is missing; needed are {', '.join(needed)}")
