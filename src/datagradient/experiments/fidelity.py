"""Fidelity of scores: predicted against actual change of the validation loss, for groups and single samples."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datagradient.evidence.collect import auroc
from datagradient.experiments.datamodeling import (
    agreement,
    correlation_interval,
    datamodeling_intervals,
    datamodeling_score,
    loss_of_half,
    random_halves,
)
from datagradient.files import read_arrays, write_arrays, write_json, write_rows
from datagradient.influence.refits import proximal_refit
from datagradient.metrics import measure
from datagradient.models import declared, family
from datagradient.pipeline import layout
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.jobs.scores import load
from datagradient.pipeline.layout import Cell
from datagradient.pipeline.provenance import stamp
from datagradient.pipeline.training import load_held, load_training_set
from datagradient.refine.scoring import Work, score_all

COLUMNS = ("dataset", "model", "noise", "method", "kind", "correlation", "low", "high", "n", "unconverged", "slope",
           "noise_share", "auroc")  # fmt: skip
SINGLE = ("dataset", "model", "noise", "predicted", "proximal", "converged", "predicted_mean", "retrained",
          "retrained_error")  # fmt: skip
STABILITY = ("dataset", "model", "noise", "initialisations", "kendall", "jaccard")
SCORES = ("influence", "gradient", "loss")


def write_halves(config: dict, cell: Cell, count: int) -> None:
    """Train a model on each of `count` random halves of a training set: halves.npz.

    The file holds the samples of each half, and its model's mean validation loss.
    """
    module, settings = family(cell.model), model_settings(config, cell.dataset, cell.model, cell.noise)
    form = declared(cell.model).inputs
    samples = load_training_set(form, cell.data, cell.labels, None)
    validation = load_held(form, cell.data, cell.labels, "influence")
    kept = random_halves(len(samples.labels), range(count))
    losses = [loss_of_half(module, samples, validation, settings, half, i)
              for i, half in enumerate(tqdm(kept, "halves", disable=None))]  # fmt: skip
    facts = stamp(**samples.facts, model=cell.model, settings=settings)
    write_arrays(cell.file("halves.npz"), facts, kept=np.packbits(kept, axis=1), losses=np.array(losses))


def read_halves(path: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which of n samples each half contains (halves, n), and the losses (halves,)."""
    arrays, _ = read_arrays(path, "kept", "losses")
    return np.unpackbits(arrays["kept"], axis=1, count=n).astype(bool), arrays["losses"]


def write_single(config: dict, cell: Cell, plan: dict) -> None:
    """Remove single samples of a model's training set and refit: single.npz, see `single_removals`."""
    settings = model_settings(config, cell.dataset, cell.model, cell.noise)
    work = load(config, cell)
    arrays = single_removals(work, settings, plan["single"], plan["initialisations"])
    facts = stamp(seed=cell.seed, dataset=cell.dataset, settings=settings)
    write_arrays(cell.file("single.npz"), facts, **arrays)


def single_removals(work: Work, settings: dict, count: int, initialisations: int) -> dict[str, np.ndarray]:
    """Remove `count` single samples, evenly spaced in the order of their scores, and refit.

    Returns:
        positions (count,); predicted, −I/n by the model; proximal, the change by a proximal refit, and whether it
        converged; retrained (initialisations, count), the change after retraining without the sample, which keeps its
        place in the order of samples; scores (initialisations, n) of all samples by each initialisation's model. The
        last two are empty for a family that does not depend on the seed, such as logistic regression, whose proximal
        refit is exact.
    """
    n, is_random = len(work.samples.labels), declared(work.facts["model"]).random
    influence = score_all(work).arrays["influence"]
    chosen = np.argsort(influence, kind="stable")[np.linspace(0, n - 1, count).round().astype(int)]
    damping = work.solver.get("damping", 0.0)
    problem = work.problem()
    refits = [proximal_refit(problem, work.validation, int(i), damping)
              for i in tqdm(chosen, "proximal refits", disable=None)]  # fmt: skip
    changes, scores = [], []
    for seed in tqdm(range(initialisations if is_random else 0), "initialisations", disable=None):
        model, start = _trained(work, settings, seed, None)
        scores.append(score_all(replace(work, model=model)).arrays["influence"])
        changes.append([_trained(work, settings, seed, int(i))[1] - start for i in tqdm(chosen, disable=None)])
    return {
        "positions": chosen, "predicted": -influence[chosen] / n,
        "proximal": np.array([refit.change for refit in refits]),
        "converged": np.array([refit.converged for refit in refits]),
        "retrained": np.array(changes).reshape(-1, count), "scores": np.array(scores).reshape(-1, n),
    }  # fmt: skip


def _trained(work: Work, settings: dict, seed: int, without: int | None) -> tuple[object, float]:
    """Return a model trained without one sample, and its mean validation loss."""
    samples, (inputs, labels) = work.samples, work.validation
    weights = None
    if without is not None:
        weights = np.ones(len(samples.labels))
        weights[without] = 0.0
    model, _ = work.family.fit(samples.inputs, samples.labels, samples.n_classes, settings, seed, weights)
    return model, measure(work.family.probabilities(model, inputs), labels)["loss"]


def gather_fidelity(config: dict, root: Path) -> None:
    """Write fidelity.csv, single.csv and stability.csv, and fidelity.json with their provenance."""
    rows, single, stability, runs = [], [], [], []
    for keys in layout.rate_grid(config, policy=layout.BASELINE, seed=config["seeds"][0]):
        names = {key: keys[key] for key in ("dataset", "model", "noise")}
        folder = layout.Cell(root, **keys).folder
        scores, _ = read_arrays(folder / "scores.npz")
        removals, facts = read_arrays(folder / "single.npz")
        runs.append(facts)
        rows += [{**names, **row} for row in group_rows(scores, folder / "halves.npz")]
        table = single_table(removals)
        rows += [{**names, **row} for row in single_rows(table)]
        single += [{**names, **dict(zip(table, values, strict=True))} for values in zip(*table.values(), strict=True)]
        pairs = [agreement(first, second, scores["labels"], config["removal_fraction"])
                 for first, second in combinations(removals["scores"], 2)]  # fmt: skip
        if pairs:
            means = {name: float(np.mean([pair[name] for pair in pairs])) for name in ("kendall", "jaccard")}
            stability.append({**names, "initialisations": len(removals["scores"]), **means})
    write_rows(root / "fidelity.csv", COLUMNS, rows)
    write_rows(root / "single.csv", SINGLE, single)
    write_rows(root / "stability.csv", STABILITY, stability)
    write_json(root / "fidelity.json", {"runs": runs})


def group_rows(scores: dict, halves: Path) -> list[dict]:
    """Return the linear datamodeling score of every score of a model."""
    kept, losses = read_halves(halves, len(scores["influence"]))
    intervals = datamodeling_intervals([scores[name] for name in SCORES], kept, losses)
    flipped = scores["flipped"]
    return [
        {"method": name, "kind": "group", "correlation": datamodeling_score(scores[name], kept, losses), "low": low,
         "high": high, "n": len(losses), "auroc": auroc(scores[name], flipped) if flipped.any() else ""}
        for name, (low, high, *_) in zip(SCORES, intervals, strict=True)
    ]  # fmt: skip


def single_table(removals: dict) -> dict[str, np.ndarray]:
    """Return the columns of single.csv (count,) from single.npz; NaN for quantities that were not measured."""
    count, (initialisations, n) = len(removals["positions"]), removals["scores"].shape
    nothing = np.full(count, np.nan)
    several = initialisations > 1
    # The common part of an initialisation's changes is the random variation of the model that they all start from.
    # Subtracting the mean over samples also removes a share of each sample's own variation; the factor corrects this.
    apart = (removals["retrained"] - removals["retrained"].mean(axis=1, keepdims=True)) * np.sqrt(count / (count - 1))
    return {
        **{name: removals[name] for name in ("predicted", "proximal", "converged")},
        # Predicted by the same models as the changes that it is compared with.
        "predicted_mean": -removals["scores"].mean(axis=0)[removals["positions"]] / n if initialisations else nothing,
        "retrained": removals["retrained"].mean(axis=0) if initialisations else nothing,
        "retrained_error": apart.std(axis=0, ddof=1) / np.sqrt(initialisations) if several else nothing,
    }


def single_rows(table: dict[str, np.ndarray]) -> list[dict]:
    """Return the correlation of predicted with actual changes when single samples are removed.

    Refits that did not converge are left out and counted. ``noise_share`` is the variance of the mean over
    initialisations within samples, without their common part, divided by the variance between samples. If it is near 1,
    retraining shows only random variation.
    """
    converged = table["converged"]
    predicted, proximal = (table[name][converged] for name in ("predicted", "proximal"))
    rows = [_correlation("proximal", predicted, proximal, int((~converged).sum()))]
    if not np.isnan(table["retrained"]).any():
        spread = table["retrained"].var(ddof=1)
        row = _correlation("retrained", table["predicted_mean"], table["retrained"], 0)
        rows.append(
            {**row, "noise_share": float((table["retrained_error"] ** 2).mean() / spread) if spread > 0 else ""}
        )
    return rows


def _correlation(method: str, predicted: np.ndarray, actual: np.ndarray, unconverged: int) -> dict:
    value, low, high = (float("nan"),) * 3
    slope = float("nan")
    if len(predicted) > 2:
        value, low, high = correlation_interval(predicted, actual)
        slope = float(np.polyfit(predicted, actual, 1)[0]) if np.ptp(predicted) > 0 else slope
    return {"method": method, "kind": "single", "correlation": value, "low": low, "high": high, "n": len(predicted),
            "unconverged": unconverged, "slope": slope}  # fmt: skip
