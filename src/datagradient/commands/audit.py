"""Which rows of one's own data hurt, and does it help to remove them?"""

import argparse
import contextlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagradient.commands.options import LAST_SEED, whole
from datagradient.errors import UserError

STORE = "MLFLOW_TRACKING_URI"
NAMED = 3  # kinds of rows that are not judged
GATES = ("harmful", "wrong", "score", "change")
_GATE = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(-?[0-9.]+(?:e-?[0-9]+)?)\s*", re.ASCII)


def number(above: float, most: float) -> Any:
    """Return an argparse type for a number above a limit and up to another."""

    def parsed(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not above < value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not a number above {above:g} and at most {most:g}")
        return value

    return parsed


def gate(text: str) -> tuple[str, str, float]:
    """Return name, comparison and number of a gate such as ``harmful > 0.05``."""
    found = _GATE.fullmatch(text)
    if not found or found[1] not in GATES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not like 'harmful > 0.05'; names are {', '.join(GATES)}, and numbers are shares of 1"
        )
    return found[1], found[2], float(found[3])


def audit(args: argparse.Namespace) -> int:
    """Find the rows of a file that hurt a model trained on it, and whether removing them helps.

    SOURCE is a CSV, TSV, Parquet or JSON-lines file, a folder of images with a subfolder for each class, or a data set
    saved by Hugging Face datasets. It is never changed. Writes to one folder: report.html, summary.json, review.csv
    (the most doubtful row first), samples.parquet, and plan.json, from which `datagradient apply` makes a new file.

    --workflow FOLDER writes a workflow instead, whose jobs Snakemake does on this machine or on a cluster, and says how
    to run it; --collect FOLDER then writes the audit's files there.

    The answer goes to standard output, progress and what is found to standard error. If MLFLOW_TRACKING_URI is set, the
    audit is also a run of the experiment Audits there; without it, nothing is logged.

    Exit status: 0 done; 1 a gate of --fail-if tripped, or its number is not known; 2 the data or the call is wrong;
    130 interrupted: what is finished is kept, and --resume goes on.
    """
    from datagradient.auditing.screen import Screen

    with _interruptible(), _words(args) as said:
        if args.collect is not None:
            result, folder = _collected(args, said)
        elif args.workflow is not None:
            result, folder = _workflow(args, said)
        else:
            result, folder = _audited(args, said)
        if isinstance(result, list):
            print("\n".join(["Run the parts, here or on a cluster by a profile of Snakemake, then write the files:",
                             *(f"  {line}" for line in result)]))  # fmt: skip
            return 0
        if args.json:
            print(json.dumps(result.summary, indent=1, sort_keys=True))
        else:
            _print(result.summary, folder)
        sys.stdout.flush()
        if os.environ.get(STORE):
            from datagradient.auditing.tracked import track

            track(result, folder, said)
        tripped = [words for given in args.fail_if or [] if (words := _tripped(given, result.summary))]
    for words in tripped:
        Screen()(f"datagradient audit: --fail-if: {words}")  # also with --quiet: a status alone gives no reason
    return 1 if tripped else 0


def audit_part(args: argparse.Namespace) -> None:
    """Do one part of an audit that was begun with --workflow: a job of its Snakefile."""
    from datagradient.auditing.jobs import do_one

    do_one(Path(args.folder), args.part)


def apply(args: argparse.Namespace) -> None:
    """Carry out the plan of an audit into a new file; the audited one is not changed.

    The new file has the format, order and column types of the audited one. Rows to drop are left out, rows to relabel
    get the suggested label. A plan without such rows gives a copy.
    """
    from datagradient.auditing.apply import carry_out

    print(carry_out(Path(args.plan), Path(args.out), args.source and Path(args.source)))


def demo(args: argparse.Namespace) -> None:
    """Audit handwritten digits with planted mistakes, and say how many of them are found; takes less than a minute."""
    from datagradient.auditing.demo import run_demo

    run_demo(Path(args.out), print)


def _audited(args: argparse.Namespace, said: Any) -> tuple[Any, Path]:
    request = _request(args)
    from datagradient.auditing.folder import Place, check_apart

    out = Path(args.out or default_folder(args.source))
    check_apart(out, (args.source, args.validation, args.test))
    place = Place(out, args.overwrite, args.resume, args.trusted)
    said.in_passing(f"reading {args.source} …")
    from datagradient.auditing.jobs import audit_into

    meanwhile = None
    if os.environ.get(STORE):
        from datagradient.auditing.tracked import import_meanwhile as meanwhile
    return audit_into(request, place, said, meanwhile), place.path


def _workflow(args: argparse.Namespace, said: Any) -> tuple[Any, Path]:
    """Begin an audit as a workflow; return the commands that do it, or its outcome if there is nothing to do."""
    for option, why in (("out", "the folder is that of --workflow"), ("resume", "run the workflow again"),
                        ("json", "give it to --collect"), ("fail_if", "give it to --collect")):  # fmt: skip
        if getattr(args, option):
            raise UserError(f"--workflow: takes no --{option.replace('_', '-')}; {why}")
    request = _request(args)
    from datagradient.auditing.folder import Place, check_apart

    check_apart(Path(args.workflow), (args.source, args.validation, args.test))
    place = Place(args.workflow, args.overwrite, trusted=args.trusted)
    from datagradient.auditing.jobs import write_workflow

    return write_workflow(request, place, said), place.path


def _collected(args: argparse.Namespace, said: Any) -> tuple[Any, Path]:
    for flag, keywords in AUDIT:
        given = getattr(args, flag.strip("-").replace("-", "_"))
        if flag not in WITH_COLLECT and given not in (None, False, keywords.get("default")):
            what = flag if flag.startswith("-") else keywords["metavar"]
            raise UserError(f"--collect: takes no {what}; all that is known since --workflow")
    from datagradient.auditing.jobs import collect

    return collect(Path(args.collect), said), Path(args.collect)


def _request(args: argparse.Namespace) -> Any:
    """Return what is asked for; an option that is not legal is refused before anything is read."""
    from datagradient.auditing.request import AuditOptions, Request
    from datagradient.data.readers import ReadOptions

    if args.source is None:
        raise UserError("give SOURCE, a file or a folder")
    reading = ReadOptions(args.target, args.id, args.text, tuple(args.drop or ()), args.sep, args.decimal,
                          args.encoding, args.trusted_column, args.task)  # fmt: skip
    options = AuditOptions(
        args.model, args.folds, args.rounds, args.fraction, args.max_rows, args.time_limit, args.seed
    )
    return Request(args.source, reading, options, args.validation, args.test, args.trusted, args.device)


def default_folder(source: str) -> str:
    """Return the folder that an audit of a file or folder is written to: in the current one, or beside the source."""
    place = Path(source).resolve()
    name = Path(source).name if Path(source).name.strip(".") else place.name  # of . and ..
    folder = f"{name.partition('.')[0] or name}-audit"
    return str(place.parent / folder) if place.is_dir() and Path.cwd().is_relative_to(place) else folder


@contextlib.contextmanager
def _words(args: argparse.Namespace) -> Iterator[Any]:
    """Give a function that says how far the audit is; if it is to be quiet, libraries are, too."""
    from datagradient.auditing.screen import Screen

    if not args.quiet:
        yield Screen()
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
        yield Screen(nowhere)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let the first SIGINT or SIGTERM interrupt the block; more of them do not disturb what is left to be done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)

    def interrupt(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _print(summary: dict, folder: Path) -> None:
    effect, score = summary["effect"], summary["score"]
    print()
    if summary["model"]["name"]:
        print(f"{effect['headline']}.")
    print(effect["sentence"])
    if summary["model"]["name"]:
        print(summary["trusted"]["sentence"])
        counts = ", ".join(f"{name} {count}" for name, count in summary["decisions"].items())
        print(f"Rows: {counts}.")
        print(summary["believe"])
    if score["value"] is not None:
        print(f"Contribution score {score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}].")
    for line in summary["next"]:
        print(f"  {line}")
    if summary["not_checked"]:
        print(f"Not judged: {'; '.join(summary['not_checked'][:NAMED])}"
              f"{' …' if len(summary['not_checked']) > NAMED else ''}.")  # fmt: skip
    print(f"Read {folder / 'report.html'} first; {folder / 'review.csv'} lists the rows, the most doubtful first.")


def _tripped(given: tuple[str, str, float], summary: dict) -> str:
    """Return in words which gate an audit trips; "" if it does not. A number that is not known trips it."""
    name, comparison, limit = given
    decisions = summary["decisions"]
    rows = sum(decisions.values())
    value = {
        "harmful": (decisions["drop"] + decisions["relabel"]) / rows if summary["model"]["name"] else None,
        "wrong": summary["trusted"]["expected_wrong_share"], "score": summary["score"]["value"],
        "change": summary["effect"]["change"]["mean"],
    }[name]  # fmt: skip
    if value is None:
        why = summary["trusted" if name == "wrong" and summary["model"]["name"] else "effect"]["sentence"]
        return f"{name} is not known: {why}"
    holds = {"<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit}[comparison]
    return f"{name} is {value:.4g}, {comparison} {limit:g}" if holds else ""


AUDIT = [
    ("source", {"metavar": "SOURCE", "nargs": "?", "help": "a file, or a folder of images or of a saved data set"}),
    ("--target", {"help": "the column of labels; folders of images need none"}),
    ("--id", {"help": "the column that identifies each row; no model sees it"}),
    ("--text", {"help": "the column of texts; the others are left out"}),
    ("--drop", {"action": "append", "metavar": "COLUMN", "help": "a column that is left out; may be given again"}),
    ("--model", {"default": "auto", "help": "auto (for tables the better of two on held-out rows, otherwise logistic), "
                                            "logistic, boosted or neural"}),
    ("--folds", {"type": whole(2, 20), "default": 5, "help": "folds that measure the effect, 2 to 20; 5 without it"}),
    ("--rounds", {"type": whole(1, 10), "default": 1, "help": "how often what is left is judged again"}),
    ("--fraction", {"type": number(0, 0.5), "help": "act on at most this share of the rows, up to 0.5, in each round"}),
    ("--validation", {"metavar": "FILE", "help": "more rows, whose labels were checked by hand"}),
    ("--trusted-column", {"metavar": "COLUMN", "help": "column that is true where the label was checked by hand"}),
    ("--trusted", {"metavar": "REVIEW", "help": "a review.csv with labels written into its column checked"}),
    ("--test", {"metavar": "FILE", "help": "more rows, to measure the effect on"}),
    ("--sep", {"help": "separator of a text table; recognised without it"}),
    ("--decimal", {"help": "decimal mark, . or ,; recognised without it"}),
    ("--encoding", {"help": "encoding of a text file; UTF-8 without it"}),
    ("--task", {"help": "classification, if numbers as labels are classes"}),
    ("--max-rows", {"type": whole(50), "default": 100_000,
                    "help": "audit at most this many rows, drawn at random (default 100000)"}),
    ("--time-limit", {"type": number(0, 1e9), "metavar": "SECONDS",
                      "help": "audit as many rows as fit that time, drawn at random"}),
    ("--seed", {"type": whole(0, LAST_SEED), "default": 0, "help": "random seed"}),
    ("--device", {"choices": ("auto", "cpu"), "default": "auto", "help": "cpu: networks use no GPU"}),
    ("--out", {"help": "folder to write to; without it SOURCE-audit in the current folder, or beside SOURCE if "
                       "that holds it"}),
    ("--overwrite", {"action": "store_true", "help": "replace an audit in that folder"}),
    ("--resume", {"action": "store_true", "help": "go on with an interrupted audit in that folder"}),
    ("--workflow", {"metavar": "FOLDER", "help": "write the audit as a workflow to that folder instead of doing it"}),
    ("--collect", {"metavar": "FOLDER", "help": "write the files of an audit that was done as a workflow"}),
    ("--fail-if", {"type": gate, "action": "append", "metavar": "GATE",
                   "help": f"exit status 1 if it holds, e.g. 'wrong > 0.05'; names: {', '.join(GATES)}; harmful counts "
                           "the rows to drop or relabel, which are none unless removing helps"}),
    ("--quiet", {"action": "store_true", "help": "no progress"}),
    ("--json", {"action": "store_true", "help": "print the content of summary.json instead of words"}),
]  # fmt: skip
WITH_COLLECT = ("--collect", "--fail-if", "--quiet", "--json")
# Command -> its options: (flag, keyword arguments of argparse).
COMMANDS = {
    audit: AUDIT,
    audit_part: [
        ("folder", {"metavar": "FOLDER", "help": "what --workflow was given"}),
        ("part", {"metavar": "PART", "help": "whole, fold-1, fold-2, …"}),
    ],
    apply: [
        ("plan", {"metavar": "PLAN", "help": "plan.json of an audit"}),
        ("--out", {"required": True, "help": "the new file or folder"}),
        ("--source", {"help": "the audited file, if it has moved"}),
    ],
    demo: [("--out", {"default": "datagradient-demo", "help": "folder to write to; datagradient-demo without it"})],
}
