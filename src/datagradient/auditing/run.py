"""An audit from beginning to end."""

import contextlib
import datetime
import functools
import math
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datagradient.auditing import answer
from datagradient.auditing.apply import applied
from datagradient.auditing.beginning import begin
from datagradient.auditing.files import COUNTS, NUMBERS, REVIEW, checked_rows, plan_of, review_rows, write_all
from datagradient.auditing.folder import BEGUN, Place, check_apart
from datagradient.auditing.material import Checked, Material
from datagradient.auditing.outcome import KEEP_ALL, NO_CURVES, NOT_JUDGED, SCHEMA, outcome
from datagradient.auditing.own import own_classifier
from datagradient.auditing.request import AUTO, FEWEST_ROWS, OWN, AuditOptions, Request
from datagradient.auditing.screen import Screen
from datagradient.auditing.setup import Prepared, Said
from datagradient.auditing.work import do_all, one_thread
from datagradient.data.readers import ReadOptions, Source
from datagradient.data.readers.source import counted
from datagradient.pipeline.provenance import stamp

if TYPE_CHECKING:
    import pandas as pd

IN_MEMORY = "data in memory"


@dataclass(frozen=True, repr=False)
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
    rows: list[dict[str, Any]]
    curves: dict[str, Any]
    source: Source
    material: Material
    checked: Checked | None = None

    def __repr__(self) -> str:
        """Return the verdict in words, and how many rows there are of each decision."""
        counts = ", ".join(f"{name} {count}" for name, count in self.summary["decisions"].items())
        return f"<Audit: {self.effect['sentence']} Rows: {counts}.>"

    @property
    def effect(self) -> dict[str, Any]:
        """What the decision does to rows that no score has seen: ``verdict``, ``sentence``, ``change`` and others."""
        found: dict[str, Any] = self.summary["effect"]
        return found

    @functools.cached_property
    def review(self) -> "pd.DataFrame":
        """The judged rows, worst first: a DataFrame with the columns of review.csv; ``row`` is a position in the data.

        It is the same one each time: labels that are written into its column ``checked`` stay there.
        Influence is NaN for a classifier whose influence cannot be computed.
        """
        import pandas as pd

        blank = dict.fromkeys((*NUMBERS, *COUNTS))  # of rows that were checked by hand
        rows = [{name: (blank | row).get(name, "") for name in REVIEW} for row in review_rows(self)]
        return pd.DataFrame(rows, columns=list(REVIEW)).astype(dict.fromkeys(NUMBERS, float))

    @property
    def plan(self) -> dict[str, Any]:
        """The decisions that ``datagradient apply`` carries out."""
        return plan_of(self)

    def apply(self, data: Any) -> Any:
        """Return a copy of the audited data without the rows to drop, and with the new labels.

        Args:
            data: the DataFrame that was audited, or the pair of samples and labels.

        Returns:
            A DataFrame with the index and the types of columns of `data`; or a pair whose parts are of the same types.

        Raises:
            UserError: the audited data are a file, or other ones.
        """
        plan = self.plan
        acted = {action["row"] for action in plan["actions"]}
        return applied(plan, data, {row["row"]: row["given"] for row in review_rows(self) if row["row"] in acted})

    def save(self, folder: str | Path) -> Path:
        """Write report.html, summary.json, review.csv, samples.parquet and plan.json to a folder, which is made.

        Labels that were written by hand are kept: into `review`, and into the review of an earlier audit of the same
        data in the folder. Those that the audit was given as trusted stay as they were given.

        Raises:
            UserError: the folder holds other files, or the data, or an audit of other data; or the labels in its review
                do not fit.
        """
        check_apart(Path(folder), [self.source.facts["path"]])
        write_all(self, Path(folder))
        return Path(folder)


def audit(
    data: Any,
    target: str | None = None,
    *,
    model: Any = AUTO,
    validation: Any = None,
    test: Any = None,
    trusted: "str | Path | pd.DataFrame | None" = None,
    id: str | None = None,
    text: str | None = None,
    drop: Sequence[str] = (),
    trusted_column: str | None = None,
    folds: int = 5,
    rounds: int = 1,
    fraction: float | None = None,
    max_rows: int = 100_000,
    time_limit: float | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Audit:
    """Find the rows of your data that hurt a model trained on it, and whether removing them helps.

    Each of several folds is held out: the other rows are judged by models that did not train on them, refined and
    trained on again, and the fold, which no score has seen, measures what that did, against removing as many rows at
    random. `data` is never changed.

    >>> from sklearn.datasets import load_iris
    >>> from datagradient import audit
    >>> table = load_iris(as_frame=True).frame
    >>> table.loc[:9, "target"] = 1  # ten wrong labels
    >>> result = audit(table, "target", model="logistic", folds=3, progress=False)
    >>> sorted(result.review["row"].head(10))
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    >>> result.effect["verdict"]  # 150 rows cannot show that accuracy changes
    'nothing'

    Args:
        data: a DataFrame; a pair (samples, labels) of arrays, of texts and labels, or of images (n, height, width,
            channels) and labels; or the path of a CSV, TSV, Parquet or JSON-lines file, of a folder of images with a
            subfolder for each class, or of a data set saved by Hugging Face `datasets`.
        target: the column of labels; pairs and folders of images have none.
        model: ``"auto"``, for tables the better of two on held-out rows, otherwise ``"logistic"``; ``"logistic"``,
            ``"boosted"`` or ``"neural"``; or your own classifier, unfitted, as scikit-learn has them (``fit``,
            ``predict_proba``, ``classes_``; also a Pipeline, or an XGBClassifier). It is cloned for each training, and
            a ``random_state`` of None is set from `seed`. It gets the samples as you give them here, a DataFrame
            without the columns that are no samples, a list of texts, or an array, and labels as numbers from 0, in the
            order of the class names. Samples from files are as they were read. Influence is used where
            `influence_scores` has a way to compute it; for other classifiers decisions go by the probability that a
            label is wrong, and ``influence`` is NaN.
        validation: more data in the same form, whose labels were checked by hand; rows are then judged by them.
        test: more data in the same form, to measure the effect on.
        trusted: the review of an earlier audit of the same data, with labels written into its column ``checked``: a
            review.csv, also one that a spreadsheet has saved, or a DataFrame with the columns ``row``, ``checked`` and
            ``drawn``. ``?`` means that nobody could tell.
        id: the column of names of rows, which no model sees.
        text: the column of texts; the others are left out.
        drop: columns that are left out.
        trusted_column: the column that is true where a label was checked by hand.
        folds: how many folds measure the effect.
        rounds: how often what is left is judged again.
        fraction: largest share of the rows that a round acts on; None: as many as are worth it.
        max_rows: of more rows, so many are drawn at random.
        time_limit: seconds; of more rows than fit that time, so many are drawn. None: no limit.
        seed: of everything random; the same seed gives the same outcome.
        folder: where work that is done is kept, so that the same call goes on after an interruption; None: nowhere.
        progress: whether lines on what is found and done are written to standard error.

    Returns:
        The outcome: ``effect``, ``review``, ``plan`` and ``summary``; ``save`` writes the page and the other files.

    Raises:
        ValueError: the data cannot be read or audited, or your classifier fails. One line says what was found, where,
            and what to do; it names options as the command does, ``--drop`` for `drop`.
    """
    own = None if isinstance(model, str) else own_classifier(model)
    reading = ReadOptions(
        target=_name(target), id=_name(id), text=_name(text), trusted_column=_name(trusted_column),
        drop=drop if isinstance(drop, str) else tuple(map(str, drop)),  # type: ignore[arg-type]  # refused there
    )  # fmt: skip
    options = AuditOptions(model if own is None else OWN, folds, rounds, fraction, max_rows, time_limit, seed)
    request = Request(data, reading, options, validation, test, trusted, own=own)
    return run_audit(request, folder, Screen() if progress else None)


def _name(column: Any) -> str | None:
    """Return the name of a column as text, which columns are read by."""
    return None if column is None else str(column)


def run_audit(request: Request, folder: str | Path | None = None, said: Said | None = None) -> Audit:
    """Carry out an audit.

    Args:
        request: what is to be audited, and how.
        folder: where parts that are done are kept, so that an interrupted audit of the same data goes on; None:
            nowhere.
        said: receives lines of progress and of what was found; None: nobody.

    Raises:
        UserError: the data cannot be read or audited, or the folder holds another audit; one line names the row or
            column, and the remedy.
    """
    speak, start = said or (lambda _: None), time.perf_counter()
    if folder is None:
        return finish(begin(request, None, speak), request.options, None, speak, start)
    with Place(folder, resume=(Path(folder) / BEGUN).exists()) as place:
        return finish(begin(request, place, speak), request.options, place.path, speak, start)


def finish(prepared: Prepared, options: AuditOptions, folder: Path | None, said: Said, start: float) -> Audit:
    """Do what is not done yet, and return the outcome; `start` is when the audit began, by the performance counter."""
    source, material = prepared.source, prepared.material
    summary: dict[str, Any] = {"schema": SCHEMA, "source": _source_facts(source), "findings": prepared.found}
    rows: list[dict[str, Any]] = []
    curves: dict[str, Any] = dict(NO_CURVES)
    if prepared.task is None or prepared.choice is None:
        summary |= _too_few(material, 0 if prepared.checked is None else len(prepared.checked.places))
    else:
        with _kept_in(folder) as place:
            do_all(prepared.task, place, said, prepared.seconds)
            with one_thread(prepared.task):
                part, rows, curves = outcome(prepared.task, material, prepared.choice, place)
        summary |= part
    for row in checked_rows(source, prepared.checked):
        summary["decisions"][row["decision"]] += 1
    if prepared.checked is not None and (corrected := prepared.checked.corrected):
        summary["effect"]["sentence"] += (f" The plan gives {counted(corrected, 'row')} the label that was written by "
                                          "hand; these rows stand last in review.csv.")  # fmt: skip
        if summary["effect"]["headline"] == KEEP_ALL:
            summary["effect"]["headline"] = "Apply the labels corrected by hand, and keep the other rows as they are"
    now = datetime.datetime.now(datetime.UTC)
    began = now - datetime.timedelta(seconds=time.perf_counter() - start)
    facts = stamp(seed=options.seed, input_sha256=source.facts.get("sha256", ""), read_sha256=prepared.checksums,
                  started=began.isoformat(timespec="seconds"), finished=now.isoformat(timespec="seconds"))  # fmt: skip
    for of_presets in ("preset", "config_hash"):
        facts.pop(of_presets, None)
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
    absent: dict[str, Any] = {"target": None, "id": None, "columns": []}  # of arrays
    return {**absent, **source.facts, "path": source.facts["path"] or IN_MEMORY, "modality": source.dataset.modality,
            "classes": classes, "said": list(source.said)}  # fmt: skip


def _too_few(material: Material, reviewed: int) -> dict[str, Any]:
    """Return the outcome without a model; `reviewed` is how many rows came with a review, which are counted later."""
    n = int(material.own.sum())
    small = material.findings["small_classes"]
    rows, classes = n - sum(entry["rows"] for entry in small), len(material.source.dataset.class_names) - len(small)
    words = (f"Too few rows to say: {counted(rows, 'row')} in {classes} class{'' if classes == 1 else 'es'} large "
             f"enough to be judged; {FEWEST_ROWS} in two classes are needed.")  # fmt: skip
    nothing = dict.fromkeys(("mean", "low", "high")) | {"folds_better": 0, "folds": 0}
    unknown = dict.fromkeys(("expected_wrong", "expected_wrong_share", "low", "high", "drawn"))
    return {
        "model": {"name": None, "title": "no model", "judges": [], "folds": 0, "settings": {}, "trainings": 0,
                  "tried": {}},
        "trusted": {"rows": int(material.trusted.sum()), **unknown, "sentence": "No model was trained."},
        "effect": {"verdict": answer.TOO_FEW, "headline": NOT_JUDGED, "sentence": words,
                   "metric": "accuracy", "measured_on": "held-out rows", "rows": 0,
                   **dict.fromkeys(("baseline", "refined", "random")), "change": nothing,
                   "against_random": nothing, "by_fold": []},
        "score": {**dict.fromkeys(("value", "low", "high", "helpful_share")), "sentence": "No model was trained."},
        "decisions": {answer.DROP: 0, answer.RELABEL: 0, answer.LOOK: 0, answer.KEEP: n - reviewed},
        "believe": "No model was trained.",
    }  # fmt: skip


def _known(content: Any) -> Any:
    """Return plain data in which a number that is not finite, which JSON does not have, is None."""
    if isinstance(content, dict):
        return {key: _known(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_known(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
