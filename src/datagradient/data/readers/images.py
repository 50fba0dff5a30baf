"""Pictures of any size and mode as one array of the pixels that a person sees."""

import functools
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.data.checks import SMALLEST_IMAGE
from datagradient.data.readers.source import fault
from datagradient.errors import one_line

LARGEST_SIDE = 64  # pixels
# Formats that Pillow reads by itself: others, such as EPS, start programs.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF")
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF: orientations that swap height and width


@dataclass(frozen=True)
class Picture:
    """An encoded image: its name in messages, and its bytes, or the file that holds them; None if there are none."""

    name: str
    content: bytes | Path | None


@dataclass
class Pictures:
    """Decoded images.

    Attributes:
        images: uint8 (n, height, width, channels), black where a picture could not be read.
        reasons: by number of a picture that could not be read, why.
        said: how the images were resized.
    """

    images: np.ndarray
    reasons: dict[int, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def read_pictures(
    pictures: Sequence[Picture], where: str, shape: tuple[int, ...] | None = None, reasons: dict[int, str] | None = None
) -> Pictures:
    """Decode pictures and bring them to one size, grey if all of them are.

    Args:
        pictures: n pictures.
        where: the file or folder in messages.
        shape: height, width and channels of the images of a first file, which these get.
        reasons: by number of a picture that is not to be read, why.

    Raises:
        UserError: none of them can be read.
    """
    reasons = dict(reasons or {})
    sizes = dict(_each(_size, pictures, reasons))
    while True:
        usable = [number for number in sizes if number not in reasons]
        if not usable:
            first = min(reasons, default=0)
            shown = f", the first is {pictures[first].name}: {reasons[first]}" if reasons else ""
            raise fault(where, f"holds no image that can be read{shown}")
        size = shape[:2] if shape else common_size([sizes[number] for number in usable])
        images = np.zeros((len(pictures), *size, 3), dtype=np.uint8)
        found = []
        for number, pixels in _each(functools.partial(_pixels, size=size), pictures, reasons):
            images[number] = pixels
            found.append(number)
        if len(found) == len(usable) or (found and shape):
            break  # otherwise those that turned out to be damaged may have decided about the size
    images, said = _coloured(images, None if shape is None else shape[2])
    return Pictures(images, reasons, [*_on_size([sizes[number] for number in found], size), *said])


def common_size(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Return height and width of all images, from those that they have.

    Images of one size keep it, or are scaled so that the longer side has `LARGEST_SIDE` pixels. Others become squares
    whose side is the median of their shorter sides, at most `LARGEST_SIDE`: stretched, for a border would look like an
    edge to gradients and networks.
    """
    if len(set(sizes)) == 1:
        scale = min(1.0, LARGEST_SIDE / max(sizes[0]))
        return tuple(max(SMALLEST_IMAGE, round(scale * side)) for side in sizes[0])
    side = int(np.median([min(size) for size in sizes]))
    side = min(LARGEST_SIDE, max(SMALLEST_IMAGE, side))
    return side, side


def _each(work: Callable[[Picture], Any], pictures: Sequence[Picture], reasons: dict[int, str]) -> Iterator[tuple]:
    """Yield number and result of some work for the pictures without a reason; note why it fails for others."""
    from PIL import Image, UnidentifiedImageError

    for number, picture in enumerate(pictures):
        if number in reasons:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            try:
                result = work(picture)
            except (Image.DecompressionBombWarning, Image.DecompressionBombError):
                reasons[number] = f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
            except UnidentifiedImageError:
                reasons[number] = "no image of a known format"
            except Exception as error:  # Pillow raises nearly anything for a damaged file
                words = getattr(error, "strerror", None) or str(error) or type(error).__name__
                reasons[number] = f"cannot be read ({one_line(words)})"
            else:
                yield number, result


def _open(picture: Picture) -> Any:
    from PIL import Image

    if isinstance(picture.content, Path):
        if picture.content.stat().st_size == 0:
            raise OSError("the file is empty")
        stream = picture.content
    elif picture.content:
        stream = io.BytesIO(picture.content)
    else:
        raise OSError("there are no bytes")
    Image.init()
    return Image.open(stream, formats=[name for name in FORMATS if name in Image.OPEN])


def _size(picture: Picture) -> tuple[int, int]:
    """Return height and width as a person sees them, without decoding."""
    with _open(picture) as image:
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        return image.size if turned else image.size[::-1]


def _pixels(picture: Picture, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels (height, width, 3) of a picture."""
    from PIL import Image

    with _open(picture) as image:
        image.draft(None, (2 * max(size),) * 2)  # decodes a large JPEG at a fraction of its size
        seen = as_seen(image)
        if seen.size != size[::-1]:
            seen = seen.resize(size[::-1], Image.Resampling.BILINEAR, reducing_gap=3.0)
        return np.asarray(seen)


def as_seen(image: Any) -> Any:
    """Return an image of Pillow in RGB, upright, on white where it is transparent, 16 bits scaled to 8."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_scaled(np.asarray(image, dtype=np.float64), image.mode)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _scaled(values: np.ndarray, mode: str) -> np.ndarray:
    """Return grey values as bytes; 16 bits run to 65,535, and other numbers from their lowest to their highest."""
    values = np.where(np.isfinite(values), values, 0.0)
    low, high = values.min(), values.max()
    if mode.startswith("I;16") or (mode == "I" and low >= 0 and 255 < high <= 65_535):
        values = values / 257
    elif low < 0 or high > 255 or (mode == "F" and high <= 1):
        low = min(low, 0.0) if high <= 1 else low
        values = (values - low) / ((high - low) or 1.0) * 255 if high > 1 or low < 0 else values * 255
    return np.round(values).astype(np.uint8)


def _coloured(images: np.ndarray, channels: int | None) -> tuple[np.ndarray, list[str]]:
    """Return images with one channel if all are grey or should be, otherwise with three."""
    grey = (images[..., 0] == images[..., 1]).all() and (images[..., 1] == images[..., 2]).all()
    if channels == 3 or (channels is None and not grey):
        return images, []
    if grey:
        return np.ascontiguousarray(images[..., :1]), []
    weights = np.array([0.299, 0.587, 0.114])  # of brightness, ITU-R BT.601
    return np.round(images @ weights).astype(np.uint8)[..., None], ["colours were turned to grey, as in the first file"]


def _on_size(sizes: list[tuple[int, int]], size: tuple[int, int]) -> list[str]:
    if set(sizes) == {tuple(size)}:
        return []
    resized = f"{size[0]} × {size[1]} pixels (height × width)"
    if len(set(sizes)) == 1:
        return [f"images of {sizes[0][0]} × {sizes[0][1]} were resized to {resized}"]
    sides = [side for both in sizes for side in both]
    return [f"images of {len(set(sizes))} sizes, with sides of {min(sides)} to {max(sides)} pixels, were resized to "
            f"{resized}, whatever their proportions"]  # fmt: skip
