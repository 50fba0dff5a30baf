"""Common parts of the commands: the options that select a preset's models, and the parsing of options."""

import argparse
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from datagradient.errors import UserError, shown
from datagradient.pipeline.layout import BASELINE, Cell, all_conditions, conditions, trained_policies

_DIGITS = re.compile(r"[0-9]{1,18}")
LAST_SEED = 2**32 - 1


def _as_typed(text: str) -> str:
    return text if re.fullmatch(r"[\w.+-]{1,40}", text) else shown(text)


def whole(least: int, most: int = 10**9) -> Callable[[str], int]:
    """Return an argparse type for a whole number from `least` to `most`."""

    def number(text: str) -> int:
        if not _DIGITS.fullmatch(text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"{_as_typed(text)} is not a whole number of at least {least} and at most {most}"
            )
        return int(text)

    return number


def shard(text: str) -> tuple[int, int]:
    """Return the number of a shard, counted from 0, and the number of shards, from a text such as ``"1-of-4"``."""
    number, _, count = text.partition("-of-")
    digits = _DIGITS.fullmatch(number) and _DIGITS.fullmatch(count)
    if not (digits and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{_as_typed(text)} is not like 1-of-4")
    return int(number) - 1, int(count)


CONFIG = ("--config", {"required": True, "help": "a preset's validated configuration, results/<preset>/config.json"})
DATASET = ("--dataset", {"required": True, "help": "one of its data sets"})
MODEL = ("--model", {"required": True, "help": "one of its model families"})
NOISE = ("--noise", {"required": True, "help": "one of the data set's conditions, as in paths: 0, 0.2, 0.2-untrusted"})
SEED = ("--seed", {"required": True, "type": whole(0, LAST_SEED), "help": "one of its seeds"})
CELL = [CONFIG, DATASET, MODEL, NOISE, SEED]  # the unrefined model
STEP = [  # any model
    *CELL,
    ("--policy", {"default": BASELINE, "help": "the policy that removed samples; without it: the unrefined model"}),
    ("--iteration", {"type": whole(0), "default": 0, "help": "number of the iteration; 0: the unrefined model"}),
]
RESULTS = ("--results", {"required": True, "help": "folder of the small result tables, results/<preset>"})
OUT_FOLDER = ("--out", {"dest": "folder", "required": True, "help": "folder to write to"})


def preset_of(args: argparse.Namespace) -> tuple[dict, Path]:
    """Return the checked configuration in the file of --config, and the folder of the preset's results.

    Raises:
        UserError: it is not a validated configuration, or lacks what another option asks for.
    """
    from datagradient.pipeline.config import read_validated

    path = Path(args.config)
    config = read_validated(path)
    dataset = getattr(args, "dataset", None)
    noise = conditions(config, dataset) if dataset in config["datasets"] else all_conditions(config)
    held = {"dataset": config["datasets"], "model": config["models"], "noise": noise, "seed": config["seeds"]}
    for name, values in held.items():
        given = getattr(args, name, None)
        for key in given if isinstance(given, list) else [] if given is None else [given]:
            _check_one_of(path, name, key, values)
    return config, path.parent


def cell_of(args: argparse.Namespace) -> tuple[dict, Cell]:
    """Return the configuration and the model selected by the options.

    Raises:
        UserError: the configuration has no such model.
    """
    config, root = preset_of(args)
    policy, iteration = getattr(args, "policy", BASELINE), getattr(args, "iteration", 0)
    if iteration > config["iterations"]:
        raise UserError(f"{args.config}: has no iteration {iteration}: the last is {config['iterations']}")
    policies = trained_policies(config) if iteration else [BASELINE]
    _check_one_of(Path(args.config), f"policy of iteration {iteration}", policy, policies)
    return config, Cell(root, args.dataset, args.model, args.noise, args.seed, policy, iteration)


def _check_one_of(path: Path, name: str, key: object, legal: Iterable) -> None:
    if key not in legal:
        raise UserError(f"{path}: has no {name} {_as_typed(str(key))}; it has {', '.join(map(str, legal))}")
