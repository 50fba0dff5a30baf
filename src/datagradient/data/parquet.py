"""Reading a Hugging Face data set's checked Parquet files with the `datasets` library, offline."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagradient.data.fetch import CheckedFile, SourceFile, fetch
from datagradient.data.record import class_labels


@dataclass(frozen=True)
class ParquetTable:
    """Both official parts of a data set, training part first."""

    title: str
    columns: dict[str, list[Any]]
    labels: np.ndarray
    class_names: tuple[str, ...]
    is_test: np.ndarray
    source: dict[str, str]


def read_parquet(train: SourceFile, test: SourceFile) -> ParquetTable:
    """Fetch, check and read the two official parts of a data set with a ``label`` column."""
    files = [fetch(file) for file in (train, test)]
    with _opened(files) as parts:
        names = [name for name in parts[0].features if name != "label"]
        columns = {name: [value for part in parts for value in part[name]] for name in names}
        class_names = tuple(parts[0].features["label"].names)
        labels = [_labels(part, file, class_names) for part, file in zip(parts, files, strict=True)]
        is_test = np.repeat([False, True], [len(part) for part in parts])
    title = " + ".join(dict.fromkeys(file.copy for file in files))
    source = {original.path: file.checksum for original, file in zip((train, test), files, strict=True)}
    return ParquetTable(title, columns, np.concatenate(labels), class_names, is_test, source)


@dataclass(frozen=True)
class ImageNames:
    """The training rows of a data set with columns ``img`` and ``label``, without the images.

    Attributes:
        file: the file of the training part.
        names: of the images (n,); None for an image without a name.
        labels: (n,) class numbers.
        class_names: one name per class.
        n_test: number of rows of the test part.
    """

    file: CheckedFile
    names: list[str | None]
    labels: np.ndarray
    class_names: tuple[str, ...]
    n_test: int


def read_image_names(train: SourceFile, test: SourceFile) -> ImageNames:
    """Fetch and check both official parts, and read the labels and the names of the training images; decode none."""
    files = [fetch(file) for file in (train, test)]
    with _opened(files) as (part, other):
        class_names = tuple(part.features["label"].names)
        names = [name for chunk in part.data.column("img").chunks for name in chunk.field("path").to_pylist()]
        return ImageNames(files[0], names, _labels(part, files[0], class_names), class_names, len(other))


@contextlib.contextmanager
def _opened(files: list[CheckedFile]) -> Iterator[list[Any]]:
    """Open checked files as data sets of the library `datasets`."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # every byte comes from the checked files
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as scratch:
        options = {"cache_dir": scratch, "keep_in_memory": True}
        yield [datasets.Dataset.from_parquet(str(file.path), **options) for file in files]


def _labels(part: Any, file: CheckedFile, class_names: tuple[str, ...]) -> np.ndarray:
    return class_labels(part["label"], range(len(class_names)), f"{file.path}, column label")
