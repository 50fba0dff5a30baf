"""Before any model is judged: what is found in the data, and the choice of a model."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.auditing import findings
from datagradient.auditing.choice import Choice, choose
from datagradient.auditing.folder import CHOICE
from datagradient.auditing.material import Checked, Material, gather
from datagradient.auditing.own import OwnClassifier
from datagradient.auditing.reading import Read
from datagradient.auditing.request import FEWEST_ROWS, AuditOptions
from datagradient.auditing.task import Task
from datagradient.data.readers import Source
from datagradient.files import read_json, write_json

Said = Callable[[str], None]


@dataclass(frozen=True)
class Chosen:
    """The model of an audit, and how many rows of the file are audited at most."""

    choice: Choice
    max_rows: int


@dataclass(frozen=True)
class Prepared:
    """An audit before its work: the data, what was found, and what is to be judged.

    ``checked`` are labels that a person has written into a review. ``task``, ``choice`` and ``seconds``, which the work
    takes about, are None with too few rows.
    """

    source: Source
    material: Material
    found: dict[str, Any]
    checked: Checked | None
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
        return Prepared(read.source, material, found, read.checked)
    choice = chosen.choice if chosen is not None else choose(
        material.dataset, material.trained, options.model, options.seed, own, material.given
    )  # fmt: skip
    max_rows, seconds = _rows_in_time(material, options, choice) if chosen is None else (chosen.max_rows, None)
    if max_rows != options.max_rows:
        material = _gathered(read, max_rows, options.seed)
        if material.dataset is None:
            return Prepared(read.source, material, found, read.checked)
    if seconds is None:
        seconds = choice.estimate(len(material.trained), options.folds, options.rounds)
    name = choice.models[0]
    own, words = (None, name) if own is None else (replace(own, refused=choice.refused), own.title)
    said(f"Model: {words}, accuracy {choice.accuracy[name]:.3f} on rows held out for the choice. The audit takes about "
         f"{_duration(seconds)}.")  # fmt: skip
    return Prepared(
        read.source, material, found, read.checked, _task(material, options, choice, own), choice, max_rows, seconds
    )


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
    """Return how many rows of the file can be audited in the time that there is, and that time if it is too short."""
    seconds = choice.estimate(len(material.trained), options.folds, options.rounds)
    if options.time_limit is None or seconds <= options.time_limit:
        return options.max_rows, seconds
    most = max(FEWEST_ROWS, int(len(material.trained) * options.time_limit / seconds))
    return min(most, len(material.places)), options.time_limit


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
        lines.append(f"{repeated['rows']} rows repeat another.")
    if repeated["conflicting_rows"]:
        lines.append(f"{repeated['conflicting_rows']} rows are equal to others with a different label.")
    lines += [f"Column {leak['column']} alone gives the label away (right in {100 * leak['accuracy']:.1f} %): leave it "
              f"out with --drop {leak['column']} unless it is known when the model is used."
              for leak in leaking]  # fmt: skip
    lines += [f"Class {entry['name']} has {entry['rows']} rows, too few to judge: they are kept."
              for entry in found["small_classes"]]  # fmt: skip
    lines += [f"{entry['rows']} rows of {entry['file']} are in the audited data, too: they are not used."
              for entry in found["repeats"]]  # fmt: skip
    return found, lines
