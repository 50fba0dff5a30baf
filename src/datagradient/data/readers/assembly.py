"""From labels and samples of all rows of a file to the source of those that can be used."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datagradient.data.readers.samples import Samples
from datagradient.data.readers.source import SetAside, Source, counted, fault, identifier, listed, title_of
from datagradient.data.readers.table import rows_shown
from datagradient.data.readers.targets import Labels, labels_like, usable_labels
from datagradient.data.record import Dataset, fingerprint, sample_keys

SHOWN = 3  # names of rows in a sentence


@dataclass
class Content:
    """What a file holds, all of its n rows.

    Attributes:
        where: the file in messages.
        title: its name.
        target: the column of labels in messages.
        labels: of all rows.
        samples: of all rows.
        facts: of `Source.facts`.
        said: what was recognised.
        names: of all rows; None without.
        trusted: bool (n,); None if no label was checked by hand.
    """

    where: str
    title: str
    target: str
    labels: Labels
    samples: Samples
    facts: dict[str, Any]
    said: list[str] = field(default_factory=list)
    names: list[str] | None = None
    trusted: np.ndarray | None = None


def assembled(content: Content, first: Source | None) -> Source:
    """Return the source of the rows with a label and a sample.

    Raises:
        UserError: no row is left, or its labels are too few, or there is a first file and it has no such class.
    """
    labels, samples, target, where = content.labels, content.samples, content.target, content.where
    unlabelled = np.flatnonzero(labels.numbers < 0).tolist()
    reasons = {**samples.reasons, **dict.fromkeys(unlabelled, f"no label in {target}")}
    usable = np.ones(len(labels.numbers), dtype=bool)
    usable[list(reasons)] = False
    if not usable.any():
        raise fault(where, f"no row can be used: row {min(reasons)}: {reasons[min(reasons)]}")
    if first is None:
        labels = usable_labels(labels, usable, target, where)
        numbers, class_names, classes = labels.numbers, labels.names, labels.classes
    else:
        class_names, classes = first.dataset.class_names, first.classes
        numbers = labels_like(labels, usable, class_names, classes, target, where)
        numbers, class_names, classes = _present(numbers, class_names, classes, f"{where}: {target}")
    rows = np.flatnonzero(usable)
    dataset = Dataset(identifier(content.title), title_of(content.title), samples.modality, samples.take(rows),
                      numbers[rows], tuple(class_names), kinds=samples.kinds)  # fmt: skip
    facts = {"modality": samples.modality, **content.facts}
    facts.setdefault("sha256", fingerprint(dataset, sample_keys(dataset)).removeprefix("sha256:"))
    names = content.names
    set_aside = [SetAside(row, names[row] if names else None, reasons[row]) for row in sorted(reasons)]
    said = [*content.said, *labels.said, *samples.said, *_on_set_aside(set_aside)]
    trusted = np.zeros(len(usable), dtype=bool) if content.trusted is None else content.trusted
    return Source(dataset, rows, None if names is None else tuple(names[row] for row in rows), trusted[rows],
                  tuple(set_aside), tuple(classes), facts, tuple(said))  # fmt: skip


def _present(
    numbers: np.ndarray, names: Sequence[str], classes: Sequence[Any], place: str
) -> tuple[np.ndarray, list[str], list[Any]]:
    """Return labels, names and values of the classes that have rows; labels of −1 stay."""
    present = np.unique(numbers[numbers >= 0])
    if len(present) < 2:
        raise fault(place, f"holds one class alone, {listed([names[k] for k in present])}: give rows of two or more")
    closed_up = np.where(numbers < 0, -1, np.searchsorted(present, numbers))
    return closed_up, [names[k] for k in present], [classes[k] for k in present]


def _on_set_aside(items: list[SetAside]) -> list[str]:
    """Return how many rows were set aside, by reason."""
    by_reason: dict[str, list[SetAside]] = {}
    for item in items:
        by_reason.setdefault(item.reason, []).append(item)
    return [f"{counted(len(group), 'row')} set aside, {reason}: {_shown(group)}" for reason, group in by_reason.items()]


def _shown(items: list[SetAside]) -> str:
    if any(item.name is None for item in items):
        return rows_shown(np.array([item.row for item in items]))
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(repr(item.name) for item in items[:SHOWN]) + more
