"""Before any model is judged: what is found in the data, and the choice of a model."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.auditing import findings
from datagradient.auditing.choice import Choice, choose
from datagradient.auditing.folder import CHOICE
from datagradient.auditing.material import Checked, Material, few_rows, gather
from datagradient.auditing.own import OwnClassifier
from datagradient.auditing.reading import Read
from datagradient.auditing.request import FEWEST_ROWS, AuditOptions
from datagradient.auditing.task import ENOUGH_TRUSTED, Task
from datagradient.auditing.work import cores
from datagradient.data.readers import Source
from datagradient.data.readers.source import counted
from datagradient.files import read_json, write_json

# Seconds that every audit takes, however few its rows: to import, to begin, and to write the outcome; and for processes
# to start, where there are several. Rounded from audits of 240 rows of two columns on a common processor.
START, PROCESSES = 4.5, 3.0
NAMED = 3  # small classes that get a line of their own
Said = Callable[[str], None]


@dataclass(frozen=True)
class Chosen:
    """The model of an audit, and how many rows of the file are audited at most."""

    choice: Choice
    max_rows: int


@dataclass(frozen=True)
class Prepared:
    """An audit before its work: the data, what was found, and what is to be judged.

    ``checked`` are labels that a person has written into a review, ``checksums`` those of all that was read. ``task``,
    ``choice`` and ``seconds``, which the work takes about, are None with too few rows.
    """

    source: Source
    material: Material
    found: dict[str, Any]
    checked: Checked | None
    checksums: dict[str, str]
    task: Task | None = None
    choice: Choice | None = None
    max_rows: int = 0
    seconds: float | None = None


def look_at(
    read: Read, options: AuditOptions, chosen: Chosen | None, said: Said, own: OwnClassifier | None = None
) -> Prepared:
    """Say what is found in the data that were read, and choose the model.

    Args:
        read: the data.
        options: how to judge.
        chosen: the choice of an audit that goes on; None: a model is chosen now.
        said: receives lines.
        own: the user's own classifier; None without.
    """
    material = _gathered(read, options.max_rows, options.seed)
    found, lines = before(material, options.seed)
    for line in lines:
        said(line)
    if material.dataset is None:
        return Prepared(read.source, material, found, read.checked, read.checksums)
    said_of = _on_trusted(read, material)
    if said_of:
        said(said_of)
    choice = chosen.choice if chosen is not None else choose(
        material.dataset, material.trained, options.model, options.seed, own, material.given
    )  # fmt: skip
    max_rows, seconds = _rows_in_time(material, options, choice) if chosen is None else (chosen.max_rows, None)
    if max_rows != options.max_rows:
        material = _gathered(read, max_rows, options.seed)
        if material.dataset is None:
            return Prepared(read.source, material, found, read.checked, read.checksums)
    if seconds is None:
        seconds = _seconds(material, options, choice)
    name = choice.models[0]
    own, words = (None, name) if own is None else (replace(own, refused=choice.refused), own.title)
    said(f"Model: {words}, accuracy {choice.accuracy[name]:.3f} on rows held out for the choice. The audit takes about "
         f"{_duration(seconds)}.")  # fmt: skip
    task = _task(material, options, choice, own)
    _ = task.parts  # more folds than rows are refused here, before anything is written
    return Prepared(read.source, material, found, read.checked, read.checksums, task, choice, max_rows, seconds)


def task_of(read: Read, options: AuditOptions, chosen: Chosen) -> Task | None:
    """Return what an audit judges whose model was chosen before; None with too few rows."""
    material = _gathered(read, chosen.max_rows, options.seed)
    return None if material.dataset is None else _task(material, options, chosen.choice)


def stored_choice(folder: Path) -> Chosen | None:
    """Return the choice that was made when an audit was begun; None if there is none."""
    if not (folder / CHOICE).exists():
        return None
    stored = dict(read_json(folder / CHOICE, "models", max_rows=int))
    max_rows = stored.pop("max_rows")
    return Chosen(Choice(**{**stored, "models": tuple(stored["models"])}), max_rows)


def store_choice(folder: Path, prepared: Prepared) -> None:
    """Write the choice to a folder, if there is one and it is not there."""
    if prepared.choice is not None and not (folder / CHOICE).exists():
        write_json(folder / CHOICE, {**asdict(prepared.choice), "max_rows": prepared.max_rows})


def _gathered(read: Read, max_rows: int, seed: int) -> Material:
    return gather(read.source, read.trusted, read.before, max_rows, seed, read.validation, read.test, read.given)


def _rows_in_time(material: Material, options: AuditOptions, choice: Choice) -> tuple[int, float | None]:
    """Return how many rows of the file can be audited in the time that there is, and what all take if they can."""
    start, seconds = _start(options), _seconds(material, options, choice)
    if options.time_limit is None or seconds <= options.time_limit:
        return options.max_rows, seconds
    share = max(0.0, options.time_limit - start) / (seconds - start)
    return min(max(FEWEST_ROWS, int(len(material.trained) * share)), len(material.places)), None


def _seconds(material: Material, options: AuditOptions, choice: Choice) -> float:
    """Return about how many seconds an audit takes from its call on."""
    return _start(options) + choice.estimate(len(material.trained), options.folds, options.rounds)


def _start(options: AuditOptions) -> float:
    return START + (PROCESSES if min(cores(), options.folds + 1) > 1 else 0)


def _on_trusted(read: Read, material: Material) -> str:
    """Return how many labels others can be judged by, if somebody checked labels and there are not enough; or ""."""
    asked = read.validation is not None or read.checked is not None or read.source.facts.get("trusted_column")
    trusted = int(material.trusted[material.trained].sum())
    if not asked or trusted >= ENOUGH_TRUSTED:
        return ""
    of = "" if read.checked is None else " of rows drawn at random"
    return (f"There {'is' if trusted == 1 else 'are'} {counted(trusted, 'checked label')}{of}, and {ENOUGH_TRUSTED} "
            "are needed for the other rows to be judged by them.")  # fmt: skip


def _task(material: Material, options: AuditOptions, choice: Choice, own: OwnClassifier | None = None) -> Task:
    assert material.dataset is not None
    before = material.before if (material.before >= 0).any() else None
    return Task(material.dataset, material.checked, material.trusted, choice.models, choice.settings, options.folds,
                options.rounds, options.fraction, options.seed, own, material.given, before)  # fmt: skip


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def before(material: Material, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Return what is found before any model, as plain data and in words."""
    source = material.source
    dataset, all_rows = source.dataset, np.arange(len(source.dataset.labels))
    repeated = findings.duplicates(dataset, all_rows)
    repeated["conflicting"] = [source.rows[group].tolist() for group in repeated["conflicting"]]
    leaking = findings.leaks(dataset, all_rows, seed)
    listed = [asdict(entry) for entry in source.set_aside[: findings.LISTED]]
    found = {"set_aside": {"count": len(source.set_aside), "rows": listed}, "duplicates": repeated, "leaks": leaking,
             **material.findings}  # fmt: skip
    lines = []
    if repeated["rows"]:
        lines.append(f"{_rows(repeated['rows'], 'repeats', 'repeat')} another.")
    if repeated["conflicting_rows"]:
        lines.append(f"{_rows(repeated['conflicting_rows'], 'is', 'are')} equal to others with a different label.")
    lines += [f"Column {leak['column']} alone gives the label away (right in {100 * leak['accuracy']:.1f} %): leave it "
              f"out with --drop {leak['column']} unless it is known when the model is used."
              for leak in leaking]  # fmt: skip
    small = found["small_classes"]
    lines += [f"Class {entry['name']} has {few_rows(entry).rstrip(',')}, too few to judge: its rows are kept."
              for entry in small[:NAMED]]  # fmt: skip
    if len(small) > NAMED:
        lines.append(f"{len(small) - NAMED} more classes have too few rows to judge, too.")
    lines += [f"Of {entry['file']}, {_rows(entry['rows'], 'is', 'are')} in the audited data, too, and not used."
              for entry in found["repeats"]]  # fmt: skip
    return found, lines


def _rows(n: int, one: str, more: str) -> str:
    """Return a number of rows with a verb."""
    return f"{counted(n, 'row')} {one if n == 1 else more}"
