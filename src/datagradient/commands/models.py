"""Models: all iterations at once, or the steps of one model."""

import argparse

from datagradient.commands.options import CONFIG, DATASET, LAST_SEED, MODEL, STEP, cell_of, preset_of, whole
from datagradient.pipeline.layout import Cell, conditions, seeds_of


def refine(args: argparse.Namespace) -> None:
    """Run all iterations of a model family on a data set, by all policies: train, evaluate, score, remove.

    Writes the same files as the commands of single steps, but in one process, because starting a program takes longer
    than training a small model. When a seed is done, its seed-<seed>.json is written.
    """
    from datagradient.pipeline.jobs import refinement

    config, root = preset_of(args)
    # Seeds are the outer loop, so that a seed's prepared data are read once.
    for seed in args.seed or seeds_of(config, args.model):
        for noise in args.noise or conditions(config, args.dataset):
            refinement.refine(config, Cell(root, args.dataset, args.model, noise, seed))


def train(args: argparse.Namespace) -> None:
    """Train a model on the kept samples of the training part, and predict the other parts.

    Writes model.npz, predictions.npz (class probabilities, and the labels that these are compared with) and train.json
    (seconds of fitting and predicting, and the optimiser's record).
    """
    from datagradient.pipeline.jobs import models

    models.train(*cell_of(args))


def evaluate(args: argparse.Namespace) -> None:
    """Measure a model's predictions on the two validation parts and the test part: metrics.json."""
    from datagradient.pipeline.jobs import models

    models.evaluate(cell_of(args)[1])


def cross_fit(args: argparse.Namespace) -> None:
    """Judge every training sample by models that were not trained on it, and by both validation parts.

    Writes crossfit.npz: class probabilities, and influence with each label; and crossfit.json: the seconds.
    """
    from datagradient.pipeline.jobs import crossfit

    config, root = preset_of(args)
    for seed in args.seed or seeds_of(config, args.model):
        for noise in args.noise or conditions(config, args.dataset):
            crossfit.cross_fit(config, Cell(root, args.dataset, args.model, noise, seed))


SEVERAL = [
    CONFIG, DATASET, MODEL,
    ("--noise", {"nargs": "+", "help": "some of the data set's conditions; without it: all"}),
    ("--seed", {"nargs": "+", "type": whole(0, LAST_SEED), "help": "some of its seeds; without it: all"}),
]  # fmt: skip
# Command -> its options: (flag, keyword arguments of argparse).
COMMANDS = {
    refine: SEVERAL,
    train: STEP,
    evaluate: STEP,
    cross_fit: SEVERAL,
}
