"""One iteration of a model family for a whole preset: which steps it takes, and the files of each."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from datagradient import layout
from datagradient.config import model_settings


def steps(config: dict, root: Path, model: str, iteration: int) -> Iterator[tuple[str, argparse.Namespace]]:
    """Yield the commands of one iteration, in order, each with its arguments.

    Samples are removed by the scores of the iteration before; then models are trained, evaluated and scored. Models of
    one data set and seed follow on each other, so that their prepared data are read once.

    Args:
        config: a validated configuration.
        root: the folder of its results.
        model: the model family.
        iteration: 0 for the unrefined models, which all policies share.
    """
    cells = sorted(
        layout.grid(config, model=model, iteration=iteration), key=lambda cell: (cell["dataset"], cell["seed"])
    )

    def files(name: str, pattern: str = layout.CELL, of: list[dict] = cells, **changed: object) -> list[str]:
        return [f"{pattern.format(root=root, **{**cell, **changed})}/{name}" for cell in of]

    def before(of: list[dict]) -> list[str]:
        return [f"{layout.cell(root=root, **{**cell, 'iteration': iteration - 1})}/scores.npz" for cell in of]

    if iteration:
        first = [cell for cell in cells if cell["policy"] == "influence"]
        yield (
            "prune",
            argparse.Namespace(
                fraction=config["removal_fraction"],
                iteration=iteration,
                scores=before(first),
                out=files("kept.npz", of=first),
            ),
        )
        others = [cell for cell in cells if cell["policy"] != "influence"]
        if others:
            quality = files("quality.npz", of=others, policy=layout.BASELINE, iteration=0)
            yield "control", argparse.Namespace(
                policy=[cell["policy"] for cell in others], iteration=iteration, scores=before(others),
                like=files("removed.csv", of=others, policy="influence"),
                quality=quality if "confident" in config["policies"] else None, out=files("kept.npz", of=others),
            )  # fmt: skip
    read = {"data": files("features.npz", layout.PREPARED), "labels": files("labels.npz", layout.NOISE),
            "kept": files("kept.npz") if iteration else None}  # fmt: skip
    settings = [json.dumps(model_settings(config, cell["dataset"], model, cell["noise"])) for cell in cells]
    yield "train", argparse.Namespace(model=model, settings=settings, **read, out=files("model.npz"))
    yield "evaluate", argparse.Namespace(predictions=files("predictions.npz"), out=files("metrics.json"))
    also = [layout.ALSO_SCORED.get(cell["policy"], "none") for cell in cells]
    solver = json.dumps(config["model_settings"][model]["solver"])
    yield (
        "influence",
        argparse.Namespace(
            model=model, solver=solver, model_file=files("model.npz"), **read, also=also, out=files("scores.npz")
        ),
    )
