"""Text tables and JSON with changes: byte for byte as they were, but for rows left out and labels."""

import codecs
import contextlib
import gzip
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from datagradient.auditing.plan import Changes
from datagradient.data.readers.source import fault
from datagradient.data.readers.text_files import GZIP, MARKS, TextFile, open_bytes
from datagradient.data.readers.text_tables import Form, fields_of_any_length, is_blank
from datagradient.files import replacing

# A piece of a text as it is, and as it becomes; None: left out.
Pieces = Iterator[tuple[str, str | None]]
# Number and text of a row; None: no row, such as a header or a blank line.
Rows = Iterator[tuple[int | None, str]]
# Where the label begins and ends in the text of a row, whose number is for messages.
Span = Callable[[str, int], tuple[int, int]]

_BLANKS = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


def rewrite_text(path: Path, facts: dict[str, Any], target: str, changes: Changes, out: Path) -> None:
    """Write a text table, JSON lines or a JSON array with changes.

    Args:
        path: the file.
        facts: how it was read: format, encoding, and of a text table sep and spaced.
        target: the column of labels.
        changes: of its rows.
        out: the new file, packed by gzip if the file is.

    Raises:
        UserError: the new file cannot be written, or a byte of the old one would change that should not.
    """
    file = TextFile(path, facts["encoding"])
    if facts["format"] == "json":
        write_pieces(file, lambda lines: array_pieces(lines, target, changes, path), out)
    elif facts["format"] == "json lines":
        _write_rows(
            file, line_rows, lambda text, row: _span(text, text.index("{"), target, f"{path}: row {row}"), changes, out
        )
    else:
        form = Form(facts["sep"], facts["spaced"])
        with fields_of_any_length():
            with file.opened() as lines:
                place = _place(lines, form, target)
            _write_rows(file, lambda lines: table_rows(lines, form), field_span(form, place), changes, out)


def _write_rows(file: TextFile, cut: Callable[[Iterable[str]], Rows], span: Span, changes: Changes, out: Path) -> None:
    """Write a text whose rows are apart from each other: first the labels that are copied are looked up."""
    with file.opened() as lines:
        values = values_in(cut(lines), span, set(changes.like.values()))
    write_pieces(file, lambda lines: changed_pieces(cut(lines), span, changes, values), out)


def write_pieces(file: TextFile, cut: Callable[[Iterable[str]], Pieces], out: Path) -> None:
    """Write a text piece by piece.

    A text whose last line has no end gets none where that line is left out.

    Args:
        file: the text.
        cut: makes pieces of its lines; all of them as they are, joined, are the text.
        out: the new file.

    Raises:
        UserError: the characters of the text, encoded again, are not its bytes, as some encodings allow.
    """
    mark, encoding = _mark(file)
    with open_bytes(file.path) as stream:
        expected = hashlib.file_digest(stream, "sha256").digest()
    digest, end = hashlib.sha256(mark), ""
    try:
        with file.opened() as lines, _opened_like(file.path, out) as stream:
            stream.write(mark)
            for before, after in cut(lines):
                digest.update(before.encode(encoding))
                if after is not None:
                    body, line_end = _without_end(after)
                    stream.write((end + body).encode(encoding))
                    end = line_end
                elif not _without_end(before)[1]:
                    end = ""
            stream.write(end.encode(encoding))
            if digest.digest() != expected:
                raise _not_again(file)
    except UnicodeEncodeError:
        raise _not_again(file) from None


def _not_again(file: TextFile) -> Exception:
    return fault(file.path, f"cannot be written again byte for byte as {file.encoding}, or was changed just now: save "
                            "it as UTF-8, and audit that")  # fmt: skip


def _mark(file: TextFile) -> tuple[bytes, str]:
    """Return the byte order mark of a text, and the encoding of what follows it."""
    name = codecs.lookup(file.encoding).name
    if name not in MARKS.values():
        return b"", name
    with open_bytes(file.path) as stream:
        start = stream.read(4)
    mark = next((mark for mark, encoding in MARKS.items() if encoding == name and start.startswith(mark)), b"")
    if name == "utf-8-sig":
        return mark, "utf-8"
    big = mark in (codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE) if mark else sys.byteorder == "big"
    return mark, f"{name}-{'be' if big else 'le'}"


@contextlib.contextmanager
def _opened_like(path: Path, out: Path) -> Iterator[IO[bytes]]:
    """Open a new file for bytes, which are packed by gzip if those of another file are."""
    with open(path, "rb") as stream:
        packed = stream.read(2) == GZIP
    with replacing(out, "wb") as stream:
        if packed:
            with gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as packing:
                yield packing
        else:
            yield stream


def _without_end(text: str) -> tuple[str, str]:
    """Return a text without the end of its last line, and that end."""
    body = text[:-2] if text.endswith("\r\n") else text[:-1] if text.endswith(("\n", "\r")) else text
    return body, text[len(body) :]


def changed_pieces(rows: Rows, span: Span, changes: Changes, values: dict[int, str]) -> Pieces:
    """Yield every piece of a text and what becomes of it; `values` are labels as they are written, by row."""
    for row, text in rows:
        if row is None:
            yield text, text
        elif not changes.kept[row]:
            yield text, None
        elif row in changes.labels:
            start, end = span(text, row)
            yield text, text[:start] + values[changes.like[row]] + text[end:]
        else:
            yield text, text


def values_in(rows: Rows, span: Span, wanted: set[int]) -> dict[int, str]:
    """Return the labels of some rows as they are written, with their quotes."""
    values = {}
    for row, text in rows:
        if len(values) == len(wanted):
            break
        if row in wanted:
            start, end = span(text, row)
            values[row] = text[start:end]
    return values


def table_rows(lines: Iterable[str], form: Form) -> Rows:
    """Cut a text table into records, which may run over several lines; header and blank lines are no rows."""
    row = -2
    for text, record in _records(lines, form):
        if is_blank(record):
            yield None, text
        else:
            row += 1
            yield (row if row >= 0 else None), text


def _records(lines: Iterable[str], form: Form) -> Iterator[tuple[str, list[str]]]:
    """Yield the text of every record and its fields; Python's reader takes no line more than a record needs."""
    taken: list[str] = []

    def noted() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    for record in form.records(noted()):
        yield "".join(taken), record
        taken.clear()


def _place(lines: Iterable[str], form: Form, target: str) -> int:
    """Return the number of a column."""
    header = next(record for _, record in _records(lines, form) if not is_blank(record))
    return [name.strip() for name in header].index(target)


def field_span(form: Form, place: int) -> Span:
    """Return what finds a field in a record, with its quotes."""
    field = re.compile(rf'{" *" if form.spaced else ""}("[^"]*(?:""[^"]*)*"|[^{re.escape(form.sep)}\r\n]*)')

    def span(text: str, row: int) -> tuple[int, int]:
        start = 0
        for _ in range(place):
            start = field.match(text, start).end() + 1  # the separator
        return field.match(text, start).span(1)

    return span


def line_rows(lines: Iterable[str]) -> Rows:
    """Cut JSON lines; blank lines are no rows."""
    row = -1
    for line in lines:
        row += bool(line.strip())
        yield (row if line.strip() else None), line


def array_pieces(lines: Iterable[str], target: str, changes: Changes, path: Path) -> Pieces:
    """Return a JSON array as one piece.

    A row that is left out takes the comma before it along, or that after it if no row before it is left.
    """
    text = "".join(lines)
    rows = list(_elements(text, text.index("[")))
    parts, kept = [text[: rows[0][0]]], False
    for row, (start, end) in enumerate(rows):
        if not changes.kept[row]:
            continue
        if kept:
            parts.append(text[rows[row - 1][1] : start])
        if row in changes.labels:
            first, last = _span(text, start, target, f"{path}: row {row}")
            like = changes.like[row]
            new = slice(*_span(text, rows[like][0], target, f"{path}: row {like}"))
            parts += [text[start:first], text[new], text[last:end]]
        else:
            parts.append(text[start:end])
        kept = True
    yield text, "".join([*parts, text[rows[-1][1] :]])


def _after_blanks(text: str, at: int) -> int:
    return _BLANKS.match(text, at).end()


def _elements(text: str, at: int) -> Iterator[tuple[int, int]]:
    """Yield where the elements of a JSON array begin and end; `at` is its bracket."""
    at = _after_blanks(text, at + 1)
    while text[at] != "]":
        end = _decode(text, at)[1]
        yield at, end
        at = _after_blanks(text, end)
        if text[at] == ",":
            at = _after_blanks(text, at + 1)


def _span(text: str, at: int, target: str, where: str) -> tuple[int, int]:
    """Return where a value of a JSON object begins and ends; `at` is the brace of the object.

    Raises:
        UserError: the object has no such key.
    """
    at = _after_blanks(text, at + 1)
    while text[at] != "}":
        key, at = _decode(text, at)
        start = _after_blanks(text, _after_blanks(text, at) + 1)
        end = _decode(text, start)[1]
        if key.strip() == target:
            return start, end
        at = _after_blanks(text, end)
        if text[at] == ",":
            at = _after_blanks(text, at + 1)
    raise fault(where, f"has no {target!r}, and gets a label: write it into the file, and audit that")
