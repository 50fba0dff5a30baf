"""What the commands have in common: options that several of them take, how these are read, progress."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from datagradient.errors import UserError
from datagradient.layout import MODALITIES, PROBLEM_OPTIONS, SOLVERS, modules

MANY = {"nargs": "+", "required": True}
DATA = ("--data", {**MANY, "help": "features.npz that 'prepare' wrote"})
LABELS = ("--labels", {**MANY, "help": "labels.npz that 'noise' wrote"})
KEPT = ("--kept", {"nargs": "+", "help": "kept.npz that 'prune' wrote; without it all samples are used"})
MODEL = ("--model", {"required": True, "choices": modules("models"), "help": "model family"})
SETTINGS = (
    "--settings",
    {
        **MANY,
        "help": "settings of the model as JSON, one for all --out, or one for each of as many equal parts of them",
    },
)
SOLVER = (
    "--solver",
    {
        "default": '{"name": "cg"}',
        "help": "solver and its options as JSON; options under table, text or image are for that kind of data",
    },
)
ALSO = {
    "choices": ("none", "loss", "gradient", "all"),
    "help": "add each sample's loss, or −gᵀv: the influence with the identity for the Hessian",
}
MODEL_FILE = ("--model-file", {**MANY, "help": "model that 'train' wrote"})
CONFIG = ("--config", {"help": "validated configuration, results/<preset>/config.json"})
# The same for commands that work on one model.
ONE_MODEL = [
    (flag, {key: value for key, value in keywords.items() if key != "nargs"})
    for flag, keywords in (MODEL_FILE, DATA, LABELS, KEPT)
]
ONE_SETTINGS = ("--settings", {"nargs": 1, "required": True, "help": "settings of the model as JSON"})
NOISE = ("--noise", {"required": True, "help": "noise rate of the labels, for the table"})
ROWS = ("--rows", {**MANY, "help": "JSON files with rows"})
DIRECTION = ("--direction", {"required": True, "help": "direction.npz that 'direction' wrote"})
METRICS = ("--metrics", {"required": True, "help": "metrics.csv that 'collect' wrote"})
RESULTS = ("--results", {"required": True, "help": "folder of the small result tables, results/<preset>"})
SCORES = ("--scores", {**MANY, "help": "scores.npz that 'influence' wrote"})
ITERATION = ("--iteration", {"type": int, "required": True, "help": "the iteration that the removal leads to"})
OUT = ("--out", {**MANY, "help": "file to write, one for each input"})
ONE_OUT = ("--out", {"required": True, "help": "file to write"})
OUT_FOLDER = ("--out", {"required": True, "help": "folder to write to"})


def settings_of(args: argparse.Namespace, names: Sequence[str]) -> list[dict]:
    """Return the settings for every --out, from one --settings for all, or one for each of equal parts of them.

    Commands that write one file take one.
    """
    every = [json_option(text, "settings", allowed=names, needed=names) for text in args.settings]
    if isinstance(args.out, str):
        return every
    each, rest = divmod(len(args.out), len(every))
    if rest:
        raise UserError(f"{args.command}: --settings has {len(every)} values, --out has {len(args.out)}: give one for "
                        "all, one for each, or one for each of equal parts")  # fmt: skip
    return [settings for settings in every for _ in range(each)]


def solver_of(args: argparse.Namespace) -> dict:
    """Return the solver and its options that --solver holds, with overrides by the kind of data."""
    legal = ("name", *sorted({option for options in SOLVERS.values() for option in options}), *PROBLEM_OPTIONS)
    by_kind = json_option(args.solver, "solver", allowed=(*legal, *MODALITIES))
    for kind in set(MODALITIES) & by_kind.keys():
        json_option(json.dumps(by_kind[kind]), f"solver: {kind}", allowed=legal)
    return by_kind


def json_option(text: str, name: str, allowed: Sequence[str], needed: Sequence[str] = ()) -> dict:
    """Return the JSON mapping that an option's `text` holds, its keys checked."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"--{name}: {text!r} is not JSON ({error})") from None
    wrong = [key for key in content if key not in allowed] if isinstance(content, dict) else [text]
    missing = [] if wrong else [key for key in needed if key not in content]
    if wrong or missing:
        what = f"unknown {', '.join(map(str, wrong))}" if wrong else f"missing {', '.join(missing)}"
        raise UserError(f"--{name}: {what}; a JSON mapping with {', '.join(allowed)} is legal")
    return content


def share(low_included: bool) -> Callable[[str], float]:
    """Return an argparse type for a number in (0, 1), or in [0, 1)."""

    def number(text: str) -> float:
        value = float(text)
        if not (0 < value < 1 or (low_included and value == 0)):
            raise argparse.ArgumentTypeError(f"{text} is not in {'[' if low_included else '('}0, 1)")
        return value

    return number


def at_least(least: int) -> Callable[[str], int]:
    """Return an argparse type for a whole number of at least `least`."""

    def number(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least {least}")
        return int(text)

    return number


def shard(text: str) -> tuple[int, int]:
    """Return the number of a shard, from 0, and of how many, from ``"1-of-4"``."""
    number, _, count = text.partition("-of-")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text} is not like 1-of-4")
    return int(number) - 1, int(count)


def zipped(args: argparse.Namespace, *names: str) -> Iterator[tuple]:
    """Yield one tuple a piece of work from options that take one path for each."""
    lists = [getattr(args, name.replace("-", "_")) for name in names]
    n = len(args.out)
    for name, values in zip(names, lists, strict=True):
        if values and len(values) != n:
            raise UserError(f"{args.command}: --{name} has {len(values)} values, --out has {n}: give one for each")
    return zip(*(values or [None] * n for values in lists), strict=True)


@contextlib.contextmanager
def progress(what: str) -> Iterator[None]:
    """Say what runs, and how long it took, on standard error."""
    print(f"{what} …", end=" ", file=sys.stderr, flush=True)
    start, end = time.perf_counter(), "failed"
    try:
        yield
        end = f"{time.perf_counter() - start:.2f} s"
    finally:
        print(end, file=sys.stderr, flush=True)
