"""Gathering a preset's many result files into the few small tables that everything else reads."""

import datetime
from pathlib import Path

import numpy as np

from datagradient import layout
from datagradient.data.splits import PARTS
from datagradient.files import read_arrays, read_json, write_json, write_rows
from datagradient.provenance import config_hash, stamp

KEYS = ("dataset", "model", "noise", "policy", "seed", "iteration")
METRICS = (
    *KEYS, "n_train", "accuracy", "f1", "val_accuracy", "val_f1", "val_loss", "selection_accuracy", "selection_loss",
    "test_loss", "dcs", "helpful_share", "harm_reduction", "stationarity", "removed", "removed_flipped",
    "solver", "solver_status", "solver_residual", "solver_iterations", "train_seconds", "val_gradient_seconds",
    "solve_seconds", "projection_seconds", "influence_seconds",
)  # fmt: skip
DATA = (
    "dataset", "title", "modality", "seed", *(f"n_{part}" for part in PARTS), "n_features", "n_classes", "f1_kind",
    *(f"{one}_rows_in_{other}" for i, other in enumerate(PARTS) for one in PARTS[i + 1 :]), "source",
)  # fmt: skip
HISTOGRAM = ("dataset", "model", "noise", "group", "low", "high", "count", "share")
BINS = np.linspace(-4, 4, 81)  # in standard deviations of one model's scores; the outer bins take the rest


def collect_preset(config_file: Path) -> None:
    """Write metrics.csv, data.csv, influence_histogram.csv and provenance.json beside a preset's config.json."""
    config, root = read_json(config_file), config_file.parent
    write_rows(root / "metrics.csv", METRICS, metrics_rows(config, root))
    write_rows(root / "data.csv", DATA, data_rows(config, root))
    write_rows(root / "influence_histogram.csv", HISTOGRAM, histogram_rows(config, root))
    now, started = datetime.datetime.now(datetime.UTC), config_file.stat().st_mtime
    times = {
        "started": datetime.datetime.fromtimestamp(started, datetime.UTC).isoformat(timespec="seconds"),
        "finished": now.isoformat(timespec="seconds"),
    }
    sources = {row["dataset"]: row["source"] for row in data_rows(config, root)}
    run = stamp(data=sources, **times) | {"preset": config["preset"], "config_hash": config_hash(config)}
    write_json(root / "provenance.json", {**run, "config": config})


def metrics_rows(config: dict, root: Path) -> list[dict]:
    """Return one row for every trained and evaluated model of a preset."""
    return [metrics_row(config, root, keys) for keys in layout.grid(config)]


def metrics_row(config: dict, root: Path, keys: dict) -> dict:
    """Return the row of one trained model; the columns are `METRICS`."""
    folder, first = (Path(layout.cell(root=root, **{**keys, "iteration": k})) for k in (keys["iteration"], 0))
    metrics = read_json(folder / "metrics.json")["metrics"]
    training, influence = read_json(folder / "train.json"), read_json(folder / "influence.json")
    contribution, solver, seconds = (influence[name] for name in ("contribution", "solver", "seconds"))
    harm, first_harm = contribution["mean_harm"], read_json(first / "influence.json")["contribution"]["mean_harm"]
    removed = read_arrays(folder / "kept.npz")[1]["removed"] if keys["iteration"] else {"count": 0, "flipped": 0}
    named = {name: metrics[name] for name in METRICS if name in metrics}
    return {
        **keys,
        **named,
        "test_loss": metrics["loss"],
        "n_train": training["n_train"],
        **{name: contribution[name] for name in ("dcs", "helpful_share", "stationarity")},
        "harm_reduction": 1 - harm / first_harm if first_harm > 0 else 0.0,
        "removed": removed["count"],
        "removed_flipped": removed["flipped"],
        "solver": solver["solver"],
        "solver_status": solver["status"],
        "solver_residual": solver["residual"],
        "solver_iterations": solver["iterations"],
        "train_seconds": training["seconds"],
        **{f"{step}_seconds": value for step, value in seconds.items()},
        "influence_seconds": sum(seconds.values()),
    }


def data_rows(config: dict, root: Path) -> list[dict]:
    """Return one row for every data set and seed: sizes of the parts, repeated samples, source."""
    rows = []
    for dataset in config["datasets"]:
        for seed in config["seeds"]:
            folder = Path(layout.PREPARED.format(root=root, dataset=dataset, seed=seed))
            data = read_json(folder / "data.json")
            facts = data["provenance"]
            rows.append({
                "dataset": dataset, "title": facts["title"], "modality": facts["modality"], "seed": seed,
                **{f"n_{part}": data["sizes"][part] for part in PARTS}, "n_features": data["n_features"],
                "n_classes": len(facts["class_names"]), "f1_kind": facts["f1_kind"], **data["repeats"],
                "source": "; ".join(f"{key} {value}" for key, value in sorted(facts["source"].items())),
            })  # fmt: skip
    return rows


def histogram_rows(config: dict, root: Path) -> list[dict]:
    """Return histograms of the unrefined models' scores over all seeds, each model's scores by its own deviation."""
    counts: dict[tuple, np.ndarray] = {}
    for keys in layout.grid(config, policy=layout.BASELINE):
        arrays, _ = read_arrays(Path(layout.cell(root=root, **keys)) / "scores.npz")
        scaled = np.clip(arrays["influence"] / (arrays["influence"].std() or 1.0), BINS[0], BINS[-1])
        for group, members in (("clean", ~arrays["flipped"]), ("flipped", arrays["flipped"])):
            key = (keys["dataset"], keys["model"], keys["noise"], group)
            counts[key] = counts.get(key, 0) + np.histogram(scaled[members], BINS)[0]
    return [
        dict(zip(HISTOGRAM, (*key, low, high, int(count), count / total.sum()), strict=True))
        for key, total in counts.items() if total.sum()
        for low, high, count in zip(BINS[:-1].round(3), BINS[1:].round(3), total, strict=True)
    ]  # fmt: skip
