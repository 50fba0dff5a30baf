"""Audits of data with planted mistakes, beside cleanlab's Datalab: python benchmarks/audits.py [DATASET ...]

For each data set, kind of mistake, and with or without trusted labels: what the audit said, whether removal would have
helped on rows with right labels that it never saw, how many of the rows that it would remove or relabel and of the
first fifty of its review are mistakes, and the same by influence and loss alone and by Datalab, given the same
out-of-fold probabilities. Datalab's seconds are those with its own cross-validation of the same model.

Writes results/benchmarks/audits.csv, one row an audit, and audits.json, their provenance. Rows of this commit that are
there already are not made again. Data that are not installed with packages are fetched, or read from DATAGRADIENT_DATA.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datagradient.auditing.beginning import begin
from datagradient.auditing.folder import Place
from datagradient.auditing.judging import evidence_of, inputs_of, measure
from datagradient.auditing.request import AuditOptions, Request
from datagradient.auditing.run import Audit, finish
from datagradient.auditing.task import WHOLE, Task
from datagradient.auditing.work import crossfits_of, read_part
from datagradient.data import sets
from datagradient.data.features import extract
from datagradient.data.readers import ReadOptions
from datagradient.data.record import Dataset
from datagradient.files import read_rows, write_json, write_rows
from datagradient.models import family
from datagradient.pipeline.provenance import stamp
from datagradient.refine.removal import Removal
from datagradient.refine.repair import repair
from datagradient.seeds import generator

OUT = Path("results/benchmarks/audits.csv")
COLUMNS = ("dataset", "kind", "trusted", "rows", "planted", "verdict", "change", "low", "high", "true_change", "right",
           "expected_wrong", "model", "acted", "acted_right", "acted_by_influence", "acted_right_by_influence",
           "true_change_by_influence", "precision", "precision_by_influence",
           "precision_by_loss", "precision_datalab", "auroc", "auroc_by_influence", "auroc_by_loss", "auroc_datalab",
           "seconds", "seconds_datalab", "git_commit")  # fmt: skip
SHARE = 0.1  # of the rows that get a mistake
UNSEEN, TRUSTED = 0.25, 0.15  # of all rows: those that judge the audit, and those whose labels are trusted
MOST = 6000  # rows of a data set
FIRST = 50  # rows that a person would check
NOTICEABLE = 0.01  # a gain that an audit should not miss
LABEL = "label"


@dataclass(frozen=True)
class Trial:
    """Rows with mistakes, rows with trusted labels or None, and rows with right labels that judge the audit.

    ``truth`` names the right classes of the rows with mistakes, where these are mistakes of labels.
    """

    dataset: Dataset
    planted: np.ndarray
    trusted: Dataset | None
    unseen: Dataset
    truth: np.ndarray


def packaged(name: str) -> Callable[[], Dataset]:
    """Return a function that loads a table of scikit-learn."""

    def load() -> Dataset:
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{name}")(as_frame=True)
        labels = bunch.target.to_numpy().astype(np.int64)
        table = bunch.data.rename(columns=lambda column: column.replace(" ", "_"))
        return Dataset(name, name, "table", table, labels, tuple(map(str, bunch.target_names)))

    return load


def statistical(module: str, target: str, title: str) -> Callable[[], Dataset]:
    """Return a function that loads a table of statsmodels, whose labels are the values of one column."""

    def load() -> Dataset:
        import importlib

        table = importlib.import_module(f"statsmodels.datasets.{module}").load_pandas().data.dropna()
        values = table.pop(target)
        labels, names = pd.factorize(values, sort=True)
        return Dataset(title, title, "table", table.reset_index(drop=True), labels.astype(np.int64),
                       tuple(f"{name:g}" for name in names))  # fmt: skip

    return load


def human() -> Dataset:
    """Load CIFAR-10 with the labels that people gave in the column worse_label, where it has them."""
    dataset = sets.load("cifar10")
    rows = np.flatnonzero(~dataset.is_test)
    return replace(dataset, samples=dataset.take(rows), labels=dataset.labels[rows], is_test=None)


DATASETS: dict[str, Callable[[], Dataset]] = {
    "breast_cancer": packaged("breast_cancer"), "wine": packaged("wine"),
    "anes96": statistical("anes96", "vote", "anes96"), "affairs": lambda: sets.load("affairs"),
    "digits": lambda: sets.load("digits"), "movie_reviews": lambda: sets.load("movie_reviews"),
    "adult": lambda: sets.load("adult"), "imdb": lambda: sets.load("imdb"), "cifar10": human,
}  # fmt: skip


def without(dataset: Dataset, rows: np.ndarray, labels: np.ndarray | None = None) -> Dataset:
    """Return some rows of a data set."""
    samples = dataset.take(rows)
    if dataset.modality == "table":
        samples = samples.reset_index(drop=True)
    return replace(dataset, samples=samples, labels=dataset.labels[rows] if labels is None else labels, is_test=None)


def flipped(dataset: Dataset, random: np.random.Generator) -> tuple[Dataset, np.ndarray]:
    """Give a share of the rows another label, each other class alike."""
    n, classes = len(dataset.labels), len(dataset.class_names)
    wrong = chosen(n, random)
    others = (dataset.labels + random.integers(1, classes, n)) % classes
    return replace(dataset, labels=np.where(wrong, others, dataset.labels)), wrong


def towards_one(dataset: Dataset, random: np.random.Generator) -> tuple[Dataset, np.ndarray]:
    """Give a share of the rows the label of the first class, which they do not have."""
    others = np.flatnonzero(dataset.labels != 0)
    wrong = np.zeros(len(dataset.labels), dtype=bool)
    wrong[random.choice(others, min(len(others) // 2, round(SHARE * len(wrong))), replace=False)] = True
    return replace(dataset, labels=np.where(wrong, 0, dataset.labels)), wrong


def corrupted(dataset: Dataset, random: np.random.Generator) -> tuple[Dataset, np.ndarray]:
    """Replace the samples of a share of the rows by nonsense: cells, pixels or words of rows drawn one by one."""
    n = len(dataset.labels)
    wrong = chosen(n, random)
    rows = np.flatnonzero(wrong)
    if dataset.modality == "table":
        table = dataset.samples.copy()
        for column in table.columns:
            table[column] = table[column].mask(wrong, table[column].iloc[random.integers(0, n, n)].to_numpy())
        return replace(dataset, samples=table), wrong
    if dataset.modality == "text":
        texts, words = list(dataset.samples), [text.split() for text in dataset.samples]
        for row in rows:
            drawn = [words[other] for other in random.integers(0, n, len(words[row]) or 1)]
            texts[row] = " ".join(found[random.integers(len(found))] for found in drawn if found) or "nothing"
        return replace(dataset, samples=texts), wrong
    images = dataset.samples.copy()
    images[rows] = random.integers(0, 256, images[rows].shape, dtype=np.uint8)
    return replace(dataset, samples=images), wrong


def repeated(dataset: Dataset, random: np.random.Generator) -> tuple[Dataset, np.ndarray]:
    """Add copies of a share of the rows with another label."""
    n, classes = len(dataset.labels), len(dataset.class_names)
    copies = np.flatnonzero(chosen(n, random))
    labels = (dataset.labels[copies] + random.integers(1, classes, len(copies))) % classes
    rows = np.concatenate([np.arange(n), copies])
    more = without(dataset, rows, np.concatenate([dataset.labels, labels]))
    return more, np.arange(len(rows)) >= n


KINDS = {"flips": flipped, "towards one class": towards_one, "corrupted": corrupted, "copies": repeated}
HUMAN = "human"  # labels that people gave, on images that have them


def chosen(n: int, random: np.random.Generator) -> np.ndarray:
    """Return which rows (n,) get a mistake."""
    wrong = np.zeros(n, dtype=bool)
    wrong[random.permutation(n)[: round(SHARE * n)]] = True
    return wrong


def trial(name: str, dataset: Dataset, kind: str, trusted: bool) -> Trial:
    """Divide a data set and plant mistakes; the rows are the same for all kinds, with and without trusted labels."""
    random = generator(0, "trial", name)
    order = random.permutation(len(dataset.labels))[:MOST]
    unseen, known, rest = np.split(order, [int(UNSEEN * len(order)), int((UNSEEN + TRUSTED) * len(order))])
    whole = without(dataset, np.sort(rest))
    if kind == HUMAN:
        labels = sets.human_labels(name)[0]["worse_label"][np.flatnonzero(sets.load(name).is_test == 0)][np.sort(rest)]
        changed, planted = replace(whole, labels=labels), labels != whole.labels
    else:
        changed, planted = KINDS[kind](whole, generator(0, "mistakes", name, kind))
    truth = np.array(dataset.class_names, dtype=object)[whole.labels]
    return Trial(changed, planted, without(dataset, known) if trusted else None, without(dataset, unseen), truth)


def own_data(dataset: Dataset) -> tuple[Any, str | None]:
    """Return a data set as a user has it: arrays, or a DataFrame with a column of labels."""
    names = np.array(dataset.class_names, dtype=object)[dataset.labels]
    if dataset.modality == "image":
        return (dataset.samples, names), None
    table = dataset.samples if dataset.modality == "table" else pd.DataFrame({"text": dataset.samples})
    return table.assign(**{LABEL: names}), LABEL


def run(case: Trial) -> dict[str, Any]:
    """Audit, and compare."""
    from sklearn.metrics import roc_auc_score

    data, target = own_data(case.dataset)
    validation = None if case.trusted is None else own_data(case.trusted)[0]
    options, start = AuditOptions(), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        result, task = audited(data, target, validation, options, Path(place))
        seconds = time.perf_counter() - start
        whole = read_part(Path(place), WHOLE)
    rows = sorted(range(len(result.rows)), key=lambda place: result.rows[place]["row"])  # places in the review
    of = {name: np.array([result.rows[place][name] for place in rows]) for name in ("row", "loss", "harm")}
    planted = case.planted[of["row"]]
    quality, datalab_seconds = datalab(task, whole, of["row"])
    # The larger the more suspicious: by the review's own order, and by what it also says of each row.
    suspicion = {"": -np.array(rows), "_by_influence": -of["harm"], "_by_loss": of["loss"], "_datalab": -quality}
    proposed = consequences(case, task, whole, planted)
    other = {} if case.trusted is None else consequences(case, task, decided_by_influence(task, whole), planted)
    verdict, change, true_change = result.effect["verdict"], result.effect["change"], proposed["true_change"]
    right = {"helps": true_change > 0, "nothing": true_change < NOTICEABLE, "hurts": true_change <= 0}
    return {
        "rows": len(case.planted), "planted": int(case.planted.sum()), "verdict": verdict, "change": change["mean"],
        "low": change["low"], "high": change["high"], **proposed,
        "right": "" if verdict not in right else int(right[verdict]),
        "expected_wrong": result.summary["trusted"]["expected_wrong"], "model": task.models[0],
        **{f"{name}_by_influence": other.get(name, "") for name in proposed},
        **{f"precision{how}": planted[np.argsort(-value, kind="stable")[:FIRST]].mean()
           for how, value in suspicion.items()},
        **{f"auroc{how}": roc_auc_score(planted, value) for how, value in suspicion.items()},
        "seconds": seconds, "seconds_datalab": datalab_seconds,
    }  # fmt: skip


def audited(
    data: Any, target: str | None, validation: Any, options: AuditOptions, folder: Path, review: Path | None = None
) -> tuple[Audit, Task]:  # fmt: skip
    """Return the audit's outcome, and what it judged; `review` holds labels checked by hand."""
    request = Request(data, ReadOptions(target=target), options, validation, trusted=review)
    with Place(folder) as place:
        prepared = begin(request, place, lambda _: None)
        assert prepared.task is not None
        return finish(prepared, options, place.path, lambda _: None, time.perf_counter()), prepared.task


def decided_by_influence(task: Task, whole: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the policy would remove and relabel by influence on the trusted rows, instead of by doubt."""
    part = task.parts[WHOLE]
    crossfits = crossfits_of(task, whole)
    by_doubt = evidence_of(task, part, task.models[0], task.dataset.labels[part.judged], crossfits)
    removal = repair(replace(by_doubt, by_doubt=False))
    return {"removed": removal.positions, "relabelled": removal.relabelled, "new_labels": removal.new_labels}


def consequences(
    case: Trial, task: Task, decided: dict[str, np.ndarray], planted: np.ndarray
) -> dict[str, Any]:  # fmt: skip
    """Return of a decision: on how many rows, the share of mistakes among them, and what it changes on unseen rows."""
    acted = np.concatenate([decided["removed"], decided["relabelled"]]).astype(np.int64)
    before, after = unseen_accuracies(case, task, decided)
    return {"acted": len(acted), "acted_right": planted[acted].mean() if len(acted) else "",
            "true_change": after - before}  # fmt: skip


def unseen_accuracies(case: Trial, task: Task, whole: dict[str, np.ndarray]) -> tuple[float, float]:
    """Return the accuracy on rows with right labels that the audit never saw, without and with its decision."""
    dataset, unseen = task.dataset, case.unseen
    numbers = {name: label for label, name in enumerate(dataset.class_names)}
    labels = np.array([numbers[unseen.class_names[label]] for label in unseen.labels])
    if dataset.modality == "table":
        samples = pd.concat([dataset.samples, unseen.samples[dataset.samples.columns]], ignore_index=True)
    elif dataset.modality == "text":
        samples = [*dataset.samples, *unseen.samples]
    else:
        samples = np.concatenate([dataset.samples, unseen.samples])
    is_test = np.arange(len(samples)) >= len(dataset.labels)
    joined = replace(dataset, samples=samples, labels=np.concatenate([dataset.labels, labels]), is_test=is_test)
    nobody = np.zeros(len(labels), dtype=bool)
    wider = replace(task, dataset=joined, checked=np.concatenate([task.checked, nobody]),
                    trusted=np.concatenate([task.trusted, nobody]))  # fmt: skip
    part = wider.parts[WHOLE]
    removal = Removal(whole["removed"], (), whole["relabelled"], whole["new_labels"])
    predicted = measure(wider, part, inputs_of(wider, part, wider.models[:1])[task.models[0]], removal)
    before, after = (predicted[f"test_{arm}"].argmax(axis=1) == labels for arm in ("baseline", "refined"))
    return float(before.mean()), float(after.mean())


def datalab(task: Task, whole: dict[str, np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Return Datalab's label quality of the judged rows from our out-of-fold probabilities, and its own seconds."""
    from cleanlab import Datalab
    from sklearn.model_selection import StratifiedKFold

    judged = whole["judged"]
    labels = task.dataset.labels[judged]
    with contextlib.redirect_stdout(io.StringIO()):
        lab = Datalab(data={LABEL: labels}, label_name=LABEL, task="classification")
        start = time.perf_counter()
        lab.find_issues(pred_probs=whole[f"probabilities_{task.models[0]}"], issue_types={"label": {}})
        own = time.perf_counter() - start
    quality = lab.get_issues("label")["label_score"].to_numpy()
    start, name = time.perf_counter(), task.models[0]
    features = extract(task.dataset, {"train": judged}, quiet=True)["train"]
    for rest, held in StratifiedKFold(5, shuffle=True, random_state=0).split(labels, labels):
        model, _ = family(name).fit(features[rest], labels[rest], len(task.dataset.class_names), task.settings[name], 0)
        family(name).probabilities(model, features[held])
    assert len(quality) == len(rows)
    return quality, own + time.perf_counter() - start


def main() -> None:
    """Run the trials that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", help="without: all")
    wanted = parser.parse_args().datasets or list(DATASETS)
    facts = stamp()
    commit = facts["git_commit"]
    rows = [row for row in (read_rows(OUT) if OUT.exists() else []) if row["git_commit"] == commit]
    write_json(OUT.with_suffix(".json"), facts)
    done = {(row["dataset"], row["kind"], row["trusted"]) for row in rows}
    for name in wanted:
        dataset = None
        for kind in [*KINDS, *([HUMAN] if name == "cifar10" else [])]:
            for trusted in (False, True):
                keys = {"dataset": name, "kind": kind, "trusted": str(int(trusted))}
                if tuple(keys.values()) in done:
                    continue
                dataset = dataset or DATASETS[name]()
                print(*keys.values(), file=sys.stderr, flush=True)
                rows.append({**keys, **run(trial(name, dataset, kind, trusted)), "git_commit": commit})
                write_rows(OUT, COLUMNS, rows)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
