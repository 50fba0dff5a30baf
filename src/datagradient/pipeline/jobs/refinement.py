"""All iterations of all policies, from one unrefined model on."""

import sys
import time

from datagradient.files import read_meta, write_json
from datagradient.models import declared
from datagradient.pipeline import layout
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.jobs.crossfit import read_crossfits
from datagradient.pipeline.jobs.models import cell_solver, held_out, write_metrics, write_model
from datagradient.pipeline.jobs.removals import choose_iteration, write_removal
from datagradient.pipeline.jobs.scores import write_scores
from datagradient.pipeline.layout import BASELINE, Cell
from datagradient.pipeline.provenance import stamp
from datagradient.pipeline.training import load_training_set
from datagradient.refine.loop import refinement_steps
from datagradient.refine.policies import needs_crossfit


def refine(config: dict, first: Cell) -> None:
    """Do all iterations of all policies from one unrefined model on: the files of all steps, from data read once."""
    policies = layout.trained_policies(config)
    # Of an earlier run, which may have been killed: nobody takes its results for those of this one.
    first.refined.unlink(missing_ok=True)
    for keys in layout.grid(config, dataset=first.dataset, model=first.model, noise=first.noise, seed=first.seed):
        Cell(first.root, **keys).file("metrics.json").unlink(missing_ok=True)
    crossfits = read_crossfits(config, first) if needs_crossfit(policies) else []
    settings = model_settings(config, first.dataset, first.model, first.noise)
    samples, held = load_training_set(declared(first.model).inputs, first.data, first.labels, None), held_out(first)
    solver = cell_solver(config, first)
    start, facts = time.perf_counter(), {}
    for step in refinement_steps(samples, held, first.model, settings, solver, config["policies"],
                                 config["iterations"], config["removal_fraction"], crossfits):  # fmt: skip
        cell = first.at(policy=step.policy, iteration=step.iteration)
        if step.removal:
            write_removal(step.removal, step.before, facts.get(step.policy, facts[BASELINE]), cell)
        made_by = write_model(step.trained, held, settings, cell)
        write_metrics(step.trained.metrics(held), made_by, cell)
        facts[step.policy] = read_meta(cell.file("model.npz"))  # to which the family has added
        write_scores(step.scored, solver, facts[step.policy], cell)
        print(f"{cell.folder} … {time.perf_counter() - start:.2f} s", file=sys.stderr, flush=True)
        start = time.perf_counter()
    if layout.GUARDED in config["policies"]:
        choose_iteration(config, first)
    keys = {"dataset": first.dataset, "model": first.model, "noise": first.noise, "seed": first.seed}
    models = sum(1 for _ in layout.grid(config, **keys))
    write_json(first.refined, {"models": models, "provenance": stamp(**keys)})
