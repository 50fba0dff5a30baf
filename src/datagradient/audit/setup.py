"""Before any model is judged: reading, what is found, and the choice of a model."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.audit import findings
from datagradient.audit.choice import AUTO, Choice, choose
from datagradient.audit.material import FEWEST_ROWS, Material, gather, with_checked
from datagradient.audit.own import OwnClassifier, given_samples
from datagradient.audit.task import Task
from datagradient.data.readers import ReadOptions, Source, read, read_like
from datagradient.errors import UserError
from datagradient.files import read_json, write_json

CHOICE = "work/choice.json"  # in the folder: the choice is made once, also for jobs of a workflow
Said = Callable[[str], None]
Begun = Callable[[Path, dict[str, str]], None]


@dataclass(frozen=True)
class AuditOptions:
    """How an audit judges.

    Attributes:
        model: ``"auto"``, or the name of a model family.
        folds: outer folds; each measures what the decision of the others does.
        rounds: how often what is left is judged again.
        fraction: largest share of the rows that a round acts on; None: as many as the policy wants.
        max_rows: of more rows, so many are drawn at random.
        time_limit: seconds; of more rows than can be audited in that time, so many are drawn. None: no limit.
        seed: of everything random.

    Raises:
        UserError: a value is not legal.
    """

    model: str = AUTO
    folds: int = 5
    rounds: int = 1
    fraction: float | None = None
    max_rows: int = 100_000
    time_limit: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse illegal values."""
        for name, least, most in (("folds", 2, 20), ("rounds", 1, 10), ("max_rows", FEWEST_ROWS, 10**9),
                                  ("seed", 0, 2**32 - 1)):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
                raise UserError(f"--{name.replace('_', '-')} is {value!r}: give a whole number from {least} to {most}")
        if self.fraction is not None and not 0 < self.fraction <= 0.5:
            raise UserError(f"--fraction is {self.fraction!r}: give a number above 0 and at most 0.5")
        if self.time_limit is not None and not self.time_limit > 0:
            raise UserError(f"--time-limit is {self.time_limit!r}: give a number of seconds above 0")


@dataclass(frozen=True)
class Prepared:
    """An audit before its work: the data, what was found, and what is to be judged; None with too few rows."""

    source: Source
    material: Material
    found: dict[str, Any]
    task: Task | None
    choice: Choice | None


def prepare(
    data: Any, reading: ReadOptions, options: AuditOptions, *, validation: Any = None, test: Any = None,
    trusted: str | Path | None = None, folder: Path | None = None, begun: Begun | None = None, said: Said,
    own: OwnClassifier | None = None,
) -> Prepared:  # fmt: skip
    """Read the data, say what was found, and choose the model; the arguments are those of `audit`."""
    source = read(data, reading)
    others = [None if file is None else read_like(file, source, reading) for file in (validation, test)]
    if begun is not None and folder is not None:
        begun(folder, _checksums(data=source, validation=others[0], test=others[1]) | _of_review(trusted))
    chosen, changed = source.trusted.copy(), 0
    given = None if own is None else given_samples(
        [file for file in (data, validation, test) if file is not None],
        [file for file in (source, *others) if file is not None], reading.drop,
    )  # fmt: skip
    if trusted is not None:
        source, chosen, changed = with_checked(source, Path(trusted))
    for line in introduction(source):
        said(line)
    if trusted is not None:
        said(f"{int(source.trusted.sum())} labels were checked by hand, {changed} of them changed.")
    material = gather(source, chosen, options.max_rows, options.seed, *others, given)
    found, lines = before(material, options.seed)
    for line in lines:
        said(line)
    if material.dataset is None:
        return Prepared(source, material, found, None, None)
    choice = _choice(material, options, folder, own)
    seconds = choice.estimate(len(material.trained), options.folds, options.rounds)
    if options.time_limit is not None and seconds > options.time_limit:
        most = max(FEWEST_ROWS, int(len(material.trained) * options.time_limit / seconds))
        material = gather(source, chosen, min(most, len(material.places)), options.seed, *others, given)
        seconds = options.time_limit
        if material.dataset is None:
            return Prepared(source, material, found, None, None)
    name = choice.models[0]
    own, words = (None, name) if own is None else (replace(own, refused=choice.refused), own.title)
    said(f"Model: {words}, accuracy {choice.accuracy[name]:.3f} on rows held out for the choice. The audit takes about "
         f"{_duration(seconds)}.")  # fmt: skip
    task = Task(material.dataset, material.checked, material.trusted, choice.models, choice.settings, options.folds,
                options.rounds, options.fraction, options.seed, own, material.given)  # fmt: skip
    return Prepared(source, material, found, task, choice)


def _choice(material: Material, options: AuditOptions, folder: Path | None, own: OwnClassifier | None) -> Choice:
    """Choose a model, or read which one was chosen when the audit was begun."""
    file = None if folder is None else folder / CHOICE
    if file is not None and file.exists():
        stored = read_json(file)
        return Choice(**{**stored, "models": tuple(stored["models"])})
    choice = choose(material.dataset, material.trained, options.model, options.seed, own, material.given)
    if file is not None:
        write_json(file, asdict(choice))
    return choice


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def introduction(source: Source) -> Iterator[str]:
    """Yield what was read, in words."""
    names, counts = source.dataset.class_names, np.bincount(source.dataset.labels)
    classes = ", ".join(f"{name} {count}" for name, count in list(zip(names, counts, strict=True))[:10])
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    yield f"{source.facts['rows']} rows, {len(names)} classes: {classes}{more}."
    yield from source.said
    if source.set_aside:
        first = source.set_aside[0]
        where = f"row {first.row}" if first.name is None else first.name
        yield f"{len(source.set_aside)} rows are set aside, first {where}: {first.reason}."


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


def _checksums(**sources: Source | None) -> dict[str, str]:
    return {name: source.facts.get("sha256", "") for name, source in sources.items() if source is not None}


def _of_review(path: str | Path | None) -> dict[str, str]:
    return {} if path is None else {"review": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
