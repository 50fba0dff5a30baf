"""Legal values of settings: declared as plain data, checked by pydantic, refused with a one-line message.

A declaration is either a tuple of words, one of which is the setting, or a mapping with ``type``
(``"whole"`` or ``"number"``), limits with pydantic's names (``gt``, ``ge``, ``lt``, ``le``), and ``null: True`` if
null is legal. Whole numbers are at most `LARGEST` unless declared otherwise. Other numbers are 0 or between `FINEST`
and `COARSEST` in size, which the libraries' float32 can hold, and never -0.0, whose path differs from that of 0.0.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

from pydantic import Field, TypeAdapter, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # required by pydantic before Python 3.12

from datagradient.data import MODALITIES
from datagradient.errors import shown
from datagradient.influence.options import SOLVER_OPTIONS, SOLVERS

LARGEST = 10**9
FINEST, COARSEST = 1e-30, 1e30
LIMITS = ("gt", "ge", "lt", "le")
Declaration = tuple | dict
SHARE = {"type": "number", "gt": 0, "lt": 1}
RATE = {"type": "number", "ge": 0, "lt": 1}
COUNT = {"type": "whole", "ge": 1}
REPEATS = {"type": "whole", "ge": 1, "le": 10_000}
SEVERAL = {"type": "whole", "ge": 2, "le": 10_000}
LIMIT = {"type": "whole", "ge": 100, "null": True}
SIZE = {"type": "whole", "ge": 100, "le": 10**7}
SEED = {"type": "whole", "ge": 0, "le": 2**32 - 1}
CHUNK = {"type": "whole", "ge": 1, "le": 10**7}  # samples held in memory at once
_PLAIN = re.compile(r"[\w-]{1,60}")


class Problem(NamedTuple):
    """An illegal value: the keys that lead to it, what is wrong, and whether it is an unknown key."""

    path: tuple
    text: str
    unknown: bool = False

    def __str__(self) -> str:
        """Return the keys, joined by dots, and what is wrong."""
        keys = ".".join(part if isinstance(part, str) and _PLAIN.fullmatch(part) else shown(part) for part in self.path)
        return f"{keys}: {self.text}" if keys else self.text


def problems(kind: TypeAdapter, content: object) -> list[Problem]:
    """Return the problems of `content`, unknown keys first; an empty list if it is of type `kind`."""
    try:
        kind.validate_python(content)
    except ValidationError as error:
        return sorted(map(_problem, error.errors(include_url=False)), key=_unknown_first)
    return []


def value(declaration: Declaration) -> Any:
    """Return the pydantic type of one value."""
    words = in_words(declaration)
    if isinstance(declaration, tuple):
        return refusing(Literal[declaration], words)
    limits = {key: declaration[key] for key in LIMITS if key in declaration}
    if declaration["type"] == "whole":
        kind = Annotated[int, Field(strict=True, **{"le": LARGEST, **limits})]
    else:
        kind = Annotated[float, Field(strict=True, allow_inf_nan=False, **limits)]
    return refusing(kind | None if declaration.get("null") else kind, words)


def by_noise(declaration: Declaration) -> Any:
    """Return the pydantic type of a value or of a list with one value per base condition; words differ by none."""
    kind = value(declaration)
    if isinstance(declaration, tuple):
        return kind
    several = Annotated[list[kind], Field(strict=True, min_length=1)]
    return refusing(kind | several, f"{in_words(declaration)}, or one for each condition")


def text() -> Any:
    """Return the pydantic type of a text."""
    return refusing(Annotated[str, Field(strict=True)], "text")


def refusing(kind: Any, words: str) -> Any:
    """Return a type whose message is always `words`, which say what is legal."""

    def check(content: object, handler: Callable) -> object:
        try:
            handler(content)
        except ValidationError:
            raise _refusal(words) from None
        if isinstance(content, float) and not _in_range(content):
            raise _refusal(words)
        return content

    return Annotated[kind, WrapValidator(check)]


def listed(
    kind: Any, words: str, least: int = 1, alike: Callable[[Any], Any] = lambda entry: entry, null: bool = False
) -> Any:
    """Return the pydantic type of a list with at least `least` entries, no two of which are `alike`.

    Args:
        kind: the type of an entry.
        words: what is legal for an entry.
        least: 1 or 2.
        alike: returns the value that must differ between entries.
        null: whether null is legal, too.
    """
    many = "one entry" if least == 1 else "two entries"
    words = f"a list without repeats of at least {many}, each {words}" + (", or null" if null else "")

    def check(content: object, handler: Callable) -> object:
        if content is None and null:
            return content
        if not isinstance(content, list) or len(content) < least:
            raise _refusal(words)
        handler(content)
        if len({alike(entry) for entry in content}) < len(content):
            raise _refusal(words)
        return content

    return Annotated[list[kind], WrapValidator(check)]


def list_of(declaration: Declaration, least: int = 1) -> Any:
    """Return the pydantic type of a list without repeats of declared values."""
    return listed(value(declaration), in_words(declaration), least)


def mapping(keys: dict[str, Any], needed: Iterable[str] | None = None, null: bool = False) -> Any:
    """Return the pydantic type of a mapping with these keys and types; all keys are needed unless `needed` is given."""
    needed = tuple(keys if needed is None else needed)
    return _mapping(keys, needed, f"a mapping with the keys {', '.join(keys)}", least=0, null=null)


def some_of(keys: dict[str, Any]) -> Any:
    """Return the pydantic type of a mapping with at least one of these keys."""
    return _mapping(keys, (), f"a mapping with at least one of {', '.join(keys)}", least=1, null=False)


def solver_options() -> dict[str, Any]:
    """Return the types of a solver's name and options, and of their overrides by kind of data."""
    options = {"name": value(tuple(SOLVERS)), **{name: value(legal) for name, legal in SOLVER_OPTIONS.items()}}
    return {**options, **dict.fromkeys(MODALITIES, mapping(options, needed=(), null=True))}


def stream_plan() -> dict[str, Any]:
    """Return the types of the settings for scoring a stream."""
    return {"trained_on": value(CHUNK), "chunk": value(CHUNK), "sizes": list_of(SIZE)}


def chunk_problem(plan: dict) -> str:
    """Return the problem with the sizes of a stream, or ""."""
    whole = all(size % plan["chunk"] == 0 for size in plan["sizes"])
    return "" if whole else f"{shown(plan['sizes'])} are not all multiples of the chunk, {plan['chunk']}"


def in_words(declaration: Declaration) -> str:
    """Return a description of the legal values that fits after "is not" in a message."""
    if isinstance(declaration, tuple):
        return f"one of {', '.join(declaration)}"
    low, high = (next((key for key in pair if key in declaration), None) for pair in (("gt", "ge"), ("lt", "le")))
    kind = {"whole": "a whole number", "number": "a number"}[declaration["type"]]
    if declaration["type"] == "whole":
        words = f"{kind} of at least {declaration[low]}"
        words += f" and at most {declaration[high]}" if high else ""
        if high and declaration[high] - declaration[low] == 1:
            words = f"{declaration[low]} or {declaration[high]}"
    elif high:
        brackets = "(["[low == "ge"], ")]"[high == "le"]
        words = f"{kind} in {brackets[0]}{declaration[low]}, {declaration[high]}{brackets[1]}"
    else:
        words = f"{kind} above {declaration[low]}" if low == "gt" else f"{kind} of at least {declaration[low]}"
    return words + (", or null" if declaration.get("null") else "")


def _mapping(keys: dict[str, Any], needed: tuple[str, ...], words: str, least: int, null: bool) -> Any:
    fields = {key: kind if key in needed else NotRequired[kind] for key, kind in keys.items()}

    def check(content: object, handler: Callable) -> object:
        if content is None and null:
            return content
        if not isinstance(content, dict) or len(content) < least:
            raise _refusal(words + (", or null" if null else ""))
        for key in content:
            if key not in keys:
                raise PydanticCustomError(
                    "unknown", "unknown", {"key": key, "says": f"unknown; legal: {', '.join(keys)}"}
                )
        for key in needed:
            if key not in content:
                says = f"missing; needed are {', '.join(needed)}"
                raise PydanticCustomError("missing", "missing", {"key": key, "says": says})
        return handler(content)

    return Annotated[TypedDict("Settings", fields), WrapValidator(check)]


def _in_range(number: float) -> bool:
    return FINEST <= abs(number) <= COARSEST if number else math.copysign(1, number) > 0


def _refusal(words: str) -> PydanticCustomError:
    return PydanticCustomError("value", "value", {"words": words})


def _unknown_first(problem: Problem) -> tuple:
    return not problem.unknown, [str(part) for part in problem.path]


def _problem(error: dict) -> Problem:
    about = error["ctx"]
    if "key" in about:
        return Problem((*error["loc"], about["key"]), about["says"], error["type"] == "unknown")
    return Problem(
        error["loc"], f"{shown(error['input'])} is not {about['words']}{_hint(error['input'], about['words'])}", False
    )


def _hint(content: object, words: str) -> str:
    """Return a hint if a number was read as text, or a word as true or false; otherwise ""."""
    if isinstance(content, float) and content == 0:
        return "; write 0.0" if "[0" in words or "at least 0" in words else ""
    if isinstance(content, float) and math.isfinite(content) and not _in_range(content):
        return f"; its size must be 0 or between {FINEST:g} and {COARSEST:g}"
    if isinstance(content, bool) and "one of" in words:
        return "; YAML reads yes, no, on and off as true and false: put quotes around a word"
    if isinstance(content, str) and "number" in words:
        try:
            number = float(content)
        except ValueError:
            return ""
        if math.isfinite(number):
            return f"; it was read as text: write {_as_yaml(number)}"
    return ""


def _as_yaml(number: float) -> str:
    """Return a number in a form that YAML 1.1 reads as a number: 1.0e-07, because 1e-07 would be text."""
    if number.is_integer() and abs(number) < LARGEST:
        return str(int(number))
    mantissa, e, exponent = repr(number).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}"
