"""Reading the columns of a table: the kind of each column, and its values as numbers or words.

The kind of a column depends on the file and not on the split: it is derived from all rows, without the labels.
"""

import datetime
import numbers
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagradient.data.checks import lone_surrogate
from datagradient.errors import UserError

KINDS = ("number", "category", "date", "ignore")
# A column whose share of different words is this large holds names of rows; one with this share of numbers, numbers.
NEARLY_ALL = 0.9
FEW_WORDS = 20  # a column with fewer different words is never taken as names of rows
LARGEST = float(np.finfo(np.float32).max)  # features are float32
EPOCH = "1970-01-01"
ASSUMED = "assumed"
DAYS = f"days since {EPOCH}"
REMEDY = "set kinds in the Dataset to change that"
# Words for a missing value in columns of numbers or dates; in columns of words they stay words.
BLANK = {
    "", "?", "-", "--", "---", "–", "—", ".", "..", "...", "na", "n/a", "n.a.", "n.a", "n. a.", "<na>", "nan", "-nan",
    "nat", "null", "(null)", "none", "nil", "missing", "unknown", "empty", "(empty)", "(blank)", "not available",
    "#n/a", "#n/a n/a", "#na", "#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!", "1.#ind", "-1.#ind",
    "1.#qnan", "-1.#qnan",
}  # fmt: skip
_UNITS = re.compile(r"[%$€£¥]")
_ISO_DATE = re.compile(r"\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?)?")
# Other date formats, one for a whole column. If a column fits both orders of day and month, the first is assumed.
_DATE_FORMS = {
    "%d.%m.%Y": "day.month.year", "%m.%d.%Y": "month.day.year", "%m/%d/%Y": "month/day/year",
    "%d/%m/%Y": "day/month/year", "%d-%m-%Y": "day-month-year", "%m-%d-%Y": "month-day-year",
    "%Y/%m/%d": "year/month/day", "%Y.%m.%d": "year.month.day",
    "%b %d %Y": "month day year", "%B %d %Y": "month day year", "%b %d, %Y": "month day, year",
    "%B %d, %Y": "month day, year", "%d %b %Y": "day month year", "%d %B %Y": "day month year",
    "%d-%b-%Y": "day-month-year",
}  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_TRIED = 20  # first words of a column; a format must fit one of them before all words are read with it
_LIKE_A_DATE = re.compile(
    r"(\d{1,4}([./-])\d{1,2}\2\d{1,4}|[a-z]{3,9}\s+\d{1,2},?\s+\d{4}|\d{1,2}(\s+|-)[a-z]{3,9}(\s+|-)\d{4})\b.*", re.I
)


@dataclass(frozen=True)
class Column:
    """One column as it was read.

    Attributes:
        name: its name.
        kind: one of `KINDS`.
        values: (n,) float64 with NaN for missing, for numbers and dates (days since 1970); str with None for missing,
            for categories; None for ignored columns.
        note: how the column was read, if that is a guess; "" otherwise.
        form: how its numbers or dates are written, if they are words; "" otherwise and for ISO dates.
    """

    name: str
    kind: str
    values: np.ndarray | None
    note: str = ""
    form: str = ""


@dataclass(frozen=True)
class _Place:
    """Names a column in messages, and says what its user can do, if that is not what a module of a data set can."""

    where: str
    remedy: str | None

    def error(self, fault: str, remedy: str) -> UserError:
        return UserError(f"{self.where}{fault}: {self.remedy or remedy}")


def read_columns(
    table: Any,
    kinds: dict[str, str],
    where: str,
    forms: Mapping[str, str] | None = None,
    remedy: Callable[[str], str] | None = None,
) -> list[Column]:
    """Return the columns of a DataFrame, in order.

    Numbers written as words (``1,5`` or ``1 234.5``), dates of one format (ISO, or 31.12.2020, 12/31/2020, Jan 5 2020)
    and names of rows are recognised; `kinds` overrides this.

    Args:
        table: a DataFrame with distinct texts as column names.
        kinds: column name to one of `KINDS`, for columns whose kind must not be guessed.
        where: names the data set in messages.
        forms: column name to the `Column.form` that its words are read with where several fit equally well.
        remedy: returns for a column's name what to do about a cell that is refused; by default, what the author of a
            data set's module can do.

    Raises:
        UserError: `kinds` names an unknown column or kind; or a cell is not finite, exceeds float32, is not a scalar,
            or is not of the requested kind.
    """
    _check_kinds(kinds, list(table.columns), where)
    forms = forms or {}
    return [
        _read(
            table[name],
            kinds.get(name),
            _Place(f"{where}: column {name!r}", remedy(name) if remedy else None),
            forms.get(name, ""),
        )
        for name in table.columns
    ]


def notes(columns: list[Column]) -> str:
    """Return in one line how the columns with a guessed kind were read; "" if there are none."""
    said = [f"{column.name} {column.note}" for column in columns if column.note]
    return f"{'; '.join(said)} ({REMEDY})" if said else ""


def _check_kinds(kinds: Any, names: list[str], where: str) -> None:
    if not isinstance(kinds, dict):
        raise UserError(f"{where}: kinds is {kinds!r}: give a dict from column names to one of {', '.join(KINDS)}")
    for name, kind in kinds.items():
        if name not in names:
            raise UserError(f"{where}: kinds: there is no column {name!r}; columns are {', '.join(names)}")
        if kind not in KINDS:
            raise UserError(f"{where}: kinds: column {name!r}: {kind!r} is not one of {', '.join(KINDS)}")


def _read(series: Any, wanted: str | None, place: _Place, preferred: str) -> Column:
    """Return one column as the requested kind, or as the kind that it appears to be."""
    name, shape = str(series.name), ""
    form, values, note = _decode(series, place)
    note = "" if wanted else note
    if form in ("category", "words"):
        kind, values, note, shape = _interpret(form, values, note, wanted, place, preferred)
    elif wanted == "category":
        kind, values = wanted, _words(series)
    elif wanted == "date" and form == "number":
        raise place.error(" holds numbers, not dates", "use pandas.to_datetime, or set its kind to number")
    else:
        kind = wanted or form
    if kind == "ignore":
        return Column(name, kind, None, note)
    if all(value is None for value in values) if kind == "category" else np.isnan(values).all():
        return Column(name, "ignore", None, "holds no value → ignore")
    if kind != "category":
        _check_finite(values, place)
    return Column(name, kind, values, note, shape)


def _interpret(
    form: str, values: np.ndarray, note: str, wanted: str | None, place: _Place, preferred: str
) -> tuple[str, np.ndarray, str, str]:
    """Return kind, values, note and form of a column of words."""
    codes, words = _factorise(values, place)
    if form == "words" and wanted is None and words:
        kind, values, guess, shape = _guess(values, codes, words, preferred)
        return kind, values, "; ".join(filter(None, (note, guess))), shape
    if wanted in ("number", "date"):
        return wanted, *_converted(codes, words, wanted, place, preferred)
    return wanted or "category", values, note, ""


def _decode(series: Any, place: _Place) -> tuple[str, np.ndarray, str]:
    """Return a column's form, its values, and a note if the user should know how the values were derived.

    The form is ``"number"`` or ``"date"`` with float64 values; or ``"category"`` with str and None; or ``"words"``,
    also with str and None, if the words may represent another kind.
    """
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.SparseDtype):
        series, dtype = series.sparse.to_dense(), dtype.subtype
    if pd.api.types.is_complex_dtype(dtype):
        raise place.error(" holds complex numbers", "replace it by its real and imaginary parts")
    if dtype == np.longdouble and dtype.itemsize > 8:
        raise place.error(f" is {dtype}", "convert it with astype('float64')")
    if isinstance(dtype, (pd.CategoricalDtype, pd.IntervalDtype)) or pd.api.types.is_bool_dtype(dtype):
        return "category", _words(series), ""
    if isinstance(dtype, pd.ArrowDtype) and not pd.api.types.is_numeric_dtype(dtype):
        return _decode_objects(series, place)
    if isinstance(dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return "date", _days(series, place), f"holds dates → date ({DAYS})"
    if pd.api.types.is_timedelta64_dtype(dtype):
        return "number", _days(series), "holds durations → number (days)"
    if pd.api.types.is_numeric_dtype(dtype):
        return "number", series.to_numpy(dtype=np.float64, na_value=np.nan), ""
    return _decode_objects(series, place)


def _decode_objects(series: Any, place: _Place) -> tuple[str, np.ndarray, str]:
    """Do the same as `_decode` for a column of Python objects: all numbers, all dates, or otherwise words."""
    import pandas as pd

    if isinstance(series.dtype, pd.StringDtype):
        return "words", _words(series), ""
    cells = series.to_numpy(dtype=object)
    missing = np.asarray(pd.isna(cells))
    sorts = _sorts(cells[~missing], np.flatnonzero(~missing), place)
    if sorts == {"number"}:
        values = np.full(len(cells), np.nan)
        values[~missing] = [_float(cell) for cell in cells[~missing]]
        return "number", values, ""
    if sorts == {"date"}:
        dates = pd.to_datetime(pd.Series(cells), utc=True, errors="coerce")
        return "date", _days(dates, place), f"holds dates → date ({DAYS})"
    if sorts == {"duration"}:
        return "number", _days(pd.to_timedelta(pd.Series(cells))), "holds durations → number (days)"
    if sorts == {"bool"}:
        return "category", _words(series), ""
    mixed = f"mixes {' and '.join(sorted(sorts))}, read as words" if len(sorts) > 1 else ""
    return "words", _words(series), mixed


def _sorts(cells: np.ndarray, rows: np.ndarray, place: _Place) -> set[str]:
    """Return the sorts of objects in the cells; refuse objects that cannot become a feature."""
    sorts = {kind: _sort(kind) for kind in dict.fromkeys(map(type, cells))}
    for kind, sort in sorts.items():
        if sort == "other":
            row = next(row for row, cell in zip(rows, cells, strict=True) if type(cell) is kind)
            fault = f", row {row} holds a {kind.__name__}, and a cell must be a number, a date or a text"
            raise place.error(fault, "convert the column, or drop it")
    return set(sorts.values())


def _sort(kind: type) -> str:
    if issubclass(kind, (bool, np.bool_)):
        return "bool"
    if issubclass(kind, (datetime.date, np.datetime64)):
        return "date"
    if issubclass(kind, (datetime.timedelta, np.timedelta64)):
        return "duration"
    if issubclass(kind, numbers.Number) and not issubclass(kind, (complex, np.complexfloating)):
        return "number"
    return "text" if issubclass(kind, (str, datetime.time)) else "other"


def _float(value: Any) -> float:
    try:
        return float(value)
    except (OverflowError, ValueError):  # whole numbers of more than 308 digits; a decimal's signalling NaN
        return np.inf


def _days(series: Any, place: _Place | None = None) -> np.ndarray:
    """Return times as days since 1970, and durations as days; NaN for missing; `place` names them in an error."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        try:
            series = series - pd.Timestamp(EPOCH, tz=series.dt.tz)
        except (pd.errors.OutOfBoundsDatetime, pd.errors.OutOfBoundsTimedelta, OverflowError):
            if place is None:
                raise
            days = series.to_numpy(dtype="datetime64[D]")
            days[np.isnat(days)] = np.datetime64(EPOCH, "D")
            far = np.abs(days.astype(np.int64)).argmax()
            raise place.error(f", row {far} holds a date that is too far away", "empty it") from None
    return (series / pd.Timedelta(days=1)).to_numpy(dtype=np.float64, na_value=np.nan)


def _words(series: Any) -> np.ndarray:
    """Return every value as a str, None for missing; equal words share one object if they can be told apart quickly."""
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        codes, different = series.cat.codes.to_numpy(), series.cat.categories
    elif isinstance(series.dtype, pd.StringDtype):
        codes, different = series.factorize()
    else:
        missing, cells = series.isna().to_numpy(), series.to_numpy(dtype=object)
        words = np.empty(len(cells), dtype=object)
        words[~missing] = [str(cell) for cell in cells[~missing]]
        return words
    return np.array([*map(str, different), None], dtype=object)[codes]


def _factorise(words: np.ndarray, place: _Place) -> tuple[np.ndarray, list[str]]:
    """Return for every row the number of its word (−1 for missing), and the different words."""
    import pandas as pd

    codes, different = pd.factorize(words)
    for code, word in enumerate(different):
        if half := lone_surrogate(word):
            row = np.flatnonzero(codes == code)[0]
            fault = f", row {row} holds {half!r}, half of a surrogate pair and not a character"
            raise place.error(fault, "read the file in its own encoding")
    return codes.astype(np.int64, copy=False), different.tolist()


def _guess(values: np.ndarray, codes: np.ndarray, words: list[str], preferred: str) -> tuple[str, np.ndarray, str, str]:
    """Return the kind that a column of words appears to be, its values as that kind, a note, and the words' form."""
    blank = [repr(word) for word in words if _is_blank(word)]
    missing = f", {' and '.join(blank)} missing" if blank else ""
    parsed, style = parse_numbers(words, preferred)
    if _nearly_all_there(parsed, codes) and not any(map(_is_code, words, parsed)):
        missing += _strays(parsed, codes, words)
        numbers = [np.nan if value is None else value for value in parsed]
        return "number", _spread(codes, numbers), f"holds numbers written as words → number ({style}{missing})", style
    parsed, style, form = parse_dates(words, preferred)
    if _all_there(parsed):
        return "date", _spread(codes, parsed), f"holds dates written as words → date ({style}{missing})", form
    rows, different = int((codes >= 0).sum()), len(words)
    if different >= max(FEW_WORDS, NEARLY_ALL * rows):
        return "ignore", values, f"has {different} different words in {rows} rows → ignore", ""
    like_dates = 2 * sum(_LIKE_A_DATE.fullmatch(word.strip()) is not None for word in words) > different
    note = "holds what may be dates, but not all in one form → category" if like_dates else ""
    return "category", values, note, ""


def _is_code(word: str, number: float | None) -> bool:
    return number is not None and re.match(r"\s*0\d", word) is not None  # 007


def _is_blank(word: str) -> bool:
    return word.strip().lower() in BLANK


def _all_there(parsed: list[float | None]) -> bool:
    return None not in parsed and not all(np.isnan(value) for value in parsed)


def _nearly_all_there(parsed: list[float | None], codes: np.ndarray) -> bool:
    """Return whether nearly all non-empty cells hold numbers; the others may be remarks or typing errors."""
    cells = np.bincount(codes[codes >= 0], minlength=len(parsed))
    strays = sum(n for value, n in zip(parsed, cells, strict=True) if value is None)
    read = sum(n for value, n in zip(parsed, cells, strict=True) if value is not None and not np.isnan(value))
    return read > 0 and read >= NEARLY_ALL * (read + strays)


def _strays(parsed: list[float | None], codes: np.ndarray, words: list[str]) -> str:
    """Describe the cells that are not numbers and count as missing: how many, and the first; "" if there are none."""
    rows = np.flatnonzero(np.isin(codes, [code for code, value in enumerate(parsed) if value is None]))
    if not len(rows):
        return ""
    cells = f"{len(rows)} other cell{'' if len(rows) == 1 else 's'}"
    return f", {cells} missing, first {words[codes[rows[0]]]!r} in row {rows[0]}"


def _spread(codes: np.ndarray, parsed: list[float | None]) -> np.ndarray:
    """Return the value of every row, NaN for missing."""
    return np.array([*parsed, np.nan])[codes]


def _converted(
    codes: np.ndarray, words: list[str], wanted: str, place: _Place, preferred: str
) -> tuple[np.ndarray, str, str]:
    """Return words as numbers or dates, as requested, a note if the format is still a guess, and their form."""
    if wanted == "number":
        parsed, style = parse_numbers(words, preferred)
        form, what, remedy = style, "a number", "fix the cell"
    else:
        parsed, style, form = parse_dates(words, preferred)
        what, remedy = "a date like 2020-12-31, or not in the form of the others", "use pandas.to_datetime"
    if None in parsed:
        code = parsed.index(None)
        raise place.error(f", row {np.flatnonzero(codes == code)[0]}: {words[code]!r} is not {what}",
                          f"{remedy}, or set its kind to category or ignore")  # fmt: skip
    return _spread(codes, parsed), f"holds dates ({style})" if ASSUMED in style else "", form


def _number_form(decimal: str, groups: str) -> Callable[[str], float | None]:
    """Return a parser for one decimal mark and marks between groups of digits; it returns None for other words."""
    whole = rf"(?:\d+|[1-9]\d{{0,2}}(?:[\s'’{groups}]\d{{3}})+)"
    pattern = rf"[+-]?(?:{whole}(?:[{decimal}]\d*)?|[{decimal}]\d+|inf(?:inity)?)(?:e[+-]?\d+)?"
    form = re.compile(pattern, re.IGNORECASE)

    def read(word: str) -> float | None:
        word = word.strip().replace("−", "-")
        if _is_blank(word):
            return np.nan
        if not form.fullmatch(word):
            return None
        return float(re.sub(rf"[\s'’{groups}]", "", word).replace(decimal, "."))

    return read


_FORMS = {"decimal point": _number_form(".", ","), "decimal comma": _number_form(",", ".")}


def parse_numbers(words: list[str], preferred: str = "") -> tuple[list[float | None], str]:
    """Return words as numbers (NaN for a missing value, None for a word that is not a number), and the decimal mark.

    The decimal mark is the one with which more of the words are numbers; if both give the same, the preferred one
    ("decimal comma"), otherwise a point. The numbers may have a unit (``%``, a currency), the same for all, and marks
    between groups of three digits.
    """
    units = ["".join(_UNITS.findall(word)) for word in words]
    counts = Counter(unit for word, unit in zip(words, units, strict=True) if not _is_blank(word))
    unit = counts.most_common(1)[0][0] if counts else ""
    bare = [_UNITS.sub("", word) if word_unit == unit or _is_blank(word) else None
            for word, word_unit in zip(words, units, strict=True)]  # fmt: skip
    parsed = {style: [None if word is None else read(word) for word in bare] for style, read in _FORMS.items()}
    style = min(parsed, key=lambda style: (parsed[style].count(None), style != preferred))
    return parsed[style], style


def parse_dates(words: list[str], preferred: str = "") -> tuple[list[float | None], str, str]:
    """Return dates as days since 1970 (NaN for a missing value, None for a word that is not a date), and their format.

    The format is the one with which most of the words are dates, ISO or one of a list, and the preferred one if several
    fit equally well: in words, and alone.
    """
    there = [word.strip() for word in words if not _is_blank(word)]
    readings = [(form, days) for form, days in _readings(there) if not np.isnan(days).all()]
    failures = [int(np.isnan(days).sum()) for _, days in readings]
    best = [reading for reading, failed in zip(readings, failures, strict=True) if failed == min(failures)]
    best = [reading for reading in best if reading[0] == preferred] or best
    shown = list(dict.fromkeys(form for form, _ in best))
    style = f"{shown[0]} {ASSUMED}, {shown[1]} would fit, too" if len(shown) > 1 else "".join(shown)
    days = iter(best[0][1].tolist() if best else [np.nan] * len(there))
    parsed = [np.nan if _is_blank(word) else next(days) for word in words]
    parsed = [None if np.isnan(day) and not _is_blank(word) else day for word, day in zip(words, parsed, strict=True)]
    return parsed, ", ".join(filter(None, [style, DAYS])), "".join(shown[:1])


def _readings(words: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield date formats ("" for ISO), each with all words as days, NaN for words that do not fit the format.

    Formats with which none of the first words is a date are left out.
    """
    import pandas as pd

    iso = pd.Series([word if _ISO_DATE.fullmatch(word) else None for word in words], dtype=object)
    yield "", _days(pd.to_datetime(iso, format="ISO8601", utc=True, errors="coerce"))
    tried = [word for word in words[:_TRIED] if _LIKE_A_DATE.fullmatch(word)]  # most columns of words hold none
    for date, form in _DATE_FORMS.items() if tried else ():
        for time in _TIMES:
            if not np.isnan(_dates(tried, date + time)).all():
                yield form, _dates(words, date + time)


def _dates(words: list[str], form: str) -> np.ndarray:
    import pandas as pd

    return _days(pd.to_datetime(pd.Series(words, dtype="object"), format=form, errors="coerce"))


def _check_finite(values: np.ndarray, place: _Place) -> None:
    beyond = np.flatnonzero(np.abs(values) > LARGEST)
    if len(beyond):
        value = values[beyond[0]]
        fault = "no finite number" if np.isinf(value) else f"more than float32 can hold ({LARGEST:.3g})"
        raise place.error(f", row {beyond[0]}: {value:g} is {fault} ({len(beyond)} of {len(values)} cells)",
                          "leave such rows out, make the cells missing (numpy.nan), or scale the column")  # fmt: skip
