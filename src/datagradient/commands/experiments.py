"""Cost, fidelity and sensitivity of the scores, and what few right labels bring back."""

import argparse
from pathlib import Path

from datagradient.commands.options import CELL, CONFIG, DATASET, MODEL, RESULTS, cell_of, preset_of, whole
from datagradient.errors import UserError
from datagradient.pipeline.layout import SCALE, SCALE_ROWS, noise_names, scale_rows, varied


def scalability(args: argparse.Namespace) -> None:
    """Train a model on training sets of given sizes, and measure what scoring costs by each solver: rows as JSON."""
    from datagradient.experiments.scalability import measure_sizes
    from datagradient.pipeline.config import model_settings
    from datagradient.pipeline.progress import progress

    config, root = preset_of(args)
    plan = _asked(args, config, "scalability")
    asked = plan["datasets"].get(args.dataset, {"models": ()})
    if args.model not in asked["models"]:
        raise UserError(f"{args.config}: scalability has no {args.dataset} with {args.model}")
    sizes = args.n or asked["sizes"]
    data, out = _scale(root, args.dataset), SCALE_ROWS.format(
        root=root, dataset=args.dataset, model=args.model, sizes="-".join(map(str, sizes)))  # fmt: skip
    settings = model_settings(config, args.dataset, args.model, noise_names(config)[0])
    solver = config["model_settings"][args.model]["solver"]
    with progress(f"{args.model} on {', '.join(map(str, sizes))} samples"):
        plan = {"sizes": sizes, "repeats": plan["repeats"], "removal_fraction": config["removal_fraction"]}
        measure_sizes(data, args.model, settings, solver, plan, Path(out))


def scalability_table(args: argparse.Namespace) -> None:
    """Collect the rows of 'scalability': scalability.csv, and next to it slopes.csv and scalability.json."""
    from datagradient.experiments.scalability import gather_sizes

    config, root = preset_of(args)
    _asked(args, config, "scalability")
    gather_sizes([Path(row) for row in scale_rows(config, root)], root / "scalability.csv")


def streamed(args: argparse.Namespace) -> None:
    """Score an increasing number of images with one S, one chunk at a time: streamed.csv."""
    from datagradient.experiments.scalability import measure_stream
    from datagradient.pipeline.config import model_settings

    config, root = preset_of(args)
    plan = _asked(args, config, "streaming")
    dataset, model = plan["dataset"], plan["model"]
    settings = model_settings(config, dataset, model, noise_names(config)[0])
    solver = config["model_settings"][model]["solver"]
    measure_stream(_scale(root, dataset), model, settings, solver, plan, root / "streamed.csv")


def halves(args: argparse.Namespace) -> None:
    """Train models on random halves of a training set: halves.npz, the actual effect of groups of samples."""
    from datagradient.experiments.fidelity import write_halves

    config, cell = cell_of(args)
    write_halves(config, cell, _asked(args, config, "fidelity")["halves"])


def single(args: argparse.Namespace) -> None:
    """Remove single samples and refit, near the trained parameters and from scratch: single.npz."""
    from datagradient.experiments.fidelity import write_single

    config, cell = cell_of(args)
    write_single(config, cell, _asked(args, config, "fidelity"))


def fidelity(args: argparse.Namespace) -> None:
    """Compare predicted with actual changes of the validation loss: fidelity.csv, single.csv and stability.csv."""
    from datagradient.experiments.fidelity import gather_fidelity

    gather_fidelity(*preset_of(args))


def sensitivity(args: argparse.Namespace) -> None:
    """Score a model with different dampings, solvers, curvature and validation samples: rows as JSON."""
    from datagradient.experiments.sensitivity import write_variations

    write_variations(*cell_of(args))


def fractions(args: argparse.Namespace) -> None:
    """Remove different shares of a training set and retrain: rows as JSON."""
    from datagradient.experiments.sensitivity import write_fractions

    config, cell = cell_of(args)
    write_fractions(config, cell, _asked(args, config, "sensitivity")["fractions"])


def trusted(args: argparse.Namespace) -> None:
    """Repair a training part with few trusted validation labels, and check training labels by hand: rows as JSON."""
    from datagradient.experiments.trusted import write_trusted

    config, cell = cell_of(args)
    plan = _asked(args, config, "trusted")
    write_trusted(config, cell, plan["labels"], plan["checked"])


def trusted_shares(args: argparse.Namespace) -> None:
    """Say how much of what wrong labels cost few right ones bring back: trusted_shares.csv, next to trusted.csv."""
    from datagradient.evidence.trusted import write_shares

    write_shares(Path(args.results))


def concatenate(args: argparse.Namespace) -> None:
    """Make one table of the rows of an experiment's models, and next to it its provenance as JSON."""
    from datagradient.experiments import sensitivity, trusted

    config, root = preset_of(args)
    columns = {"sensitivity": sensitivity.COLUMNS, "fractions": sensitivity.FRACTIONS, "trusted": trusted.COLUMNS}
    sensitivity.gather_rows(varied(config, root, args.kind), columns[args.kind], root / f"{args.kind}.csv")


def _asked(args: argparse.Namespace, config: dict, experiment: str) -> dict:
    """Return a preset's settings of an experiment; raise UserError if it has none."""
    if not config.get(experiment):
        raise UserError(f"{args.config}: {experiment} is null: the preset asks for no such experiment")
    return config[experiment]


def _scale(root: Path, dataset: str) -> Path:
    return Path(SCALE.format(root=root, dataset=dataset))


# Command -> its options: (flag, keyword arguments of argparse).
COMMANDS = {
    scalability: [
        CONFIG, DATASET, MODEL,
        ("--n", {"nargs": "+", "type": whole(100, 10**7),
                 "help": "training samples; more than there are, for images: variants; without it: all sizes"}),
    ],
    scalability_table: [CONFIG],
    streamed: [CONFIG],
    halves: CELL,
    single: CELL,
    fidelity: [CONFIG],
    sensitivity: CELL,
    fractions: CELL,
    trusted: CELL,
    trusted_shares: [RESULTS],
    concatenate: [("kind", {"choices": ("sensitivity", "fractions", "trusted"), "help": "which rows"}), CONFIG],
}  # fmt: skip
