"""Random generators, derived from a run's seed and a purpose, and handed over."""

import hashlib

import numpy as np


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """Return the random generator of one purpose within the run of one seed.

    Two purposes never share a stream, so adding a use of randomness in one place
    leaves every other place as it was. The global generators are never touched.

    Args:
        seed: the run's seed, as in the configuration.
        purpose: words and numbers that name the use, e.g. ``"noise", 0.2``.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    entropy = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=np.uint32)
    return np.random.default_rng(entropy)


def integer_seed(seed: int, *purpose: object) -> int:
    """Like `generator`, for libraries that take an integer in [0, 2**31)."""
    return int(generator(seed, *purpose).integers(2**31))
