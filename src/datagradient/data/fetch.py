"""Getting a source's files: from a local copy or from the official address, always checked."""

import hashlib
import os
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from datagradient.errors import UserError

DATA_VARIABLE = "DATAGRADIENT_DATA"
CACHE_VARIABLE = "DATAGRADIENT_CACHE"
CHUNK = 1 << 20


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set's source.

    Attributes:
        path: where it lies below a local copy, and below our cache.
        url: the official address, pinned to a revision where the host has revisions.
        checksums: accepted checksums, ``{"md5:…" or "sha256:…": what a file with this sum is called}``.
            The first is the official file.
    """

    path: str
    url: str
    checksums: dict[str, str]


@dataclass(frozen=True)
class CheckedFile:
    """A local file whose checksum is one of the accepted ones: its path, the copy that it is, the checksum."""

    path: Path
    copy: str
    checksum: str


def hugging_face(repository: str, revision: str, path: str, checksums: dict[str, str]) -> SourceFile:
    """Return the record of a file in a Hugging Face data set at a pinned revision."""
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    return SourceFile(f"{repository}/{path}", f"{host}/datasets/{repository}/resolve/{revision}/{path}", checksums)


def fetch(file: SourceFile) -> CheckedFile:
    """Return a checked local copy of a source file.

    With the environment variable ``DATAGRADIENT_DATA`` the file is read below that folder and
    nothing is downloaded. Without it the file is downloaded once into the cache
    (``DATAGRADIENT_CACHE``, by default ``~/.cache/datagradient``); a broken download resumes.

    Raises:
        UserError: the file is missing, its checksum is none of the accepted ones, or the
            download failed.
    """
    folder = os.environ.get(DATA_VARIABLE)
    if folder:
        path = Path(folder) / file.path
        if not path.is_file():
            raise UserError(
                f"{path}: not found; {DATA_VARIABLE} must name a folder in the layout of the sources "
                f"(unset it to download {file.url})"
            )
        return verify(path, file)
    path = cache_folder() / file.path
    if not path.is_file():
        download(file, path)
    return verify(path, file)


def cache_folder() -> Path:
    """Return the folder that downloads are kept in."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "datagradient"
    return Path(os.environ.get(CACHE_VARIABLE, default))


def verify(path: Path, file: SourceFile) -> CheckedFile:
    """Return `path` with the name of the copy that it is; raise UserError when its checksum is unknown."""
    found = {kind: checksum(path, kind) for kind in {accepted.partition(":")[0] for accepted in file.checksums}}
    for accepted, name in file.checksums.items():
        kind, _, value = accepted.partition(":")
        if found[kind] == value:
            return CheckedFile(path, name, accepted)
    expected = " or ".join(file.checksums)
    got = ", ".join(f"{kind}:{value}" for kind, value in found.items())
    raise UserError(
        f"{path}: altered or truncated ({path.stat().st_size} bytes): expected {expected}, found {got}; "
        f"replace it by the file at {file.url}"
    )


def checksum(path: Path, kind: str) -> str:
    """Return the hexadecimal checksum of a file; `kind` is ``"md5"`` or ``"sha256"``."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()


def download(file: SourceFile, path: Path) -> None:
    """Download a file and move it to `path` once its checksum is right.

    An interrupted download leaves ``<name>.part``, from which the next call goes on. A finished
    download with a wrong checksum is deleted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        _append_rest(file.url, part)
    except (urllib.error.URLError, OSError) as error:
        raise UserError(
            f"{file.url}: download failed ({error}); run again to resume, or set {DATA_VARIABLE} to a folder "
            f"that holds {file.path}"
        ) from None
    try:
        verify(part, file)
    except UserError:
        part.unlink()
        raise
    part.replace(path)


def _append_rest(url: str, part: Path) -> None:
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # nothing is left to send: the part is whole, or not this file
            return
        raise
    with response:
        resumed = response.status == 206
        expected = (done if resumed else 0) + int(response.headers.get("Content-Length") or 0)
        with open(part, "ab" if resumed else "wb") as stream:
            while chunk := response.read(CHUNK):
                stream.write(chunk)
                _progress(url, stream.tell(), expected)
    if part.stat().st_size < expected:
        raise OSError(f"connection closed after {part.stat().st_size} of {expected} bytes")


def _progress(url: str, done: int, expected: int) -> None:
    share = f"{done / expected:4.0%} of " if expected else ""
    print(f"\r{url}: {share}{max(done, expected) / 1e6:.1f} MB", end="", file=sys.stderr, flush=True)
    if done >= expected:
        print(file=sys.stderr)
