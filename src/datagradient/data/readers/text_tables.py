"""CSV and other text tables: how fields are separated, and the fields of every line counted before any is read."""

import contextlib
import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.data.readers.source import ReadOptions, counted, fault, listed
from datagradient.data.readers.table import Table, check_names, check_rows
from datagradient.data.readers.text_files import TextFile, check_text, sha256
from datagradient.errors import UserError, one_line

SEPARATORS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
SAMPLE, SAMPLE_RECORDS = 1 << 18, 200  # characters and lines from which separator and decimal mark are recognised
SHOWN = 3  # lines or names in a message
# Numbers whose decimal mark is certain: three digits after it could be a group of thousands.
_DECIMAL = {mark: re.compile(rf"[+-]?\d*{re.escape(mark)}(\d{{1,2}}|\d{{4,}})(e[+-]?\d+)?", re.I) for mark in ".,"}
_NUMBER = re.compile(r"[+-]?\d*[.,]?\d+")


@dataclass(frozen=True)
class Form:
    """How the fields of a line are separated; `spaced` if a space follows every separator."""

    sep: str
    spaced: bool = False

    def records(self, text: Any, strict: bool = False) -> Any:
        """Return Python's reader of the lines of a text."""
        return csv.reader(text, delimiter=self.sep, skipinitialspace=self.spaced, strict=strict)


def read_text_table(path: Path, options: ReadOptions) -> Table:
    """Read a text table, packed by gzip or not; all cells stay words.

    Raises:
        UserError: it is no text; lines differ in their number of fields; a quote is not closed; names of columns are
            missing or repeated; or there is no row.
    """
    file = check_text(path, options.encoding)
    with fields_of_any_length():
        form, sample = _recognise(file, options)
        header, rows, n = _rows(file, form, _remedy(options))
        names = [name.strip() for name in header]
        check_names(names, str(path), blank=True)
        frame = _frame(file, form, names, n, options.drop)
    check_rows(len(frame), n, str(path))
    # A slice copies nothing; numbers of rows do.
    frame = frame.iloc[rows[0] :] if len(rows) and rows[0] + len(rows) == n else frame.iloc[rows]
    frame, said = _named(frame, names, path)
    left_out = [name for name in names if name in options.drop]
    decimal = options.decimal or _decimal_mark(sample)
    facts = {"path": str(path), "format": "csv", "sha256": sha256(path), "rows": len(frame), "sep": form.sep,
             "spaced": form.spaced, "decimal": decimal, "encoding": file.encoding}  # fmt: skip
    said = [*file.said, *_recognised(form, decimal, options), *said]
    numbers, hint = [name for name in names if _NUMBER.fullmatch(name)], ""
    if numbers:
        said.append(f"the first line was read as the header, though it holds numbers ({listed(numbers[:SHOWN])})")
        hint = f"the first line looks like data ({listed(names[:SHOWN])}), and a header is needed; "
    check_rows(len(frame), len(rows), str(path))
    return Table(
        str(path), path.name, frame, [*frame.columns, *left_out], facts, said, words=True, decimal=decimal, hint=hint
    )


@contextlib.contextmanager
def fields_of_any_length() -> Iterator[None]:
    """Lift the limit of 128 KiB that Python's reader has for a field; a review may be longer."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _recognise(file: TextFile, options: ReadOptions) -> tuple[Form, list[list[str]]]:
    """Return how fields are separated, and the first records.

    The separator is the one whose header holds the target; then the one with which most lines have as many fields as
    the header; then the one with most fields.
    """
    with file.opened() as stream:
        text = stream.read(SAMPLE)
    found = _readings(text, [options.sep] if options.sep else SEPARATORS, options.target)
    if not found:
        if not text.strip():
            raise fault(file.path, "holds no text but blanks: give a file with a header and rows")
        tried = SEPARATORS.get(options.sep, repr(options.sep)) if options.sep else "any of , ; tab |"
        others = _readings(text, SEPARATORS, options.target)
        better = f" ({SEPARATORS[_best(others)[1]]} gives more)" if others else ""
        raise fault(file.path, f"the first line has one column with {tried} as separator, and at least two are needed: "
                               f"{_remedy(options)}{better}")  # fmt: skip
    _, sep, records = _best(found)
    spaced = sep != " " and all(cell.startswith(" ") for record in records for cell in record[1:])
    form = Form(sep, spaced)
    return form, _sample_records(text, form)


def _readings(text: str, separators: Iterable[str], target: str | None) -> list[tuple[tuple, str, list[list[str]]]]:
    """Return how good each separator is that gives two columns or more, with the first records."""
    found = []
    for sep in separators:
        records = _sample_records(text, Form(sep))
        header = [name.strip() for name in records[0]] if records else []
        if len(header) > 1:
            same = sum(len(record) == len(header) for record in records) / len(records)
            found.append(((target in header, same, len(header)), sep, records))
    return found


def _best(readings: list[tuple[tuple, str, list[list[str]]]]) -> tuple[tuple, str, list[list[str]]]:
    return max(readings, key=lambda reading: reading[0])


def _remedy(options: ReadOptions) -> str:
    """Return what to do about the separator."""
    return "leave --sep out, or give another one" if options.sep else "give --sep"


def _sample_records(text: str, form: Form) -> list[list[str]]:
    """Return the first records that are not blank; the last one may be cut, and is left out then."""
    records = []
    with contextlib.suppress(csv.Error):
        for record in form.records(io.StringIO(text, newline="")):
            if len(records) > SAMPLE_RECORDS:
                break
            if not is_blank(record):
                records.append(record)
    return records[:-1] if len(records) > 1 and len(text) == SAMPLE else records


def is_blank(record: list[str]) -> bool:
    """Return whether a record is a blank line, which is no row."""
    return not record or (len(record) == 1 and not record[0].strip())


def _rows(file: TextFile, form: Form, remedy: str) -> tuple[list[str], np.ndarray, int]:
    """Return the header, the numbers of the records that are rows, and the number of all records.

    Blank lines are no rows. Nothing but the number of fields of each record is kept. `remedy` says what to do about a
    wrong separator.
    """
    lengths = _lengths(file, form)
    numbered = _numbered(file, form)
    place, _, header = next((item for item in numbered if not is_blank(item[2])), (0, 1, []))
    if len(header) < 2:
        raise fault(
            file.path, f"the header has {counted(len(header), 'column')}, and at least two are needed: {remedy}"
        )
    rows = np.arange(place + 1, len(lengths))
    odd = rows[lengths[rows] != len(header)]
    if len(odd):
        lines = _odd_lines(file, form, set(odd.tolist()))
        if lines:
            raise _ragged(file.path, lines, len(header), len(rows), remedy)
        rows = np.setdiff1d(rows, odd)
    return header, rows, len(lengths)


def _lengths(file: TextFile, form: Form) -> np.ndarray:
    """Return the number of fields of every record."""
    with file.opened() as stream:
        reader = form.records(stream, strict=True)
        try:
            return np.fromiter(map(len, reader), dtype=np.int64)
        except csv.Error as error:
            reason, line = str(error), reader.line_num
    if "unexpected end" in reason:
        start = _last_line(file, form)
        raise fault(file.path, f"line {start}: a double quote in this line, or in a line that it runs on to, is not "
                               "closed: close it, and double those that stand inside a field")  # fmt: skip
    raise fault(file.path, f"line {line}: text follows a closing double quote ({reason}): put the whole field in "
                           "quotes, and double those that stand inside")  # fmt: skip


def _numbered(file: TextFile, form: Form, strict: bool = False) -> Iterator[tuple[int, int, list[str]]]:
    """Yield number, first line and fields of every record."""
    with file.opened() as stream:
        reader, line = form.records(stream, strict), 1
        for number, record in enumerate(reader):
            yield number, line, record
            line = reader.line_num + 1


def _last_line(file: TextFile, form: Form) -> int:
    """Return the first line of the last record, which runs to the end of the file."""
    line = 1
    for _, line, _ in _numbered(file, form):  # noqa: B007 (the last value is what is asked for)
        pass
    return line


def _odd_lines(file: TextFile, form: Form, odd: set[int]) -> list[tuple[int, int, str]]:
    """Return line, number of fields and last field of the given records that are not blank."""
    return [
        (line, len(record), record[-1])
        for number, line, record in _numbered(file, form)
        if number in odd and not is_blank(record)
    ]


def _ragged(path: Path, lines: list[tuple[int, int, str]], width: int, n: int, remedy: str) -> UserError:
    if len(lines) == n and all(length == width + 1 for _, length, _ in lines):
        if not any(last for *_, last in lines):
            return fault(path, "every line but the header ends in a separator: end the header in one, too")
        return fault(path, f"every row has {width + 1} fields and the header {width}: name the first column")
    shown = ", ".join(f"line {line} has {length}" for line, length, _ in lines[:SHOWN])
    left = len(lines) - SHOWN
    more = f", and {left} more {'line differs' if left == 1 else 'lines differ'}" if left > 0 else ""
    return fault(path, f"the header has {width} fields, {shown}{more}: write fields that hold the separator in double "
                       f"quotes, or {remedy}")  # fmt: skip


def _frame(file: TextFile, form: Form, names: list[str], n: int, drop: tuple[str, ...]) -> Any:
    """Return all records, the header among them, as words; columns are numbers, and dropped ones are left out."""
    import pandas as pd

    used = [place for place, name in enumerate(names) if name not in drop]
    try:
        with file.opened() as stream:
            return pd.read_csv(
                stream, sep=form.sep, skipinitialspace=form.spaced, header=None, names=range(len(names)), usecols=used,
                index_col=False, dtype="string[pyarrow]", keep_default_na=False, na_values=[""], skip_blank_lines=False,
                engine="c",
            )  # fmt: skip
    except (ValueError, OverflowError) as error:  # pandas' errors of parsing are ValueErrors
        raise fault(file.path, f"cannot be read as a table of {n} lines ({one_line(error)}): write the file again, "
                               "with every text in double quotes") from None  # fmt: skip


def _named(frame: Any, names: list[str], path: Path) -> tuple[Any, list[str]]:
    """Name the columns; one without a name is left out if it numbers the rows, as pandas and R do, or is empty."""
    said, kept = [], []
    for place in frame.columns:
        if names[place]:
            kept.append(place)
        elif frame[place].isna().all():
            said.append(f"column {place + 1} has no name and no value: left out")
        elif place == 0 and any(_counts(frame[place].fillna("").tolist(), start) for start in (0, 1)):
            said.append("the first column has no name and numbers the rows: left out")
        else:
            raise fault(path, f"column {place + 1} of {len(names)} has no name: name it in the header")
    frame = frame[kept]
    return frame.set_axis([names[place] for place in kept], axis=1).reset_index(drop=True), said


def _counts(cells: list[Any], start: int) -> bool:
    return all(cell == str(number) for number, cell in enumerate(cells, start))


def _decimal_mark(records: list[list[str]]) -> str | None:
    """Return the mark in most of the numbers whose mark is certain; None if there are none."""
    counts = {mark: sum(form.fullmatch(cell.strip()) is not None for record in records[1:] for cell in record)
              for mark, form in _DECIMAL.items()}  # fmt: skip
    mark = max(counts, key=counts.__getitem__)
    return mark if counts[mark] else None


def _recognised(form: Form, decimal: str | None, options: ReadOptions) -> list[str]:
    found = []
    if options.sep is None and form.sep != ",":
        found.append(f"separator {SEPARATORS[form.sep]}")
    if options.decimal is None and decimal == ",":
        found.append("decimal ','")
    said = [f"{' and '.join(found)} {'was' if len(found) == 1 else 'were'} recognised"] if found else []
    return said + ["a space follows every separator and is no part of the cells"] * form.spaced
