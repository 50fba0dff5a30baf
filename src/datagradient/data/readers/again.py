"""A file that was read before, as `Source.facts` say: is it unchanged, and what labels does it hold?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datagradient.data.readers.arrow_tables import read_parquet_table
from datagradient.data.readers.huggingface import checksum as checksum_of_data_set
from datagradient.data.readers.huggingface import read_hugging_face
from datagradient.data.readers.image_folders import checksum as checksum_of_images
from datagradient.data.readers.image_folders import find_images
from datagradient.data.readers.json_tables import read_json_table
from datagradient.data.readers.source import ReadOptions
from datagradient.data.readers.tables import labels_of
from datagradient.data.readers.targets import Labels
from datagradient.data.readers.text_files import check_file, sha256
from datagradient.data.readers.text_tables import read_text_table

IMAGES, DATA_SET = "image folder", "hugging face"
TABLES = {"csv": read_text_table, "parquet": read_parquet_table, "json": read_json_table, "json lines": read_json_table,
          DATA_SET: read_hugging_face}  # fmt: skip


def checksum(path: Path, kind: str) -> str:
    """Return the checksum that reading a file or folder of a format notes in ``Source.facts``.

    Raises:
        UserError: it cannot be read.
    """
    if kind == IMAGES:
        return checksum_of_images(path, find_images(path).images)
    if kind == DATA_SET:
        return checksum_of_data_set(path)
    check_file(path)
    return sha256(path)


def read_labels_again(path: Path, facts: Mapping[str, Any]) -> tuple[Labels, dict[str, Any]]:
    """Return the labels of all rows of a table, those that cannot be used among them, and how the table was read.

    Args:
        path: the file, or the folder of a saved data set.
        facts: what reading it said: format, target, the names of its columns, and of a text how it was read.

    Raises:
        UserError: it cannot be read any more.
    """
    target = facts["target"]
    others = tuple(column["name"] for column in facts["columns"] if column["name"] != target)
    options = ReadOptions(target, drop=others, sep=facts.get("sep"), encoding=facts.get("encoding"))
    table = TABLES[facts["format"]](path, options)
    return labels_of(table, target), table.facts
