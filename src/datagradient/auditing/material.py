"""The rows that an audit works with: of the audited file, and of files with checked labels or for the test."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.auditing.request import FEWEST_ROWS
from datagradient.auditing.review import CHECKED, RANDOM, UNSURE, alike, class_of, is_unsure, read_entries
from datagradient.auditing.task import FEWEST, different_by_class, drawn_rows
from datagradient.data.given import Given, joined
from datagradient.data.readers import Source
from datagradient.data.readers.source import counted, listed
from datagradient.data.record import Dataset, sample_keys
from datagradient.errors import UserError
from datagradient.seeds import integer_seed


@dataclass(frozen=True)
class Material:
    """The rows that are audited, as one data set.

    Attributes:
        source: the audited file, with labels that were checked in the place of those given.
        dataset: rows of the file, then of the file with checked labels, then of the test file, without small classes;
            None if there are too few rows or classes to train on.
        own: (n of the data set,) bool, rows of the audited file.
        places: (number of own rows,) their positions in the source.
        checked: (n,) bool, rows whose label was checked by hand.
        trusted: (n,) bool, those of them that were not chosen for being doubtful.
        before: (n,) labels as they were given before a review checked them; −1 for all other rows.
        findings: what was found on the way, for summary.json.
        not_checked: sentences on rows that are not judged.
        given: the n samples in the form in which a user's own classifier takes them; None without.
    """

    source: Source
    dataset: Dataset | None
    own: np.ndarray
    places: np.ndarray
    checked: np.ndarray
    trusted: np.ndarray
    before: np.ndarray
    findings: dict[str, Any]
    not_checked: list[str]
    given: Given | None = None

    @property
    def trained(self) -> np.ndarray:
        """The positions of the rows that are not of the test file."""
        if self.dataset is None:
            return np.empty(0, dtype=np.int64)
        is_test = self.dataset.is_test
        return np.arange(len(self.dataset.labels)) if is_test is None else np.flatnonzero(~is_test)


def gather(
    source: Source, trusted: np.ndarray, before: np.ndarray, max_rows: int, seed: int,
    validation: Source | None = None, test: Source | None = None, given: Sequence[Given] | None = None,
) -> Material:  # fmt: skip
    """Return the rows to audit.

    Args:
        source: the audited file; `Source.trusted` are the rows whose labels were checked.
        trusted: (n,) bool, those of them that were not chosen for being doubtful.
        before: (n,) labels as they were given before a review checked them; −1 for all other rows.
        max_rows: of the file; of more, so many are drawn, classes in equal proportion. Checked rows are kept.
        seed: of the draw.
        validation: a file of checked labels, in the form of the audited one.
        test: a file that the effect is measured on, in the same form.
        given: the samples of each of these files, for a user's own classifier; None without.
    """
    places, not_checked = _drawn(source, max_rows, seed)
    if source.set_aside:
        verb = "was" if len(source.set_aside) == 1 else "were"
        not_checked.append(f"{counted(len(source.set_aside), 'row')} that {verb} set aside")
    findings: dict[str, Any] = {"repeats": []}
    others = _others(source, {"validation": validation, "test": test}, findings["repeats"])
    sources = [(source, places), *others]
    dataset = _joined([(part.dataset, rows) for part, rows in sources])
    sizes = [len(rows) for _, rows in sources]
    own = np.arange(sum(sizes)) < sizes[0]
    checked, is_trusted = np.zeros(sum(sizes), dtype=bool), np.zeros(sum(sizes), dtype=bool)
    checked[: sizes[0]], is_trusted[: sizes[0]] = source.trusted[places], trusted[places]
    is_test, first = np.zeros(sum(sizes), dtype=bool), np.full(sum(sizes), -1)
    first[: sizes[0]] = before[places]
    if validation is not None:
        checked[sizes[0] : sizes[0] + sizes[1]] = is_trusted[sizes[0] : sizes[0] + sizes[1]] = True
    if test is not None:
        is_test[len(is_test) - sizes[-1] :] = True
    several = different_by_class(dataset, np.flatnonzero(own & ~checked))
    small = np.flatnonzero(several < FEWEST)
    findings["small_classes"] = [
        {"name": dataset.class_names[label], "rows": int((dataset.labels[own] == label).sum()),
         "different": int(several[label])}
        for label in small
    ]  # fmt: skip
    kept = np.flatnonzero(~np.isin(dataset.labels, small))
    for entry in findings["small_classes"]:
        not_checked.append(f"{few_rows(entry)} of class {entry['name']}, too few to judge")
    judged = int((own & ~checked)[kept].sum())
    classes = len(dataset.class_names) - len(small)
    if judged < FEWEST_ROWS or classes < 2:
        return Material(source, None, own, places, checked, is_trusted, first, findings, not_checked)
    forms = None if given is None else joined([
        samples[rows] for samples, (_, rows) in zip(given, sources, strict=True)])[kept]  # fmt: skip
    # Row −1 of the numbers is that of rows without a label of before, and of labels of classes that are left out.
    first = np.append(np.where(np.isin(np.arange(len(dataset.class_names)), small), -1, _numbers(dataset, small)), -1)[
        first[kept]]  # fmt: skip
    return Material(source, _without(dataset, kept, small, is_test), own[kept], places[kept[own[kept]]],
                    checked[kept], is_trusted[kept], first, findings, not_checked, forms)  # fmt: skip


def few_rows(small: dict[str, Any]) -> str:
    """Return in words how many rows a small class has, and of what kind."""
    rows = counted(small["rows"], "row")
    if small["rows"] < FEWEST:
        return rows
    return f"{rows}, {small['different']} of them different and without a checked label ({FEWEST} are needed),"


def _others(
    source: Source, files: dict[str, Source | None], repeats: list[dict[str, Any]]
) -> list[tuple[Source, np.ndarray]]:  # fmt: skip
    """Return further files and the positions of their rows that are in no file before; `repeats` receives the others.

    A row of the audited file may not be among those that judge it, nor one of either among those of a test.

    Raises:
        UserError: no row of a file is left.
    """
    keys, others = sample_keys(source.dataset), []
    for name, other in files.items():
        if other is None:
            continue
        own = sample_keys(other.dataset)
        fresh = ~np.isin(own, keys)
        path = other.facts["path"]  # None for data in memory
        if not fresh.any():
            whose = "its one row is" if len(fresh) == 1 else f"all {len(fresh)} rows are"
            where = "the audited data or those of --validation" if others else "the audited data"
            raise UserError(f"--{name}{f' {path}' if path else ''}: {whose} in {where}, too, and cannot be "
                            "used: give rows that are not audited")  # fmt: skip
        if not fresh.all():
            repeats.append({"file": Path(path).name if path else name, "rows": int((~fresh).sum())})
        others.append((other, np.flatnonzero(fresh)))
        keys = np.concatenate([keys, own])
    return others


def _drawn(source: Source, most: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Return the positions of at most so many rows of a file."""
    n, labels = len(source.dataset.labels), source.dataset.labels
    if n <= most:
        return np.arange(n), []
    rest = np.flatnonzero(~source.trusted)
    size = min(max(FEWEST_ROWS, most - int(source.trusted.sum())), len(rest))  # of those that can be judged
    drawn = rest[drawn_rows(labels[rest], size, integer_seed(seed, "rows to audit"))]
    places = np.sort(np.concatenate([drawn, np.flatnonzero(source.trusted)]))
    beside = f", besides {len(places) - len(drawn)} that were checked" if len(places) > len(drawn) else ""
    drawn_at_random = f"{n - len(places)} of {n} rows: {len(drawn)} were drawn at random{beside}"
    return places, [f"{drawn_at_random} (--max-rows and --time-limit say how many)"]


def _joined(parts: Sequence[tuple[Dataset, np.ndarray]]) -> Dataset:
    """Return some rows of data sets with the columns and classes of the first as one."""
    first = parts[0][0]
    samples = [dataset.take(rows) for dataset, rows in parts]
    numbers = [np.array([first.class_names.index(name) for name in dataset.class_names]) for dataset, _ in parts]
    labels = np.concatenate([own[dataset.labels[rows]] for own, (dataset, rows) in zip(numbers, parts, strict=True)])
    if first.modality == "table":
        import pandas as pd

        joined = pd.concat(samples, ignore_index=True)
    elif first.modality == "text":
        joined = [text for part in samples for text in part]
    else:
        joined = np.concatenate(samples)
    return replace(first, samples=joined, labels=labels, is_test=None)


def _without(dataset: Dataset, kept: np.ndarray, small: np.ndarray, is_test: np.ndarray) -> Dataset:
    """Return a data set without some classes, whose numbers close up."""
    names = [name for label, name in enumerate(dataset.class_names) if label not in small]
    samples = dataset.take(kept)
    if dataset.modality == "table":
        samples = samples.reset_index(drop=True)
    labels = _numbers(dataset, small)[dataset.labels[kept]]
    return replace(dataset, samples=samples, labels=labels, class_names=tuple(names),
                   is_test=is_test[kept] if is_test[kept].any() else None)  # fmt: skip


def _numbers(dataset: Dataset, small: np.ndarray) -> np.ndarray:
    """Return the new number of each class that is not small; the others are not to be used."""
    return np.cumsum(~np.isin(np.arange(len(dataset.class_names)), small)) - 1


@dataclass(frozen=True)
class Checked:
    """Labels that a person has written into a review; arrays of (k,).

    ``places`` are the rows' positions in the source, ``given`` and ``labels`` their numbers of classes before and
    after, and ``drawn`` says which rows were to be checked because they were drawn at random.
    """

    places: np.ndarray
    given: np.ndarray
    labels: np.ndarray
    drawn: np.ndarray

    @property
    def corrected(self) -> int:
        """How many labels differ from those given."""
        return int((self.labels != self.given).sum())


def read_checked(source: Source, review: Any) -> Checked:
    """Read the labels that a person has written into a review.

    Args:
        source: the audited file.
        review: as `read_entries` takes it: rows are found by their number, a label is the name of a class.

    Raises:
        UserError: a row is not in the file, stands twice or had another name or label when it was audited, a label is
            not a class, or no row was checked.
    """
    position = {int(row): place for place, row in enumerate(source.rows)}
    class_names, path = source.dataset.class_names, source.facts["path"] or "the data"
    names = {name: label for label, name in enumerate(class_names)}
    found: dict[int, tuple[int, bool]] = {}
    for entry in read_entries(review):
        if is_unsure(entry.label, names):
            continue
        label = class_of(entry.label, names, source.classes)
        if label is None:
            raise UserError(f"{entry.where}: {CHECKED} is {entry.label!r}, and classes are {listed(names)}; write "
                            f"{UNSURE} where you cannot tell")  # fmt: skip
        place = position.get(entry.row)
        if place is None:
            raise UserError(f"{entry.where}: row {entry.row} is not in {path}, or cannot be used: is it the review of "
                            "these data?")  # fmt: skip
        if place in found:
            raise UserError(f"{entry.where}: row {entry.row} stands twice: leave one of them out")
        name = None if source.names is None else source.names[place]
        if entry.name and name is not None and alike(entry.name) != alike(name):
            raise UserError(f"{entry.where}: row {entry.row} was {entry.name} when it was audited, and is {name} in "
                            f"{path}: is it the review of these data, in their order?")  # fmt: skip
        given, now = class_of(entry.given, names, source.classes), int(source.dataset.labels[place])
        if given is not None and now not in (given, label):  # or it has been corrected since
            was, found_now = class_names[given], class_names[now]
            raise UserError(f"{entry.where}: row {entry.row} was {was} when it was audited, and is {found_now} in "
                            f"{path}: is it the review of these data, in their order?")  # fmt: skip
        found[place] = label, entry.drawn == RANDOM
    if not found:
        where = review if isinstance(review, str | Path) else "trusted"
        raise UserError(f"{where}: no row has a label in the column {CHECKED}: write the right class there, also where "
                        "it is the given one")  # fmt: skip
    places = np.array(list(found))
    labels, drawn = (np.array(values) for values in zip(*found.values(), strict=True))
    return Checked(places, source.dataset.labels[places], labels, drawn)


def with_checked(source: Source, checked: Checked) -> tuple[Source, np.ndarray]:
    """Return a file with labels that were checked, and (n,) bool, the trusted rows not chosen for being doubtful."""
    labels, trusted, chosen = source.dataset.labels.copy(), source.trusted.copy(), source.trusted.copy()
    labels[checked.places], trusted[checked.places] = checked.labels, True
    chosen[checked.places] |= checked.drawn
    return replace(source, dataset=replace(source.dataset, labels=labels), trusted=trusted), chosen
