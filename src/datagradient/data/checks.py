"""Checks of a data set's record. Every error message names the row, the value found and the remedy."""

import keyword
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from datagradient.errors import UserError

CHANNELS = (1, 3)  # grey, or red, green, blue; the galleries can show both
SMALLEST_IMAGE = 8  # pixels: networks halve height and width three times, and gradients need 4 × 4 cells
_SHOWN = 3  # values or names in a message


def check_name(name: Any) -> None:
    """Refuse a data set's name that cannot be the name of its module."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise UserError(
            f"data set {name!r}: name must be that of its module in data/sets, a word of letters, digits and '_'"
        )


def check_class_names(names: Any, where: str) -> tuple[str, ...]:
    """Return the class names as a tuple; at least two different texts."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise UserError(f"{where}: class_names is {names!r}: give a tuple with one text for each class")
    names = tuple(names)
    for place, name in enumerate(names):
        if not is_text(name):
            raise UserError(f"{where}: class_names: number {place} is {name!r}: every class needs a name of its own, "
                            f"a text such as {str(name)!r}")  # fmt: skip
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise UserError(f"{where}: class_names: {twice[0]!r} appears twice: names must differ")
    if len(names) < 2:
        raise UserError(f"{where}: class_names has {len(names)} entries, and at least two classes are needed")
    return tuple(str(name) for name in names)


def is_text(value: Any) -> bool:
    """Return whether a value is a text that is not blank and that UTF-8 can express."""
    return isinstance(value, str) and bool(value.strip()) and not lone_surrogate(value)


def lone_surrogate(text: str) -> str:
    """Return the first lone half of a surrogate pair in a text, which no encoding can express; "" if there is none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return text[error.start]
    return ""


def check_labels(labels: Any, class_names: Sequence[str], where: str) -> np.ndarray:
    """Return the labels as int64; refuse all but a NumPy array (n,) of the integers 0 … K − 1, all of them present."""
    array = _plain_array(labels, "labels", where)
    if array.ndim != 1:
        remedy = "labels.argmax(axis=1) if they are one-hot" if array.shape[-1] != 1 else "labels.ravel()"
        raise UserError(f"{where}: labels have shape {array.shape}, and one a row is needed: pass {remedy}")
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(f"{where}: labels {_wrong_type(array, len(class_names))}")
    k = len(class_names)
    wrong = (array < 0) | (array >= k)
    if wrong.any():
        raise UserError(f"{where}: labels: {_counted(array, wrong)}, and {k} class_names ask for 0 … {k - 1}: "
                        f"{_mapping(array, k)}")  # fmt: skip
    empty = [name for name, count in zip(class_names, np.bincount(array, minlength=k), strict=True) if not count]
    if empty:
        raise UserError(f"{where}: class {_listed(empty)} has no row: leave it out of class_names, and let the labels "
                        "run from 0 without a gap")  # fmt: skip
    return array.astype(np.int64)


def _plain_array(values: Any, what: str, where: str) -> np.ndarray:
    """Return a NumPy array unchanged; refuse objects whose index could pair them with other rows."""
    if isinstance(values, np.ma.MaskedArray):
        raise UserError(f"{where}: {what} are a masked array: leave the masked rows out and pass {what}.data")
    if isinstance(values, np.ndarray):
        return values
    kind = f"{type(values).__module__.partition('.')[0]} {type(values).__name__}"
    if hasattr(values, "to_numpy"):
        raise UserError(f"{where}: {what} are a {kind}, whose index could pair them with other rows: put them in the "
                        f"order of the samples and pass {what}.to_numpy()")  # fmt: skip
    raise UserError(f"{where}: {what} are a {kind}: pass numpy.asarray({what})")


def _wrong_type(array: np.ndarray, k: int) -> str:
    """Return a description of labels that are not integers, and the remedy."""
    missing = _missing(array)
    if missing.any():
        return f"{_counted(array, missing)}: leave rows without a label out"
    whole = array.dtype.kind == "b" or (array.dtype.kind in "fO" and all(_is_whole(value) for value in array.tolist()))
    if whole:
        kind = "are bool" if array.dtype.kind == "b" else f"are {array.dtype}"
        return f"{kind} ({_counted(array, array == array[0])}): pass labels.astype(numpy.int64)"
    wrong = np.array([not _is_whole(value) for value in array.tolist()])
    return (
        f"are {'text' if array.dtype.kind in 'UT' else array.dtype}: {_counted(array, wrong)}: map them to 0 … {k - 1} "
        "and put the names in class_names: class_names, labels = numpy.unique(labels, return_inverse=True)"
    )


def _missing(values: np.ndarray) -> np.ndarray:
    import pandas as pd

    return np.asarray(pd.isna(values))


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, float)) and float(value).is_integer()


def _mapping(labels: np.ndarray, k: int) -> str:
    values = np.unique(labels)
    if values[0] == np.iinfo(np.int64).min or (len(values) != k and -1 in values):
        return f"leave unlabelled rows out ({values[0]} is what a missing label often becomes)"
    if len(values) <= k:
        how = "labels = numpy.unique(labels, return_inverse=True)[1]"
        return f"map them to 0 … {k - 1} in the order of class_names: {how}"
    return f"map them to 0 … {k - 1}, or name all {len(values)} classes in class_names"


def _counted(values: np.ndarray, wrong: np.ndarray) -> str:
    """Name the values at fault, how many rows hold each, and the first row: ``2 in 30 rows (first: row 4)``."""
    rows: dict[str, list[int]] = {}
    for row in np.flatnonzero(wrong).tolist():
        rows.setdefault(repr(values[row : row + 1].tolist()[0]), []).append(row)
    shown = [f"{value} in {len(places)} row{'s' * (len(places) > 1)} (first: row {places[0]})"
             for value, places in list(rows.items())[:_SHOWN]]  # fmt: skip
    return ", ".join(shown) + (f" and {len(rows) - _SHOWN} more values" if len(rows) > _SHOWN else "")


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names[:_SHOWN])) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def check_test_mask(is_test: Any, n: int, where: str) -> None:
    """Refuse anything but None or a bool array (n,) with rows on both sides."""
    if is_test is None:
        return
    mask = _plain_array(is_test, "is_test", where)
    if mask.dtype != np.bool_:
        raise UserError(f"{where}: is_test is {mask.dtype}: pass is_test.astype(bool), True for the official test rows")
    if mask.shape != (n,):
        raise UserError(f"{where}: is_test has shape {mask.shape}, and there are {n} samples: give one value for each")
    if mask.all() or not mask.any():
        side = "every row" if mask.all() else "no row"
        raise UserError(
            f"{where}: is_test says that {side} is a test row: pass None where there is no official test set"
        )


def check_source(source: Any, where: str) -> None:
    """Refuse a source that is not a dict of texts: it is written into every result."""
    if not isinstance(source, dict) or not all(isinstance(text, str) for pair in source.items() for text in pair):
        raise UserError(f"{where}: source is {source!r}: give a dict of texts, e.g. {{'file.csv': 'sha256:…'}}")


def check_texts(samples: Any, where: str) -> None:
    """Refuse anything but a list of str values that UTF-8 can express."""
    if not isinstance(samples, list):
        kind = f"{type(samples).__module__.partition('.')[0]} {type(samples).__name__}"
        raise UserError(f"{where}: samples are a {kind}, and texts must be a list of str: pass list(samples)")
    for row, text in enumerate(samples):
        if isinstance(text, bytes):
            raise UserError(f"{where}: row {row} is bytes: decode the texts, e.g. text.decode('utf-8')")
        if not isinstance(text, str):
            raise UserError(f"{where}: row {row} is {_short(text)} ({type(text).__name__}) and not a text: leave rows "
                            "without a text out, with their labels")  # fmt: skip
        if half := lone_surrogate(text):
            raise UserError(f"{where}: row {row} holds {half!r}, half of a surrogate pair and not a character: read "
                            "the file in its own encoding, or text.encode('utf-8', 'replace').decode()")  # fmt: skip


def _short(value: Any) -> str:
    text = repr(value).replace("\n", " ")
    return text if len(text) <= 40 else text[:39] + "…"


def check_table(samples: Any, where: str) -> None:
    """Refuse anything but a DataFrame with distinct texts as column names; cells are checked when they are read."""
    import pandas as pd

    if not isinstance(samples, pd.DataFrame):
        raise UserError(f"{where}: samples are a {type(samples).__name__}, and a table must be a pandas DataFrame: "
                        "pass pandas.DataFrame(samples, columns=[…])")  # fmt: skip
    if samples.shape[1] == 0:
        raise UserError(f"{where}: the table has no column: a column to learn from is needed")
    names = list(samples.columns)
    for place, name in enumerate(names):
        if not is_text(name):
            raise UserError(f"{where}: the name of column {place} is {name!r}, and a text is needed: set "
                            "table.columns, e.g. to table.columns.map(str)")  # fmt: skip
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        places = [place for place, name in enumerate(names) if name == twice[0]]
        raise UserError(f"{where}: columns {places[0]} and {places[1]} are both named {twice[0]!r}: rename or drop one")


def check_images(samples: Any, where: str) -> None:
    """Refuse anything but a uint8 array (n, height, width, channels) that features and networks can use."""
    if not isinstance(samples, np.ndarray) or samples.dtype == object:
        raise UserError(f"{where}: {_no_image_array(samples)}")
    if samples.ndim != 4:
        remedy = "add a channel axis: samples[..., None]" if samples.ndim == 3 else "reshape them"
        raise UserError(
            f"{where}: images have shape {samples.shape}, and (n, height, width, channels) is needed: {remedy}"
        )
    if samples.shape[3] not in CHANNELS:
        raise UserError(f"{where}: images have shape {samples.shape}: {_channels(samples.shape)}")
    if samples.dtype != np.uint8:
        raise UserError(f"{where}: images are {samples.dtype}, and uint8 from 0 to 255 is needed: {_to_bytes(samples)}")
    height, width = samples.shape[1:3]
    if min(height, width) < SMALLEST_IMAGE:
        least = f"{SMALLEST_IMAGE} × {SMALLEST_IMAGE}"
        raise UserError(f"{where}: images of {height} × {width} pixels are too small, at least {least} are needed: "
                        "enlarge them, e.g. samples.repeat(2, axis=1).repeat(2, axis=2)")  # fmt: skip


def _no_image_array(samples: Any) -> str:
    kind = "an object array" if isinstance(samples, np.ndarray) else f"a {type(samples).__name__}"
    if not isinstance(samples, (list, tuple, np.ndarray)):
        return f"samples are {kind}, and images must be a uint8 array: pass numpy.asarray(samples)"
    shapes = [getattr(image, "shape", None) for image in samples]
    without = [row for row, shape in enumerate(shapes) if shape is None]
    if without:
        return (f"samples are {kind}, and row {without[0]} is a {type(samples[without[0]]).__name__}: pass "
                "numpy.stack([numpy.asarray(image.convert('RGB')) for image in samples])")  # fmt: skip
    odd_row = next((row for row, shape in enumerate(shapes) if shape != shapes[0]), None)
    if odd_row is not None:
        return (f"images differ in shape: {shapes[0]} in row 0, {shapes[odd_row]} in row {odd_row}: resize them to one "
                "shape, then numpy.stack(samples)")  # fmt: skip
    return f"samples are {kind}, and images must be one uint8 array: pass numpy.stack(samples)"


def _channels(shape: tuple[int, ...]) -> str:
    if shape[1] in CHANNELS:
        return "channels come first: pass samples.transpose(0, 2, 3, 1)"
    if shape[3] in (2, 4):
        return f"{shape[3]} channels: drop the last, which is opacity: samples[..., :{shape[3] - 1}]"
    return f"{shape[3]} channels, and 1 (grey) or 3 (red, green, blue) are needed as the last axis"


def _to_bytes(samples: np.ndarray) -> str:
    kind = samples.dtype.kind
    if kind not in "biuf" or not samples.size:
        return "convert them"
    if kind == "b":
        return "pass samples.astype(numpy.uint8) * 255"
    low, high = samples.min(), samples.max()
    if not np.isfinite(high - low):
        row = np.flatnonzero(~np.isfinite(samples).all(axis=(1, 2, 3)))[0]
        return f"row {row} holds a value that is not finite: leave it out, then scale the others to 0 … 255"
    if low >= 0 and high <= (1 if kind == "f" else 255):
        how = "(samples * 255).round()" if kind == "f" else "samples"
    elif low >= 0 and high <= 255:
        how = "samples.round()"
    else:
        how = "(samples // 257)" if samples.dtype == np.uint16 else "((samples - low) / (high - low) * 255).round()"
    return f"they run from {low:g} to {high:g}: pass {how}.astype(numpy.uint8)"
