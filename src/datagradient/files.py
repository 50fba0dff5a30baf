"""Reading and writing result files: atomic writes, and errors that name the job to run again."""

import contextlib
import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from datagradient.errors import UserError

# Which job of the workflow writes a file of this name.
MADE_BY = {
    "features.npz": "prepare",
    "data.json": "prepare",
    "labels.npz": "noise",
    "kept.npz": "prune or control",
    "removed.csv": "prune or control",
    "model.npz": "train",
    "predictions.npz": "train",
    "quality.npz": "cross_validate",
    "cross_validate.json": "cross_validate",
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
    "config.json": "configuration",
    "tests.csv": "statistics",
    "iterations.csv": "statistics",
    "costs.csv": "statistics",
    "pooled.csv": "statistics",
    "rounds.csv": "statistics",
    "safety.csv": "statistics",
    "tracking.csv": "statistics",
    "claims.json": "claims",
    "direction.npz": "direction",
    "scalability.csv": "scalability_table",
    "slopes.csv": "scalability_table",
    "row.json": "scalability",
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
}


@contextlib.contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO]:
    """Open a temporary file beside `path` and rename it onto `path` when the block succeeds.

    A reader, or a run after a kill, finds the old file or the new one and never a part of one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for scrap in path.parent.glob(f".{path.name}.*.tmp"):
        scrap.unlink()  # of a job that was killed; one job writes a file at a time
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
        with open(temporary, mode, **text) as stream:
            yield stream
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any failure to read a result file into an error that says how to make the file again."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: not found; {_remedy(path)}") from None
    except Exception as error:  # zip, JSON and NumPy each have their own exceptions for a damaged file
        raise UserError(f"{path}: cannot be read ({type(error).__name__}: {error}); {_remedy(path)}") from None


def _remedy(path: Path) -> str:
    job = MADE_BY.get(Path(path).name)
    made = f"it is made by the job '{job}'" if job else "it is made by a job of the workflow"
    return f"{made}; make it again with: snakemake --cores 1 --force {path} (and the --configfile of the run)"


def write_json(path: Path, content: dict) -> None:
    """Write a dict as JSON with sorted keys, so equal content gives equal bytes."""
    with replacing(path) as stream:
        json.dump(content, stream, indent=1, sort_keys=True)
        stream.write("\n")


def read_json(path: Path, *needed: str) -> dict:
    """Read a JSON result file that has the needed keys; raises UserError naming the job to run again."""
    with reading(path), open(path, encoding="utf-8") as stream:
        content = json.load(stream)
        for key in needed:
            content[key]
        return content


def write_arrays(path: Path, meta: dict | None = None, **arrays: Any) -> None:
    """Write arrays (dense, or scipy.sparse CSR) and a dict of facts about them as one ``.npz`` file."""
    flat: dict[str, np.ndarray] = {}
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
    """Read the named arrays (all of them without names) and the facts: ``(arrays, meta)``.

    Nothing is unpickled. Only the arrays asked for are read from the disk.
    """
    with reading(path), np.load(path, allow_pickle=False) as archive:
        stored = [name for name in archive.files if name != "meta"]
        wanted = names or tuple(dict.fromkeys(_base_name(name) for name in stored))
        return {name: _read_one(archive, name) for name in wanted}, json.loads(str(archive["meta"]))


def read_meta(path: Path) -> dict:
    """Read the facts about the arrays of a file alone."""
    with reading(path), np.load(path, allow_pickle=False) as archive:
        return json.loads(str(archive["meta"]))


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
    """Write dicts as CSV with the given columns; a key that is no column is an error."""
    with replacing(path) as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV as dicts of strings; raises UserError naming the job to run again."""
    with reading(path), open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
