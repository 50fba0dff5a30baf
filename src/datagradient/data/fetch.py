"""Obtaining a source's files from a local copy or the official address; checksums are always verified."""

import contextlib
import hashlib
import http.client
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from datagradient.errors import UserError
from datagradient.files.locks import locked

DATA_VARIABLE = "DATAGRADIENT_DATA"
CACHE_VARIABLE = "DATAGRADIENT_CACHE"
ENDPOINT_VARIABLE = "HF_ENDPOINT"
CHUNK = 1 << 18
TIMEOUT = 60.0  # seconds without an answer, or without a byte
PAUSES = (1.0, 5.0)  # seconds before another attempt, if the failure may be temporary
PASSING = (408, 429, 500, 502, 503, 504)  # status codes of temporary failures


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set's source.

    Attributes:
        path: its path below a local copy, and below our cache.
        url: the official address, pinned to a revision if the host has revisions.
        checksums: accepted checksums, ``{"md5:…" or "sha256:…": name of the file with this checksum}``.
            The first is the official file.
    """

    path: str
    url: str
    checksums: dict[str, str]


@dataclass(frozen=True)
class CheckedFile:
    """A local file whose checksum is one of the accepted ones: its path, the name of the copy, the checksum."""

    path: Path
    copy: str
    checksum: str


def hugging_face(repository: str, revision: str, path: str, checksums: dict[str, str]) -> SourceFile:
    """Return the record of a file in a Hugging Face data set at a pinned revision."""
    host = (os.environ.get(ENDPOINT_VARIABLE) or "https://huggingface.co").rstrip("/")
    return SourceFile(f"{repository}/{path}", f"{host}/datasets/{repository}/resolve/{revision}/{path}", checksums)


def fetch(file: SourceFile) -> CheckedFile:
    """Return a checked local copy of a source file.

    If the environment variable ``DATAGRADIENT_DATA`` is set, the file is read from that folder and
    nothing is downloaded. Otherwise the file is downloaded once into the cache
    (``DATAGRADIENT_CACHE``, by default ``~/.cache/datagradient``), by one process at a time; a broken
    download resumes.

    Raises:
        UserError: the file is missing, its checksum is not one of the accepted ones, or the
            download failed.
    """
    folder = os.environ.get(DATA_VARIABLE)
    if folder:
        return verify(_local(Path(folder) / file.path, file), file)
    path = cache_folder() / file.path
    with _writing(path):
        if not path.is_file():
            download(file, path)
    return verify(path, file)


def _local(path: Path, file: SourceFile) -> Path:
    with _reading(path):
        if path.is_file():
            return path
    raise UserError(
        f"{path}: not found; {DATA_VARIABLE} must name a folder in the layout of the sources "
        f"(unset it to download {file.url})"
    )


def cache_folder() -> Path:
    """Return the folder for downloads; raise UserError if there is no home folder for it."""
    try:
        default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "datagradient"
        return Path(os.environ.get(CACHE_VARIABLE) or default).expanduser()
    except RuntimeError as error:
        raise UserError(f"no folder for downloads ({error}); set {CACHE_VARIABLE} to one") from None


def verify(path: Path, file: SourceFile) -> CheckedFile:
    """Return `path` with the name of its copy; raise UserError if its checksum is unknown."""
    with _reading(path):
        size = path.stat().st_size
        sums = {kind: checksum(path, kind) for kind in {accepted.partition(":")[0] for accepted in file.checksums}}
    for accepted, name in file.checksums.items():
        kind, _, value = accepted.partition(":")
        if sums[kind] == value:
            return CheckedFile(path, name, accepted)
    expected = " or ".join(file.checksums)
    got = ", ".join(f"{kind}:{value}" for kind, value in sums.items())
    raise UserError(
        f"{path}: altered or truncated ({size} bytes): expected {expected}, found {got}; "
        f"replace it by the file at {file.url}"
    )


def checksum(path: Path, kind: str) -> str:
    """Return the hexadecimal checksum of a file; `kind` is ``"md5"`` or ``"sha256"``."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()


def download(file: SourceFile, path: Path) -> None:
    """Download a file and move it to `path` once its checksum is right.

    Processes that need the same file take turns: the first downloads it, the others then find it. An interrupted
    download leaves ``<name>.part``, from which the next call or process continues. A finished download with a wrong
    checksum is deleted.
    """
    if path.is_dir():
        raise UserError(f"{path}: there is a folder in place of the file from {file.url}; move it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(cache_folder() / ".locks" / f"{file.path}.lock", f"download of {file.url}"):
        if not path.is_file():
            _complete(file, path.with_name(path.name + ".part")).replace(path)


def _complete(file: SourceFile, part: Path) -> Path:
    resumed = _size(part) > 0
    _receive(file, part)
    try:
        verify(part, file)
    except UserError:
        part.unlink()
        if not resumed:
            raise
        return _complete(file, part)  # the partial file may belong to another file
    return part


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _receive(file: SourceFile, part: Path) -> None:
    """Download the rest of `part`, with a few more attempts after temporary failures."""
    import requests
    import urllib3

    failures = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError)
    for pause in (*PAUSES, None):
        try:
            return _append_rest(file.url, part)
        except failures as error:
            reason, passing = _reason(error), _may_pass(error)
        if pause is None or not passing:
            break
        print(f"{file.url}: {reason}; next try in {pause:g} s", file=sys.stderr)
        time.sleep(pause)
    raise UserError(f"{file.url}: download failed ({reason}); {_remedy(file, passing)}")


def _append_rest(url: str, part: Path) -> None:
    import requests

    received = _size(part)
    # A range counts the bytes as sent, so they must be those of the file, without compression.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={received}-"} if received else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416 and received:  # nothing left to send: the part is complete, or of another file
            return
        response.raise_for_status()
        start = _start(response, received)
        encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        if received and (start > received or (start and encoded)):  # not the bytes that are missing
            response.close()
            part.unlink()
            return _append_rest(url, part)
        if start > received:
            raise requests.exceptions.InvalidHeader(f"asked for the whole file, was sent bytes from {start} on")
        length = "" if encoded else response.headers.get("Content-Length", "")
        if start:
            os.truncate(part, start)
        with open(part, "ab" if start else "wb") as stream:
            _copy(response.iter_content(CHUNK), stream, url, start + int(length) if length.isdecimal() else 0)


def _start(response, received: int) -> int:
    """Return the position in the file of a response's first byte: 0 if the server ignores the requested range."""
    if response.status_code != 206:
        return 0
    stated = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(stated[1]) if stated else received


def _copy(chunks: Iterator[bytes], stream: IO[bytes], url: str, expected: int) -> None:
    try:
        for chunk in chunks:
            stream.write(chunk)
            share = f"{stream.tell() / expected:4.0%} of " if expected else ""
            print(f"\r{url}: {share}{max(stream.tell(), expected) / 1e6:.1f} MB", end="", file=sys.stderr, flush=True)
    finally:
        print(file=sys.stderr)


def _reason(error: BaseException) -> str:
    """Return in one line what went wrong: the first cause, without the layers of libraries around it."""
    import requests

    if isinstance(error, requests.HTTPError):
        return " ".join(f"HTTP Error {error.response.status_code}: {error.response.reason}".split())
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return " ".join(str(error).split()) or type(error).__name__


def _may_pass(error: Exception) -> bool:
    import requests

    if isinstance(error, requests.HTTPError):
        return error.response.status_code in PASSING
    return isinstance(error, (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError))


def _remedy(file: SourceFile, passing: bool) -> str:
    again = ["run again to resume"] if passing else []
    endpoint = os.environ.get(ENDPOINT_VARIABLE)
    mirror = [f"check {ENDPOINT_VARIABLE}"] if endpoint and file.url.startswith(endpoint.rstrip("/")) else []
    return ", or ".join([*again, *mirror, f"set {DATA_VARIABLE} to a folder that holds {file.path}"])


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise UserError(
            f"{where}: cannot be written ({error.strerror or error}); set {CACHE_VARIABLE} to a folder that can be "
            "written and has space"
        ) from None
