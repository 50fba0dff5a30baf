"""Galleries of the most harmful and the most helpful training samples of one model."""

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from datagradient.data import sets
from datagradient.data.record import Dataset, fingerprint, sample_keys
from datagradient.errors import UserError
from datagradient.files import read_arrays
from datagradient.report.style import STYLE, save

SHOWN = 8  # of each kind
WIDTH, LINES = 78, 3  # characters and lines of a text or a table's row
KINDS = {"harmful": -1, "helpful": 1}


def write_gallery(scores: Path, data: Path, out: Path) -> None:
    """Draw the samples with the largest and the smallest influence to `out` (PNG), and next to it as PDF.

    Args:
        scores: scores.npz of a model.
        data: features.npz that the model was trained on; raw samples are loaded from their source.
        out: path of the PNG file.
    """
    arrays, facts = read_arrays(scores)
    rows, meta = read_arrays(data, "rows_train")
    if (facts["dataset"], facts["seed"]) != (meta["dataset"], meta["seed"]):
        raise UserError(f"{scores}: does not belong to {data}: another data set or seed")
    dataset = sets.load(meta["dataset"])
    if meta.get("samples") != fingerprint(dataset, sample_keys(dataset)):
        raise UserError(
            f"{data}: was prepared from other samples than data set {dataset.name} holds now: prepare it again, then "
            f"train and score: snakemake --cores 1 --force {data} (and the --configfile of the run)"
        )
    order = np.argsort(arrays["influence"], kind="stable")
    chosen = {kind: order[::sign][:SHOWN] for kind, sign in KINDS.items()}
    draw = _images if dataset.modality == "image" else _texts
    with plt.rc_context(STYLE):
        shown = {
            kind: [(place, dataset.take(rows["rows_train"][arrays["positions"][[place]]])) for place in places]
            for kind, places in chosen.items()
        }
        drawing = draw(dataset, shown, arrays, facts["model"])
        save(drawing, out)


def _caption(dataset: Dataset, arrays: dict, place: int) -> str:
    flipped = " (flipped)" if arrays["flipped"][place] else ""
    return f"{dataset.class_names[arrays['labels'][place]]}{flipped}\nI = {arrays['influence'][place]:+.2g}"


def _images(dataset: Dataset, shown: dict, arrays: dict, model: str) -> plt.Figure:
    drawing, axes = plt.subplots(len(shown), SHOWN, figsize=(6.9, 2.7), squeeze=False)
    for strip, (kind, samples) in zip(axes, shown.items(), strict=True):
        for axis, (place, image) in zip(strip, samples, strict=False):
            axis.imshow(image[0].squeeze(), cmap="gray", interpolation="nearest")
            axis.set_title(_caption(dataset, arrays, place), fontsize=6)
        for axis in strip:
            axis.set_axis_off()
        strip[0].text(-0.25, 0.5, f"most {kind}", rotation=90, va="center", ha="right", transform=strip[0].transAxes)
    drawing.suptitle(f"{dataset.title}, {model}: label and influence", fontsize=8)
    return drawing


def _texts(dataset: Dataset, shown: dict, arrays: dict, model: str) -> plt.Figure:
    drawing, axes = plt.subplots(1, len(shown), figsize=(9.5, 0.36 * SHOWN + 0.6))
    for axis, (kind, samples) in zip(axes, shown.items(), strict=True):
        axis.set_axis_off()
        axis.set_title(f"most {kind}", loc="left")
        for line, (place, sample) in enumerate(samples):
            y = 1 - (line + 0.1) / SHOWN
            axis.text(0, y, _caption(dataset, arrays, place), fontsize=5.5, va="top", color="#D55E00")
            axis.text(0.16, y, _in_short(dataset, sample), fontsize=5.5, va="top", parse_math=False)
    drawing.suptitle(f"{dataset.title}, {model}: label, influence, sample", fontsize=8)
    return drawing


def _in_short(dataset: Dataset, sample: object) -> str:
    """Return the beginning of a text, or the columns of a table's row, on a few lines."""
    if dataset.modality == "table":
        row = sample.iloc[0]
        text = ", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
                         for name, value in row.items())  # fmt: skip
    else:
        text = sample[0]
    lines = textwrap.wrap(" ".join(text.split()), WIDTH, max_lines=LINES, placeholder=" …")
    return "\n".join(lines)
