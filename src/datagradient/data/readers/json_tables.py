"""JSON lines, and a JSON array of objects, as a table."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagradient.data.checks import lone_surrogate
from datagradient.data.readers.source import ReadOptions, fault
from datagradient.data.readers.table import Table, check_names, check_rows
from datagradient.data.readers.text_files import TextFile, check_text, sha256
from datagradient.errors import one_line, shown
from datagradient.files.strict_json import parse_json

BLOCK = 10_000  # rows whose objects are held at a time


def read_json_table(path: Path, options: ReadOptions) -> Table:
    """Read JSON lines or an array of objects; a key that an object lacks is a missing cell.

    Raises:
        UserError: it is no JSON, with the line; a key appears twice in an object; or a row is no object.
    """
    file = check_text(path, options.encoding)
    with file.opened() as stream:
        start = next((line.strip() for line in stream if line.strip()), "")
    rows = _array(file) if start.startswith("[") else _lines(file)
    frame, n = _frame(rows)
    check_rows(len(frame), n, str(path))
    names = check_names(list(frame.columns), str(path))
    frame.columns = names
    kind = "json" if start.startswith("[") else "json lines"
    facts = {"path": str(path), "format": kind, "sha256": sha256(path), "rows": n, "encoding": file.encoding}
    return Table(str(path), path.name, frame, names, facts, list(file.said), decimal=options.decimal)


def _array(file: TextFile) -> Iterator[dict]:
    with file.opened() as stream:
        try:
            text = stream.read()
            rows = parse_json(text, finite=False)
        except json.JSONDecodeError as error:
            raise fault(file.path, f"line {error.lineno}: is no JSON ({error.msg}): correct it") from None
        except ValueError as error:
            raise fault(file.path, f"is no JSON ({one_line(error)}): correct it") from None
    for number, row in enumerate(rows):
        yield _checked(row, f"row {number}", file, "\\u" in text)


def _lines(file: TextFile) -> Iterator[dict]:
    with file.opened() as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = parse_json(line, finite=False)
            except ValueError as error:
                reason = one_line(getattr(error, "msg", error))
                raise fault(file.path, f"line {number}: is no JSON ({reason}): write one object in each line, or an "
                                       "array of objects") from None  # fmt: skip
            yield _checked(row, f"line {number}", file, "\\u" in line)


def _checked(row: Any, place: str, file: TextFile, escaped: bool) -> dict:
    """Return a row; refuse what is no object, and escaped halves of characters."""
    if not isinstance(row, dict):
        raise fault(file.path, f"{place} is {shown(row)}, and an object of names and values is needed")
    if escaped and (half := lone_surrogate(json.dumps(row, ensure_ascii=False))):
        raise fault(file.path, f"{place} holds {half!r}, half of a surrogate pair and not a character: correct it")
    return row


def _frame(rows: Iterator[dict]) -> tuple[Any, int]:
    """Return objects as columns, in the order in which names first appear, and their number."""
    import pandas as pd

    blocks, n = [], 0
    while block := list(itertools.islice(rows, BLOCK)):
        names = dict.fromkeys(name for row in block for name in row)
        blocks.append({name: _typed([row.get(name) for row in block]) for name in names})
        n += len(block)
    names = dict.fromkeys(name for block in blocks for name in block)
    sizes = [BLOCK] * (len(blocks) - 1) + [n - BLOCK * (len(blocks) - 1)]
    columns = {name: _joined([block.get(name) for block in blocks], sizes) for name in names}
    return pd.DataFrame(columns, index=range(n), copy=False), n


def _typed(values: list[Any]) -> Any:
    """Return values of one type as a typed Series, which takes little memory; others stay objects.

    Whole numbers of which some are missing stay objects, too: as real numbers they would be other labels.
    """
    import pandas as pd

    series, kinds = pd.Series(values, dtype=object), set(map(type, values))
    return series.infer_objects() if len(kinds) == 1 or kinds == {float, type(None)} else series


def _joined(parts: list[Any], sizes: list[int]) -> Any:
    """Return the parts of a column as one; where they differ in type, numbers must not become truth values or texts."""
    import pandas as pd

    full = [_typed([None] * size) if part is None else part for part, size in zip(parts, sizes, strict=True)]
    if len({part.dtype for part in full}) > 1:
        full = [part.astype(object) for part in full]
    return pd.concat(full, ignore_index=True)
