"""Validation of the merged configuration, before any job runs. Imports nothing heavy: the Snakefile uses it."""

import copy
import math
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from datagradient.errors import UserError
from datagradient.layout import (
    BATCHES,
    CURVATURES,
    MODALITIES,
    PARAMETERS,
    POLICIES,
    PRECONDITIONERS,
    PROBLEM_OPTIONS,
    SOLVERS,
    WORDS,
    modules,
    noise_names,
    solver_for,
    trained_policies,
)

COMMAND_LINE = "command line (--config)"
# Models in one job: its command names some 400 characters of files for each, and Linux takes 131,072.
LONGEST_JOB = 250
_ABSENT = object()


def validate(config: dict, files: list[Path]) -> dict:
    """Check a merged configuration and return a copy with every default filled in, and nothing that is not used.

    Args:
        config: the merged content of `files`, and of what the command line overrides.
        files: configuration files, later ones override earlier ones; used to name the one at fault.

    Raises:
        UserError: one line with file, key, value and what is legal there.
    """
    errors = jsonschema.Draft202012Validator(_schema()).iter_errors(config)
    first = min(
        errors, key=lambda error: ("additional" not in error.validator, list(map(str, error.path))), default=None
    )
    if first is not None:
        raise UserError(_describe(first, files, config))
    for model in config["models"]:
        if model not in config["model_settings"]:
            raise UserError(f"{_file_of(['models'], files, config)}: model_settings.{model}: missing")
    for dataset, options in config["datasets"].items():
        for model, settings in ((options or {}).get("models") or {}).items():
            _check_settings(config, f"datasets.{dataset}.models.{model}", model, settings, files)
    for model in config["model_settings"]:
        _check_solver(config, model, files)
    _check_job(config, files)
    _check_experiments(config, files)
    if "influence" not in config["policies"]:
        raise UserError(
            f"{_file_of(['policies'], files, config)}: policies: the others copy the numbers of influence; add it"
        )
    if sum(config["split"].values()) >= 1:
        raise UserError(
            f"{_file_of(['split'], files, config)}: split: the shares {config['split']} leave nothing to train on"
        )
    return _filled(config)


def model_settings(config: dict, dataset: str, model: str, noise: str) -> dict:
    """Return the settings of a model for one data set and one noise rate (as in paths, e.g. ``"0.2"``)."""
    place = noise_names(config).index(noise)
    settings = config["datasets"][dataset]["models"][model]
    return {key: value[place] if isinstance(value, list) else value for key, value in settings.items()}


def _schema() -> dict:
    """Return the JSON schema. A leaf's description is what an error message calls legal."""
    fraction = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "description": "a number in (0, 1)"}
    rate = {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "description": "a number in [0, 1)"}
    count = {"type": "integer", "minimum": 1, "description": "a whole number of at least 1"}
    not_negative = {"type": "number", "minimum": 0, "description": "a number of at least 0"}
    positive = {"type": "number", "exclusiveMinimum": 0, "description": "a number above 0"}
    limit = {"type": ["integer", "null"], "minimum": 100, "description": "a whole number of at least 100, or null"}
    options = {
        "name": _one_of(tuple(SOLVERS)),
        "damping": not_negative,
        "tolerance": not_negative,
        "max_iterations": count,
        "preconditioner": _one_of(PRECONDITIONERS),
        "batch_size": count,
        "repeats": count,
        "samples": {**count, "type": ["integer", "null"], "description": "a whole number of at least 1, or null"},
        "curvature": _one_of(CURVATURES),
        "parameters": _one_of(PARAMETERS),
    }
    kind = {**_mapping(options, required=()), "type": ["object", "null"]}
    solver = _mapping({**options, **dict.fromkeys(MODALITIES, kind)}, required=("name",))
    words = {name: _one_of(values) for name, values in WORDS.items()}
    model = _mapping({"settings": {"type": "object", "properties": words, "additionalProperties": positive},
                      "solver": solver})  # fmt: skip
    each = {"type": "array", "items": positive, "minItems": 1}
    by_noise = {"anyOf": [positive, each], "description": "a number above 0, or one for each noise rate"}
    overrides = {"type": "object", "properties": words, "additionalProperties": by_noise}
    dataset = _mapping(
        {
            "max_development": limit,
            "max_test": limit,
            "models": _named(modules("models"), overrides),
        },
        required=(),
    )
    seed = {"type": "integer", "minimum": 0, "description": "a whole number of at least 0"}
    return _mapping(
        {
            "preset": {"type": "string", "pattern": "^[a-z][a-z0-9-]*$", "description": "a word of a-z, 0-9 and '-'"},
            "datasets": _named(modules("data/sets"), {**dataset, "type": ["object", "null"]}),
            "models": _list(_one_of(tuple(modules("models")))),
            "model_settings": _named(modules("models"), model),
            "policies": _list(_one_of(POLICIES)),
            "noise": _list(rate),
            "seeds": {
                **_list(seed),
                "minItems": 2,
                "description": "a list without repeats of at least two whole numbers",
            },
            "iterations": count,
            "removal_fraction": fraction,
            "split": _mapping({"influence": fraction, "selection": fraction, "test": fraction}),
            "one_job": _one_of(tuple(BATCHES)),
            "shards": count,
            "gpu": {"enum": [0, 1], "description": "0 or 1"},
            **_experiments(fraction, count),
        }
    )


def _experiments(fraction: dict, count: dict) -> dict:
    """Return the schema of the experiments besides refinement; each may be null."""
    sizes = _list({**count, "minimum": 100, "description": "a whole number of at least 100"})
    models = _list(_one_of(tuple(modules("models"))))
    data = {"type": "string", "enum": modules("data/sets"),
            "description": "one of " + ", ".join(modules("data/sets"))}  # fmt: skip
    model = _one_of(tuple(modules("models")))
    several = {**count, "minimum": 2, "description": "a whole number of at least 2"}
    experiments = {
        "scalability": _mapping({
            "repeats": count,
            "datasets": _named(modules("data/sets"), _mapping({"models": models, "sizes": sizes})),
        }),
        "streaming": _mapping({"dataset": data, "model": model, "trained_on": count, "chunk": count, "sizes": sizes}),
        "fidelity": _mapping({"halves": count, "single": several, "initialisations": count}),
        "sensitivity": _mapping({"fractions": _list(fraction)}),
    }  # fmt: skip
    return {name: {**content, "type": ["object", "null"]} for name, content in experiments.items()}


def _mapping(keys: dict, required: tuple[str, ...] | None = None) -> dict:
    needed = list(keys if required is None else required)
    return {"type": "object", "properties": keys, "required": needed, "additionalProperties": False,
            "description": "a mapping with the keys " + ", ".join(keys)}  # fmt: skip


def _named(names: list[str], content: dict) -> dict:
    return {"type": "object", "properties": dict.fromkeys(names, content), "additionalProperties": False,
            "minProperties": 1, "description": "a mapping with at least one of " + ", ".join(names)}  # fmt: skip


def _one_of(values: tuple[str, ...]) -> dict:
    return {"enum": list(values), "description": "one of " + ", ".join(values)}


def _list(items: dict) -> dict:
    return {"type": "array", "items": items, "minItems": 1, "uniqueItems": True,
            "description": f"a list without repeats of at least one entry, each {items['description']}"}  # fmt: skip


def _describe(error: jsonschema.ValidationError, files: list[Path], config: dict) -> str:
    path = [str(part) for part in error.absolute_path]
    legal = error.schema.get("description", "a number above 0")
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = next(key for key in error.instance if key not in known)
        path = [*path, str(unknown)]
        return f"{_file_of(path, files, config)}: {'.'.join(path)}: unknown; legal: {', '.join(known)}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        where, needed = ".".join([*path, missing]), ", ".join(error.validator_value)
        return f"{_file_of(path, files, config)}: {where}: missing; needed are {needed}"
    return f"{_file_of(path, files, config)}: {'.'.join(path)}: {error.instance!r} is not {legal}"


def _file_of(path: list[str], files: list[Path], config: dict) -> str:
    """Return the file whose value for the key at `path` counts: the last one that holds it, or the command line."""
    value = _lookup(config, path)
    for file in reversed(files):
        found = _lookup(yaml.safe_load(file.read_text(encoding="utf-8")), path)
        if found is not _ABSENT:
            overridden = not isinstance(value, dict) and found != value
            return COMMAND_LINE if overridden else str(file)
    return COMMAND_LINE


def _lookup(node: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            return _ABSENT
    return node


def _check_job(config: dict, files: list[Path]) -> None:
    """Refuse jobs that do so much that the shell would not take their command."""
    each = {"dataset": config["datasets"], "noise": config["noise"], "policy": trained_policies(config),
            "seed": config["seeds"]}  # fmt: skip
    sizes = {name: math.prod(len(each[key]) for key in keys) for name, keys in BATCHES.items()}
    chosen = config["one_job"]
    if sizes[chosen] > LONGEST_JOB:
        smaller = ", ".join(name for name, size in sizes.items() if size <= LONGEST_JOB)
        raise UserError(
            f"{_file_of(['one_job'], files, config)}: one_job: {chosen} makes jobs of {sizes[chosen]} models, whose "
            f"command is too long for the shell (at most {LONGEST_JOB}); choose one of {smaller}"
        )


def _check_experiments(config: dict, files: list[Path]) -> None:
    """Refuse shards of jobs that do several models, and experiments that lack what they are made from."""
    if config["shards"] > 1 and config["one_job"] != "none":
        raise UserError(f"{_file_of(['shards'], files, config)}: shards: {config['shards']} are for one_job: none, and "
                        f"one_job is {config['one_job']}")  # fmt: skip
    if config["sensitivity"] and not config["fidelity"]:
        raise UserError(f"{_file_of(['sensitivity'], files, config)}: sensitivity: needs the models of fidelity")
    wanted = [("scalability.datasets", name, model) for name, entry in (config["scalability"] or {}).get(
              "datasets", {}).items() for model in entry["models"]]  # fmt: skip
    if config["streaming"]:
        wanted.append(("streaming.dataset", config["streaming"]["dataset"], config["streaming"]["model"]))
        chunk, sizes = config["streaming"]["chunk"], config["streaming"]["sizes"]
        if any(size % chunk for size in sizes):
            raise UserError(f"{_file_of(['streaming', 'sizes'], files, config)}: streaming.sizes: {sizes} are not all "
                            f"multiples of the chunk, {chunk}")  # fmt: skip
    for where, dataset, model in wanted:
        if dataset not in config["datasets"] or model not in config["models"]:
            raise UserError(f"{_file_of(where.split('.'), files, config)}: {where}: {dataset} with {model} is not "
                            "among the preset's datasets and models")  # fmt: skip


def _check_settings(config: dict, where: str, model: str, settings: dict, files: list[Path]) -> None:
    legal = config["model_settings"][model]["settings"]
    for key, value in settings.items():
        file = _file_of([*where.split("."), key], files, config)
        if key not in legal:
            raise UserError(f"{file}: {where}.{key}: unknown; legal: {', '.join(legal)}")
        if isinstance(value, list) and len(value) != len(config["noise"]):
            raise UserError(f"{file}: {where}.{key}: {value} is not one value for each noise rate of {config['noise']}")


def _filled(config: dict) -> dict:
    full = copy.deepcopy(config)
    full["model_settings"] = {model: full["model_settings"][model] for model in full["models"]}
    for entry in full["model_settings"].values():
        entry["solver"] = {kind: _applying(entry["solver"], kind) for kind in MODALITIES}
    for name, options in full["datasets"].items():
        own = options or {}
        models = {model: {**entry["settings"], **(own.get("models") or {}).get(model, {})}
                  for model, entry in full["model_settings"].items()}  # fmt: skip
        limits = {key: own.get(key) for key in ("max_development", "max_test")}
        full["datasets"][name] = {**limits, "models": models}
    return full


def _check_solver(config: dict, model: str, files: list[Path]) -> None:
    """Refuse options of a solver that do not go together, for any kind of data."""
    every, where = config["model_settings"][model]["solver"], ["model_settings", model, "solver"]
    for kind in MODALITIES:
        solver = _applying(every, kind)

        def fail(key: str, problem: str, kind: str = kind) -> None:
            path = [*where, kind, key] if key in (every.get(kind) or {}) else [*where, key]
            raise UserError(f"{_file_of(path, files, config)}: {'.'.join(path)}: for {kind}s: {problem}")

        if solver["name"] != "cg" and solver.get("tolerance") == 0:
            fail("tolerance", f"{solver['name']} needs a tolerance above 0")
        if "ekfac" in (solver["name"], solver.get("preconditioner")):
            key = "name" if solver["name"] == "ekfac" else "preconditioner"
            if "parameters" not in solver:
                fail(key, "ekfac is for networks")
            if solver["parameters"] != "all":
                fail("parameters", f"{solver['parameters']}, and ekfac needs all")


def _applying(solver: dict, kind: str) -> dict:
    """Return the solver for one kind of data without the options that it does not have."""
    own = solver_for(solver, kind)
    return {key: value for key, value in own.items() if key in ("name", *SOLVERS[own["name"]], *PROBLEM_OPTIONS)}
