"""Random generators, derived from a run's seed and a purpose, and passed explicitly."""

import hashlib

import numpy as np


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """Return the random generator of one purpose within the run of one seed.

    Two purposes never share a stream, so a new use of randomness in one place
    does not change the others. The global generators are never used.

    Args:
        seed: the run's seed, as in the configuration.
        purpose: words and numbers that identify the use, e.g. ``"noise", 0.2``.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    entropy = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=np.uint32)
    return np.random.default_rng(entropy)


def integer_seed(seed: int, *purpose: object) -> int:
    """Return an integer seed in [0, 2**31), for libraries that need one; otherwise like `generator`."""
    return int(generator(seed, *purpose).integers(2**31))
