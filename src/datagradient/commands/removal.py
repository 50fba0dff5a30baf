"""Which samples the next iteration goes without, and when to stop."""

import argparse

from datagradient.commands.options import CELL, STEP, cell_of
from datagradient.errors import UserError


def prune(args: argparse.Namespace) -> None:
    """Choose the samples that a model goes without, by the scores of the iteration before.

    By influence those that hurt the validation loss most, at most the preset's share; by another policy as many. Writes
    kept.npz (positions in the training part) and removed.csv.
    """
    from datagradient.pipeline.jobs.removals import remove

    config, cell = cell_of(args)
    if not cell.iteration:
        raise UserError("--iteration: 0 is the unrefined model, from which nothing is removed; give 1 or more")
    remove(config, cell)


def guard(args: argparse.Namespace) -> None:
    """Say after which round of removal by influence a careful user would have stopped, by the selection part.

    Writes guard.json: the iteration that is kept.
    """
    from datagradient.pipeline.jobs.removals import choose_iteration

    choose_iteration(*cell_of(args))


# Command -> its options: (flag, keyword arguments of argparse).
COMMANDS = {prune: STEP, guard: CELL}
