"""Candidates for removal and relabelling on development seeds: python benchmarks/policies.py PRESET [DATASET/MODEL ...]

No test sample is read. Models are judged by development samples that no candidate sees: images that the preset's limit
leaves out, or else a quarter of the training part, which is then smaller. Candidates are decided by the training part
and the two validation parts, whose labels are right. The policies of the confirmation were chosen from this table, see
config/protocol.md.

Writes, below results/benchmarks/: policies.csv, one row a candidate, data set, model, condition and seed, and
policies.json, their provenance. Rows that are there already are not made again, unless by another commit.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from boostin import boostin

from datagradient.data import sets
from datagradient.data.conditions import PUBLISHED, rate_of
from datagradient.data.features import extract, raw_inputs
from datagradient.data.record import Dataset
from datagradient.data.splits import SplitPlan, flipped_parts, split
from datagradient.data.training_set import TrainingSet, with_validation
from datagradient.files import read_rows, write_json, write_rows
from datagradient.influence.last_layer import LastLayerProblem
from datagradient.metrics import losses
from datagradient.models import declared, family
from datagradient.pipeline import layout
from datagradient.pipeline.config import model_settings, validate
from datagradient.pipeline.provenance import config_hash, stamp
from datagradient.refine.crossfit import CrossFit, cross_fit
from datagradient.refine.loop import evidence_of
from datagradient.refine.quality import label_quality
from datagradient.refine.removal import Removal, by_influence, most_harmful
from datagradient.refine.repair import DECISIONS, Evidence
from datagradient.refine.scoring import Work, score_all
from datagradient.seeds import generator

OUT = Path("results/benchmarks/policies.csv")
COLUMNS = ("dataset", "model", "condition", "seed", "candidate", "removed", "relabelled", "precision", "accuracy",
           "noisy", "true_labels", "oracle_removal", "train_seconds", "git_commit")  # fmt: skip
KEYS = COLUMNS[:4]
SEEDS = (0, 1)
CONDITIONS = (PUBLISHED, "0.2")
JUDGES = 10_000  # development images that judge
HELD_BACK = 0.25  # of the training part, to judge, where the preset's limit leaves no sample out
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the expected number of wrong labels
NOBODY = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Case:
    """One data set, family, condition and seed: the training part, validation parts, and the samples that judge."""

    model: str
    samples: TrainingSet
    validation: list[tuple[Any, np.ndarray]]
    judges: tuple[Any, np.ndarray]
    settings: dict
    solver: dict

    def accuracy(self, chosen: TrainingSet) -> tuple[float, float, Any]:
        """Train on some samples; return the accuracy on the judges, the seconds of training, and the model."""
        module = family(self.model)
        model, record = module.fit(chosen.inputs, chosen.labels, chosen.n_classes, self.settings, chosen.seed)
        inputs, labels = self.judges
        return float((module.probabilities(model, inputs).argmax(axis=1) == labels).mean()), record["seconds"], model

    def after(self, removal: Removal, add: bool = False) -> float:
        """Return the accuracy after a removal, and with the validation parts added to the training set if asked."""
        whole = self.samples.relabelled(removal.relabelled, removal.new_labels)
        kept = np.delete(np.arange(len(whole.labels)), removal.positions)
        if add:
            whole, kept = with_validation(whole, kept, self.validation)
        return self.accuracy(whole.take(kept))[0]


def candidates(case: Case, model: Any, crossfits: list[CrossFit]) -> dict[str, Callable[[], tuple[Removal, bool]]]:
    """Return the candidates by name: functions that decide, and say whether the validation parts are added."""
    samples, labels = case.samples, case.samples.labels
    evidence = evidence_of(samples, case.model, crossfits)
    own, count = evidence.own, len(DECISIONS["crossfit"](evidence).positions)
    module, plain = family(case.model), {"selection": None}
    work = Work(module, model, {}, samples, case.validation[0], case.solver, **plain)
    influence = score_all(work).arrays["influence"]

    def most(harm: np.ndarray, size: int = count) -> tuple[Removal, bool]:
        return most_harmful(harm, labels, size), False

    def relabel(right: np.ndarray) -> tuple[Removal, bool]:
        new = right.argmax(axis=1)
        places = np.flatnonzero(new != labels)
        return Removal(NOBODY, (), places, new[places]), False

    found = {
        "influence, 5 %": lambda: (by_influence(influence, labels, 0.05), False),
        "influence": lambda: most(influence),
        "loss": lambda: most(losses(module.probabilities(model, samples.inputs), labels)),
        "loss out of fold": lambda: (DECISIONS["crossfit_loss"](evidence), False),
        "confident learning": lambda: most(-label_quality(labels, crossfits[0].probabilities)),
        "probably wrong": lambda: most(own.doubt),
        "gradient norm": lambda: most(gradient_norms(case, model)),
        **{f"cross-fitted influence, {share:g} of the wrong": lambda share=share: most(own.harm, int(share * own.wrong))
           for share in SHARES},
        "relabel the probably wrong": lambda: relabel(own.right),
        "repair, own family": lambda: (DECISIONS["repair"](_alone(evidence)), False),
        "repair": lambda: (DECISIONS["repair"](evidence), False),
        "repair, removal alone": lambda: (_removal_alone(DECISIONS["repair"](evidence)), False),
        "validation added": lambda: (Removal(NOBODY), True),
        "repair, validation added": lambda: (DECISIONS["repair"](evidence), True),
    }  # fmt: skip
    if hasattr(model, "booster"):
        found["BoostIn"] = lambda: most(boostin(model, samples.inputs, labels, *case.validation[0]))
    return found


def _alone(evidence: Evidence) -> Evidence:
    return Evidence(evidence.labels, evidence.crossfits[:1], evidence.trusted, evidence.convex, evidence.seed)


def _removal_alone(removal: Removal) -> Removal:
    return Removal(np.concatenate([removal.positions, removal.relabelled]))


def gradient_norms(case: Case, model: Any) -> np.ndarray:
    """Return the norm of every sample's gradient (n,): self-influence with the identity for the Hessian.

    By it, too, the outliers of Chhabra et al. (ICML 2025) are found. Of networks by the last layer; a leaf's indicator
    has norm 1 in every tree, which leaves the residual.
    """
    module, samples = family(case.model), case.samples
    residuals = module.probabilities(model, samples.inputs)
    residuals[np.arange(len(samples.labels)), samples.labels] -= 1
    size = (residuals**2).sum(axis=1)
    if hasattr(model, "booster"):
        return np.sqrt(size)
    options = {"parameters": "last"} if "parameters" in declared(case.model).solver else {}
    problem = module.problem(model, samples.inputs, samples.labels, **options)
    inputs = problem.inputs(problem.features) if isinstance(problem, LastLayerProblem) else samples.inputs
    squares = inputs.multiply(inputs) if hasattr(inputs, "tocsr") else inputs**2
    return np.sqrt(size * (1 + np.asarray(squares.sum(axis=1)).ravel()))


def cases(config: dict, dataset: Dataset, human: dict, model: str, condition: str, seed: int) -> Case:
    """Return one case; `human` holds the labels that people gave to all rows, by column."""
    options, rng = config["datasets"][dataset.name], generator(seed, "judges")
    shares = {key: config["split"][key] for key in ("influence", "selection", "test")}
    plan = SplitPlan(**shares, **{key: options[key] for key in ("max_development", "max_test")})
    parts = split(dataset, seed, plan)
    del parts["test"]
    development = np.flatnonzero(~dataset.is_test)
    unused = np.setdiff1d(development, np.concatenate(list(parts.values())))
    if len(unused):
        parts["judges"] = np.sort(rng.choice(unused, min(JUDGES, len(unused)), replace=False))
    else:
        order = rng.permutation(parts["train"])
        size = round(HELD_BACK * len(order))
        parts["judges"], parts["train"] = np.sort(order[:size]), np.sort(order[size:])
    features = extract(dataset, parts)
    inputs = features if declared(model).inputs == "features" else raw_inputs(dataset, parts) or features
    right = {part: dataset.labels[rows] for part, rows in parts.items()}
    if rate_of(condition) is None:
        labels = human[condition][parts["train"]]
    else:
        labels = flipped_parts(right, rate_of(condition), len(dataset.class_names), seed, untrusted=False)["train"]
    samples = TrainingSet(inputs["train"], labels, labels != right["train"], np.arange(len(labels)),
                          len(dataset.class_names), seed, dataset.name, condition, right["train"])  # fmt: skip
    validation = [(inputs[part], right[part]) for part in ("influence", "selection")]
    solver = layout.solver_for(config["model_settings"][model]["solver"], dataset.modality)
    settings = model_settings(config, dataset.name, model, condition)
    return Case(model, samples, validation, (inputs["judges"], right["judges"]), settings, solver)


def measure(case: Case, crossfits: list[CrossFit], done: set[str], write: Callable[[dict], None]) -> None:
    """Train the unrefined model, those with right labels and without the wrong ones, and that of every candidate."""
    samples = case.samples
    wrong = np.flatnonzero(samples.flipped)
    noisy, seconds, model = case.accuracy(samples)
    ideal = {
        "true_labels": case.after(Removal(NOBODY, (), wrong, samples.right[wrong])) if len(wrong) else noisy,
        "oracle_removal": case.after(Removal(wrong)) if len(wrong) else noisy,
    }
    for name, decide in candidates(case, model, crossfits).items():
        if name in done:
            continue
        removal, add = decide()
        touched = np.concatenate([removal.positions, removal.relabelled])
        write({
            "candidate": name, "removed": len(removal.positions), "relabelled": len(removal.relabelled),
            "precision": float(samples.flipped[touched].mean()) if len(touched) else "",
            "accuracy": case.after(removal, add), "noisy": noisy, **ideal, "train_seconds": seconds,
        })  # fmt: skip


def main() -> None:
    """Measure what is missing, cell by cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("cells", nargs="*", help="DATASET/MODEL; without: all")
    arguments = parser.parse_args()
    files = [Path("config/defaults.yaml"), Path(f"config/{arguments.preset}.yaml")]
    config = validate(_merged(files), files)
    facts = stamp(config_hash=config_hash(config))
    commit = facts["git_commit"]
    rows = [row for row in (read_rows(OUT) if OUT.exists() else []) if row["git_commit"] == commit]
    for name in config["datasets"]:
        wanted = [model for model in config["models"] if not arguments.cells or f"{name}/{model}" in arguments.cells]
        if not wanted:
            continue
        dataset, columns = sets.load(name), config["datasets"][name].get("human_labels") or []
        human = sets.human_labels(name)[0] if columns else {}
        for seed in SEEDS:
            for condition in [*CONDITIONS, *columns]:
                crossfits: list[CrossFit] = []
                for model in config["models"]:  # from cheap to dear: the cheaper ones judge too
                    case = cases(config, dataset, human, model, condition, seed)
                    crossfits.insert(0, cross_fit(model, case.samples, case.validation, case.settings, case.solver))
                    keys = dict(zip(KEYS, (name, model, condition, str(seed)), strict=True))
                    done = {row["candidate"] for row in rows if keys.items() <= row.items()}
                    print(*keys.values(), file=sys.stderr, flush=True)

                    def write(row: dict, keys: dict = keys) -> None:
                        rows.append({**keys, **row, "git_commit": commit})
                        write_rows(OUT, COLUMNS, rows)

                    if model in wanted:
                        measure(case, [crossfits[0], *crossfits[1:][::-1]], done, write)
                    if model == wanted[-1]:
                        break
    write_json(OUT.with_suffix(".json"), {"provenance": facts})


def _merged(files: list[Path]) -> dict:
    from snakemake.utils import update_config

    from datagradient.files.strict_yaml import read_yaml

    merged: dict = {}
    for file in files:
        update_config(merged, read_yaml(file))
    return merged


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
