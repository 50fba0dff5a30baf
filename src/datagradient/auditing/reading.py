"""The data of an audit as read, and what is said of them first; nothing here waits for what models need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from datagradient.auditing.request import Request
from datagradient.auditing.review import checksum
from datagradient.data.given import Given
from datagradient.data.readers import Source, read, read_like
from datagradient.data.readers.source import counted

if TYPE_CHECKING:
    from datagradient.auditing.material import Checked


@dataclass(frozen=True)
class Read:
    """What was read for an audit.

    Attributes:
        source: the data, with labels that were checked by hand in the place of those given.
        validation: more data whose labels were checked by hand; None without.
        test: more data that the effect is measured on; None without.
        trusted: (n,) bool, rows whose label was checked and that were not chosen for being doubtful.
        before: (n,) labels as they were given before a review checked them; −1 for all other rows.
        checked: the labels that a person has written into a review; None without a review.
        checksums: of the data, by what they are.
        given: the samples of each of these data as a user's own classifier takes them; None without.
    """

    source: Source
    validation: Source | None
    test: Source | None
    trusted: np.ndarray
    before: np.ndarray
    checked: "Checked | None"
    checksums: dict[str, str]
    given: list[Given] | None = None


def read_all(request: Request) -> Read:
    """Read the data of an audit.

    Raises:
        UserError: they cannot be read; one line names the file, the row or column, and the remedy.
    """
    source = read(request.data, request.reading)
    others = [None if file is None else read_like(file, source, request.reading)
              for file in (request.validation, request.test)]  # fmt: skip
    found = {"data": source, "validation": others[0], "test": others[1]}
    checksums = {name: file.facts.get("sha256", "") for name, file in found.items() if file is not None}
    if request.path is not None:
        source = replace(source, facts={**source.facts, "path": request.path})
    given = _given(request, [source, *others])
    trusted, before, checked = source.trusted.copy(), np.full(len(source.rows), -1), None
    if request.trusted is not None:
        from datagradient.auditing.material import read_checked, with_checked

        checked = read_checked(source, request.trusted)
        checksums["review"] = checksum(request.trusted)
        before[checked.places] = checked.given
        source, trusted = with_checked(source, checked)
    return Read(source, *others, trusted, before, checked, checksums, given)


def _given(request: Request, sources: Sequence[Source | None]) -> list[Given] | None:
    if request.own is None:
        return None
    from datagradient.auditing.own import given_samples

    pairs = [(data, source) for data, source in zip((request.data, request.validation, request.test), sources,
                                                    strict=True) if source is not None]  # fmt: skip
    return given_samples(pairs, request.reading.drop)


def introduction(found: Read) -> Iterator[str]:
    """Yield what was read, in words."""
    source = found.source
    names, counts = source.dataset.class_names, np.bincount(source.dataset.labels)
    classes = ", ".join(f"{name} {count}" for name, count in list(zip(names, counts, strict=True))[:10])
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    rows, used = source.facts["rows"], len(source.rows)
    some = "," if rows == used else f", of which {used} can be used;"
    yield f"{counted(rows, 'row')}{some} {len(names)} classes: {classes}{more}."
    yield from source.said
    if found.given is not None and source.dataset.modality == "table":
        yield "your own classifier gets all columns as they are: leave one out with --drop, or prepare it in a Pipeline"
    if found.checked is not None:
        checked = int(source.trusted.sum())
        verb = "was" if checked == 1 else "were"
        yield f"{counted(checked, 'label')} {verb} checked by hand, {found.checked.corrected} of them changed."
