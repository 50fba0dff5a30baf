"""A folder of images with one subfolder for each class."""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np

from datagradient.data.readers.assembly import Content
from datagradient.data.readers.images import Picture, read_pictures
from datagradient.data.readers.samples import Samples
from datagradient.data.readers.source import ReadOptions, Source, check_kind, counted, expressible, fault, listed
from datagradient.data.readers.targets import Labels, order_of
from datagradient.data.readers.text_files import reading, sha256

ENDINGS = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".avif", ".pbm",
           ".pgm", ".ppm", ".pnm"}  # fmt: skip
JUNK = {"__MACOSX", "Thumbs.db", "desktop.ini"}  # besides hidden files


@dataclass
class Found:
    """Files of one folder, and what was left out.

    Attributes:
        images: paths of images relative to the folder, with ``/``; by path, so that no file system decides their order.
        junk: names of files and folders that systems and programs leave behind.
        links: symbolic links that are not followed.
        endings: of files that are no images, counted.
        loose: number of images that are in no subfolder.
        empty: subfolders without images.
    """

    images: list[str] = field(default_factory=list)
    junk: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    endings: Counter = field(default_factory=Counter)
    loose: int = 0
    empty: list[str] = field(default_factory=list)


def read_image_folder(folder: Path, options: ReadOptions, first: Source | None) -> Content:
    """Read the images of a folder; the names of its subfolders are the classes.

    Args:
        folder: the folder.
        options: none of those for columns.
        first: the source of a first folder, whose size of images this one gets.

    Raises:
        UserError: an option for columns is given, or no image can be read.
    """
    where, found = str(folder), find_images(folder)
    if not found.images:
        raise fault(where, "is a folder without subfolders of images, and no data set saved by Hugging Face datasets: "
                           "give one subfolder of images for each class, or a file")  # fmt: skip
    given = [name for name in ("target", "id", "text", "trusted_column") if getattr(options, name) is not None]
    if given or options.drop:
        name = (given or ["drop"])[0].replace("_", "-")
        raise fault(
            where, f"--{name} is for tables; of a folder of images the subfolders are the classes: leave it out"
        )
    check_kind("image", first, where)
    labels, names = _labels(found, where), [expressible(path) for path in found.images]
    reasons = {number: "has a name that is not UTF-8: rename it"
               for number, path in enumerate(found.images) if names[number] != path}  # fmt: skip
    pictures = [Picture(repr(name), folder / path) for name, path in zip(names, found.images, strict=True)]
    shape = None if first is None else first.dataset.samples.shape[1:]
    read = read_pictures(pictures, where, shape, reasons)
    facts = {"path": where, "format": "image folder", "sha256": checksum(folder, found.images), "rows": len(names),
             "size": list(read.images.shape[1:]), "columns": []}  # fmt: skip
    samples = Samples("image", read.images, read.reasons, said=read.said)
    title = folder.resolve().name
    return Content(where, title, "the subfolders", labels, samples, facts, _on_files(found), names)


def find_images(folder: Path) -> Found:
    """Return the images in the subfolders of a folder. Links to folders, and out of the folder, are not followed."""
    found, root = Found(), folder.resolve()
    with reading(folder):
        _search(folder, "", root, found)
    found.images.sort()
    found.junk.sort()
    found.links.sort()
    with_images = {path.partition("/")[0] for path in found.images}
    found.empty = sorted(set(found.empty) - with_images)
    return found


def _search(folder: Path, below: str, root: Path, found: Found) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{below}{entry.name}"
            if entry.name.startswith(".") or entry.name in JUNK:
                found.junk.append(path)
            elif entry.is_symlink() and not _is_file_inside(entry, root):
                found.links.append(path)
            elif entry.is_dir(follow_symlinks=False):
                if not below:
                    found.empty.append(entry.name)
                _search(Path(entry.path), f"{path}/", root, found)
            elif not _may_be_image(entry):
                found.endings[PurePath(entry.name).suffix.lower() or "no ending"] += 1
            elif below:
                found.images.append(path)
            elif PurePath(entry.name).suffix:
                found.loose += 1


def _is_file_inside(link: os.DirEntry, root: Path) -> bool:
    """Return whether a link leads to a file in the folder; one that leads to nothing there is a damaged image."""
    try:
        return not link.is_dir() and Path(link.path).resolve(strict=False).is_relative_to(root)
    except (OSError, RuntimeError):  # a loop of links
        return False


def _may_be_image(entry: os.DirEntry) -> bool:
    is_file = entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    return is_file and PurePath(entry.name).suffix.lower() in ENDINGS | {""}


def _labels(found: Found, where: str) -> Labels:
    folders = [path.partition("/")[0] for path in found.images]
    names = sorted(set(folders))
    for name in names:
        if not name.strip() or expressible(name) != name:
            raise fault(where, f"the subfolder {name!r} has a name that is no text in UTF-8: rename it")
    names = [names[place] for place in order_of(names)]
    place = {name: number for number, name in enumerate(names)}
    return Labels(np.array([place[name] for name in folders]), tuple(names), tuple(names))


def _on_files(found: Found) -> list[str]:
    said = []
    if found.loose:
        said.append(f"{counted(found.loose, 'image')} directly in the folder, in no class: left out")
    if found.empty:
        said.append(f"subfolders without images are no classes: {listed(map(expressible, found.empty))}")
    if found.junk:
        said.append(f"hidden files and files of the system were left out: {listed(map(expressible, found.junk))}")
    if found.links:
        said.append("symbolic links to folders, or out of the folder, were not followed: "
                    f"{listed(map(expressible, found.links))}")  # fmt: skip
    if found.endings:
        kinds = ", ".join(f"{count} {ending}" for ending, count in sorted(found.endings.items()))
        said.append(f"files that are no images were left out: {expressible(kinds)}")
    return said


def checksum(folder: Path, paths: list[str]) -> str:
    """Return the checksum of the names and contents of the images."""
    digest = hashlib.sha256()
    for path in paths:
        name = os.fsencode(path)
        try:
            content = sha256(folder / path)
        except ValueError:  # set aside
            content = ""
        digest.update(b"%d:%s:%s;" % (len(name), name, content.encode()))
    return digest.hexdigest()
