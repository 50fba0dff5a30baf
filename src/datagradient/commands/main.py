"""The command line: audits, and a command for each rule of the workflow. Heavy imports stay inside the commands."""

import argparse
import contextlib
import functools
import inspect
import io
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from datagradient import __version__
from datagradient.commands import audit, data, evidence, experiments, influence, models, removal, report
from datagradient.errors import FileError, UserError, one_line

SUBJECTS = (audit, data, models, influence, removal, experiments, evidence, report)
# What the library alone does not bring, by the names that code imports. All commands need this extra.
EXTRA = "pipeline"
LIBRARIES = (
    "PIL", "alembic", "cleanlab", "datasets", "filelock", "google", "jinja2", "matplotlib", "mlflow", "pandas",
    "psutil", "pyarrow", "pydantic", "pydantic_core", "requests", "skimage", "snakemake", "sqlalchemy", "statsmodels",
    "torch", "torchvision", "typing_extensions", "urllib3", "xgboost", "yaml",
)  # fmt: skip
COMMANDS = {function: options for subject in SUBJECTS for function, options in subject.COMMANDS.items()}
YOURS = (audit.audit, audit.apply, audit.demo)
STEPS = [function for function in COMMANDS if function not in YOURS]
WIDTH = 20  # of the names of commands in the help


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as those of the commands are."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and where their help is; status 2."""
        self.exit(2, f"{self.prog}: {one_line(message)} ({self.prog} --help explains)\n")


@functools.cache
def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = Parser(
        prog="datagradient",
        description=f"Audit your own data, or run one step of the workflow.\n\n{_listed()}",
        epilog="'datagradient COMMAND --help' explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"datagradient {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", help="one of these")
    for function, options in COMMANDS.items():
        sub = commands.add_parser(
            _name(function), description=inspect.cleandoc(function.__doc__),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        sub.set_defaults(function=function)
        for flag, keywords in options:
            sub.add_argument(flag, **keywords)
    return top


def _name(function: Callable) -> str:
    return function.__name__.replace("_", "-")


def _listed() -> str:
    """Return all commands under their headings, which argparse has none for."""
    width, lines = max(2 * WIDTH, shutil.get_terminal_size().columns - 2), []
    for heading, functions in (("your own data", YOURS), ("steps of the workflow", STEPS)):
        lines += ["", f"{heading}:"]
        for function in functions:
            first, *rest = textwrap.wrap(function.__doc__.partition("\n")[0], width - WIDTH)
            lines += [f"  {_name(function):<{WIDTH - 2}}{first}", *(" " * WIDTH + line for line in rest)]
    return "\n".join(lines).strip()


def main(arguments: list[str] | None = None) -> int:
    """Run one command. An error that the user can fix is one line on standard error and status 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # of characters that a terminal has not
    try:
        try:
            return _run(parser().parse_args(arguments))
        finally:
            sys.stdout.flush()  # now, and not when Python ends, where a closed pipe is a message
    except BrokenPipeError:
        return _quiet()


def _run(args: argparse.Namespace) -> int:
    try:
        with _libraries():
            return args.function(args) or 0
    except FileError as error:
        return _fail(args, f"{error}{_expected(args, error.path)}")
    except UserError as error:
        return _fail(args, error)
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(args, f"{place}{error.strerror or error}")
    except MemoryError as error:
        return _fail(args, f"not enough memory ({error}); take fewer samples or smaller settings")
    except KeyboardInterrupt as error:
        return _fail(args, ": ".join(["interrupted", *map(str, error.args)]), 130)


@contextlib.contextmanager
def _libraries() -> Iterator[None]:
    """Say of a library that is not installed how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in LIBRARIES:
            raise
        raise UserError(f"{library} is not installed; pip install 'datagradient[{EXTRA}]'") from None


def _fail(args: argparse.Namespace, message: object, status: int = 2) -> int:
    print(f"datagradient {args.command}: {one_line(message)}", file=sys.stderr)
    return status


def _quiet() -> int:
    """Let nothing more be written, and return the status of a process that a closed pipe ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    return 141


def _expected(args: argparse.Namespace, path: Path) -> str:
    """Return what the options that `path` was given for take; nothing for a file that no option names."""
    takes = []
    for flag, keywords in COMMANDS[args.function]:
        given = getattr(args, flag.strip("-").replace("-", "_"), None)
        words = [word for word in (given if isinstance(given, list) else [given]) if isinstance(word, str)]
        if path in map(Path, words):
            takes.append(f"{flag} takes {keywords['help']}")
    return "".join(f"; {words}" for words in takes)
