"""Data: splitting and preparation by seed, and the labels of a condition."""

import argparse
from pathlib import Path

from datagradient.commands.options import CONFIG, DATASET, LAST_SEED, NOISE, preset_of, whole
from datagradient.errors import UserError
from datagradient.pipeline import layout


def prepare(args: argparse.Namespace) -> None:
    """Split a data set by each seed and compute the features of every part.

    Writes features.npz (matrices, labels and row numbers of all parts, and human labels where the preset asks for
    them), and next to it data.json and read.json, which lists the files that the data set was read from.
    """
    from datagradient.data.splits import SplitPlan
    from datagradient.pipeline.prepare import prepare_seeds

    config, root = preset_of(args)
    options = config["datasets"][args.dataset]
    limits = {} if args.scale else {key: options[key] for key in ("max_development", "max_test")}
    keys = {"root": root, "dataset": args.dataset}
    out = {seed: Path(layout.PREPARED.format(**keys, seed=seed)) / "features.npz" for seed in _seeds(args, config)}
    if args.scale:
        if args.seed is not None:
            raise UserError("--scale takes no --seed: measurements of cost are made with the first")
        out = {config["seeds"][0]: Path(layout.SCALE.format(**keys))}
    columns = () if args.scale else options.get("human_labels", ())
    prepare_seeds(args.dataset, SplitPlan(**config["split"], **limits), out, columns)


def noise(args: argparse.Namespace) -> None:
    """Give the labels that an owner of the data has in one condition, for each seed.

    Writes labels.npz: labels of the training part and of the two validation parts, and which of the former are wrong.
    """
    from datagradient.pipeline.jobs.labels import give_labels

    config, root = preset_of(args)
    for seed in _seeds(args, config):
        keys = {"root": root, "dataset": args.dataset, "noise": args.noise, "seed": seed}
        features = Path(layout.PREPARED.format(**keys)) / "features.npz"
        give_labels(features, args.noise, Path(layout.NOISE.format(**keys)) / "labels.npz")


def _seeds(args: argparse.Namespace, config: dict) -> list[int]:
    return config["seeds"] if args.seed is None else [args.seed]


SEED = ("--seed", {"type": whole(0, LAST_SEED), "help": "one of its seeds; without it: all"})
# Command -> its options: (flag, keyword arguments of argparse).
COMMANDS = {
    prepare: [
        CONFIG, DATASET, SEED,
        ("--scale", {"action": "store_true", "help": "as many samples as there are, for measurements of cost"}),
    ],
    noise: [CONFIG, DATASET, NOISE, SEED],
}  # fmt: skip
