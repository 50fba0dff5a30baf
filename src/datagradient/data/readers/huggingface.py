"""A data set that `datasets.Dataset.save_to_disk` wrote: Arrow files and what they hold; no code of it is run."""

import hashlib
from pathlib import Path, PurePath
from typing import Any

from datagradient.data.readers.arrow_tables import table_of
from datagradient.data.readers.source import ReadOptions, fault, listed
from datagradient.data.readers.table import Table, check_rows
from datagradient.data.readers.text_files import check_file, reading, sha256
from datagradient.errors import one_line
from datagradient.files.strict_json import parse_json

STATE, INFO, PARTS = "state.json", "dataset_info.json", "dataset_dict.json"


def is_hugging_face(folder: Path) -> bool:
    """Return whether a folder was written by `save_to_disk`."""
    return any((folder / name).is_file() for name in (STATE, PARTS))


def read_hugging_face(folder: Path, options: ReadOptions) -> Table:
    """Read a saved data set; the names of its classes are kept.

    Raises:
        UserError: it holds several parts, lacks a file, or cannot be read.
    """
    import pyarrow as pa

    if (folder / PARTS).is_file():
        parts = sorted(path.name for path in folder.iterdir() if path.is_dir())
        example = folder / (parts[0] if parts else "train")
        raise fault(folder, f"holds the parts {listed(parts)}: give one of them, e.g. {example}")
    files, info = data_files(folder), _json(folder / INFO)
    try:
        content = pa.concat_tables([open_arrow(file).read_all() for file in files])
        content = content.rename_columns(content.column_names)  # fails here if a name is no UTF-8
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = one_line(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise fault(folder, f"cannot be read ({reason}): save the data set again with save_to_disk") from None
    features = info.get("features")
    table = table_of(
        content, str(folder), folder.resolve().name, features if isinstance(features, dict) else {}, options
    )
    check_rows(len(table.frame), content.num_rows, str(folder))
    table.facts = {"path": str(folder), "format": "hugging face", "rows": content.num_rows,
                   "sha256": checksum(folder)}  # fmt: skip
    return table


def data_files(folder: Path) -> list[Path]:
    """Return the Arrow files of a saved data set, in the order of their rows.

    Raises:
        UserError: a file is missing, or the data set holds more than them.
    """
    state = _json(folder / STATE)
    files = [folder / name for name in _names(state, folder)]
    if not files:
        raise fault(folder / STATE, "names no data files: save the data set again with save_to_disk")
    if state.get("_indices_data_files"):
        raise fault(folder, "holds a selection of rows beside the data: save it again with flatten_indices()")
    for file in files:
        check_file(file)
    return files


def checksum(folder: Path) -> str:
    """Return the checksum of the names and contents of the files that hold the rows and say what they are."""
    files = [*data_files(folder), folder / INFO]
    return hashlib.sha256("".join(f"{file.name}:{sha256(file)};" for file in files).encode()).hexdigest()


def _json(path: Path) -> dict:
    with reading(path):
        text = path.read_text(encoding="utf-8")
    try:
        content = parse_json(text)
    except ValueError as error:
        raise fault(path, f"is no JSON ({one_line(error)}): save the data set again with save_to_disk") from None
    if not isinstance(content, dict):
        raise fault(path, "holds no object of names and values: save the data set again with save_to_disk")
    return content


def _names(state: dict, folder: Path) -> list[str]:
    """Return the names of the data files, which must be in the folder."""
    try:
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    except (KeyError, TypeError):
        raise fault(folder / STATE, "names no data files: save the data set again with save_to_disk") from None
    for name in names:
        if PurePath(name).name != name:
            raise fault(folder / STATE, f"names a data file outside the folder, {name!r}: save the data set again")
    return names


def open_arrow(file: Path) -> Any:
    """Return pyarrow's reader of an Arrow file, of which nothing is copied; `datasets` writes streams."""
    import pyarrow as pa

    source = pa.memory_map(str(file))
    try:
        return pa.ipc.open_stream(source)
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_file(source)
