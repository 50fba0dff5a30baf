import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).parents[1]
# The same examples on every machine, and no clock: a slow machine fails no test.
settings.register_profile("tests", deadline=None, derandomize=True, database=None)
settings.load_profile("tests")


@pytest.fixture
def random():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def real_data():
    """The folder of local copies of the real data sets; without one the test is skipped."""
    if not os.environ.get("DATAGRADIENT_DATA"):
        pytest.skip("DATAGRADIENT_DATA is not set: no local copy of the real data sets")
    return os.environ["DATAGRADIENT_DATA"]


def blobs(random, n, d, n_classes, spread=1.5):
    """Gaussian classes that overlap, so that a logistic fit is well posed: features (n, d), labels (n,)."""
    centres = random.normal(size=(n_classes, d))
    labels = np.arange(n) % n_classes
    return centres[labels] + spread * random.normal(size=(n, d)), labels
