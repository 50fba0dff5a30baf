"""Candidates for removal and relabelling on development seeds: python benchmarks/policies.py PRESET [DATASET/MODEL ...]

No test sample is read. Models are judged by development samples that no candidate sees: images that the preset's limit
leaves out, or else a quarter of the training part, which is then smaller. Candidates are decided by the training part
and the two validation parts, whose labels are right. The policies of the confirmation were chosen from this table, see
config/protocol.md.

Writes, below results/benchmarks/: policies.csv, one row a candidate, data set, model, condition and seed, and
policies.json, their provenance. Each row is added as soon as it is measured. Rows that are there already are not made
again, unless by another commit or configuration: those are dropped first.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
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
from datagradient.errors import UserError
from datagradient.files import read_json, read_rows, write_json, write_rows
from datagradient.influence.last_layer import LastLayerProblem
from datagradient.metrics import losses
from datagradient.models import declared, family
from datagradient.pipeline import layout
from datagradient.pipeline.config import merged, model_settings, validate
from datagradient.pipeline.provenance import config_hash, stamp
from datagradient.refine.crossfit import FOLDS, CrossFit, cross_fit
from datagradient.refine.loop import evidence_of
from datagradient.refine.quality import label_quality
from datagradient.refine.removal import Removal, by_influence, most_harmful
from datagradient.refine.repair import DECISIONS, Evidence
from datagradient.refine.scoring import Work, score_all
from datagradient.seeds import generator

OUT = Path("results/benchmarks/policies.csv")
COLUMNS = ("dataset", "model", "condition", "seed", "candidate", "samples", "removed", "relabelled", "precision",
           "trainings", "accuracy", "noisy", "true_labels", "oracle_removal", "train_seconds",
           "git_commit")  # fmt: skip
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


@dataclass(frozen=True)
class Basis:
    """What candidates decide by: a case, its unrefined model, and cross-fitted ones, the family's own first."""

    case: Case
    model: Any
    crossfits: list[CrossFit]

    @cached_property
    def evidence(self) -> Evidence:
        """What policies that decide once go by."""
        return evidence_of(self.case.samples, self.case.model, self.crossfits)

    @cached_property
    def count(self) -> int:
        """How many samples the policy ``crossfit`` removes: as many as candidates that say no number themselves."""
        return len(DECISIONS["crossfit"](self.evidence).positions)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The unrefined model's class probabilities for the training samples (n, classes)."""
        return family(self.case.model).probabilities(self.model, self.case.samples.inputs)

    @cached_property
    def influence(self) -> np.ndarray:
        """The influence (n,) of the training samples on the unrefined model's loss on the first validation part."""
        case = self.case
        work = Work(family(case.model), self.model, {}, case.samples, case.validation[0], case.solver)
        return score_all(work).arrays["influence"]

    def most(self, harm: np.ndarray, size: int | None = None) -> Removal:
        """Remove the samples with the largest `harm` (n,): `size` of them, or `count`."""
        return most_harmful(harm, self.case.samples.labels, self.count if size is None else size)


NONE, OWN, JOINT = "none", "own", "joint"  # whose cross-fitted models a candidate needs


@dataclass(frozen=True)
class Candidate:
    """One way to choose what to remove and what to relabel.

    Attributes:
        decide: makes the choice.
        folds: whose cross-fitted models it needs: `NONE`, the family's `OWN`, or `JOINT`: those of the cheaper families
            too, where the model depends on the seed. The number of samples that others remove does not count.
        adds_validation: whether its model is also trained on the two validation parts.
        families: that it can be made for; None for all.
    """

    decide: Callable[[Basis], Removal]
    folds: str
    adds_validation: bool = False
    families: tuple[str, ...] | None = None

    def trainings(self, model: str, crossfits: Sequence[CrossFit]) -> float:
        """Return how many models of the family it costs: the unrefined one, those of the folds, and its own.

        As in `datagradient.evidence.recovered`, folds of cheaper families count by their training seconds relative to
        the family's own.
        """
        if self.folds == NONE:
            return 2.0
        judges = crossfits if self.folds == JOINT and declared(model).random else crossfits[:1]
        seconds = [crossfit.seconds["fit"] for crossfit in judges]
        return 2.0 + FOLDS * sum(seconds) / seconds[0]


def _loss(basis: Basis) -> Removal:
    return basis.most(losses(basis.probabilities, basis.case.samples.labels))


def _confident(basis: Basis) -> Removal:
    return basis.most(-label_quality(basis.case.samples.labels, basis.crossfits[0].probabilities))


def _boostin(basis: Basis) -> Removal:
    samples = basis.case.samples
    return basis.most(boostin(basis.model, samples.inputs, samples.labels, *basis.case.validation[0]))


def _relabel(basis: Basis) -> Removal:
    labels, new = basis.case.samples.labels, basis.evidence.own.right.argmax(axis=1)
    places = np.flatnonzero(new != labels)
    return Removal(NOBODY, (), places, new[places])


def _share_of_the_wrong(share: float) -> Callable[[Basis], Removal]:
    return lambda basis: basis.most(basis.evidence.own.harm, int(share * basis.evidence.own.wrong))


def _repair(basis: Basis) -> Removal:
    return DECISIONS["repair"](basis.evidence)


CANDIDATES = {
    "influence, 5 %": Candidate(lambda basis: by_influence(basis.influence, basis.case.samples.labels, 0.05), NONE),
    "influence": Candidate(lambda basis: basis.most(basis.influence), NONE),
    "loss": Candidate(_loss, NONE),
    "loss out of fold": Candidate(lambda basis: DECISIONS["crossfit_loss"](basis.evidence), OWN),
    "confident learning": Candidate(_confident, OWN),
    "probably wrong": Candidate(lambda basis: basis.most(basis.evidence.own.doubt), OWN),
    "gradient norm": Candidate(lambda basis: basis.most(gradient_norms(basis.case, basis.model)), NONE),
    "BoostIn": Candidate(_boostin, NONE, families=("boosted",)),
    **{f"cross-fitted influence, {share:g} of the wrong": Candidate(_share_of_the_wrong(share), OWN)
       for share in SHARES},
    "relabel the probably wrong": Candidate(_relabel, OWN),
    "repair, own family": Candidate(lambda basis: DECISIONS["repair"](_alone(basis.evidence)), OWN),
    "repair": Candidate(_repair, JOINT),
    "repair, removal alone": Candidate(lambda basis: _removal_alone(_repair(basis)), JOINT),
    "validation added": Candidate(lambda basis: Removal(NOBODY), NONE, adds_validation=True),
    "repair, validation added": Candidate(_repair, JOINT, adds_validation=True),
}  # fmt: skip


def candidates_of(model: str) -> list[str]:
    """Return the names of the candidates for a family."""
    return [name for name, one in CANDIDATES.items() if one.families is None or model in one.families]


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
    test = parts.pop("test")
    development = np.setdiff1d(np.arange(len(dataset.labels)), test)
    if dataset.is_test is not None:  # the official test set, of which the part may be a sample
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


def measure(case: Case, crossfits: list[CrossFit], names: list[str], write: Callable[[dict], None]) -> None:
    """Train the unrefined model, those with right labels and without the wrong ones, and those of some candidates."""
    samples = case.samples
    wrong = np.flatnonzero(samples.flipped)
    noisy, seconds, model = case.accuracy(samples)
    ideal = {
        "true_labels": case.after(Removal(NOBODY, (), wrong, samples.right[wrong])) if len(wrong) else noisy,
        "oracle_removal": case.after(Removal(wrong)) if len(wrong) else noisy,
    }
    basis = Basis(case, model, crossfits)
    for name in names:
        candidate = CANDIDATES[name]
        removal = candidate.decide(basis)
        touched = np.concatenate([removal.positions, removal.relabelled])
        write({
            "candidate": name, "samples": len(samples.labels), "removed": len(removal.positions),
            "relabelled": len(removal.relabelled),
            "precision": float(samples.flipped[touched].mean()) if len(touched) and len(wrong) else "",
            "trainings": candidate.trainings(case.model, crossfits),
            "accuracy": case.after(removal, candidate.adds_validation), "noisy": noisy, **ideal,
            "train_seconds": seconds,
        })  # fmt: skip


Missing = dict[tuple[str, int, str], dict[str, list[str]]]  # by data set, seed and condition: candidates by family


def missing(config: dict, cells: Sequence[str], rows: list[dict]) -> Missing:
    """Return the candidates that some rows lack, where they lack any.

    Args:
        config: a validated configuration.
        cells: data sets and families, like ``adult/logistic``; none for all.
        rows: of policies.csv.

    Raises:
        UserError: the configuration has no such data set or family.
    """
    every = [f"{dataset}/{model}" for dataset in config["datasets"] for model in config["models"]]
    for cell in cells:
        if cell not in every:
            raise UserError(f"{cell}: preset {config['preset']} has no such data set and model; legal: "
                            f"{', '.join(every)}")  # fmt: skip
    done, lacking = {tuple(row[key] for key in (*KEYS, "candidate")) for row in rows}, {}
    for seed in SEEDS:  # a run that is stopped has whole seeds
        for dataset, options in config["datasets"].items():
            for condition in [*CONDITIONS, *(options.get("human_labels") or [])]:
                for model in config["models"]:
                    names = [name for name in candidates_of(model)
                             if (dataset, model, condition, str(seed), name) not in done]  # fmt: skip
                    if names and f"{dataset}/{model}" in (cells or every):
                        lacking.setdefault((dataset, seed, condition), {})[model] = names
    return lacking


def rows_of(facts: dict) -> list[dict]:
    """Return the rows that this commit and configuration have measured, after others are dropped from the file."""
    path = OUT.with_suffix(".json")
    before, rows = read_json(path) if path.exists() else {}, read_rows(OUT) if OUT.exists() else []
    same = before.get("config_hash") == facts["config_hash"]
    kept = [row for row in rows if same and row["git_commit"] == facts["git_commit"]]
    if len(kept) < len(rows) or not OUT.exists():
        write_rows(OUT, COLUMNS, kept)
    write_json(path, facts)
    return kept


def main() -> None:
    """Measure what is missing, cell by cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("cells", nargs="*", help="DATASET/MODEL; without: all")
    arguments = parser.parse_args()
    try:
        run(arguments.preset, arguments.cells)
    except UserError as error:
        sys.exit(f"{parser.prog}: {error}")


def run(preset: str, cells: Sequence[str] = ()) -> None:
    """Measure what is missing of some data sets and families, or of all."""
    files = [Path("config/defaults.yaml"), Path(f"config/{preset}.yaml")]
    config = validate(merged(files), files)
    missing(config, cells, [])  # refuses cells that do not exist before any row is dropped
    facts = stamp(preset=config["preset"], config_hash=config_hash(config), config=config, seeds=SEEDS)
    lacking, commit, loaded = missing(config, cells, rows_of(facts)), facts["git_commit"], ""
    for (name, seed, condition), by_model in lacking.items():
        if name != loaded:
            dataset, loaded = sets.load(name), name
            human = sets.human_labels(name)[0] if config["datasets"][name].get("human_labels") else {}
        crossfits: list[CrossFit] = []
        for model in config["models"]:  # from cheap to dear: the cheaper ones judge too
            print(name, model, condition, seed, file=sys.stderr, flush=True)
            case = cases(config, dataset, human, model, condition, seed)
            own = cross_fit(model, case.samples, case.validation, case.settings, case.solver)
            if model in by_model:
                keys = {**dict(zip(KEYS, (name, model, condition, seed), strict=True)), "git_commit": commit}
                measure(case, [own, *crossfits], by_model[model], lambda row, keys=keys: _append({**keys, **row}))
            if model == list(by_model)[-1]:
                break
            crossfits.append(own)


def _append(row: dict) -> None:
    """Add a row to the file, which another process may add to as well."""
    with open(OUT, "a", encoding="utf-8", newline="") as stream:
        csv.DictWriter(stream, COLUMNS, lineterminator="\n").writerow(row)


if __name__ == "__main__":
    main()
