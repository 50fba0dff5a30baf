"""Strict JSON: unlike Python's reader, it refuses duplicate keys, NaN and Infinity."""

import json
from collections.abc import Callable
from typing import Any

from datagradient.errors import shown


def parse_json(text: str, mapping: Callable[[dict], dict] = dict, finite: bool = True) -> Any:
    """Return the content of a JSON text.

    Args:
        text: the JSON.
        mapping: converts every mapping.
        finite: refuse NaN and Infinity, which are not part of JSON.

    Raises:
        ValueError: the text is not JSON, or a key appears twice in a mapping; the message is one line.
    """
    constant = {"parse_constant": _refuse_constant} if finite else {}
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: mapping(_unique(pairs)), **constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number")


def _unique(pairs: list[tuple[str, Any]]) -> dict:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice)} appears twice")
    return content
