"""What the commands have in common: options that several of them take, how these are read, progress."""

import argparse
import contextlib
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from datagradient.errors import UserError, one_line, shown
from datagradient.layout import modules
from datagradient.strict_json import parse_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_DIGITS = re.compile(r"[0-9]{1,18}")
LAST_SEED = 2**32 - 1


def _as_typed(text: str) -> str:
    return text if re.fullmatch(r"[\w.+-]{1,40}", text) else shown(text)


def share(low_included: bool) -> Callable[[str], float]:
    """Return an argparse type for a number in (0, 1), or in [0, 1)."""
    legal = f"a number in {'[' if low_included else '('}0, 1)"

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        zero = low_included and value == 0 and math.copysign(1, value) > 0
        if not (0 < value < 1 or zero):
            raise argparse.ArgumentTypeError(f"{_as_typed(text)} is not {legal}")
        return value

    return number


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
    """Return the number of a shard, from 0, and of how many, from ``"1-of-4"``."""
    number, _, count = text.partition("-of-")
    digits = _DIGITS.fullmatch(number) and _DIGITS.fullmatch(count)
    if not (digits and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{_as_typed(text)} is not like 1-of-4")
    return int(number) - 1, int(count)


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
ITERATION = ("--iteration", {"type": whole(1), "required": True, "help": "the iteration that the removal leads to"})
OUT = ("--out", {**MANY, "help": "file to write, one for each input"})
ONE_OUT = ("--out", {"required": True, "help": "file to write"})
OUT_FOLDER = ("--out", {"dest": "folder", "required": True, "help": "folder to write to"})


def settings_of(args: argparse.Namespace) -> list[dict]:
    """Return the settings of --model for every --out, from one --settings for all, or one for each of equal parts.

    Commands that write one file take one.
    """
    from datagradient.schema import settings_type

    given = [json_option(text, "settings", settings_type(args.model)) for text in args.settings]
    if isinstance(args.out, str):
        return given
    repeats, rest = divmod(len(args.out), len(given))
    if rest:
        raise UserError(f"--settings has {len(given)} values, --out has {len(args.out)}: give one for "
                        "all, one for each, or one for each of equal parts")  # fmt: skip
    return [settings for settings in given for _ in range(repeats)]


def solver_of(args: argparse.Namespace) -> dict:
    """Return the solver and its options that --solver holds, with overrides by the kind of data."""
    from datagradient.schema import solver_type

    return json_option(args.solver, "solver", solver_type())


def split_plan_of(args: argparse.Namespace) -> dict:
    """Return what --plan says of how a data set is split."""
    from datagradient.schema import split_plan_type

    plan = json_option(args.plan, "plan", split_plan_type())
    shares = {key: plan[key] for key in ("influence", "selection", "test") if key in plan}
    if sum(shares.values()) >= 1:
        raise UserError(f"--plan: the shares {shares} leave nothing to train on")
    return plan


def stream_plan_of(args: argparse.Namespace) -> dict:
    """Return what --plan says of what is scored as a stream."""
    from datagradient.schema import chunk_problem, stream_plan_type

    plan = json_option(args.plan, "plan", stream_plan_type())
    problem = chunk_problem(plan)
    if problem:
        raise UserError(f"--plan: sizes: {problem}")
    return plan


def json_option(text: str, name: str, kind: "TypeAdapter") -> dict:
    """Return the JSON mapping that an option's `text` holds, checked.

    Args:
        text: what was given.
        name: of the option.
        kind: what it may be, see `datagradient.schema`.

    Raises:
        UserError: the text is no JSON mapping, or a value is not legal.
    """
    from datagradient.schema import problems

    try:
        content = parse_json(text)
    except ValueError as error:
        raise UserError(f"--{name}: {shown(text)} is not JSON ({one_line(error)})") from None
    for problem in problems(kind, content):
        raise UserError(f"--{name}: {problem}")
    return content


def zipped(args: argparse.Namespace, *names: str) -> Iterator[tuple]:
    """Yield one tuple a piece of work from options that take one path for each."""
    lists = [getattr(args, name.replace("-", "_")) for name in names]
    n = len(args.out)
    for name, values in zip(names, lists, strict=True):
        if values and len(values) != n:
            raise UserError(f"--{name} has {len(values)} values, --out has {n}: give one for each")
    return zip(*(values or [None] * n for values in lists), strict=True)


def check_outputs(paths: Iterable[str | None]) -> None:
    """Refuse files that cannot be written, before the work that they are for.

    Raises:
        UserError: a name stands twice, is a folder's, or lies in what is no folder or may not be written to.
    """
    seen = set()
    for path in map(Path, filter(None, paths)):
        folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        if path in seen:
            raise UserError(f"--out: {path} stands twice; give each file once")
        if path.is_dir():
            raise UserError(f"--out: {path} is a folder; give a file")
        if not folder.is_dir():
            raise UserError(f"--out: {path} cannot be written: {folder} is no folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(f"--out: {path} cannot be written: {folder} may not be written to")
        seen.add(path)


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
