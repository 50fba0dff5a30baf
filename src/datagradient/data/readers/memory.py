"""Data that are in memory already: a DataFrame, or samples with labels."""

from typing import Any

import numpy as np

from datagradient.data.checks import check_images
from datagradient.data.readers.assembly import Content
from datagradient.data.readers.samples import Samples
from datagradient.data.readers.source import ReadOptions, Source, check_kind, fault
from datagradient.data.readers.table import Table, check_names, check_rows
from datagradient.data.readers.targets import read_labels

FRAME, ARRAYS = "DataFrame", "arrays"


def table_of_frame(frame: Any, options: ReadOptions) -> Table:
    """Return a DataFrame as a table: rows are positions, whatever the index; the frame itself is not changed.

    Raises:
        UserError: names of columns are the same as text, or there is no row.
    """
    names = check_names(list(frame.columns), FRAME)
    check_rows(len(frame), len(frame), FRAME)
    said = [] if all(isinstance(name, str) for name in frame.columns) else ["names of columns became texts"]
    frame = frame.set_axis(names, axis=1).reset_index(drop=True)
    frame = frame[[name for name in names if name not in options.drop]]
    return Table(FRAME, "data", frame, names, {"path": None, "format": FRAME, "rows": len(frame)}, said,
                 decimal=options.decimal)  # fmt: skip


def table_of_arrays(samples: Any, labels: Any, options: ReadOptions) -> Table:
    """Return samples (n, d), or n texts, with n labels as a table.

    Raises:
        UserError: shapes do not fit.
    """
    import pandas as pd

    frame, text = (samples, None) if isinstance(samples, pd.DataFrame) else _frame(samples)
    table = table_of_frame(frame, options)
    table.target, table.text = labels_of_arrays(labels, len(frame)), text
    table.where, table.facts["format"] = ARRAYS, ARRAYS
    return table


def _frame(samples: Any) -> tuple[Any, str | None]:
    """Return samples as a DataFrame, and the name of its column if they are texts."""
    import pandas as pd

    if hasattr(samples, "toarray"):
        raise fault(ARRAYS, "samples are a sparse matrix: pass samples.toarray()")
    if isinstance(samples, (list, tuple)) and not all(isinstance(text, str) for text in samples):
        if any(len(getattr(row, "shape", ())) > 1 or hasattr(row, "getbands") for row in samples):
            raise fault(ARRAYS, "samples are a list of images: pass one array of them, numpy.stack(images)")
        lengths = {len(row) if isinstance(row, (list, tuple)) or getattr(row, "shape", ()) else 1 for row in samples}
        if len(lengths) > 1:
            raise fault(ARRAYS, f"samples have {min(lengths)} to {max(lengths)} values: give rows of the same length")
        frame = pd.DataFrame(list(samples))
        return (frame.set_axis(frame.columns.map(str), axis=1) if len(frame.columns) else frame), None
    array = np.asarray(samples, dtype=object) if isinstance(samples, (list, tuple)) else np.asarray(samples)
    if array.dtype.names is not None:
        return pd.DataFrame(array), None
    if array.ndim == 1 and all(isinstance(text, str) for text in array):
        return pd.DataFrame({"text": array}), "text"
    if array.ndim not in (1, 2):
        raise fault(ARRAYS, f"samples have shape {array.shape}: give (n, columns), n texts, or images")
    array = array[:, None] if array.ndim == 1 else array
    return pd.DataFrame(array, columns=[str(number) for number in range(array.shape[1])]), None


def labels_of_arrays(labels: Any, n: int) -> Any:
    """Return n labels as a Series whose index is their positions."""
    import pandas as pd

    if isinstance(labels, pd.DataFrame):
        labels = labels.to_numpy()
    if not isinstance(labels, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray, list, tuple)):
        labels = np.asarray(labels)
        labels = labels.ravel() if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.ndim != 1:
            raise fault(ARRAYS, f"labels have shape {labels.shape}, and one a row is needed: pass "
                                "labels.argmax(axis=1) if they are one-hot")  # fmt: skip
    series = pd.Series(labels).reset_index(drop=True)
    if len(series) != n:
        raise fault(ARRAYS, f"{len(series)} labels and {n} samples: give one label for each sample")
    return series


def is_images(samples: Any) -> bool:
    """Return whether an array holds images: (n, height, width), or with channels."""
    return isinstance(samples, np.ndarray) and samples.ndim in (3, 4)


def content_of_images(images: np.ndarray, labels: Any, options: ReadOptions, first: Source | None) -> Content:
    """Return images (n, height, width, channels), or (n, height, width), with n labels.

    Raises:
        UserError: the images are not uint8, not of the size of the first ones, or not as many as the labels.
    """
    check_kind("image", first, ARRAYS)
    said = []
    if images.ndim == 3:
        images, said = images[..., None], ["images have no axis of channels: read as grey"]
    check_images(images, ARRAYS)
    if first is not None and images.shape[1:] != first.dataset.samples.shape[1:]:
        sizes = f"{images.shape[1:]}, and those of the first data {first.dataset.samples.shape[1:]}"
        raise fault(ARRAYS, f"images have the shape {sizes}: resize them")
    found = read_labels(labels_of_arrays(labels, len(images)), "labels", ARRAYS, False, options.task)
    facts = {"path": None, "format": ARRAYS, "rows": len(images), "size": list(images.shape[1:]), "columns": []}
    return Content(ARRAYS, "data", "labels", found, Samples("image", images), facts, said)
