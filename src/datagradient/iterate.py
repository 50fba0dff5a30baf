"""All iterations of a model family on a data set, in one process: which steps they take, and the files of each."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from datagradient import layout
from datagradient.config import model_settings

Step = tuple[str, argparse.Namespace]


def steps(config: dict, root: Path, dataset: str, model: str) -> Iterator[Step]:
    """Yield the commands of all iterations, in order, each with its arguments.

    The unrefined models are trained, evaluated and scored, and their labels cross-validated where a policy asks for it.
    Then, in each iteration, samples are removed by the scores of the one before, and models trained again. Models of
    one seed follow on each other, so that their prepared data are read once. Last, the guard chooses an iteration.

    Args:
        config: a validated configuration.
        root: the folder of its results.
        dataset: the data set.
        model: the model family.
    """
    for iteration in range(config["iterations"] + 1):
        cells = sorted(
            layout.grid(config, dataset=dataset, model=model, iteration=iteration), key=lambda cell: cell["seed"]
        )
        if iteration:
            yield from _removals(config, root, cells)
        kept = _files(root, cells, "kept.npz") if iteration else None
        read = {"data": _files(root, cells, "features.npz", layout.PREPARED),
                "labels": _files(root, cells, "labels.npz", layout.NOISE)}  # fmt: skip
        settings = [json.dumps(model_settings(config, dataset, model, cell["noise"])) for cell in cells]
        common = {"model": model, "settings": settings, **read}
        if not iteration and "confident" in config["policies"]:
            yield "cross_validate", argparse.Namespace(**common, out=_files(root, cells, "quality.npz"))
        yield "train", argparse.Namespace(**common, kept=kept, out=_files(root, cells, "model.npz"))
        predictions, metrics = _files(root, cells, "predictions.npz"), _files(root, cells, "metrics.json")
        yield "evaluate", argparse.Namespace(predictions=predictions, out=metrics)
        yield "influence", argparse.Namespace(
            model=model, solver=json.dumps(config["model_settings"][model]["solver"]),
            model_file=_files(root, cells, "model.npz"), **read, kept=kept,
            also=[layout.ALSO_SCORED.get(cell["policy"], "none") for cell in cells],
            out=_files(root, cells, "scores.npz"),
        )  # fmt: skip

    if layout.GUARDED in config["policies"]:
        cells = list(layout.grid(config, dataset=dataset, model=model, policy=layout.BASELINE))
        runs = [
            {**cell, "policy": "influence", "iteration": k} for cell in cells for k in range(config["iterations"] + 1)
        ]
        yield "guard", argparse.Namespace(
            predictions=_files(root, runs, "predictions.npz"),
            out=[layout.GUARD.format(root=root, **cell) for cell in cells],
        )  # fmt: skip


def _removals(config: dict, root: Path, cells: list[dict]) -> Iterator[Step]:
    """Yield what removes samples by influence, and as many by the other policies."""
    first = [cell for cell in cells if cell["policy"] == "influence"]
    others = [cell for cell in cells if cell["policy"] != "influence"]
    iteration = cells[0]["iteration"]
    scores = [_files(root, [{**cell, "iteration": iteration - 1} for cell in of], "scores.npz")
              for of in (first, others)]  # fmt: skip
    yield (
        "prune",
        argparse.Namespace(
            fraction=config["removal_fraction"],
            iteration=iteration,
            scores=scores[0],
            out=_files(root, first, "kept.npz"),
        ),
    )
    if others:
        unrefined = [{**cell, "policy": layout.BASELINE, "iteration": 0} for cell in others]
        yield "control", argparse.Namespace(
            policy=[cell["policy"] for cell in others], iteration=iteration, scores=scores[1],
            like=_files(root, [{**cell, "policy": "influence"} for cell in others], "removed.csv"),
            quality=_files(root, unrefined, "quality.npz") if "confident" in config["policies"] else None,
            out=_files(root, others, "kept.npz"),
        )  # fmt: skip


def _files(root: Path, cells: list[dict], name: str, pattern: str | None = None) -> list[str]:
    if pattern:
        return [f"{pattern.format(root=root, **cell)}/{name}" for cell in cells]
    return [f"{layout.cell(root=root, **cell)}/{name}" for cell in cells]
