"""The samples that the next iteration leaves out, and when to stop."""

import argparse

from datagradient.commands.options import CELL, STEP, cell_of
from datagradient.errors import UserError


def prune(args: argparse.Namespace) -> None:
    """Choose the samples that a model is trained without, by the scores of the previous iteration.

    The policy influence removes those that hurt the validation loss most, at most the preset's share; other policies
    remove the same number, but for those that decide once, by cross-fitted models, and may give samples other labels.
    Writes kept.npz (positions in the training part, and new labels), removed.csv, and, where labels change,
    relabelled.csv.
    """
    from datagradient.pipeline.jobs.removals import remove

    config, cell = cell_of(args)
    if not cell.iteration:
        raise UserError("--iteration: 0 is the unrefined model, from which nothing is removed; give 1 or more")
    remove(config, cell)


def guard(args: argparse.Namespace) -> None:
    """Find the round of removal by influence after which a careful user would stop, from the selection part.

    Writes guard.json: the iteration to keep.
    """
    from datagradient.pipeline.jobs.removals import choose_iteration

    choose_iteration(*cell_of(args))


# Command -> its options: (flag, keyword arguments of argparse).
COMMANDS = {prune: STEP, guard: CELL}
