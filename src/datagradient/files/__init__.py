"""Reading and writing result files: atomic writes, and errors that name the job to rerun."""

import codecs
import contextlib
import csv
import glob
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from datagradient.errors import FileError, UserError, one_line, shown
from datagradient.files.strict_json import parse_json

SEPARATORS = (",", ";", "\t")  # of a CSV
LONGEST_LIST = 120  # longest list of names in a message, in characters

# File name -> the job of the workflow that writes it.
MADE_BY = {
    "features.npz": "prepare",
    "data.json": "prepare",
    "read.json": "prepare",
    "labels.npz": "noise",
    "kept.npz": "prune",
    "removed.csv": "prune",
    "model.npz": "train",
    "predictions.npz": "train",
    "crossfit.npz": "cross_fit",
    "crossfit.json": "cross_fit",
    "guard.json": "guard",
    "train.json": "train",
    "metrics.json": "evaluate",
    "scores.npz": "influence",
    "influence.json": "influence",
    "metrics.csv": "collect",
    "data.csv": "collect",
    "influence_histogram.csv": "collect",
    "detection.csv": "collect",
    "detection_curves.csv": "collect",
    "provenance.json": "collect",
    "tests.csv": "statistics",
    "iterations.csv": "statistics",
    "costs.csv": "statistics",
    "pooled.csv": "statistics",
    "rounds.csv": "statistics",
    "safety.csv": "statistics",
    "tracking.csv": "statistics",
    "recovered.csv": "statistics",
    "claims.json": "claims",
    "direction.npz": "direction",
    "scalability.csv": "scalability_table",
    "slopes.csv": "scalability_table",
    "streamed.csv": "streamed",
    "halves.npz": "halves",
    "single.npz": "single",
    "fidelity.csv": "fidelity",
    "single.csv": "fidelity",
    "stability.csv": "fidelity",
    "sensitivity.json": "sensitivity",
    "sensitivity.csv": "concatenate",
    "fractions.json": "fractions",
    "fractions.csv": "concatenate",
    "trusted.json": "trusted",
    "trusted.csv": "concatenate",
    "trusted_shares.csv": "trusted_shares",
}


REFINING = ("train", "evaluate", "influence", "prune", "guard")  # steps that a single job may combine


class Content(dict):
    """A file's content, by name. Asking for a missing name raises an error about the file that was given."""

    def __init__(self, path: str | Path, items: dict | Iterable[tuple] = ()):
        super().__init__(items)
        self.path = path

    def __missing__(self, name: object) -> NoReturn:
        """Raise an error that says which name the file lacks, and which it holds."""
        held = ", ".join(map(str, self)) or "nothing"
        held = held if len(held) <= LONGEST_LIST else f"{held[:LONGEST_LIST]} …"
        raise FileError(self.path, f"holds no {shown(name)}, but {one_line(held)}: a file of another kind")

    def __reduce__(self) -> tuple:
        """Copy and pickle as a plain dict."""
        return dict, (dict(self),)


class CsvField(str):
    """A field of a CSV file. If it cannot be converted to a number, the error names file, line and column."""

    def __new__(cls, text: str, path: str | Path, line: int, column: str) -> "CsvField":
        """Remember the position of the field."""
        field = super().__new__(cls, text)
        field.place = (path, line, column)
        return field

    def __float__(self) -> float:
        """Return the number."""
        return self._number(float, "a number")

    def __int__(self) -> int:
        """Return the whole number."""
        return self._number(int, "a whole number")

    def __reduce__(self) -> tuple:
        """Copy and pickle as plain text."""
        return str, (str(self),)

    def _number(self, kind: type, words: str) -> Any:
        text = str(self)
        try:
            return kind(text)
        except ValueError:
            path, line, column = self.place
            raise FileError(path, f"line {line}, column {column}: {shown(text)} is not {words}") from None


@contextlib.contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO]:
    """Open a temporary file next to `path` and rename it to `path` when the block succeeds.

    A reader, or a run after a kill, finds either the old file or the new one, never an incomplete one.

    Raises:
        UserError: the file cannot be written: no permission, no space, or a folder of this name.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _clear_for(path)
        text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
        with open(temporary, mode, **text) as stream:
            yield stream
        temporary.replace(path)
    except OSError as error:
        if error.filename is not None and Path(error.filename) not in (temporary, path, *path.parents):
            raise  # an error of the block itself
        raise FileError(path, f"cannot be written ({error.strerror or error})") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Make a temporary folder next to `path` and rename it to `path`, which must not exist, when the block succeeds.

    Raises:
        UserError: the folder cannot be written: no permission, no space, or a file of this name.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _clear_for(path)
        temporary.mkdir()
        yield temporary
        temporary.rename(path)
    except OSError as error:
        names = [Path(name) for name in (error.filename, error.filename2) if name is not None]
        if names and not any(temporary in (name, *name.parents) or name in (path, *path.parents) for name in names):
            raise  # an error of the block itself
        raise FileError(path, f"cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _clear_for(path: Path) -> None:
    """Make the folder of a file or folder to be written, and remove what killed jobs have left of it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for scrap in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        process = scrap.name.removeprefix(f".{path.name}.").removesuffix(".tmp")
        if process.isdecimal() and not _is_running(process):  # other names are not ours
            shutil.rmtree(scrap) if scrap.is_dir() else scrap.unlink()


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return int(process) != os.getpid()


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any failure to read a result file into an error that says how to recreate the file."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise FileError(path, f"not found{_remedy(path)}") from None
    except IsADirectoryError:
        raise FileError(path, "is a folder, and a file is needed") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})") from None
    except KeyError as error:
        raise FileError(path, f"holds no {error}: a file of another kind") from None
    except UnicodeDecodeError as error:
        raise FileError(path, f"cannot be read (byte {error.start} is not UTF-8){_remedy(path)}") from None
    except Exception as error:  # zip, JSON and NumPy raise different exceptions for a damaged file
        # NumPy's message for data other than arrays suggests unpickling them.
        unsafe = "pickle" in str(error)
        why = "no .npz file of plain arrays" if unsafe else f"{type(error).__name__}: {one_line(error)}"
        raise FileError(path, f"cannot be read ({why}){_remedy(path)}") from None


def _remedy(path: Path) -> str:
    job = MADE_BY.get(Path(path).name)
    again = f"make it again with: snakemake --cores 1 --force {path} (and the --configfile of the run)"
    if job in REFINING:
        for folder in Path(path).parents[:2]:  # of one model, if a job makes all models of a seed
            seed_result = folder.parent.parent / f"{folder.name}.json"
            if folder.name.startswith("seed-") and seed_result.exists():
                again = f"to make it again, delete {seed_result} and run the workflow"
    if Path(path).name == "config.json":
        return "; the workflow writes it before its first job: snakemake --cores 1 --configfile config/<preset>.yaml"
    return f"; it is made by the job '{job}'; {again}" if job else ""


def write_json(path: Path, content: dict) -> None:
    """Write a dict as JSON with sorted keys, so that equal content gives equal bytes."""
    with replacing(path) as stream:
        json.dump(content, stream, indent=1, sort_keys=True)
        stream.write("\n")


def read_json(path: Path, *needed: str, **kinds: type) -> dict:
    """Read a JSON result file that must have the needed keys; the values of `kinds` must have the given types.

    Raises:
        UserError: the file cannot be read or is of another kind; or, later, a missing key is accessed.
    """
    with reading(path), open(path, encoding="utf-8") as stream:
        # Results may hold NaN for quantities that could not be measured.
        content = parse_json(stream.read(), lambda mapping: Content(path, mapping), finite=False)
    if not isinstance(content, dict):
        raise FileError(path, f"holds {shown(content)}, and not a mapping of keys to values")
    for key in (*needed, *kinds):
        if not isinstance(content[key], kinds.get(key, object)):
            words = {dict: "a mapping", list: "a list", str: "a text", int: "a whole number"}[kinds[key]]
            raise FileError(path, f"{key}: {shown(content[key])} is not {words}")
    return content


def write_arrays(path: Path, meta: dict | None = None, **arrays: Any) -> None:
    """Write arrays (dense, or scipy.sparse CSR) and a dict of facts about them as one ``.npz`` file."""
    import numpy as np  # the Snakefile imports this module, and Snakemake does not bring NumPy

    flat: dict[str, Any] = {}
    for name, value in arrays.items():
        if hasattr(value, "tocsr"):
            matrix = value.tocsr()
            flat |= {f"{name}.{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
            flat[f"{name}.shape"] = np.array(matrix.shape)
        else:
            flat[name] = np.asarray(value)
    flat["meta"] = np.array(json.dumps(meta or {}, sort_keys=True))
    with replacing(path, "wb") as stream:
        np.savez(stream, allow_pickle=False, **flat)


def read_arrays(path: Path, *names: str) -> tuple[dict, dict]:
    """Read the named arrays (all, if no names are given) and the facts: ``(arrays, meta)``.

    Nothing is unpickled. Only the requested arrays are read from the disk.
    """
    with reading(path), _archive(path) as archive:
        stored = [name for name in archive.files if name != "meta"]
        wanted = names or tuple(dict.fromkeys(_base_name(name) for name in stored))
        held = Content(path, dict.fromkeys(map(_base_name, archive.files)))
        for name in (*wanted, "meta"):
            held[name]
        return Content(path, {name: _read_one(archive, name) for name in wanted}), _meta(path, archive)


def read_meta(path: Path) -> dict:
    """Read only the facts about the arrays of a file."""
    with reading(path), _archive(path) as archive:
        return _meta(path, archive)


def _archive(path: Path) -> Any:
    """Open an .npz file; refuse a file with a single array, which NumPy can also open."""
    import numpy as np

    archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise FileError(path, "holds one array, and an .npz file of several is needed")
    return archive


def _meta(path: Path, archive: Any) -> Content:
    if "meta" not in archive.files:
        Content(path, dict.fromkeys(archive.files))["meta"]
    facts = parse_json(str(archive["meta"]), lambda mapping: Content(path, mapping), finite=False)
    if not isinstance(facts, dict):
        raise FileError(path, f"its facts are {shown(facts)}, and not a mapping")
    return facts


def _base_name(stored: str) -> str:
    base, _, part = stored.rpartition(".")
    return base if part in ("data", "indices", "indptr", "shape") else stored


def _read_one(archive: Any, name: str) -> Any:
    if f"{name}.indptr" not in archive.files:
        return archive[name]
    from scipy.sparse import csr_matrix

    parts = tuple(archive[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
    return csr_matrix(parts, shape=tuple(archive[f"{name}.shape"]))


def write_rows(path: Path, columns: list[str], rows: list[dict]) -> None:
    """Write dicts as CSV with the given columns; a key that is not a column is an error."""
    with replacing(path) as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path, *needed: str) -> list[dict[str, str]]:
    """Read a CSV as dicts of strings.

    It may have been saved by a spreadsheet: a byte order mark, other line ends, and ``;`` or tabs between the cells are
    recognised. The separator is the one whose header holds the needed columns.

    Raises:
        UserError: the file cannot be read, lacks a needed column, or has a line with another length than the header;
            or, later, a missing column is accessed, or a field that is not a number is converted to one.
    """
    with reading(path), open(path, encoding=_encoding(path), newline="") as stream:
        header = stream.readline()
        separators = [mark for mark in SEPARATORS if set(needed) <= {*next(csv.reader([header], delimiter=mark), [])}]
        stream.seek(0)
        lines = csv.reader(stream, delimiter=next(iter(separators), ","))
        columns = next(lines, [])
        if not columns:
            raise FileError(path, f"is empty, and a table with a header is needed{_remedy(path)}")
        for name in needed:
            Content(path, dict.fromkeys(columns))[name]
        rows = []
        for fields in filter(None, lines):
            line = lines.line_num
            if len(fields) != len(columns):
                cells = "1 cell" if len(fields) == 1 else f"{len(fields)} cells"
                raise FileError(path, f"line {line}: {cells}, and the header has {len(columns)} columns")
            row = {name: CsvField(text, path, line, name) for name, text in zip(columns, fields, strict=True)}
            rows.append(Content(path, row))
        return rows


def _encoding(path: Path) -> str:
    """Return the encoding of a text whose byte order mark is left out: UTF-8, unless the mark is that of UTF-16."""
    with open(path, "rb") as stream:
        return "utf-16" if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
