"""Conditions: which labels an owner of data has. Imports nothing heavy, because the Snakefile uses it.

The name of a condition stands in paths, in wildcards and in the column ``noise`` of tables. It is the share of labels
that are flipped (``0``, ``0.2``), or the column of human labels that are used instead (``worse_label``). Followed by
``-untrusted``, the two validation parts carry wrong labels of the same kind as the training part. The labels of the
test part are right in every condition.
"""

from collections.abc import Iterable

TRUSTED, UNTRUSTED = "trusted", "untrusted"
VALIDATION = (TRUSTED, UNTRUSTED)
SUFFIX = f"-{UNTRUSTED}"
PUBLISHED = "0"  # no label is flipped: with validation labels that are not trusted it would be the same condition


def noise_name(rate: float) -> str:
    """Return a noise rate in the form used in paths and tables: 0 and 0.2, not 0.0 and 0.20."""
    return f"{rate:g}"


def with_untrusted(bases: Iterable[str], validation: Iterable[str]) -> list[str]:
    """Return base conditions, followed by the untrusted one of each but ``0`` if `validation` names these."""
    bases = list(bases)
    return bases + [name + SUFFIX for name in bases if UNTRUSTED in validation and name != PUBLISHED]


def base_of(condition: str) -> str:
    """Return the condition whose training labels are the same and whose validation labels are right."""
    return condition.removesuffix(SUFFIX)


def is_untrusted(condition: str) -> bool:
    """Return whether the validation parts carry wrong labels."""
    return condition.endswith(SUFFIX)


def rate_of(condition: str) -> float | None:
    """Return the share of labels that are flipped; None where the labels are those of people."""
    base = base_of(condition)
    return float(base) if base[:1].isdigit() else None  # the name of a column begins with a letter
