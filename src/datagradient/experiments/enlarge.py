"""More images than a data set has, by mirroring and shifting. They only measure cost, never accuracy."""

from collections.abc import Iterator

import numpy as np

from datagradient.errors import UserError


def variant(images: np.ndarray, number: int) -> np.ndarray:
    """Return one variant of images (n, height, width, channels).

    Variant 0 is the images themselves; odd variants are mirrored; 2 and 3 are shifted down by one pixel, 4 and 5 by
    two, and so on. Shifts are circular.
    """
    shifted = np.roll(images, number // 2, axis=1)
    return shifted[:, :, ::-1] if number % 2 else shifted


def batches(inputs: np.ndarray, labels: np.ndarray, n: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield n samples with labels, at most `size` at a time: the given ones, then their variants one after another.

    Raises:
        UserError: n exceeds the number of samples, and they are not images or the variants would repeat.
    """
    have, is_image = len(labels), inputs.ndim == 4
    most = have * 2 * inputs.shape[1] if is_image else have
    if n > most:
        raise UserError(f"{n} samples are wanted, and there are {most}" + " with variants" * is_image)
    for start in range(0, n, size):
        numbers = np.arange(start, min(start + size, n))
        parts = []
        for k in range(numbers[0] // have, numbers[-1] // have + 1):
            rows = numbers[numbers // have == k] % have
            parts.append(inputs[rows] if k == 0 else variant(inputs[rows], k))
        yield (parts[0] if len(parts) == 1 else np.concatenate(parts)), labels[numbers % have]


def enlarged(inputs: np.ndarray, labels: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the n samples with labels of `batches` in one piece."""
    if n <= len(labels):
        return inputs[:n], labels[:n]
    samples, place = np.empty((n, *inputs.shape[1:]), inputs.dtype), 0
    for part, _ in batches(inputs, labels, n, len(labels)):
        samples[place : place + len(part)] = part
        place += len(part)
    return samples, labels[np.arange(n) % len(labels)]
