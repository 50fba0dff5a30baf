"""What the commands have in common: options that several of them take, how these are read, progress."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from datagradient.errors import UserError
from datagradient.layout import modules

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
MODEL_FILE = ("--model-file", {**MANY, "help": "model that 'train' wrote"})
CONFIG = ("--config", {"help": "validated configuration, results/<preset>/config.json"})
METRICS = ("--metrics", {"required": True, "help": "metrics.csv that 'collect' wrote"})
RESULTS = ("--results", {"required": True, "help": "folder of the small result tables, results/<preset>"})
SCORES = ("--scores", {**MANY, "help": "scores.npz that 'influence' wrote"})
ITERATION = ("--iteration", {"type": int, "required": True, "help": "the iteration that the removal leads to"})
OUT = ("--out", {**MANY, "help": "file to write, one for each input"})
ONE_OUT = ("--out", {"required": True, "help": "file to write"})


def settings_of(args: argparse.Namespace, names: Sequence[str]) -> list[dict]:
    """Return the settings for every --out, from one --settings for all, or one for each of equal parts of them."""
    every = [json_option(text, "settings", allowed=names, needed=names) for text in args.settings]
    each, rest = divmod(len(args.out), len(every))
    if rest:
        raise UserError(f"{args.command}: --settings has {len(every)} values, --out has {len(args.out)}: give one for "
                        "all, one for each, or one for each of equal parts")  # fmt: skip
    return [settings for settings in every for _ in range(each)]


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
