"""Tables of pyarrow: Parquet files, and the data sets that Hugging Face's `datasets` saves."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datagradient.data.readers.source import ReadOptions, fault, listed
from datagradient.data.readers.table import Table, check_names, check_rows
from datagradient.data.readers.text_files import check_file, sha256
from datagradient.errors import UserError, one_line

INDEX = "__index_level_"  # columns in which pandas keeps an index without a name


def read_parquet_table(path: Path, options: ReadOptions) -> Table:
    """Read a Parquet file; names of classes that `datasets` has written into it are kept.

    Raises:
        UserError: it cannot be read, or columns have the same name, or a type that is no scalar.
    """
    import pyarrow as pa
    from pyarrow import parquet

    check_file(path)
    try:
        with parquet.ParquetFile(path) as file:
            schema, n = file.schema_arrow, file.metadata.num_rows
            names = check_names(schema.names, str(path))
            used = [name for name, stripped in zip(schema.names, names, strict=True) if stripped not in options.drop]
            content = file.read(columns=used)
    except UserError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise fault(
            path, f"is no Parquet file, or a damaged one ({_first_line(error)}): copy or write it again"
        ) from None
    table = table_of(content, str(path), path.name, _features(schema), options)
    table.names = names
    check_rows(len(table.frame), n, str(path))
    table.facts = {"path": str(path), "format": "parquet", "sha256": sha256(path), "rows": n}
    return table


def _first_line(error: Exception) -> str:
    return one_line(next(iter(str(error).splitlines()), type(error).__name__))


def _features(schema: Any) -> dict[str, Any]:
    """Return what `datasets` has written about the columns of a Parquet file; {} if there is nothing."""
    try:
        return json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}


def table_of(content: Any, where: str, title: str, features: Mapping[str, Any], options: ReadOptions) -> Table:
    """Return a table of pyarrow as one of pandas, without the dropped columns.

    Args:
        content: a pyarrow Table.
        where: the file in messages.
        title: its name.
        features: by column, what `datasets` says of it: ``_type`` and, of a ClassLabel, ``names``.
        options: which columns are dropped, and which hold labels and ids.

    Raises:
        UserError: a column's type is no scalar.
    """
    import pandas as pd

    names = check_names(content.column_names, where)
    described = {name.strip(): feature for name, feature in dict(features).items() if isinstance(feature, dict)}
    classes, images, columns, said = {}, [], {}, []
    for place, name in enumerate(names):
        feature = described.get(name, {})
        if name in options.drop:
            continue
        if name.startswith(INDEX):
            said.append(f"column {name!r} is an index of pandas: left out")
            continue
        column = _valid(content.column(place), name, where)
        if feature.get("_type") == "Image" and _is_struct(column.type):
            images.append(name)
            columns[name] = pd.Series(column.to_pylist(), dtype=object)
            continue
        if feature.get("_type") == "ClassLabel" and name == options.target and feature.get("names"):
            classes[name] = tuple(map(str, feature["names"]))
        columns[name] = _pandas(column, name, where, name in (options.target, options.id))
    frame = pd.DataFrame(columns, index=range(content.num_rows), copy=False)
    if classes:
        said.append(f"the file names the classes of column {options.target!r}: {listed(classes[options.target])}")
    return Table(
        where, title, frame, names, {}, said, decimal=options.decimal, class_names=classes, images=tuple(images)
    )


def _valid(column: Any, name: str, where: str) -> Any:
    """Return a column whose offsets and texts have been checked: pyarrow itself reads files as if they were whole."""
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise fault(where, f"column {name!r} is damaged ({_first_line(error)}): write the file again, texts in UTF-8, "
                           f"or leave the column out with --drop {name!r}") from None  # fmt: skip
    return column


def _is_struct(kind: Any) -> bool:
    from pyarrow import types

    return types.is_struct(kind) and kind.get_field_index("bytes") >= 0


def _pandas(column: Any, name: str, where: str, as_given: bool) -> Any:
    """Return a column as a Series; with `as_given`, whole numbers stay so although some are missing.

    Labels may be of any type here, for their reader says more about lists of them.
    """
    import pyarrow as pa
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    scalar = not (types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind)
                  or types.is_fixed_size_binary(kind))  # fmt: skip
    if not scalar and not as_given:
        raise fault(where, f"column {name!r} holds {one_line(kind)}, and a cell must be a number, a date or a text: "
                           f"leave it out with --drop {name!r}")  # fmt: skip
    try:
        return column.to_pandas(integer_object_nulls=as_given, ignore_metadata=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise fault(where, f"column {name!r} holds {one_line(kind)}, which cannot be read ({_first_line(error)}): "
                           f"leave it out with --drop {name!r}") from None  # fmt: skip
