"""All iterations of all policies, from one unrefined model on."""

from datagradient.files import write_json
from datagradient.pipeline import layout
from datagradient.pipeline.jobs.models import evaluate, train
from datagradient.pipeline.jobs.quality import cross_validate
from datagradient.pipeline.jobs.removals import choose_iteration, remove
from datagradient.pipeline.jobs.scores import score
from datagradient.pipeline.layout import Cell
from datagradient.pipeline.provenance import stamp
from datagradient.refine.policies import rates_once


def refine(config: dict, first: Cell) -> None:
    """Do all iterations of all policies from one unrefined model on: the files of all steps, one after the other."""
    policies = layout.trained_policies(config)
    # Of an earlier run, which may have been killed: nobody takes its results for those of this one.
    first.refined.unlink(missing_ok=True)
    for keys in layout.grid(config, dataset=first.dataset, model=first.model, noise=first.noise, seed=first.seed):
        Cell(first.root, **keys).file("metrics.json").unlink(missing_ok=True)
    if rates_once(policies):
        cross_validate(config, first)
    _model(config, first)
    for iteration in range(1, config["iterations"] + 1):
        for policy in sorted(policies, key=lambda policy: policy != "influence"):  # the others copy its numbers
            cell = first.at(policy=policy, iteration=iteration)
            remove(config, cell)
            _model(config, cell)
    if layout.GUARDED in config["policies"]:
        choose_iteration(config, first)
    models = 1 + config["iterations"] * len(policies)
    keys = {"dataset": first.dataset, "model": first.model, "noise": first.noise, "seed": first.seed}
    write_json(first.refined, {"models": models, "provenance": stamp(**keys)})


def _model(config: dict, cell: Cell) -> None:
    train(config, cell)
    evaluate(cell)
    score(config, cell)
