"""Parquet files and saved data sets of Hugging Face with changes: their types, and what they say of them, stay."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.auditing.plan import Changes
from datagradient.data.readers.huggingface import INFO, STATE, data_files, open_arrow
from datagradient.data.readers.text_files import sha256
from datagradient.files import replacing, replacing_folder


def rewrite_parquet(path: Path, target: str, changes: Changes, out: Path) -> None:
    """Write a Parquet file with changes, one group of rows after the other.

    Schema, metadata, order, groups of rows and packing of the columns are kept.

    Args:
        path: the file.
        target: the column of labels.
        changes: of its rows.
        out: the new file.

    Raises:
        UserError: the new file cannot be written.
    """
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        schema, groups = file.schema_arrow, range(file.num_row_groups)
        place = _place(schema, target)
        labels = (file.read_row_group(group, columns=[schema.names[place]]).column(0) for group in groups)
        values = _values(labels, changes)
        with replacing(out, "wb") as stream, parquet.ParquetWriter(stream, schema, compression=_packing(file)) as new:
            start = 0
            for group in groups:
                table = file.read_row_group(group)
                changed = _changed(table, place, start, changes, values)
                start += len(table)
                if len(changed):
                    new.write_table(changed, row_group_size=len(changed))


def _packing(file: Any) -> dict[str, str] | str:
    """Return how the columns are packed, by their paths."""
    if not file.num_row_groups:
        return "snappy"
    group = file.metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    return {column.path_in_schema: {"UNCOMPRESSED": "NONE"}.get(column.compression, column.compression)
            for column in columns}  # fmt: skip


def rewrite_hugging_face(path: Path, target: str, changes: Changes, out: Path) -> None:
    """Write a saved data set of Hugging Face with changes into a new folder.

    The files keep their names, and what is said about the columns stays, such as the names of classes. The data set
    gets another fingerprint, so that `datasets` takes nothing that it has kept for the old one.

    Args:
        path: the folder of the data set.
        target: the column of labels.
        changes: of its rows.
        out: the new folder.

    Raises:
        UserError: the new folder cannot be written.
    """
    import pyarrow as pa

    files = data_files(path)
    columns = []
    for file in files:
        reader = open_arrow(file)
        place = _place(reader.schema, target)
        columns += [batch.column(place) for batch in _batches(reader)]
    values = _values(iter(columns), changes)
    with replacing_folder(out) as folder:
        start, digest = 0, hashlib.sha256()
        for file in files:
            reader = open_arrow(file)
            is_stream = isinstance(reader, pa.RecordBatchStreamReader)
            place, begin = _place(reader.schema, target), pa.ipc.new_stream if is_stream else pa.ipc.new_file
            with open(folder / file.name, "wb") as stream, begin(stream, reader.schema) as new:
                for batch in _batches(reader):
                    table = _changed(pa.Table.from_batches([batch]), place, start, changes, values)
                    start += len(batch)
                    new.write_table(table)
            digest.update(sha256(folder / file.name).encode())
        shutil.copyfile(path / INFO, folder / INFO)
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        state["_fingerprint"] = digest.hexdigest()[:16]
        (folder / STATE).write_text(json.dumps(state, indent=2, sort_keys=True), encoding="utf-8")


def _batches(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "get_batch"):
        yield from map(reader.get_batch, range(reader.num_record_batches))
    else:
        yield from reader


def _place(schema: Any, target: str) -> int:
    return [name.strip() for name in schema.names].index(target)


def _values(labels: Iterator[Any], changes: Changes) -> tuple[Any, dict[int, int]]:
    """Return labels of the file that are copied, and for every row with a new one its place among them.

    Args:
        labels: the column of labels, in parts.
        changes: of the rows.
    """
    import pyarrow as pa

    wanted, found, places, start = np.unique(list(changes.like.values())).astype(int), [], {}, 0
    for part in labels:
        rows = wanted[(wanted >= start) & (wanted < start + len(part))]
        places |= {int(row): len(places) + number for number, row in enumerate(rows)}
        if len(rows):
            chunks = part.chunks if isinstance(part, pa.ChunkedArray) else [part]
            found.append(_taken(pa.concat_arrays(chunks), rows - start))
        start += len(part)
    return found, {row: places[like] for row, like in changes.like.items()}


def _changed(table: Any, place: int, start: int, changes: Changes, values: tuple[Any, dict[int, int]]) -> Any:
    """Return a part of a table with the changes of its rows.

    Args:
        table: m rows.
        place: of the column of labels.
        start: number of the first row.
        changes: of all rows.
        values: labels that are copied, and which of them a row gets.
    """
    import pyarrow as pa

    found, places = values
    m = len(table)
    relabelled = [row for row in places if start <= row < start + m]
    if relabelled:
        order = np.arange(m)
        for row in relabelled:
            order[row - start] = m + places[row]
        # Dictionaries of the parts become one, in which those of the table come first.
        labels = _taken(pa.concat_arrays([*table.column(place).chunks, *found]), order)
        table = table.set_column(place, table.schema.field(place), labels)
    kept = changes.kept[start : start + m]
    if kept.all():
        return table
    try:
        return table.filter(pa.array(kept))
    except pa.ArrowNotImplementedError:  # pyarrow has no filter of views of texts
        rows = [table.slice(row, 1) for row in np.flatnonzero(kept).tolist()]
        return pa.concat_tables(rows or [table.slice(0, 0)]).combine_chunks()


def _taken(array: Any, rows: np.ndarray) -> Any:
    """Return some rows of an array, which has at least one."""
    import pyarrow as pa

    try:
        return array.take(pa.array(rows))
    except pa.ArrowNotImplementedError:
        return pa.concat_arrays([array.slice(row, 1) for row in rows.tolist()])
