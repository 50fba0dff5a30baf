"""What models take: vectors, or raw images and token numbers. What is fitted, is fitted on the training part."""

import re
from collections import Counter
from typing import Any

import numpy as np

from datagradient.data.record import Dataset

IMAGE_CELLS = 4  # gradients and colours are summarised on a grid of 4 × 4 cells
HOG_ORIENTATIONS = 9  # as in Dalal and Triggs (CVPR 2005)
MIN_DOCUMENTS = 3  # a word in fewer training texts says little and costs a column
MAX_WORDS = 30_000  # with a number of their own; a network may use fewer of them
TEXT_LENGTH = 256  # words; of longer texts the beginning and the end, where reviews say what they think
PADDING, UNKNOWN = 0, 1


def extract(dataset: Dataset, parts: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the feature matrix of every part (float32; sparse CSR for texts).

    Args:
        dataset: the raw samples.
        parts: row numbers by part name; ``"train"`` is the one that scales, categories and
            vocabularies are fitted on.
    """
    prepare = {"table": _tables, "text": _texts, "image": _images}[dataset.modality]
    return prepare({name: dataset.take(rows) for name, rows in parts.items()})


def raw_inputs(dataset: Dataset, parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what networks take of every part: uint8 images (n, height, width, channels) or token numbers
    (n, `TEXT_LENGTH`); nothing for tables, whose vectors networks take too.
    """
    raw = {name: dataset.take(rows) for name, rows in parts.items()}
    if dataset.modality == "text":
        return _tokens(raw)
    return raw if dataset.modality == "image" else {}


def _tokens(raw: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """Number the words, the most frequent of the training part first; 0 is no word, 1 a word without number."""
    words = {name: [re.findall(r"\w+", text.lower()) for text in texts] for name, texts in raw.items()}
    counts = Counter(word for text in words["train"] for word in text)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[:MAX_WORDS]
    numbers = {word: number for number, word in enumerate(ranked, start=UNKNOWN + 1)}
    return {name: np.array([_token_row(text, numbers) for text in texts]) for name, texts in words.items()}


def _token_row(words: list[str], numbers: dict[str, int]) -> np.ndarray:
    half = TEXT_LENGTH // 2
    used = words if len(words) <= TEXT_LENGTH else words[:half] + words[-half:]
    row = np.full(TEXT_LENGTH, PADDING, dtype=np.uint16)
    row[: len(used)] = [numbers.get(word, UNKNOWN) for word in used]
    return row


def _fit_on_train(transformer: Any, raw: dict[str, Any]) -> dict[str, Any]:
    transformer.fit(raw["train"])
    return {name: transformer.transform(samples).astype(np.float32) for name, samples in raw.items()}


def _tables(raw: dict[str, Any]) -> dict[str, np.ndarray]:
    """Standardise numbers and one-hot encode everything else; unseen values become all zeros."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, words = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    transformer = make_column_transformer((StandardScaler(), numbers), (one_hot, words), sparse_threshold=0)
    return _fit_on_train(transformer, raw)


def _texts(raw: dict[str, list[str]]) -> dict[str, Any]:
    """Weigh words by TF-IDF with a logarithmic count, rows of unit length."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=MIN_DOCUMENTS, dtype=np.float32)
    return _fit_on_train(vectorizer, raw)


def _images(raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Standardise histograms of oriented gradients, and each cell's mean and deviation by channel."""
    from sklearn.preprocessing import StandardScaler

    return _fit_on_train(StandardScaler(), {name: image_statistics(images) for name, images in raw.items()})


def image_statistics(images: np.ndarray) -> np.ndarray:
    """Return HOG and colour statistics of uint8 images (n, height, width, channels), one row an image."""
    from skimage.feature import hog

    n, height, width, channels = images.shape
    cell = (height // IMAGE_CELLS, width // IMAGE_CELLS)
    options = {"orientations": HOG_ORIENTATIONS, "pixels_per_cell": cell, "cells_per_block": (2, 2)}
    gradients = np.stack([hog(image, channel_axis=-1, **options) for image in images])
    used = images[:, : cell[0] * IMAGE_CELLS, : cell[1] * IMAGE_CELLS] / 255.0
    cells = used.reshape(n, IMAGE_CELLS, cell[0], IMAGE_CELLS, cell[1], channels)
    colours = [cells.mean(axis=(2, 4)), cells.std(axis=(2, 4))]
    return np.hstack([gradients, *(values.reshape(n, -1) for values in colours)])
