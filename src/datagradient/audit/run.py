"""An audit from beginning to end."""

import contextlib
import datetime
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from datagradient.audit import answer
from datagradient.audit.apply import applied
from datagradient.audit.beginning import begin
from datagradient.audit.files import REVIEW, plan_of, review_rows, write_all
from datagradient.audit.folder import BEGUN, Place
from datagradient.audit.material import Checked, Material
from datagradient.audit.outcome import NO_CURVES, SCHEMA, outcome
from datagradient.audit.request import FEWEST_ROWS, AuditOptions, Request
from datagradient.audit.setup import Prepared, Said
from datagradient.audit.work import do_all, one_thread
from datagradient.data.readers import ReadOptions, Source
from datagradient.pipeline.provenance import stamp

IN_MEMORY = "data in memory"


@dataclass(frozen=True)
class Audit:
    """The outcome of an audit.

    Attributes:
        summary: all but the rows, as summary.json holds it.
        rows: the judged rows, worst first, as plain data.
        curves: of the page.
        source: the audited data.
        material: the rows that were audited.
        checked: labels that a person has written into a review, which go into the plan; None without.
    """

    summary: dict[str, Any]
    rows: list[dict[str, Any]] = field(repr=False)
    curves: dict[str, Any] = field(repr=False)
    source: Source = field(repr=False)
    material: Material = field(repr=False)
    checked: Checked | None = field(default=None, repr=False)

    @property
    def effect(self) -> dict[str, Any]:
        """What the decision does to rows that no score has seen."""
        return self.summary["effect"]

    @property
    def review(self) -> Any:
        """The judged rows, worst first: a DataFrame with the columns of review.csv."""
        import pandas as pd

        rows = [{name: row.get(name, "") for name in REVIEW} for row in review_rows(self)]
        return pd.DataFrame(rows, columns=list(REVIEW))

    @property
    def plan(self) -> dict[str, Any]:
        """The decisions that ``datagradient apply`` carries out."""
        return plan_of(self)

    def apply(self, frame: Any) -> Any:
        """Return a copy of the audited DataFrame without the rows to drop, and with the new labels.

        Raises:
            UserError: the audited data are no DataFrame, or another one.
        """
        acted = {action["row"] for action in self.plan["actions"]}
        return applied(self.plan, frame, {row["row"]: row["given"] for row in self.rows if row["row"] in acted})

    def save(self, folder: str | Path) -> Path:
        """Write report.html, summary.json, review.csv, samples.parquet and plan.json to a folder, which is made."""
        write_all(self, Path(folder))
        return Path(folder)


def audit(
    data: Any, target: str | None = None, *, validation: Any = None, test: Any = None,
    trusted: str | Path | None = None,
    read_options: ReadOptions | None = None, options: AuditOptions | None = None, folder: str | Path | None = None,
    said: Said | None = None,
) -> Audit:  # fmt: skip
    """Find the rows of a data set that hurt a model trained on it, and whether removing them helps.

    Args:
        data: a file or folder, a DataFrame, or arrays (samples, labels).
        target: the column of labels.
        validation: more data of the same kind, whose labels were checked by hand.
        test: more data of the same kind, to measure the effect on.
        trusted: a review.csv of an earlier audit, with labels written into its column ``checked``.
        read_options: how to read the data; `target` goes before.
        options: how to judge.
        folder: where parts that are done are kept, so that an interrupted audit of the same data goes on; None:
            nowhere.
        said: receives lines of progress and of what was found; None: nobody.

    Raises:
        UserError: the data cannot be read or audited, or the folder holds another audit; one line names the row or
            column, and the remedy.
    """
    reading = replace(read_options or ReadOptions(), **({} if target is None else {"target": target}))
    request = Request(data, reading, options or AuditOptions(), validation, test, trusted)
    speak, start = said or (lambda _: None), time.perf_counter()
    if folder is None:
        return finish(begin(request, None, speak), request.options, None, speak, start)
    with Place(folder, resume=(Path(folder) / BEGUN).exists()) as place:
        return finish(begin(request, place, speak), request.options, place.path, speak, start)


def finish(prepared: Prepared, options: AuditOptions, folder: Path | None, said: Said, start: float) -> Audit:
    """Do what is not done yet, and return the outcome; `start` is when the audit began, by the performance counter."""
    source, material = prepared.source, prepared.material
    summary: dict[str, Any] = {"schema": SCHEMA, "source": _source_facts(source), "findings": prepared.found}
    rows, curves = [], dict(NO_CURVES)
    if prepared.task is None or prepared.choice is None:
        summary |= _too_few(material)
    else:
        with _kept_in(folder) as place:
            do_all(prepared.task, place, said, prepared.seconds)
            with one_thread(prepared.task.models):
                part, rows, curves = outcome(prepared.task, material, prepared.choice, place)
        summary |= part
    now = datetime.datetime.now(datetime.UTC)
    began = now - datetime.timedelta(seconds=time.perf_counter() - start)
    facts = stamp(seed=options.seed, input_sha256=source.facts.get("sha256", ""),
                  started=began.isoformat(timespec="seconds"), finished=now.isoformat(timespec="seconds"))  # fmt: skip
    summary |= {"not_checked": material.not_checked, "seconds": time.perf_counter() - start, "provenance": facts,
                "options": asdict(options), "next": []}  # fmt: skip
    return Audit(_known(summary), rows, curves, source, material, prepared.checked)


@contextlib.contextmanager
def _kept_in(folder: Path | None) -> Iterator[Path]:
    """Give the folder of the parts, or a temporary one."""
    if folder is not None:
        yield folder
        return
    temporary = tempfile.mkdtemp(prefix="datagradient-")
    try:
        yield Path(temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _source_facts(source: Source) -> dict[str, Any]:
    counts = np.bincount(source.dataset.labels, minlength=len(source.dataset.class_names)).tolist()
    classes = [{"name": name, "rows": count} for name, count in zip(source.dataset.class_names, counts, strict=True)]
    absent = {"target": None, "id": None, "columns": []}  # of arrays
    return {**absent, **source.facts, "path": source.facts["path"] or IN_MEMORY, "modality": source.dataset.modality,
            "classes": classes, "said": list(source.said)}  # fmt: skip


def _too_few(material: Material) -> dict[str, Any]:
    n = int(material.own.sum())
    words = f"Too few rows to say: {n} rows in classes that can be judged, and {FEWEST_ROWS} are needed in two or more."
    nothing = dict.fromkeys(("mean", "low", "high")) | {"folds_better": 0, "folds": 0}
    unknown = dict.fromkeys(("expected_wrong", "expected_wrong_share", "low", "high"))
    return {
        "model": {"name": None, "title": "no model", "judges": [], "folds": 0, "settings": {}, "trainings": 0,
                  "tried": {}},
        "trusted": {"rows": int(material.trusted.sum()), **unknown, "sentence": "No model was trained."},
        "effect": {"verdict": answer.TOO_FEW, "sentence": words, "metric": "accuracy", "measured_on": "held-out rows",
                   "rows": 0, **dict.fromkeys(("baseline", "refined", "random")), "change": nothing,
                   "against_random": nothing, "by_fold": []},
        "score": {**dict.fromkeys(("value", "low", "high", "helpful_share")), "sentence": "No model was trained."},
        "decisions": {answer.DROP: 0, answer.RELABEL: 0, answer.LOOK: 0, answer.KEEP: n},
        "believe": "No model was trained.",
    }  # fmt: skip


def _known(content: Any) -> Any:
    """Return plain data in which a number that is not finite, which JSON does not have, is None."""
    if isinstance(content, dict):
        return {key: _known(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_known(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
