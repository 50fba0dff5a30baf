"""Scores as files: of all training samples at once, or S first and then shards of them that run apart."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from datagradient.errors import UserError
from datagradient.files import read_arrays, read_meta, write_arrays, write_json
from datagradient.influence.glm import ROWS
from datagradient.influence.options import RECORD
from datagradient.influence.scores import Direction, dataset_contribution, influence_along
from datagradient.models import declared, family, load
from datagradient.pipeline.layout import solver_for
from datagradient.pipeline.provenance import check_shared
from datagradient.pipeline.training import load_held, load_training_set
from datagradient.refine.scoring import Scored, Work, set_up, with_others, without_record


def load_work(
    model: str, solver: dict, model_file: str, data: str, labels: str, kept: str | None, record: Path | None = None
) -> Work:
    """Read what a model is scored with; `solver` may hold overrides by the kind of the data.

    `record` is the file of what training kept of the samples, which need not exist.

    Raises:
        UserError: the model was trained on other samples or labels than these.
    """
    form, (trained, facts) = declared(model).inputs, load(model, model_file, data)
    samples = load_training_set(form, data, labels, kept)
    check_shared({model_file: facts, f"{labels} with {kept}" if kept else labels: samples.facts})
    validation, selection = (load_held(form, data, labels, part) for part in ("influence", "selection"))
    solver = solver_for(solver, read_meta(data)["modality"])
    records = {}
    if record is not None and solver["name"] == RECORD and record.exists():
        arrays, record_facts = read_arrays(record)
        check_shared({model_file: facts, record: record_facts})
        records = {"train": family(model).record_of(trained, arrays)} if arrays else {}
    return Work(family(model), trained, facts, samples, validation, solver, selection, records)


def warn_unconverged(record: dict, out: Path) -> None:
    """Say on standard error that a solve ended before its tolerance."""
    if record["status"] == "unconverged":
        print(f"warning: {out}: the solve is unconverged: {record}", file=sys.stderr)


def write_scores(scored: Scored, options: dict, facts: dict, out: Path) -> None:
    """Write scores.npz, and influence.json beside it; `options` are the solver's, `facts` the model's."""
    write_arrays(out, facts, **scored.arrays)
    content = {
        "solver": scored.solver, "options": options, "seconds": scored.seconds,
        "other_scores_seconds": scored.other_seconds,
        "contribution": dataset_contribution(scored.arrays["influence"]),
        "contribution_selection": dataset_contribution(scored.arrays["influence_selection"]), "provenance": facts,
    }  # fmt: skip
    write_json(out.with_name("influence.json"), content)


def write_direction(direction: Direction, selection: np.ndarray, n: int, options: dict, facts: dict, out: Path) -> None:
    """Write direction.npz: S and ∇L_V of n training samples, and in its facts what influence.json takes from here.

    `selection` is S of the selection part, which no removal goes by.
    """
    about = {"solver": direction.record.as_dict(), "options": options, "seconds": direction.seconds, "facts": facts,
             "n": n}  # fmt: skip
    arrays = {"solution": direction.solution, "gradient": direction.validation_gradient}
    write_arrays(out, about, **arrays, selection_solution=selection)


def shard_of(n: int, number: int, count: int) -> slice:
    """Return the samples of a shard, from a multiple of `ROWS` on: batches, and so bytes, are those of one pass.

    Where n is small, some shards are empty.
    """
    blocks = -(-n // ROWS)
    first, last = (ROWS * (blocks * k // count) for k in (number, number + 1))
    return slice(first, min(last, n))


def score_shard(work: Work, direction: Path, shard: tuple[int, int], also: Sequence[str], out: Path) -> None:
    """Score one shard of the training samples with the S of a file, and write the same arrays as scores.npz has."""
    arrays, about = read_arrays(direction)
    if about["facts"] != work.facts:
        raise UserError(f"{direction}: is of another model or training set; make it again with 'direction'")
    rows, work = shard_of(len(work.samples.labels), *shard), replace(work, solver=about["options"])
    work = without_record(work) if about["solver"]["note"] else work
    scored, setup, projection, others = {}, 0.0, 0.0, 0.0
    if rows.start < rows.stop:
        problem, setup = set_up(work, rows)
        start = time.perf_counter()
        influence = influence_along(problem, arrays["solution"], rows.start)
        projection = time.perf_counter() - start
        selection = arrays["selection_solution"]
        scored, others = with_others(work, problem, influence, arrays["gradient"], also, selection, rows)
    facts = {"direction": about, "first": rows.start, "rows": rows.stop - rows.start, "setup": setup,
             "projection": projection, "others": others}  # fmt: skip
    write_arrays(out, facts, **scored)


def gather_shards(direction: Path, shards: list[Path], out: Path) -> None:
    """Write scores.npz and influence.json from all shards, in any order, as one pass would have."""
    about, parts = read_meta(direction), [read_arrays(shard) for shard in shards]
    for shard, (_, facts) in zip(shards, parts, strict=True):
        if facts["direction"] != about:
            raise UserError(f"{shard}: was scored with another S than {direction}; make it again with 'project'")
    parts = sorted((part for part in parts if part[0]), key=lambda part: part[1]["first"])
    ends = [0]
    for _, facts in parts:
        if facts["first"] != ends[-1]:
            break
        ends.append(facts["first"] + facts["rows"])
    if len(ends) != len(parts) + 1 or ends[-1] != about["n"]:
        raise UserError(
            f"{out}: the shards are not all samples from 0 to {about['n']}, each once: one misses or repeats"
        )
    arrays = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    spent = {key: sum(facts[key] for _, facts in parts) for key in ("setup", "projection", "others")}
    seconds = {
        **about["seconds"],
        "setup": about["seconds"]["setup"] + spent["setup"],
        "projection": spent["projection"],
    }
    scored = Scored(arrays, about["solver"], seconds, spent["others"])
    write_scores(scored, about["options"], about["facts"], out)
