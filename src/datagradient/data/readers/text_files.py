"""Files of text: whether they can be read at all, their encoding, and their characters."""

import codecs
import contextlib
import gzip
import hashlib
import io
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from datagradient.data.readers.source import fault
from datagradient.errors import UserError

BLOCK = 1 << 20  # bytes read at a time
GZIP = b"\x1f\x8b"
# The longer mark comes first: UTF-32's begins with UTF-16's.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
OTHER_FILES = {
    b"PK\x03\x04": "a zip archive or an Excel file", b"\xd0\xcf\x11\xe0": "an Excel file", b"PAR1": "a Parquet file",
    b"%PDF": "a PDF file", b"\x89PNG": "an image", b"\xff\xd8\xff": "an image",
}  # fmt: skip


@dataclass(frozen=True)
class TextFile:
    """A file of text that has been checked: every byte is a character of the encoding, and none is NUL."""

    path: Path
    encoding: str
    said: tuple[str, ...] = ()

    @contextlib.contextmanager
    def opened(self) -> Iterator[TextIO]:
        """Open the text, line ends as they are."""
        with open_bytes(self.path) as stream, io.TextIOWrapper(stream, self.encoding, newline="") as text:
            yield text


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the system and gzip say of a file that cannot be read into one line."""
    try:
        yield
    except FileNotFoundError:
        raise fault(path, "not found: check the path") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise fault(path, f"is a damaged or incomplete gzip file ({error}): copy or download it again") from None
    except UserError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise fault(path, f"cannot be read ({reason}): check the path and its permissions") from None


def check_file(path: Path) -> None:
    """Refuse whatever is not a file with at least one byte."""
    with reading(path):
        status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise fault(path, "is not a regular file: it is read more than once, so write it into a file first")
    if status.st_size == 0:
        raise fault(path, "is empty: give a file with a header and rows")


def sha256(path: Path) -> str:
    """Return the checksum of a file, in hexadecimal digits."""
    with reading(path), open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file's bytes, unpacked if they are packed by gzip."""
    with reading(path), open(path, "rb") as raw:
        packed = raw.read(2) == GZIP
        raw.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=raw) as stream:
                yield stream
        else:
            yield raw


def check_text(path: Path, encoding: str | None) -> TextFile:
    """Return a file of text, all of whose bytes have been checked.

    Args:
        path: the file, which may be packed by gzip.
        encoding: what the user says; None for what a byte order mark says, and UTF-8 without one.

    Raises:
        UserError: it is missing, empty or damaged; or a byte is no character of the encoding, or NUL.
    """
    check_file(path)
    with open_bytes(path) as stream:
        start = stream.read(4)
    for mark, what in OTHER_FILES.items():
        if start.startswith(mark):
            raise fault(path, f"is {what}, whatever its name says: give a text file, or the right ending")
    mark = next((mark for mark in MARKS if start.startswith(mark)), b"")
    said = ()
    if encoding is None:
        encoding = MARKS[mark] if mark else "utf-8"
        said = (f"a byte order mark was recognised: the encoding is {encoding.removesuffix('-sig')}",) if mark else ()
    else:
        _check_encoding(encoding)
        if mark and codecs.lookup(encoding).name == "utf-8":
            encoding = "utf-8-sig"
    _check_characters(path, encoding)
    return TextFile(path, encoding, said)


def _check_encoding(encoding: str) -> None:
    try:
        codecs.getincrementaldecoder(encoding)
        known = codecs.lookup(encoding)._is_text_encoding  # others turn bytes into bytes
    except (LookupError, ValueError):
        known = False
    if not known:
        raise UserError(f"--encoding is {encoding!r}, which is not known: give e.g. utf-8, cp1252 or utf-16")


def _check_characters(path: Path, encoding: str) -> None:
    """Refuse bytes that are no characters, and NUL, at which readers of CSV end a cell."""
    decoder, consumed, lines = codecs.getincrementaldecoder(encoding)(), 0, 1
    with open_bytes(path) as stream:
        block = None
        while block != b"":
            block = stream.read(BLOCK)
            consumed += len(block)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                before = error.object[: error.start]
                raise _not_text(path, encoding, consumed - len(error.object) + error.start, lines + before.count(b"\n"),
                                error.object[error.start]) from None  # fmt: skip
            except UnicodeError as error:  # what encodings like UTF-16 and IDNA say of other faults
                raise fault(path, f"is not {encoding} ({error}): give --encoding, e.g. cp1252") from None
            nul = text.find("\0")
            if nul >= 0:
                line = lines + text.count("\n", 0, nul)
                hint = "" if encoding.startswith("utf-16") else ", or give --encoding utf-16 if it is that"
                raise fault(path, f"line {line} holds a NUL byte: it is no text file or damaged; remove the byte{hint}")
            lines += text.count("\n")


def _not_text(path: Path, encoding: str, byte: int, line: int, value: int) -> UserError:
    name = "UTF-8" if encoding.startswith("utf-8") else encoding
    remedy = "give --encoding, e.g. cp1252 (Windows) or latin-1" if name == "UTF-8" else "give another --encoding"
    return fault(path, f"byte {byte} (line {line}) is {value:#04x}, which is not {name}: {remedy}")
