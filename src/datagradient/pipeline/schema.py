"""What a setting may be: declared as plain data, checked by pydantic, refused in words that fit into one line.

A declaration is one of two things: a tuple of words, of which the setting is one; or a mapping with ``type``
(``"whole"`` or ``"number"``), limits as pydantic calls them (``gt``, ``ge``, ``lt``, ``le``), and ``null: True`` where
null is legal too. Whole numbers are at most `LARGEST` unless they say otherwise; other numbers are 0 or between
`FINEST` and `COARSEST` in size, which the libraries' float32 holds, and never -0.0, which makes another path than 0.0.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

from pydantic import Field, TypeAdapter, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

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
CHUNK = {"type": "whole", "ge": 1, "le": 10**7}  # samples that are held in memory at once
_PLAIN = re.compile(r"[\w-]{1,60}")


class Problem(NamedTuple):
    """A value that is not legal: the keys that lead to it, what is wrong, whether it is an unknown key."""

    path: tuple
    text: str
    unknown: bool = False

    def __str__(self) -> str:
        """Return the keys, joined by full stops, and what is wrong."""
        keys = ".".join(part if isinstance(part, str) and _PLAIN.fullmatch(part) else shown(part) for part in self.path)
        return f"{keys}: {self.text}" if keys else self.text


def problems(kind: TypeAdapter, content: object) -> list[Problem]:
    """Return what is wrong with `content`, unknown keys first; nothing where it is what `kind` says."""
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
    """Return the pydantic type of a value, or a list of one for each noise rate; words are the same for all."""
    one = value(declaration)
    if isinstance(declaration, tuple):
        return one
    several = Annotated[list[one], Field(strict=True, min_length=1)]
    return refusing(one | several, f"{in_words(declaration)}, or one for each noise rate")


def text() -> Any:
    """Return the pydantic type of a text."""
    return refusing(Annotated[str, Field(strict=True)], "text")


def refusing(kind: Any, words: str) -> Any:
    """Return a type that says in `words` what is legal, whatever is wrong with a value."""

    def check(content: object, handler: Callable) -> object:
        try:
            handler(content)
        except ValidationError:
            raise _refusal(words) from None
        if isinstance(content, float) and not _in_range(content):
            raise _refusal(words)
        return content

    return Annotated[kind, WrapValidator(check)]


def listed(kind: Any, words: str, least: int = 1, alike: Callable[[Any], Any] = lambda entry: entry) -> Any:
    """Return the pydantic type of a list of at least so many entries, of which no two are `alike`.

    Args:
        kind: the type of an entry.
        words: what is legal for an entry.
        least: 1 or 2.
        alike: what must differ between entries.
    """
    many = "one entry" if least == 1 else "two entries"
    words = f"a list without repeats of at least {many}, each {words}"

    def check(content: object, handler: Callable) -> object:
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
    """Return the pydantic type of a mapping with these keys, each with its own type, all needed unless it is said."""
    needed = tuple(keys if needed is None else needed)
    return _mapping(keys, needed, f"a mapping with the keys {', '.join(keys)}", least=0, null=null)


def some_of(keys: dict[str, Any]) -> Any:
    """Return the pydantic type of a mapping with at least one of these keys."""
    return _mapping(keys, (), f"a mapping with at least one of {', '.join(keys)}", least=1, null=False)


def solver_options() -> dict[str, Any]:
    """Return the types of a solver's name and options, and of what overrides them by the kind of data."""
    options = {"name": value(tuple(SOLVERS)), **{name: value(legal) for name, legal in SOLVER_OPTIONS.items()}}
    return {**options, **dict.fromkeys(MODALITIES, mapping(options, needed=(), null=True))}


def stream_plan() -> dict[str, Any]:
    """Return the types of what is scored as a stream."""
    return {"trained_on": value(CHUNK), "chunk": value(CHUNK), "sizes": list_of(SIZE)}


def chunk_problem(plan: dict) -> str:
    """Return what is wrong with the sizes of a stream, or nothing."""
    whole = all(size % plan["chunk"] == 0 for size in plan["sizes"])
    return "" if whole else f"{shown(plan['sizes'])} are not all multiples of the chunk, {plan['chunk']}"


def in_words(declaration: Declaration) -> str:
    """Return what is legal, as it stands in a message after "is not"."""
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
    """Return what to write where a number was read as text, or a word as true or false; mostly nothing."""
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
    """Return a number as YAML 1.1 reads it: 1.0e-07, where 1e-07 is text."""
    if number.is_integer() and abs(number) < LARGEST:
        return str(int(number))
    mantissa, e, exponent = repr(number).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}"
