"""A folder of images with changes: a copy without the images left out, others in the folder of another class."""

import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path, PurePosixPath

from datagradient.auditing.plan import Changes
from datagradient.data.readers.image_folders import JUNK, find_images
from datagradient.data.readers.source import counted, expressible, listed
from datagradient.files import replacing_folder


def rewrite_images(path: Path, changes: Changes, out: Path) -> list[str]:
    """Copy a folder of images with changes, and say what else happened.

    Files that are no images are copied, too. Hidden files, those that systems leave behind and links are not, but of a
    link to an image inside the folder, which is a sample, the image. An image of another class keeps its path below
    the folder of the class; if there is or was a file of this name, it gets a number.

    Args:
        path: the folder.
        changes: of its images, in the order of their paths.
        out: the new folder.

    Raises:
        UserError: the new folder cannot be written.
    """
    found = find_images(path)
    others = sorted(_others(path, set(found.images)))
    taken = {name.casefold() for name in (*found.images, *others)}
    names = {name: name for name in others}
    renamed = []
    for row, name in enumerate(found.images):
        if not changes.kept[row]:
            continue
        new = name
        if row in changes.labels:
            wanted = f"{changes.labels[row]}/{name.partition('/')[2]}"
            new = next(other for other in _numbered(wanted) if other.casefold() not in taken)
            taken.add(new.casefold())
            if new != wanted:
                renamed.append(f"{name} → {new}")
        names[name] = new
    with replacing_folder(out) as folder:
        for name, new in names.items():
            (folder / new).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path / name, folder / new)
    said = []
    if renamed:
        said.append(f"{counted(len(renamed), 'file')} got a number, as the name was taken: {listed(renamed)}")
    if others:
        verb = "was" if len(others) == 1 else "were"
        said.append(f"{counted(len(others), 'other file')} {verb} copied, too: {listed(map(expressible, others))}")
    left = sorted([*found.junk, *found.links])
    if left:
        said.append(f"hidden files, files of the system and links were not copied: {listed(map(expressible, left))}")
    return said


def _numbered(name: str) -> Iterator[str]:
    """Yield a path, and then the path with -2, -3, … before the ending."""
    yield name
    path = PurePosixPath(name)
    yield from (str(path.with_name(f"{path.stem}-{number}{path.suffix}")) for number in count(2))


def _others(folder: Path, images: set[str]) -> Iterator[str]:
    """Yield the paths of files that are no samples, relative to the folder."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _left_out(Path(place, name))]
        for name in files:
            file = Path(place, name)
            path = file.relative_to(folder).as_posix()
            if path not in images and file.is_file() and not _left_out(file):
                yield path


def _left_out(path: Path) -> bool:
    return path.name.startswith(".") or path.name in JUNK or path.is_symlink()
