"""Inputs of models: vectors, or raw images and token numbers. All fitting uses only the training part."""

import math
import re
import sys
from collections import Counter
from typing import Any

import numpy as np

from datagradient.data.columns import REMEDY, notes, read_columns
from datagradient.data.record import Dataset
from datagradient.errors import UserError

IMAGE_CELLS = 4  # gradients and colours are summarised on a grid of 4 × 4 cells
HOG_ORIENTATIONS = 9  # as in Dalal and Triggs (CVPR 2005)
MIN_DOCUMENTS = 3  # a word in fewer training texts carries little information and costs a column
MAX_WORDS = 30_000  # words with a number of their own; a network may use fewer of them
TEXT_LENGTH = 256  # words; longer texts keep their beginning and end, where reviews state their opinion
PADDING, UNKNOWN = 0, 1
MANY_WORDS, MAX_CATEGORIES = 50, 1000  # per column: more get a note; more than the second share one feature
# Numbers are clipped at this many deviations from the mean: a more extreme one would dominate its part's mean loss.
LIMIT, ROBUST_LIMIT = 1000.0, 10.0
# If a column's deviation falls by this factor without this share of its training values (at least one), the rest sets
# the scale: otherwise one cell of 1e30 among values of about 1 would make all the others nearly equal.
EXTREMES = ((0.01, 10), (0.1, 1000))


def extract(
    dataset: Dataset, parts: dict[str, np.ndarray], said: dict[str, str] | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Return the feature matrix of every part (float32; sparse CSR for texts).

    Guesses and corrections in a table are reported on standard error, unless `quiet`.

    Args:
        dataset: the raw samples.
        parts: row numbers by part name; scales, categories and vocabularies are fitted on ``"train"``.
        said: receives the remarks on columns of a table, by column.

    Raises:
        UserError: there is nothing to learn from: no column is left, or no word is frequent enough.
    """
    if dataset.modality == "table":
        return _tables(dataset, parts, {} if said is None else said, quiet)
    return {"text": _texts, "image": _images}[dataset.modality](dataset, parts)


def raw_inputs(dataset: Dataset, parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the inputs of networks for every part.

    These are uint8 images (n, height, width, channels) or token numbers (n, `TEXT_LENGTH`); nothing for tables,
    whose feature vectors networks use as well.
    """
    raw = {name: dataset.take(rows) for name, rows in parts.items()}
    if dataset.modality == "text":
        return _tokens(raw)
    return raw if dataset.modality == "image" else {}


def _tokens(raw: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """Number the words, most frequent in the training part first; 0 is padding, 1 a word without a number."""
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
    return {name: transformer.transform(samples).astype(np.float32, copy=False) for name, samples in raw.items()}


def _tables(dataset: Dataset, parts: dict[str, np.ndarray], said: dict[str, str], quiet: bool) -> dict[str, np.ndarray]:
    """Standardise numbers and dates, flag missing ones, and one-hot encode words; unseen words become all zeros."""
    columns = read_columns(dataset.samples, dataset.kinds, dataset.where)
    numbers = {column.name: column.values for column in columns if column.kind in ("number", "date")}
    words = {column.name: column.values for column in columns if column.kind == "category"}
    remarks = {name: "no value in the training part → ignored"
               for name, values in numbers.items() if np.isnan(values[parts["train"]]).all()}  # fmt: skip
    numbers = {name: values for name, values in numbers.items() if name not in remarks}
    if not numbers and not words:
        raise UserError(f"{dataset.where}: no column is left to learn from: {notes(columns) or 'all are ignored'}")
    pieces = []
    if numbers:
        pieces.append(_number_features(numbers, parts, remarks))
    if words:
        pieces.append(_word_features(words, parts, remarks))
    lines = [notes(columns), *(f"column {name}: {remark}" for name, remark in remarks.items())]
    for line in filter(None, [] if quiet else lines):
        print(f"{dataset.where}: {line}", file=sys.stderr)
    both = {column.name: [column.note, remarks.get(column.name)] for column in columns}
    said |= {name: "; ".join(filter(None, texts)) for name, texts in both.items() if any(texts)}
    return {name: np.hstack([piece[name] for piece in pieces]) for name in parts}


def _number_features(columns: dict[str, np.ndarray], parts: dict[str, np.ndarray], remarks: dict[str, str]) -> dict:
    """Return standardised numbers, and a 0/1 flag for each column with missing values in the training part.

    Missing values are replaced by the training part's median. Notes on extreme values are added to `remarks`, by
    column.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    table = np.column_stack(list(columns.values()))
    imputer = SimpleImputer(strategy="median", add_indicator=True).fit(table[parts["train"]])
    whole = {name: imputer.transform(table[rows]) for name, rows in parts.items()}
    d = len(columns)
    train = whole["train"][:, :d]
    # The mean of a large constant is inexact; after subtracting the constant the column is exactly 0.
    constant = np.where(np.ptp(train, axis=0) == 0, train[0], 0.0)
    typical = _typical(train - constant)
    scaler = StandardScaler().fit(typical)
    robust = np.isnan(typical).any(axis=0)
    limits = np.where(robust, ROBUST_LIMIT, LIMIT)
    features = {}
    beyond = np.zeros(d, dtype=int)
    for name, values in whole.items():
        scaled = scaler.transform(values[:, :d] - constant)
        beyond += (np.abs(scaled) > limits).sum(axis=0)
        flags = values[:, d:]
        features[name] = np.hstack([np.clip(scaled, -limits, limits), flags]).astype(np.float32)
    for name, *facts in zip(columns, robust, limits, beyond, strict=True):
        if facts[0] or facts[2]:
            remarks[name] = _on_extremes(*facts)
    return features


def _typical(train: np.ndarray) -> np.ndarray:
    """Return numbers (n, d), with NaN for extreme values that would make the others of their column look alike."""
    n, typical = len(train), train.copy()
    distance = np.abs(train - np.median(train, axis=0))
    for share, factor in EXTREMES:
        kept = n - max(1, math.ceil(share * n))
        bound = np.partition(distance, kept - 1, axis=0)[kept - 1]
        rest = np.where(distance > bound, np.nan, train)
        mean, deviation = np.nanmean(rest, axis=0), np.nanstd(rest, axis=0)
        killed = (deviation > 0) & (train.std(axis=0) > factor * deviation)
        near = np.abs(train - mean) <= ROBUST_LIMIT * deviation
        typical[:, killed] = np.where(near, train, np.nan)[:, killed]
    return typical


def _on_extremes(robust: bool, limit: float, beyond: int) -> str:
    scale = (
        "of the typical training values, for the extreme ones would make them all alike" if robust else "of training"
    )
    return f"values more than {limit:g} deviations from the mean ({scale}) count as {limit:g}: {beyond}"


def _word_features(columns: dict[str, np.ndarray], parts: dict[str, np.ndarray], remarks: dict[str, str]) -> dict:
    """Return a 0/1 feature for each word of the training part.

    Words beyond the `MAX_CATEGORIES` most frequent of a column share one feature. Notes on columns with many words are
    added to `remarks`, by column.
    """
    from sklearn.preprocessing import OneHotEncoder

    words = np.column_stack(list(columns.values()))
    one_hot = OneHotEncoder(
        handle_unknown="ignore", sparse_output=False, dtype=np.float32, max_categories=MAX_CATEGORIES + 1
    )
    features = _fit_on_train(one_hot, {name: words[rows] for name, rows in parts.items()})
    for name, categories in zip(columns, one_hot.categories_, strict=True):
        if len(categories) > MANY_WORDS:
            remarks[name] = _on_words(len(categories))
    return features


def _on_words(count: int) -> str:
    what = "a feature for each"
    if count > MAX_CATEGORIES + 1:  # a single remaining word has a feature of its own
        what = f"a feature for each of the {MAX_CATEGORIES} most frequent, and one for the others together"
    return f"{count} different words in the training part → category, {what} ({REMEDY})"


def _texts(dataset: Dataset, parts: dict[str, np.ndarray]) -> dict[str, Any]:
    """Weight words by TF-IDF with a logarithmic count, rows of unit length."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    raw = {name: dataset.take(rows) for name, rows in parts.items()}
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=MIN_DOCUMENTS, dtype=np.float32)
    try:
        return _fit_on_train(vectorizer, raw)
    except ValueError:  # an empty vocabulary; the texts themselves have been checked
        n = len(raw["train"])
        raise UserError(f"{dataset.where}: no word occurs in at least {MIN_DOCUMENTS} of the {n} training texts: "
                        "bring more texts, or longer ones with spaces between words") from None  # fmt: skip


def _images(dataset: Dataset, parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Standardise histograms of oriented gradients, and each cell's mean and deviation by channel."""
    from sklearn.preprocessing import StandardScaler

    statistics = {name: image_statistics(dataset.take(rows)) for name, rows in parts.items()}
    return _fit_on_train(StandardScaler(), statistics)


def image_statistics(images: np.ndarray) -> np.ndarray:
    """Return HOG and colour statistics of uint8 images (n, height, width, channels), one row per image."""
    from skimage.feature import hog

    n, height, width, channels = images.shape
    cell = (height // IMAGE_CELLS, width // IMAGE_CELLS)
    options = {"orientations": HOG_ORIENTATIONS, "pixels_per_cell": cell, "cells_per_block": (2, 2)}
    gradients = np.stack([hog(image, channel_axis=-1, **options) for image in images])
    used = images[:, : cell[0] * IMAGE_CELLS, : cell[1] * IMAGE_CELLS] / 255.0
    cells = used.reshape(n, IMAGE_CELLS, cell[0], IMAGE_CELLS, cell[1], channels)
    colours = [cells.mean(axis=(2, 4)), cells.std(axis=(2, 4))]
    return np.hstack([gradients, *(values.reshape(n, -1) for values in colours)])
