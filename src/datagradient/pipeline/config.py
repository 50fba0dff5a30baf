"""Validation of the merged configuration before any job runs. Imports nothing heavy, because the Snakefile uses it."""

import copy
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter

from datagradient.data import MODALITIES
from datagradient.data.conditions import PUBLISHED, TRUSTED, VALIDATION, base_of, noise_name
from datagradient.data.declared import human_labels_of
from datagradient.errors import UserError, shown
from datagradient.files import read_json
from datagradient.files.strict_yaml import read_yaml
from datagradient.influence.options import PROBLEM_OPTIONS, SOLVERS, misfits
from datagradient.models import declared
from datagradient.pipeline.layout import (
    JOBS,
    POLICIES,
    RESERVED,
    all_conditions,
    base_conditions,
    conditions,
    modules,
    policies_by_crossfit,
    solver_for,
    trained_policies,
)
from datagradient.pipeline.schema import (
    COUNT,
    LIMIT,
    RATE,
    REPEATS,
    SEED,
    SEVERAL,
    SHARE,
    SIZE,
    Problem,
    by_noise,
    chunk_problem,
    in_words,
    list_of,
    listed,
    mapping,
    problems,
    refusing,
    solver_options,
    some_of,
    stream_plan,
    value,
)

COMMAND_LINE = "command line (--config)"
LARGEST_GRID = 100_000  # models to train; if a job trains one model, Snakemake holds a job for each
# Keys that a validated configuration mentions only where they are not the defaults: other presets keep their hash.
UNMENTIONED = ("validation", "trusted", "first_seeds")
_ABSENT = object()


def validate(config: dict, files: list[Path]) -> dict:
    """Check a merged configuration; return a copy with all defaults filled in and without unused keys.

    The defaults of the model families are declared by their modules, which count as the first configuration files.

    Args:
        config: the merged content of `files` and of the overrides on the command line.
        files: configuration files; later ones override earlier ones. They are read again to find the file at fault and
            duplicate keys, which a merged configuration no longer shows.

    Raises:
        UserError: one line with file, key, value and what is legal there.
    """
    defaults = _declarations()
    contents = {**defaults, **{file: read_yaml(file) for file in files}}
    config = functools.reduce(_merged, [*(_without_replaced(content, config) for content in defaults.values()), config])
    for check in (_structure, _validation, _rates, _solvers, _size, _experiments, _policies, _split):
        problem = next(iter(check(config)), None)
        if problem is not None:
            raise UserError(f"{_file_of(problem.path, contents, config)}: {problem}")
    return _filled(config)


def read_validated(path: Path) -> dict:
    """Read config.json, the validated configuration that the workflow writes for its jobs.

    Raises:
        UserError: the file is not a validated configuration; one line with the key, its value and what is legal.
    """
    config = read_json(path)
    for check in (_validated, _validation, _complete, _rates, _experiments, _policies, _split):
        problem = next(iter(check(config)), None)
        if problem is not None:
            raise UserError(f"{path}: {problem}")
    return config


def model_settings(config: dict, dataset: str, model: str, noise: str) -> dict:
    """Return the settings of a model for one data set and one condition (as in paths, e.g. ``"0.2"``).

    A condition with untrusted validation labels has the settings of its base.
    """
    place = base_conditions(config, dataset).index(base_of(noise))
    settings = config["datasets"][dataset]["models"][model]
    return {key: value[place] if isinstance(value, list) else value for key, value in settings.items()}


@functools.cache
def _schema(validated: bool = False) -> TypeAdapter:
    """Return the type of a merged configuration, or of a validated one, whose defaults are filled in."""
    families, datasets = modules("models"), modules("data/sets")
    needed = None if validated else ()
    overrides = some_of({model: _settings(model, by_noise, needed) for model in families})
    dataset = {"max_development": value(LIMIT), "max_test": value(LIMIT), "models": overrides}
    options = mapping(solver_options(), needed=("name",))
    solver = mapping(dict.fromkeys(MODALITIES, options)) if validated else options
    family = {model: mapping({"settings": _settings(model, value), "solver": solver}) for model in families}
    keys = {
        "preset": _preset(),
        "datasets": some_of({
            name: mapping({**dataset, "human_labels": _human(name)}, dataset if validated else (), null=not validated)
            for name in datasets
        }),
        "models": list_of(tuple(families)),
        "model_settings": some_of(family),
        "policies": list_of(POLICIES),
        "noise": _noise(),
        "first_seeds": mapping(dict.fromkeys(families, value({**COUNT, "ge": 2})), needed=(), null=True),
        "validation": list_of(VALIDATION),
        "seeds": list_of(SEED, least=2),
        "iterations": value({**COUNT, "le": 100}),
        "removal_fraction": value(SHARE),
        "split": mapping(dict.fromkeys(("influence", "selection", "test"), value(SHARE))),
        "one_job": value(JOBS),
        "shards": value({**COUNT, "le": 1000}),
        "gpu": value({"type": "whole", "ge": 0, "le": 1}),
        **_experiment_types(families, datasets),
    }  # fmt: skip
    return TypeAdapter(mapping(keys, needed=[key for key in keys if key not in UNMENTIONED]))


def _settings(model: str, kind: Callable, needed: tuple | None = None) -> Any:
    return mapping({name: kind(legal) for name, legal in declared(model).settings.items()}, needed)


def _preset() -> Any:
    """Return the type of a preset's name, which is also the name of a folder."""

    def free(name: str) -> str:
        if name in RESERVED:
            raise ValueError
        return name

    word = Annotated[str, Field(strict=True, pattern="^[a-z][a-z0-9-]{0,59}$"), AfterValidator(free)]
    return refusing(word, f"a word of a-z, 0-9 and '-', of at most 60 characters, and not one of {', '.join(RESERVED)}")


def _noise() -> Any:
    """Return the type of noise rates; their names appear in paths, so a name must represent its rate exactly."""

    def in_paths(rate: float) -> float:
        name = noise_name(rate)
        if float(name) != rate or "e" in name:
            raise ValueError
        return rate

    words = f"{in_words(RATE)}, of at most six digits and, unless it is 0, of at least 0.0001"
    return listed(refusing(Annotated[value(RATE), AfterValidator(in_paths)], words), words, alike=noise_name)


def _human(dataset: str) -> Any:
    """Return the type of the human labels that a data set is trained with: null, or some of those that it declares."""
    columns = human_labels_of(dataset)
    if columns:
        return listed(value(columns), in_words(columns), null=True)
    return refusing(None, f"null, and nothing else is legal: data set {dataset} has no human labels")


def _experiment_types(families: list[str], datasets: list[str]) -> dict[str, Any]:
    """Return the types of the experiments other than refinement; each may be null."""
    scaled = mapping({"models": list_of(tuple(families)), "sizes": list_of(SIZE)})
    content = {
        "scalability": {"repeats": value(REPEATS), "datasets": some_of(dict.fromkeys(datasets, scaled))},
        "streaming": {"dataset": value(tuple(datasets)), "model": value(tuple(families)), **stream_plan()},
        "fidelity": {"halves": value(REPEATS), "single": value(SEVERAL), "initialisations": value(REPEATS)},
        "sensitivity": {"fractions": list_of(SHARE)},
        "trusted": {
            "labels": list_of({**COUNT, "ge": 0}),
            "checked": list_of(COUNT),
            "seeds": mapping(dict.fromkeys(families, value(COUNT)), needed=()),
        },
    }
    return {name: mapping(keys, null=True) for name, keys in content.items()}


def _declarations() -> dict[Path, dict]:
    """Return the defaults that model families declare, by file, in the form of a configuration."""
    families = map(declared, modules("models"))
    return {family.file: {"model_settings": {family.name: {"settings": family.defaults, "solver": family.solver}}}
            for family in families}  # fmt: skip


def _without_replaced(declaration: dict, config: dict) -> dict:
    """Return a family's defaults without those for one kind of data that a configuration replaces for all kinds.

    Where it names a solver, the family's options for one kind are those of another solver, and none of them counts.
    """
    families = {}
    for model, entry in declaration["model_settings"].items():
        given = _lookup(config, ("model_settings", model, "solver"))
        stated = given if isinstance(given, dict) else {}
        solver = dict(entry["solver"])
        for kind in set(MODALITIES) & solver.keys():
            of_kind = stated.get(kind)
            names = "name" in stated or (isinstance(of_kind, dict) and "name" in of_kind)
            solver[kind] = {} if names else {key: value for key, value in solver[kind].items() if key not in stated}
        families[model] = {**entry, "solver": solver}
    return {**declaration, "model_settings": families}


def merged(files: list[Path]) -> dict:
    """Return the content of configuration files, later ones over earlier ones, as Snakemake merges them."""
    return functools.reduce(_merged, map(read_yaml, files), {})


def _merged(base: Any, new: Any) -> Any:
    """Return `base` overridden by `new`; mappings are merged key by key, as Snakemake merges configuration files."""
    if not (isinstance(base, dict) and isinstance(new, dict)):
        return new
    return {**base, **{key: _merged(base[key], value) if key in base else value for key, value in new.items()}}


def _structure(config: dict) -> list[Problem]:
    return problems(_schema(), config)


def _file_of(path: Sequence, contents: dict[Path, dict], config: dict) -> str:
    """Return the file whose value for the key at `path` is used: the last one that has it, or the command line."""
    while _lookup(config, path) is _ABSENT:
        path = path[:-1]  # for a missing key, the mapping that would contain it
    value = _lookup(config, path)
    for file, content in reversed(contents.items()):
        in_file = _lookup(content, path)
        if in_file is not _ABSENT:
            overridden = not isinstance(value, dict) and repr(in_file) != repr(value)
            return COMMAND_LINE if overridden else str(file)
    return COMMAND_LINE


def _lookup(node: Any, path: Sequence) -> Any:
    for part in path:
        inside = range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ()
        if part not in inside:
            return _ABSENT
        node = node[part]
    return node


def _validated(config: dict) -> list[Problem]:
    return problems(_schema(validated=True), config)


def _complete(config: dict) -> Iterator[Problem]:
    """Yield the models without settings for a data set, or without a solver, in a validated configuration."""
    for model in config["models"]:
        if model not in config["model_settings"]:
            yield Problem(("model_settings", model), "missing, and the preset has this model")
        for dataset, options in config["datasets"].items():
            if model not in options["models"]:
                yield Problem(("datasets", dataset, "models", model), "missing, and the preset has this model")


def _validation(config: dict) -> Iterator[Problem]:
    if TRUSTED not in config.get("validation", [TRUSTED]):
        yield Problem(("validation",), f"{shown(config['validation'])} lacks {TRUSTED}, which has to be one; add it")


def _rates(config: dict) -> Iterator[Problem]:
    """Yield the settings given by condition whose number differs from that of the base conditions."""
    for dataset, options in config["datasets"].items():
        bases = base_conditions(config, dataset)
        has_rates_alone = len(bases) == len(config["noise"])
        each = f"noise rate of {shown(config['noise'])}" if has_rates_alone else f"condition of {', '.join(bases)}"
        for model, settings in ((options or {}).get("models") or {}).items():
            for key, setting in settings.items():
                if isinstance(setting, list) and len(setting) != len(bases):
                    text = f"{shown(setting)} is not one value for each {each}"
                    yield Problem(("datasets", dataset, "models", model, key), text)


def _size(config: dict) -> Iterator[Problem]:
    """Yield a problem if the grid is too large for any machine."""
    sizes = (config["models"], trained_policies(config), config["seeds"])
    cases = sum(len(conditions(config, dataset)) for dataset in config["datasets"])
    trained = cases * math.prod(map(len, sizes)) * config["iterations"]
    if trained > LARGEST_GRID:
        yield Problem(("iterations",), f"data sets, models, conditions, policies, seeds and iterations make {trained} "
                      f"models to train, more than {LARGEST_GRID}")  # fmt: skip


def _split(config: dict) -> Iterator[Problem]:
    if sum(config["split"].values()) >= 1:
        yield Problem(("split",), f"the shares {dict(config['split'])} leave nothing to train on")


def _policies(config: dict) -> Iterator[Problem]:
    if "influence" not in config["policies"]:
        yield Problem(("policies",), "the others copy the numbers of influence; add it")


def _experiments(config: dict) -> Iterator[Problem]:
    """Yield shards for jobs that do several models, and experiments whose requirements are missing."""
    if config["shards"] > 1 and config["one_job"] != "step":
        yield Problem(("shards",), f"{config['shards']} are for one_job: step, and one_job is {config['one_job']}")
    if config["sensitivity"] and not config["fidelity"]:
        yield Problem(("sensitivity",), "needs the models of fidelity")
    if config.get("trusted") and all_conditions(config) == [PUBLISHED]:
        yield Problem(("trusted",), "needs wrong labels: add a noise rate above 0, or human_labels of a data set")
    if config.get("trusted") and not set(config["models"]) & set(config["trusted"]["seeds"]):
        text = f"names no family of the preset, which has {', '.join(config['models'])}; say {{a family: seeds}}"
        yield Problem(("trusted", "seeds"), text)
    scaled = (config["scalability"] or {}).get("datasets", {})
    wanted = [("scalability", name, model) for name, entry in scaled.items() for model in entry["models"]]
    if config["streaming"]:
        wanted.append(("streaming", config["streaming"]["dataset"], config["streaming"]["model"]))
        problem = chunk_problem(config["streaming"])
        if problem:
            yield Problem(("streaming", "sizes"), problem)
    for experiment, dataset, model in wanted:
        if dataset not in config["datasets"] or model not in config["models"]:
            key = {"scalability": "datasets", "streaming": "dataset"}[experiment]
            problem = f"{dataset} with {model} is not among the preset's datasets and models"
            yield Problem((experiment, key), problem)


def _solvers(config: dict) -> Iterator[Problem]:
    """Yield incompatible options of a solver, for any kind of data."""
    for model, entry in config["model_settings"].items():
        for kind in MODALITIES:
            solver = _applying(entry["solver"], kind)
            wrong = list(misfits(solver, declared(model).solver, declared(model).records))
            if solver.get("parameters") == "projected" and model in config["models"]:
                # Its directions are those of one problem, and gradients are known for the given labels alone.
                asking = [f"{policy} needs" for policy in policies_by_crossfit(config)]
                asking += ["shards need"] if config["shards"] > 1 else []
                asking += ["streaming needs"] if config["streaming"] and config["streaming"]["model"] == model else []
                wrong += [("parameters", f"projected, and {what} last or all") for what in asking[:1]]
            for key, text in wrong:
                overridden = (kind, key) if key in (entry["solver"].get(kind) or {}) else (key,)
                yield Problem(("model_settings", model, "solver", *overridden), f"for {kind}s: {text}")


def _filled(config: dict) -> dict:
    full = copy.deepcopy(config)
    full["model_settings"] = {model: full["model_settings"][model] for model in full["models"]}
    for entry in full["model_settings"].values():
        entry["solver"] = {kind: _applying(entry["solver"], kind) for kind in MODALITIES}
    for name, options in full["datasets"].items():
        overrides = options or {}
        models = {model: {**entry["settings"], **(overrides.get("models") or {}).get(model, {})}
                  for model, entry in full["model_settings"].items()}  # fmt: skip
        limits = {key: overrides.get(key) for key in ("max_development", "max_test")}
        human = {key: columns for key, columns in overrides.items() if key == "human_labels" and columns}
        full["datasets"][name] = {**limits, **human, "models": models}
    # What asks for nothing new stays as it was, with the same hash: results of earlier versions belong to it.
    if full.get("validation") == [TRUSTED]:
        del full["validation"]
    for key in ("trusted", "first_seeds"):
        if not full.get(key):
            full.pop(key, None)
    return full


def _applying(solver: dict, kind: str) -> dict:
    """Return the solver for one kind of data, restricted to the options that it supports."""
    selected = solver_for(solver, kind)
    supported = ("name", *SOLVERS[selected["name"]], *PROBLEM_OPTIONS)
    return {key: value for key, value in selected.items() if key in supported}
