"""Reading a Hugging Face data set's checked Parquet files with the `datasets` library, offline."""

import os
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagradient.data.fetch import SourceFile, fetch
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
    os.environ["HF_HUB_OFFLINE"] = "1"  # every byte comes from the checked files
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as scratch:
        options = {"cache_dir": scratch, "keep_in_memory": True}
        parts = [datasets.Dataset.from_parquet(str(file.path), **options) for file in files]
        names = [name for name in parts[0].features if name != "label"]
        columns = {name: [value for part in parts for value in part[name]] for name in names}
        class_names = tuple(parts[0].features["label"].names)
        labels = [class_labels(part["label"], range(len(class_names)), f"{file.path}, column label")
                  for part, file in zip(parts, files, strict=True)]  # fmt: skip
        is_test = np.repeat([False, True], [len(part) for part in parts])
    title = " + ".join(dict.fromkeys(file.copy for file in files))
    source = {original.path: file.checksum for original, file in zip((train, test), files, strict=True)}
    return ParquetTable(title, columns, np.concatenate(labels), class_names, is_test, source)
