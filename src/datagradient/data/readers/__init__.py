"""Readers of a user's own data: tables, folders of images, saved data sets and arrays, all as one record.

`read` reads the data that are audited, `read_like` a second file of the same kind, such as a test set. Whatever is
guessed is said in `Source.said`. Rows count from 0, the header not counted. Nothing is unpickled, and no code of a data
set is run.
"""

from pathlib import Path
from typing import Any

from datagradient.data.readers import memory
from datagradient.data.readers.assembly import Content, assembled
from datagradient.data.readers.source import ReadOptions, SetAside, Source, fault
from datagradient.data.readers.tables import content_of
from datagradient.data.readers.text_files import check_file, reading
from datagradient.errors import UserError

__all__ = ["ReadOptions", "SetAside", "Source", "read", "read_like"]

TEXT, PARQUET, JSON = (".csv", ".tsv", ".tab", ".txt"), (".parquet", ".pq"), (".jsonl", ".ndjson", ".json")
REMEDIES = {
    ".xlsx": "save the sheet as CSV", ".xls": "save the sheet as CSV", ".ods": "save the sheet as CSV",
    ".pkl": "a pickle may run code when it is opened, so write it as Parquet or CSV",
    ".pickle": "a pickle may run code when it is opened, so write it as Parquet or CSV",
    ".npz": "pass its arrays to the Python interface, or write them as CSV",
    ".npy": "pass its array to the Python interface, or write it as CSV",
    ".zip": "unpack it", ".tar": "unpack it", ".tgz": "unpack it", ".bz2": "unpack it", ".xz": "unpack it",
    ".zst": "unpack it",
}  # fmt: skip


def read(source: Any, options: ReadOptions | None = None) -> Source:
    """Read a user's own data.

    Args:
        source: the path of a text table (packed by gzip or not), a Parquet file, JSON lines, a folder of images with
            one subfolder for each class, or a data set saved by Hugging Face `datasets`; or a DataFrame; or a pair of
            samples and labels.
        options: how to read it.

    Raises:
        UserError: it cannot be read, or not as data with classes; one line names the file, row or column and a remedy.
    """
    return _read(source, options or ReadOptions(), None)


def read_like(source: Any, first: Source, options: ReadOptions | None = None) -> Source:
    """Read a second file with the columns, kinds of columns and classes of a first one.

    The order of columns may differ; columns that are not in the first file are left out.

    Raises:
        UserError: it cannot be read, lacks a column of the first file, has another class, or one class alone.
    """
    return _read(source, options or ReadOptions(), first)


def _read(source: Any, options: ReadOptions, first: Source | None) -> Source:
    try:
        content = _content(source, options, first)
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        what = f"a text holds {half!r}, half of a surrogate pair and not a character"
        raise fault(source if isinstance(source, (str, Path)) else "the source", f"{what}: correct it") from None
    return assembled(content, first)


def _content(source: Any, options: ReadOptions, first: Source | None) -> Content:
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return content_of(memory.table_of_frame(source, options), options, first)
    if isinstance(source, tuple) and len(source) == 2:
        if memory.is_images(source[0]):
            return memory.content_of_images(*source, options, first)
        return content_of(memory.table_of_arrays(*source, options), options, first)
    if not isinstance(source, (str, Path)):
        kind = type(source).__name__
        raise UserError(f"the source is a {kind}: give a path, a pandas DataFrame, or a pair of samples and labels")
    path = Path(source)
    with reading(path):
        is_folder = path.is_dir()
    return _folder(path, options, first) if is_folder else content_of(_file(path, options), options, first)


def _folder(folder: Path, options: ReadOptions, first: Source | None) -> Content:
    from datagradient.data.readers.huggingface import is_hugging_face, read_hugging_face
    from datagradient.data.readers.image_folders import read_image_folder

    if is_hugging_face(folder):
        return content_of(read_hugging_face(folder, options), options, first)
    return read_image_folder(folder, options, first)


def _file(path: Path, options: ReadOptions) -> Any:
    from datagradient.data.readers.arrow_tables import read_parquet_table
    from datagradient.data.readers.json_tables import read_json_table
    from datagradient.data.readers.text_tables import read_text_table

    check_file(path)
    name = path.name.lower()
    ending = Path(name.removesuffix(".gz")).suffix
    for endings, reader in ((TEXT, read_text_table), (PARQUET, read_parquet_table), (JSON, read_json_table)):
        if ending in endings:
            return reader(path, options)
    known = ", ".join([*TEXT, *PARQUET, *JSON])
    what = f"has the ending {ending!r}" if ending else "has no ending"
    raise fault(path, f"{what}: {REMEDIES.get(ending, 'rename it to what it is')}; {known} (and .gz of text) are read")
