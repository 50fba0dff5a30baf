"""Scores: in one step, or S first and then shards of the training set."""

import argparse

from datagradient.commands.options import STEP, cell_of, shard
from datagradient.errors import UserError


def influence(args: argparse.Namespace) -> None:
    """Score every training sample of a model against the influence-validation part.

    Writes scores.npz (positions in the training part, labels, flipped, influence, and the policies' other scores) and
    influence.json: the solver's record and options, seconds by step, and the dataset contribution score.
    """
    from datagradient.pipeline.jobs import scores

    scores.score(*cell_of(args))


def direction(args: argparse.Namespace) -> None:
    """Compute S, the vector with which all training samples of a model are scored: direction.npz."""
    from datagradient.pipeline.jobs import scores

    scores.direction(*cell_of(args))


def project(args: argparse.Namespace) -> None:
    """Score one shard of a model's training samples with the S of 'direction'."""
    from datagradient.pipeline.jobs import scores

    config, cell = cell_of(args)
    if args.shard[1] != config["shards"]:
        raise UserError(f"--shard: one of {args.shard[1]}, and {args.config} says shards: {config['shards']}")
    scores.project(config, cell, *args.shard)


def gather(args: argparse.Namespace) -> None:
    """Combine the shards of a training set: scores.npz and influence.json, as written by 'influence'."""
    from datagradient.pipeline.jobs import scores

    config, cell = cell_of(args)
    scores.gather(cell, config["shards"])


# Command -> its options: (flag, keyword arguments of argparse).
COMMANDS = {
    influence: STEP,
    direction: STEP,
    project: [*STEP, ("--shard", {"type": shard, "required": True, "help": "which shard of how many, e.g. 1-of-4"})],
    gather: STEP,
}
