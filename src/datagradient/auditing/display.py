"""Samples as a page shows them: pictures, texts with the words that count, cells with unusual values marked."""

import base64
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from datagradient.data.columns import read_columns
from datagradient.data.record import Dataset

LONGEST_TEXT = 3000  # characters of a text that are shown
RARE = 0.01  # share of the rows below which a value is unusual, at either end for numbers
NEAR = 3  # neighbours of each kind
POOL = 5000  # rows among which helpful neighbours are looked for
MIN_COUNT = 3  # texts with a word, for it to count


def show(dataset: Dataset, positions: Sequence[int], given: np.ndarray, suggested: np.ndarray) -> list[dict[str, Any]]:
    """Return what a page shows of some rows.

    Args:
        dataset: the data set.
        positions: k rows of it.
        given: (k,) their labels.
        suggested: (k,) the labels that models suggest instead; where it is the given one, any other label counts.
    """
    if dataset.modality == "image":
        return [{"kind": "image", "src": picture(dataset.samples[place])} for place in positions]
    if dataset.modality == "text":
        return _texts(dataset, positions, given, suggested)
    return _cells(dataset, positions)


def picture(image: np.ndarray) -> str:
    """Return a uint8 image (height, width, channels) as the address of a PNG inside a page."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _texts(dataset: Dataset, positions: Sequence[int], given: np.ndarray, suggested: np.ndarray) -> list[dict]:
    """Weight the words of texts by how much more often they occur in the given class than in the suggested one.

    The weight is the difference of the classes' log-frequencies of the word, the number of texts with it plus one, cut
    at ±3 and divided by 3.
    """
    classes = len(dataset.class_names)
    words = [set(re.findall(r"\w+", text.lower())) for text in dataset.samples]
    counts = [Counter[str]() for _ in range(classes)]
    for found, label in zip(words, dataset.labels, strict=True):
        counts[label].update(found)
    sizes = np.bincount(dataset.labels, minlength=classes)
    everywhere = sum(counts, Counter[str]())

    def weight(word: str, ours: int, theirs: int) -> float:
        if everywhere[word] < MIN_COUNT:
            return 0.0
        other, size = (counts[theirs][word], sizes[theirs]) if theirs != ours else (
            everywhere[word] - counts[ours][word], len(words) - sizes[ours])  # fmt: skip
        return float(np.clip(np.log((counts[ours][word] + 1) / (sizes[ours] + 2))
                             - np.log((other + 1) / (size + 2)), -3, 3) / 3)  # fmt: skip

    shown = []
    for place, ours, theirs in zip(positions, given, suggested, strict=True):
        text = dataset.samples[place]
        pieces = re.findall(r"\w+|\W+", text[:LONGEST_TEXT]) + (["…"] if len(text) > LONGEST_TEXT else [])
        shown.append({"kind": "text", "parts": [
            [piece, round(weight(piece.lower(), ours, theirs), 2) if re.match(r"\w", piece) else 0.0]
            for piece in pieces]})  # fmt: skip
    return shown


def _cells(dataset: Dataset, positions: Sequence[int]) -> list[dict]:
    """Show every column's value of some rows, and say in words where it is unusual."""
    columns = read_columns(dataset.samples, dataset.kinds, dataset.where)
    shown: list[list[dict]] = [[] for _ in positions]
    for column in columns:
        values = dataset.samples[column.name].iloc[list(positions)].tolist()
        for cells, value, remark in zip(shown, values, _remarks(column, positions), strict=True):
            cells.append({"name": column.name, "value": _value(value), "unusual": remark})
    return [{"kind": "table", "cells": cells} for cells in shown]


def _value(value: Any) -> str:
    """Return a cell in words: numbers with six digits, and all those before the decimal point."""
    if value is None or value != value:  # noqa: PLR0124, NaN differs from itself
        return "missing"
    if not isinstance(value, float) or math.isinf(value):
        return str(value)
    is_long = value.is_integer() or abs(value) >= 1e6
    return f"{value:.0f}" if is_long and abs(value) < 1e15 else f"{value:.6g}"


def _remarks(column: Any, positions: Sequence[int]) -> list[str]:
    if column.values is None:
        return ["left out" for _ in positions]
    if column.kind == "category":
        counts = Counter(column.values.tolist())
        few = RARE * len(column.values)
        absent = f"in {counts[None]} of {len(column.values)} rows"
        return [f"rare: {counts[value]} of {len(column.values)} rows" if value is not None and counts[value] <= few else
                absent if value is None else "" for value in column.values[list(positions)]]  # fmt: skip
    low, high = np.nanquantile(column.values, [RARE, 1 - RARE])
    absent, few = f"in {int(np.isnan(column.values).sum())} of {len(column.values)} rows", f"{100 * RARE:.0f} %"
    return [absent if np.isnan(value) else f"among the smallest {few}" if value < low else
            f"among the largest {few}" if value > high else "" for value in column.values[list(positions)]]  # fmt: skip


def nearest(features: Any, rows: np.ndarray, pool: np.ndarray) -> list[list[tuple[int, float]]]:
    """Return for each of some rows the `NEAR` nearest others of a pool, with their distances.

    Args:
        features: (n, d) of all rows.
        rows: positions of those whose neighbours are wanted.
        pool: positions of the candidates.
    """
    from sklearn.neighbors import NearestNeighbors

    if not len(pool) or not len(rows):
        return [[] for _ in rows]
    search = NearestNeighbors(n_neighbors=min(NEAR + 1, len(pool))).fit(features[pool])
    distances, found = search.kneighbors(features[rows])
    return [
        [(int(pool[place]), float(distance)) for place, distance in zip(places, far, strict=True) if pool[place] != row]
        [:NEAR]
        for row, places, far in zip(rows, found, distances, strict=True)
    ]  # fmt: skip
