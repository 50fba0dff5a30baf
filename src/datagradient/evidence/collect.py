"""Collecting a preset's many result files in the few small tables that everything else reads."""

import datetime
from pathlib import Path

import numpy as np

from datagradient.data.conditions import is_untrusted
from datagradient.data.splits import PARTS
from datagradient.files import read_arrays, read_json, read_meta, write_json, write_rows
from datagradient.metrics import losses
from datagradient.pipeline import layout
from datagradient.pipeline.jobs.crossfit import read_crossfits
from datagradient.pipeline.provenance import check_shared, config_hash, stamp
from datagradient.refine.policies import POLICIES, QUALITY, needs_crossfit
from datagradient.refine.quality import label_quality
from datagradient.refine.repair import Evidence

KEYS = ("dataset", "model", "noise", "policy", "seed", "iteration")
# Files of one trained model, and their keys besides provenance.
RECORDS = {
    "metrics.json": {"metrics": dict},
    "train.json": {},
    "influence.json": dict.fromkeys(("contribution", "contribution_selection", "solver", "seconds"), dict),
}
METRICS = (
    *KEYS, "n_train", "accuracy", "f1", "val_accuracy", "val_f1", "val_loss", "selection_accuracy", "selection_loss",
    "test_loss", "dcs", "helpful_share", "harm_reduction", "stationarity",
    *(f"{name}_selection" for name in ("dcs", "helpful_share", "harm_reduction")), "removed", "removed_flipped",
    "relabelled", "solver", "solver_status", "solver_residual", "solver_iterations", "train_seconds", "predict_seconds",
    "setup_seconds", "val_gradient_seconds", "solve_seconds", "projection_seconds", "influence_seconds",
    "other_scores_seconds",
)  # fmt: skip
DATA = (
    "dataset", "title", "modality", "seed", *(f"n_{part}" for part in PARTS), "n_features", "n_classes", "f1_kind",
    *(f"{later}_rows_in_{earlier}" for i, earlier in enumerate(PARTS) for later in PARTS[i + 1 :]), "source",
)  # fmt: skip
DETECTION = ("dataset", "model", "noise", "seed", "score", "n", "removed", "auroc", "precision", "recall")
CURVES = ("dataset", "model", "noise", "score", "looked_at", "found")
LOOKED_AT = np.linspace(0, 1, 51)  # shares of the training set, most suspicious samples first
HISTOGRAM = ("dataset", "model", "noise", "group", "low", "high", "count", "share")
BINS = np.linspace(-4, 4, 81)  # in standard deviations of a model's scores; the outer bins include the tails


def collect_preset(config: dict, root: Path) -> None:
    """Write the small tables of a preset, and provenance.json, to the folder of its results."""
    # All is read before anything is written: of wrong files nothing comes.
    data, metrics, histogram = data_rows(config, root), metrics_rows(config, root), histogram_rows(config, root)
    detection, curves = detection_rows(config, root)
    write_rows(root / "metrics.csv", METRICS, metrics)
    write_rows(root / "data.csv", DATA, data)
    write_rows(root / "influence_histogram.csv", HISTOGRAM, histogram)
    write_rows(root / "detection.csv", DETECTION, detection)
    write_rows(root / "detection_curves.csv", CURVES, curves)
    cells = [layout.Cell(root, **keys).file("metrics.json") for keys in layout.grid(config)]
    prepared = [Path(layout.PREPARED.format(root=root, dataset=name, seed=seed)) / "data.json"
                for name in config["datasets"] for seed in config["seeds"]]  # fmt: skip
    # Times of the result files themselves, so that collecting them again changes nothing.
    times = {"started": _time(min(file.stat().st_mtime for file in prepared)),
             "finished": _time(max(file.stat().st_mtime for file in cells))}  # fmt: skip
    sources = {row["dataset"]: row["source"] for row in data}
    # A run may have been resumed by later code that gives the same results.
    commits = sorted({read_json(file, provenance=dict)["provenance"]["git_commit"] for file in cells})
    run = stamp(data=sources, git_commits=commits, **times) | {
        "preset": config["preset"],
        "config_hash": config_hash(config),
    }
    write_json(root / "provenance.json", {**run, "config": config})


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def metrics_rows(config: dict, root: Path) -> list[dict]:
    """Return one row for each trained and evaluated model of a preset, and for each iteration of ``guarded``."""
    rows = [metrics_row(root, keys) for keys in layout.grid(config)]
    if layout.GUARDED not in config["policies"]:
        return rows
    guarded = [
        metrics_row(root, {**keys, "policy": layout.GUARDED}) for keys in layout.grid(config, policy="influence")
    ]
    return rows + guarded


def model_of(root: Path, keys: dict) -> dict:
    """Return the keys of the trained model behind a row: ``guarded`` keeps a model of ``influence``."""
    if keys["policy"] != layout.GUARDED:
        return keys
    kept = read_json(Path(layout.GUARD.format(root=root, **keys)))["iteration"]
    return {**keys, "policy": "influence", "iteration": min(keys["iteration"], kept)}


def metrics_row(root: Path, keys: dict) -> dict:
    """Return the row of one trained model; the columns are `METRICS`."""
    model = model_of(root, keys)
    folder, first = (layout.Cell(root, **{**model, "iteration": k}).folder for k in (model["iteration"], 0))
    records = {folder / name: read_json(folder / name, provenance=dict, **kinds) for name, kinds in RECORDS.items()}
    check_shared({path: record["provenance"] for path, record in records.items()})
    measured, training, influence = records.values()
    metrics = measured["metrics"]
    solver, seconds, before = influence["solver"], influence["seconds"], read_json(first / "influence.json")
    contributions = {
        suffix: {name: influence[f"contribution{suffix}"][name] for name in ("dcs", "helpful_share")}
        | {"harm_reduction": _reduction(influence, before, f"contribution{suffix}")}
        for suffix in ("", "_selection")
    }
    newly = keys["iteration"] == model["iteration"] > 0
    kept = read_meta(folder / "kept.npz") if newly else {"removed": {"count": 0, "flipped": 0}, "relabelled": 0}
    removed = kept["removed"]
    named = {name: metrics[name] for name in METRICS if name in metrics}
    return {
        **keys,
        **named,
        "test_loss": metrics["loss"],
        "n_train": training["n_train"],
        **{f"{name}{suffix}": value for suffix, part in contributions.items() for name, value in part.items()},
        "stationarity": influence["contribution"]["stationarity"],
        "removed": removed["count"],
        "removed_flipped": removed["flipped"],
        "relabelled": kept["relabelled"],
        "solver": solver["solver"],
        "solver_status": solver["status"],
        "solver_residual": solver["residual"],
        "solver_iterations": solver["iterations"],
        "train_seconds": training["seconds"],
        "predict_seconds": training["predict_seconds"],
        **{f"{step}_seconds": value for step, value in seconds.items()},
        "influence_seconds": sum(seconds.values()),
        "other_scores_seconds": influence["other_scores_seconds"],
    }


def _reduction(influence: dict, before: dict, contribution: str) -> float:
    """Return 1 − h_k / h_0, with h the mean harm of the samples of an iteration, and of the unrefined model's."""
    first = before[contribution]["mean_harm"]
    return 1 - influence[contribution]["mean_harm"] / first if first > 0 else 0.0


def data_rows(config: dict, root: Path) -> list[dict]:
    """Return one row for every data set and seed: sizes of the parts, repeated samples, source."""
    rows = []
    for dataset in config["datasets"]:
        for seed in config["seeds"]:
            folder = Path(layout.PREPARED.format(root=root, dataset=dataset, seed=seed))
            data = read_json(folder / "data.json", sizes=dict, repeats=dict, provenance=dict)
            facts = data["provenance"]
            rows.append({
                "dataset": dataset, "title": facts["title"], "modality": facts["modality"], "seed": seed,
                **{f"n_{part}": data["sizes"][part] for part in PARTS}, "n_features": data["n_features"],
                "n_classes": len(facts["class_names"]), "f1_kind": facts["f1_kind"], **data["repeats"],
                "source": "; ".join(f"{key} {value}" for key, value in sorted(facts["source"].items())),
            })  # fmt: skip
    return rows


def histogram_rows(config: dict, root: Path) -> list[dict]:
    """Return histograms of the unrefined models' scores over all seeds, scaled by each model's standard deviation."""
    counts: dict[tuple, np.ndarray] = {}
    for keys in layout.grid(config, policy=layout.BASELINE):
        arrays, _ = read_arrays(layout.Cell(root, **keys).file("scores.npz"))
        scaled = np.clip(arrays["influence"] / (arrays["influence"].std() or 1.0), BINS[0], BINS[-1])
        for group, members in (("clean", ~arrays["flipped"]), ("flipped", arrays["flipped"])):
            key = (keys["dataset"], keys["model"], keys["noise"], group)
            counts[key] = counts.get(key, 0) + np.histogram(scaled[members], BINS)[0]
    return [
        dict(zip(HISTOGRAM, (*key, low, high, int(count), count / total.sum()), strict=True))
        for key, total in counts.items() if total.sum()
        for low, high, count in zip(BINS[:-1].round(3), BINS[1:].round(3), total, strict=True)
    ]  # fmt: skip


def detection_rows(config: dict, root: Path) -> tuple[list[dict], list[dict]]:
    """Return how well each score of the unrefined models detects the flipped labels, and the curves, means over seeds.

    ``removed`` samples are inspected, as many as the first round removes; ``precision`` is the share of flipped labels
    among them, ``recall`` their share of all flipped labels.
    """
    rows, curves_by_score = [], {}
    for keys in layout.grid(config, policy=layout.BASELINE):
        flipped, scores = suspicion(config, root, keys)
        if not flipped.any():
            continue
        refined = layout.Cell(root, **{**keys, "policy": "influence", "iteration": 1})
        removed = read_meta(refined.kept)["removed"]["count"]
        for name, values in scores.items():
            hits = np.cumsum(flipped[np.argsort(-values, kind="stable")])
            at_removed = hits[removed - 1] if removed else 0
            where = {key: keys[key] for key in ("dataset", "model", "noise")}
            rows.append({
                **where, "seed": keys["seed"], "score": name, "n": len(flipped), "removed": removed,
                "auroc": auroc(values, flipped), "precision": at_removed / max(removed, 1),
                "recall": at_removed / flipped.sum(),
            })  # fmt: skip
            curve = np.concatenate([[0], hits])[np.round(LOOKED_AT * len(flipped)).astype(int)] / flipped.sum()
            curves_by_score.setdefault((*where.values(), name), []).append(curve)
    curves = [
        dict(zip(CURVES, (*key, round(float(share), 4), float(value)), strict=True))
        for key, members in curves_by_score.items()
        for share, value in zip(LOOKED_AT, np.mean(members, axis=0), strict=True)
    ]  # fmt: skip
    return rows, curves


def suspicion(config: dict, root: Path, keys: dict) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return which labels of a baseline's training set are flipped, and all scores, high for suspicious labels."""
    folder = layout.Cell(root, **keys).folder
    arrays, _ = read_arrays(folder / "scores.npz")
    crossfits = []
    if needs_crossfit(config["policies"]):
        crossfits = read_crossfits(config, layout.Cell(root, **keys))
        arrays[QUALITY] = label_quality(arrays["labels"], crossfits[0].probabilities)
    scored = {name: policy for name, policy in POLICIES.items() if policy.trains and policy.score in arrays}
    scores = {name: policy.harm(arrays) for name, policy in scored.items()}
    if crossfits:
        trusted = not is_untrusted(keys["noise"])
        evidence = Evidence(arrays["labels"], crossfits, trusted, convex=True, seed=keys["seed"])
        scores |= {"crossfit": evidence.own.harm, "repair": evidence.joint.doubt,
                   "crossfit_loss": losses(crossfits[0].probabilities, arrays["labels"])}  # fmt: skip
    return arrays["flipped"], scores


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the probability that a positive sample scores above a negative one; ties count half."""
    from scipy.stats import rankdata

    n = int(positive.sum())
    return float((rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))
