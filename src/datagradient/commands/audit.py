"""Which rows of one's own data hurt, and does it help to remove them?"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from datagradient.commands.options import LAST_SEED, whole

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
            f"{text!r} is not like 'harmful > 0.05'; names are {', '.join(GATES)} (shares of 1)"
        )
    return found[1], found[2], float(found[3])


def audit(args: argparse.Namespace) -> int:
    """Find the rows of a file that hurt a model trained on it, and whether removing them helps.

    SOURCE is a CSV, TSV, Parquet or JSON-lines file, a folder of images with a subfolder for each class, or a data set
    saved by Hugging Face datasets. It is never changed. Writes report.html, summary.json, review.csv (worst first),
    samples.parquet and plan.json, which `datagradient apply` carries out into a new file, to one folder.

    Exit status: 0 done; 1 a gate of --fail-if tripped; 2 the data or the call is wrong; 130 interrupted: what is
    finished is kept, and --resume goes on.
    """
    from datagradient.audit.folder import audit_into

    result, folder = audit_into(args, _say(args))
    if args.json:
        print(json.dumps(result.summary, indent=1, sort_keys=True))
    else:
        _print(result.summary, folder)
    tripped = [words for given in args.fail_if or [] if (words := _tripped(given, result.summary))]
    for words in tripped:
        print(f"datagradient audit: --fail-if: {words}", file=sys.stderr)
    return 1 if tripped else 0


def apply(args: argparse.Namespace) -> None:
    """Carry out the plan of an audit into a new file; the audited one is not changed.

    The new file has the format, order and column types of the audited one. Rows to drop are left out, rows to relabel
    get the suggested label.
    """
    from datagradient.audit.apply import carry_out

    print(carry_out(Path(args.plan), Path(args.out), args.source and Path(args.source)))


def demo(args: argparse.Namespace) -> None:
    """Audit data with planted mistakes, and say how many of them were found; takes less than a minute."""
    from datagradient.audit.demo import run_demo

    run_demo(Path(args.out), print)


def _say(args: argparse.Namespace) -> Any:
    if args.quiet:
        return lambda _: None
    return lambda line: print(line, file=sys.stderr, flush=True)


def _print(summary: dict, folder: Path) -> None:
    print()
    print(summary["effect"]["sentence"])
    if summary["score"]:
        score = summary["score"]
        print(f"Contribution score {score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]. "
              f"{summary['trusted']['sentence']}")  # fmt: skip
        counts = ", ".join(f"{name} {count}" for name, count in summary["decisions"].items())
        print(f"Rows: {counts}.")
        print(summary["believe"])
    for line in summary["next"]:
        print(f"  {line}")
    print(f"Read {folder / 'report.html'} first; {folder / 'review.csv'} lists the rows, worst first.")


def _tripped(given: tuple[str, str, float], summary: dict) -> str:
    """Return in words which gate an audit trips; "" if it does not."""
    name, comparison, limit = given
    if not summary["score"]:
        return f"{name} is not known: {summary['effect']['sentence']}"
    decisions = summary["decisions"]
    value = {
        "harmful": (decisions["drop"] + decisions["relabel"]) / sum(decisions.values()),
        "wrong": summary["trusted"]["expected_wrong_share"], "score": summary["score"]["value"],
        "change": summary["effect"]["change"]["mean"],
    }[name]  # fmt: skip
    holds = {"<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit}[comparison]
    return f"{name} is {value:.4g}, {comparison} {limit:g}" if holds else ""


AUDIT = [
    ("source", {"metavar": "SOURCE", "help": "a file, or a folder of images or of a saved data set"}),
    ("--target", {"help": "the column of labels; folders of images need none"}),
    ("--id", {"help": "the column of names of rows, which no model sees"}),
    ("--text", {"help": "the column of texts; the others are left out"}),
    ("--drop", {"action": "append", "metavar": "COLUMN", "help": "a column that is left out; may be given again"}),
    ("--model", {"default": "auto", "help": "auto (the better of two on held-out rows), logistic, boosted or neural"}),
    ("--folds", {"type": whole(2, 20), "default": 5, "help": "folds that measure the effect; 5 without it"}),
    ("--rounds", {"type": whole(1, 10), "default": 1, "help": "how often what is left is judged again"}),
    ("--fraction", {"type": number(0, 0.5), "help": "largest share of the rows to act on"}),
    ("--validation", {"metavar": "FILE", "help": "more rows, whose labels were checked by hand"}),
    ("--trusted-column", {"metavar": "COLUMN", "help": "column that is true where the label was checked by hand"}),
    ("--trusted", {"metavar": "REVIEW", "help": "a review.csv with labels written into its column checked"}),
    ("--test", {"metavar": "FILE", "help": "more rows, to measure the effect on"}),
    ("--sep", {"help": "separator of a text table; recognised without it"}),
    ("--decimal", {"help": "decimal mark, . or ,; recognised without it"}),
    ("--encoding", {"help": "of a text file; UTF-8 without it"}),
    ("--task", {"help": "classification, if numbers as labels are classes"}),
    ("--max-rows", {"type": whole(50), "default": 100_000, "help": "of more rows, so many are drawn; 100000 without"}),
    ("--time-limit", {"type": number(0, 1e9), "metavar": "SECONDS", "help": "draw as few rows as fit that time"}),
    ("--seed", {"type": whole(0, LAST_SEED), "default": 0, "help": "of everything random"}),
    ("--device", {"choices": ("auto", "cpu"), "default": "auto", "help": "cpu: networks use no GPU"}),
    ("--out", {"help": "folder to write to; SOURCE-audit without it"}),
    ("--overwrite", {"action": "store_true", "help": "replace an audit in that folder"}),
    ("--resume", {"action": "store_true", "help": "go on with an interrupted audit in that folder"}),
    ("--fail-if", {"type": gate, "action": "append", "metavar": "GATE",
                   "help": f"exit status 1 if it holds, e.g. 'harmful > 0.05'; names: {', '.join(GATES)}"}),
    ("--quiet", {"action": "store_true", "help": "no progress"}),
    ("--json", {"action": "store_true", "help": "print summary.json instead of words"}),
]  # fmt: skip
# Command -> its options: (flag, keyword arguments of argparse).
COMMANDS = {
    audit: AUDIT,
    apply: [
        ("plan", {"metavar": "PLAN", "help": "plan.json of an audit"}),
        ("--out", {"required": True, "help": "the new file or folder"}),
        ("--source", {"help": "the audited file, if it has moved"}),
    ],
    demo: [("--out", {"default": "datagradient-demo", "help": "folder to write to; datagradient-demo without it"})],
}
