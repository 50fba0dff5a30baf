"""An audit into a folder: begun once, resumed after an interruption, written at the end."""

import argparse
import json
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datagradient.audit.run import Audit, run_audit
from datagradient.audit.setup import AuditOptions
from datagradient.data.readers import ReadOptions
from datagradient.errors import UserError
from datagradient.files import read_json, write_json

BEGUN = "begun.json"
OURS = (BEGUN, "work", "report.html", "summary.json", "review.csv", "samples.parquet", "plan.json")


def audit_into(args: argparse.Namespace, said: Callable[[str], None]) -> tuple[Audit, Path]:
    """Carry out the command ``audit``: return the outcome, and the folder that holds its files.

    Raises:
        UserError: the data or an option is wrong, or the folder holds something else.
    """
    reading = ReadOptions(args.target, args.id, args.text, tuple(args.drop or ()), args.sep, args.decimal,
                          args.encoding, args.trusted_column, args.task)  # fmt: skip
    options = AuditOptions(
        args.model, args.folds, args.rounds, args.fraction, args.max_rows, args.time_limit, args.seed
    )
    folder = Path(args.out or default_folder(args.source))
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    check_folder(folder, args.overwrite, args.resume)
    asked = {**asdict(options), **asdict(reading), "validation": args.validation, "test": args.test,
             "trusted": args.trusted}  # fmt: skip

    def begun(folder: Path, checksums: dict[str, str]) -> None:
        if args.overwrite:
            clear(folder)
        begin(folder, checksums, asked, args.resume)

    try:
        result = run_audit(
            args.source, reading, options, validation=args.validation, test=args.test, trusted=args.trusted,
            folder=folder, begun=begun, said=said,
        )  # fmt: skip
    except KeyboardInterrupt:
        said(f"What is finished is kept in {folder}: the same command with --resume goes on.")
        raise
    apply = f"datagradient apply {shlex.quote(str(folder / 'plan.json'))} --out NEW"
    review = shlex.quote(str(folder / "review.csv"))
    result.summary["next"] += [apply] if result.plan["actions"] else []
    result.summary["next"] += [
        f"Write the right class into the column checked of {review} where decision is look, "
        f"then give the same command with --trusted {review} --out ANOTHER"
    ]
    result.save(folder)
    return result, folder


def default_folder(source: str) -> str:
    """Return the folder that an audit of a file or folder is written to: beside the current one's other files."""
    name = Path(source).name or Path(source).resolve().name
    return f"{name.partition('.')[0] or name}-audit"


def check_folder(folder: Path, overwrite: bool, resume: bool) -> None:
    """Refuse a folder that is not empty, unless it holds an audit that is to be replaced or resumed."""
    if overwrite and resume:
        raise UserError("--overwrite and --resume: give one of them")
    if folder.is_file():
        raise UserError(f"{folder}: is a file; give another --out")
    held = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    others = [name for name in held if name not in OURS and not name.startswith(".")]
    if others and (overwrite or resume or BEGUN not in held):
        raise UserError(f"{folder}: holds {others[0]}, which is not of an audit; give another --out")
    if held and not (overwrite or resume):
        raise UserError(f"{folder}: holds an audit; --resume goes on with it, --overwrite replaces it")


def clear(folder: Path) -> None:
    """Remove the files of an earlier audit from a folder, the one that says that it is one last."""
    for name in (*OURS[1:], OURS[0]):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def begin(folder: Path, checksums: dict[str, str], options: dict[str, Any], resume: bool) -> None:
    """Begin an audit in a folder, or go on with one that was begun with the same data and options.

    Args:
        folder: holds nothing, or an audit.
        checksums: of the files, by what they are.
        options: as given.
        resume: whether to go on.

    Raises:
        UserError: no audit was begun here, or the data or an option has changed since.
    """
    file, facts = folder / BEGUN, {"checksums": checksums, "options": json.loads(json.dumps(options))}
    if not resume:
        write_json(file, facts)
        return
    if not file.exists():
        raise UserError(f"{folder}: --resume: no audit was begun here; leave --resume out")
    before = read_json(file, "checksums", "options")
    for name, checksum in {**dict.fromkeys(before["checksums"], ""), **checksums}.items():
        if before["checksums"].get(name) != checksum:
            raise UserError(f"{folder}: --resume: the {name} has changed since this audit was begun; use --overwrite")
    for key, value in facts["options"].items():
        if value != before["options"].get(key):
            raise UserError(f"{folder}: --resume: --{key.replace('_', '-')} was {before['options'].get(key)!r}; give "
                            "it again, or use --overwrite")  # fmt: skip
