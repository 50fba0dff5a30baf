"""Small tables, tests, verdicts and MLflow runs from the result files."""

import argparse
from pathlib import Path

from datagradient.commands.options import CONFIG, OUT_FOLDER, RESULTS, preset_of
from datagradient.errors import UserError


def collect(args: argparse.Namespace) -> None:
    """Collect all results of a preset in small tables.

    Writes metrics.csv, data.csv, influence_histogram.csv, detection.csv, detection_curves.csv and provenance.json
    next to the configuration.
    """
    from datagradient.evidence.collect import collect_preset

    collect_preset(*preset_of(args))


def statistics(args: argparse.Namespace) -> None:
    """Test every comparison of metrics.csv, paired by seed, and summarise iterations over seeds.

    Writes tests.csv, pooled.csv, rounds.csv, safety.csv, tracking.csv, iterations.csv, costs.csv and recovered.csv next
    to metrics.csv.
    """
    from datagradient.evidence.comparisons import analyse

    analyse(Path(args.results) / "metrics.csv")


def orchestration(args: argparse.Namespace) -> None:
    """Report how much of a preset's time was spent outside training and scoring: orchestration.csv, and its table."""
    from datagradient.pipeline.orchestration import write_orchestration
    from datagradient.report.tables import write_tables

    write_orchestration(Path(args.results))
    write_tables(["orchestration"], Path(args.results), Path(args.folder))


def claims(args: argparse.Namespace) -> None:
    """Judge each of the paper's claims from the small result tables: claims.json, next to them."""
    from datagradient.evidence.claims import judge_files

    judge_files(Path(args.claims), Path(args.results), Path(args.results) / "claims.json")


def mlflow_init(args: argparse.Namespace) -> None:
    """Create the MLflow store and a preset's experiment; runs once, before anything is logged."""
    from datagradient.evidence.tracking import initialise

    initialise(preset_of(args)[0]["preset"])


def track(args: argparse.Namespace) -> None:
    """Mirror results in MLflow: one run per (data set, model, noise, policy, seed), with iterations as steps.

    With --rebuild the whole store is rebuilt from the result files under results/; with --report figures, tables and
    the page become artefacts of one run; --views prints where the interface shows prepared tables of the runs.
    """
    if not (args.rebuild or args.report or args.config or args.views):
        raise UserError("needs --config, or --report, or --rebuild, or --views")
    if args.config:
        config, _ = preset_of(args)  # before the store is touched
    from datagradient.evidence.tracking import addresses, rebuild, track_cells, track_report

    if args.views:
        print("\n".join(addresses()))
    elif args.rebuild:
        rebuild(Path("results"))
    elif args.report:
        track_report(Path(args.report[0]).parent.name, [Path(file) for file in args.report])
    else:
        datasets, models = args.dataset or config["datasets"], args.model or config["models"]
        cells = [{"dataset": dataset, "model": model} for model in models for dataset in datasets]
        track_cells(Path(args.config), *cells)


# Command -> its options: (flag, keyword arguments of argparse).
COMMANDS = {
    collect: [CONFIG],
    statistics: [RESULTS],
    orchestration: [RESULTS, OUT_FOLDER],
    claims: [("--claims", {"required": True, "help": "config/claims.yaml"}), RESULTS],
    mlflow_init: [CONFIG],
    track: [
        (CONFIG[0], {"help": CONFIG[1]["help"]}),
        ("--dataset", {"nargs": "+", "help": "data sets to log; without it: all"}),
        ("--model", {"nargs": "+", "help": "model families to log; without it: all"}),
        ("--report", {"nargs": "+", "help": "figures, tables and page of a preset, figures/<preset>/… and so on"}),
        ("--views", {"action": "store_true", "help": "print the addresses of the views that experiments come with"}),
        ("--rebuild", {"action": "store_true", "help": "rebuild the whole store from the result files"}),
    ],
}  # fmt: skip
