"""The command line: one command a rule of the workflow. Heavy imports stay inside the commands."""

import argparse
import contextlib
import functools
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from datagradient import __version__
from datagradient.arguments import (
    ALSO,
    CONFIG,
    DATA,
    DIRECTION,
    ITERATION,
    KEPT,
    LABELS,
    LAST_SEED,
    MANY,
    METRICS,
    MODEL,
    MODEL_FILE,
    NOISE,
    ONE_MODEL,
    ONE_OUT,
    ONE_SETTINGS,
    OUT,
    OUT_FOLDER,
    RESULTS,
    ROWS,
    SCORES,
    SETTINGS,
    SOLVER,
    check_outputs,
    progress,
    settings_of,
    shard,
    share,
    solver_of,
    split_plan_of,
    stream_plan_of,
    whole,
    zipped,
)
from datagradient.errors import FileError, UserError, one_line
from datagradient.layout import GUARDED, POLICIES, modules


def prepare(args: argparse.Namespace) -> None:
    """Split a data set by seed and compute the features of every part.

    Writes features.npz (matrices, labels and row numbers of all parts), and beside it data.json and read.json, which
    lists the files that the data set was read from.
    """
    from datagradient.data import sets
    from datagradient.data.changes import RECORD, reading, states
    from datagradient.data.prepare import write_prepared
    from datagradient.data.record import sample_keys
    from datagradient.data.splits import SplitPlan
    from datagradient.files import write_json

    plan = SplitPlan(**split_plan_of(args))
    with progress(f"load {args.dataset}"), reading() as paths:
        dataset = sets.load(args.dataset)
        sources = states([*paths, *sets.declared_files(args.dataset)])
        keys = sample_keys(dataset)
    for seed, out in zipped(args, "seed", "out"):
        with progress(f"prepare {args.dataset}, seed {seed}"):
            write_prepared(dataset, keys, seed, plan, Path(out))
            write_json(Path(out).with_name(RECORD), sources)


def noise(args: argparse.Namespace) -> None:
    """Flip the labels of a share of the training part; the mask of flipped samples is kept.

    Writes labels.npz (labels, flipped) for the training part of each prepared data set.
    """
    from datagradient.data.splits import flip_labels
    from datagradient.files import read_arrays, write_arrays
    from datagradient.provenance import stamp

    for data, out in zipped(args, "data", "out"):
        arrays, meta = read_arrays(data, "labels_train")
        clean = arrays["labels_train"]
        labels, flipped = flip_labels(clean, args.rate, len(meta["class_names"]), meta["seed"])
        facts = stamp(seed=meta["seed"], dataset=meta["dataset"], noise=args.rate)
        write_arrays(out, facts, labels=labels, flipped=flipped)


def train(args: argparse.Namespace) -> None:
    """Train a model on the kept samples of the training part, and predict the other parts.

    Writes the model, and beside it predictions.npz (class probabilities, true labels) and train.json (seconds
    inside the fit and of predicting, and the optimiser's record).
    """
    from datagradient.files import write_arrays, write_json
    from datagradient.metrics import PREFIXES
    from datagradient.models import family
    from datagradient.provenance import stamp
    from datagradient.training import load_part, load_training_set

    every, model_family = settings_of(args), family(args.model)
    for settings, (data, labels, kept, out) in zip(every, zipped(args, "data", "labels", "kept", "out"), strict=True):
        samples = load_training_set(model_family.INPUTS, data, labels, kept)
        with progress(f"train {out}"):
            model, record = model_family.fit(samples.inputs, samples.labels, samples.n_classes, settings, samples.seed)
        facts = stamp(**samples.facts, model=args.model, settings=settings)
        model_family.save(out, model, facts)
        # While the model is in memory: to load a library and a model again takes longer than to predict.
        predictions, seconds = {}, 0.0
        for part in PREFIXES:
            inputs, predictions[f"labels_{part}"] = load_part(model_family.INPUTS, data, part)
            start = time.perf_counter()
            predictions[f"probabilities_{part}"] = model_family.probabilities(model, inputs)
            seconds += time.perf_counter() - start
        write_arrays(Path(out).with_name("predictions.npz"), facts, **predictions)
        content = {**record, "predict_seconds": seconds, "n_train": len(samples.labels), "provenance": facts}
        write_json(Path(out).with_name("train.json"), content)


def evaluate(args: argparse.Namespace) -> None:
    """Measure a model's predictions on the two validation parts and the test part: metrics.json."""
    from datagradient.files import read_arrays, write_json
    from datagradient.metrics import PREFIXES, measure

    for predictions, out in zipped(args, "predictions", "out"):
        arrays, facts = read_arrays(predictions)
        metrics: dict[str, float] = {}
        for part, prefix in PREFIXES.items():
            values = measure(arrays[f"probabilities_{part}"], arrays[f"labels_{part}"])
            metrics |= {prefix + name: value for name, value in values.items()}
        write_json(out, {"metrics": metrics, "provenance": facts})


def influence(args: argparse.Namespace) -> None:
    """Score every training sample of a model against the influence-validation part.

    Writes scores.npz (positions in the training part, labels, flipped, influence, and what --also names) and
    influence.json beside it: the solver's record and options, seconds by step, and the dataset contribution score.
    """
    from datagradient.scoring import load_work, score_all, warn_unconverged, write_scores

    solver = solver_of(args)
    for *files, also, out in zipped(args, "model-file", "data", "labels", "kept", "also", "out"):
        work = load_work(args.model, solver, *files)
        with progress(f"influence {out}"):
            scored = score_all(work, also)
        warn_unconverged(scored.solver, Path(out))
        write_scores(scored, work.solver, work.facts, Path(out))


def direction(args: argparse.Namespace) -> None:
    """Compute S, the one vector that all training samples of a model are scored with: direction.npz."""
    from datagradient.scoring import load_work, solve_direction, warn_unconverged, write_direction

    work = load_work(args.model, solver_of(args), args.model_file, args.data, args.labels, args.kept)
    with progress(f"direction {args.out}"):
        found = solve_direction(work)
    warn_unconverged(found.record.as_dict(), Path(args.out))
    write_direction(work, found, Path(args.out))


def project(args: argparse.Namespace) -> None:
    """Score one shard of a model's training samples with the S of 'direction'."""
    from datagradient.scoring import load_work, score_shard

    work = load_work(args.model, {}, args.model_file, args.data, args.labels, args.kept)
    with progress(f"project {args.out}"):
        score_shard(work, Path(args.direction), args.shard, args.also, Path(args.out))


def gather(args: argparse.Namespace) -> None:
    """Put the shards of a training set together: scores.npz and influence.json, as 'influence' writes them."""
    from datagradient.scoring import gather_shards

    gather_shards(Path(args.direction), [Path(shard) for shard in args.shards], Path(args.out))


def prune(args: argparse.Namespace) -> None:
    """Remove the samples that hurt the validation loss most; the next iteration goes without them.

    Writes kept.npz (positions in the training part) and removed.csv beside it.
    """
    from datagradient.refine import prune_files

    for scores, out in zipped(args, "scores", "out"):
        prune_files(scores, args.fraction, args.iteration, out)


def control(args: argparse.Namespace) -> None:
    """Remove as many samples as 'prune' did, chosen by another policy: the controls of influence.

    Writes kept.npz (positions in the training part) and removed.csv beside it.
    """
    from datagradient.refine import control_files

    for policy, scores, like, quality, out in zipped(args, "policy", "scores", "like", "quality", "out"):
        control_files(policy, scores, like, quality, args.iteration, out)


def iterate(args: argparse.Namespace) -> None:
    """Do all iterations of a model family on one data set, for all noise rates, policies and seeds of a preset.

    The same files as 'train', 'evaluate', 'influence', 'prune' and the others write for each: in one process, since
    programs take longer to start than small models to train. When all is done, --out is written.
    """
    from datagradient.files import read_config, write_json
    from datagradient.iterate import steps
    from datagradient.provenance import stamp

    config = read_config(Path(args.config))
    for name, held in (("dataset", config["datasets"]), ("model", config["models"])):
        if getattr(args, name) not in held:
            raise UserError(f"{args.config}: has no {name} {getattr(args, name)}; it has {', '.join(held)}")
    run = {"cross_validate": cross_validate, "prune": prune, "control": control, "train": train, "evaluate": evaluate,
           "influence": influence, "guard": guard}  # fmt: skip
    models = 0
    for name, arguments in steps(config, Path(args.config).parent, args.dataset, args.model):
        run[name](arguments)
        models += len(arguments.out) if name == "train" else 0
    write_json(Path(args.out), {"models": models, "provenance": stamp(dataset=args.dataset, model=args.model)})


def cross_validate(args: argparse.Namespace) -> None:
    """Rate every training label by confident learning, from models that have not seen the sample.

    Writes quality.npz: quality, low where a label is likely wrong; and beside it cross_validate.json: the seconds.
    """
    from datagradient.files import write_arrays, write_json
    from datagradient.models import family
    from datagradient.provenance import stamp
    from datagradient.quality import label_quality, out_of_fold
    from datagradient.training import load_training_set

    every, model_family = settings_of(args), family(args.model)
    for settings, (data, labels, out) in zip(every, zipped(args, "data", "labels", "out"), strict=True):
        samples = load_training_set(model_family.INPUTS, data, labels, None)
        with progress(f"cross-validate {out}"):
            start = time.perf_counter()
            probabilities = out_of_fold(model_family, samples, settings)
            seconds = time.perf_counter() - start
        facts = stamp(**samples.facts, model=args.model, settings=settings)
        write_arrays(out, facts, quality=label_quality(samples.labels, probabilities))
        write_json(Path(out).with_name("cross_validate.json"), {"seconds": seconds, "provenance": facts})


def guard(args: argparse.Namespace) -> None:
    """Say after which round of removal by influence a careful user would have stopped, by the selection part.

    Writes guard.json: the iteration that is kept.
    """
    from datagradient.refine import guard_files

    rounds = len(args.predictions) / len(args.out)
    if rounds != int(rounds) or rounds < 2:
        raise UserError(f"{len(args.predictions)} predictions for {len(args.out)} --out: give the same number, "
                        "the baseline first, for each")  # fmt: skip
    for i, out in enumerate(args.out):
        guard_files(args.predictions[i * int(rounds) : (i + 1) * int(rounds)], out)


def scalability(args: argparse.Namespace) -> None:
    """Train a model on so many samples, and measure what scoring it costs, step by step: rows as JSON."""
    from datagradient.experiments.scalability import measure_sizes

    (settings,), solver = settings_of(args), solver_of(args)
    with progress(f"{args.model} on {', '.join(map(str, args.n))} samples"):
        plan = {"sizes": args.n, "repeats": args.repeats, "removal_fraction": args.fraction}
        measure_sizes(Path(args.data), args.model, settings, solver, plan, Path(args.out))


def scalability_table(args: argparse.Namespace) -> None:
    """Gather the rows of 'scalability': scalability.csv, and beside it slopes.csv and scalability.json."""
    from datagradient.experiments.scalability import gather_sizes

    gather_sizes([Path(row) for row in args.rows], Path(args.out))


def streamed(args: argparse.Namespace) -> None:
    """Score ever more images with one S, a chunk of them at a time: streamed.csv."""
    from datagradient.experiments.scalability import measure_stream

    (settings,), solver, plan = settings_of(args), solver_of(args), stream_plan_of(args)
    measure_stream(Path(args.data), args.model, settings, solver, plan, Path(args.out))


def halves(args: argparse.Namespace) -> None:
    """Train models on random halves of a training set: halves.npz, what groups of samples really do."""
    from datagradient.experiments.fidelity import write_halves
    from datagradient.models import family
    from datagradient.provenance import stamp
    from datagradient.training import load_part, load_training_set

    (settings,), model_family = settings_of(args), family(args.model)
    samples = load_training_set(model_family.INPUTS, args.data, args.labels, None)
    validation = load_part(model_family.INPUTS, args.data, "influence")
    facts = stamp(**samples.facts, model=args.model, settings=settings)
    write_halves(model_family, samples, validation, settings, args.count, facts, Path(args.out))


def single(args: argparse.Namespace) -> None:
    """Remove single samples and refit, near the trained parameters and from scratch: single.npz."""
    from datagradient.experiments.fidelity import write_single
    from datagradient.scoring import load_work

    (settings,), solver = settings_of(args), solver_of(args)
    work = load_work(args.model, solver, args.model_file, args.data, args.labels, None)
    write_single(work, settings, args.count, args.initialisations, Path(args.out))


def fidelity(args: argparse.Namespace) -> None:
    """Compare predicted with actual changes of the validation loss: fidelity.csv, single.csv and stability.csv."""
    from datagradient.experiments.fidelity import gather_fidelity
    from datagradient.files import read_config

    gather_fidelity(read_config(Path(args.config)), Path(args.config).parent)


def sensitivity(args: argparse.Namespace) -> None:
    """Score a model with other dampings, solvers, curvature and validation samples: rows as JSON."""
    from datagradient.experiments.sensitivity import write_variations
    from datagradient.files import read_meta
    from datagradient.provenance import check_shared
    from datagradient.scoring import load_work

    solver = {"damping": 0.0, **solver_of(args)}
    work = load_work(args.model, solver, args.model_file, args.data, args.labels, None)
    check_shared({args.model_file: work.facts, args.halves: read_meta(args.halves)})
    write_variations(work, Path(args.halves), args.noise, args.removed, Path(args.out))


def fractions(args: argparse.Namespace) -> None:
    """Remove different shares of a training set and train again: rows as JSON."""
    from datagradient.experiments.sensitivity import write_fractions
    from datagradient.files import read_meta
    from datagradient.provenance import check_shared
    from datagradient.scoring import load_work

    (settings,) = settings_of(args)
    work = load_work(args.model, {}, args.model_file, args.data, args.labels, None)
    files = (Path(args.scores[0]), Path(args.predictions), Path(args.data))
    check_shared({args.model_file: work.facts} | {file: read_meta(file) for file in files})
    write_fractions(work, settings, *files, args.noise, args.fractions, Path(args.out))


def concatenate(args: argparse.Namespace) -> None:
    """Make one table of the rows of 'sensitivity' or of 'fractions', and its provenance as JSON beside it."""
    from datagradient.experiments import sensitivity as experiments

    columns = {"sensitivity": experiments.COLUMNS, "fractions": experiments.FRACTIONS}[args.kind]
    experiments.gather_rows([Path(row) for row in args.rows], columns, Path(args.out))


def collect(args: argparse.Namespace) -> None:
    """Gather all results of a preset into small tables.

    Writes metrics.csv, data.csv, influence_histogram.csv, detection.csv, detection_curves.csv and provenance.json
    beside the configuration.
    """
    from datagradient.collect import collect_preset
    from datagradient.files import read_config

    read_config(Path(args.config))
    collect_preset(Path(args.config))


def statistics(args: argparse.Namespace) -> None:
    """Test every comparison of metrics.csv, paired by seed, and summarise iterations over seeds.

    Writes tests.csv, pooled.csv, rounds.csv, safety.csv, tracking.csv, iterations.csv and costs.csv beside
    metrics.csv.
    """
    from datagradient.comparisons import analyse

    analyse(Path(args.metrics))


def orchestration(args: argparse.Namespace) -> None:
    """Say how much of a preset's time was spent outside training and scoring: orchestration.csv, and its table."""
    from datagradient.orchestration import write_orchestration
    from datagradient.report.tables import write_tables

    write_orchestration(Path(args.results))
    write_tables(["orchestration"], Path(args.results), Path(args.folder))


def claims(args: argparse.Namespace) -> None:
    """Judge each of the paper's claims by the small result tables: claims.json."""
    from datagradient.claims import judge_files

    judge_files(Path(args.claims), Path(args.results), Path(args.out))


def mlflow_init(args: argparse.Namespace) -> None:
    """Make the MLflow store and a preset's experiment; runs once, before anything is logged."""
    from datagradient.tracking import initialise

    initialise(args.preset)
    Path(args.out).touch()


def track(args: argparse.Namespace) -> None:
    """Mirror results in MLflow: one run a (data set, model, noise, policy, seed), iterations as steps.

    With --rebuild the whole store is made again from the result files under results/; with --report figures and
    tables become artefacts of one run.
    """
    from datagradient.files import read_config

    alone = not (args.rebuild or args.report)
    if alone and not (args.config and args.dataset and args.model):
        raise UserError("needs --config, --dataset and --model, or --report, or --rebuild")
    if alone:
        read_config(Path(args.config))  # before the store is touched
    from datagradient.tracking import rebuild, track_cells, track_report

    if args.rebuild:
        rebuild(Path("results"))
    elif args.report:
        track_report(Path(args.report[0]).parent.name, [Path(file) for file in args.report])
    else:
        cells = [{"dataset": dataset, "model": model} for model in args.model for dataset in args.dataset]
        track_cells(Path(args.config), *cells)
    for out in args.out or ():
        Path(out).touch()


def table(args: argparse.Namespace) -> None:
    """Make some of the paper's tables as CSV, Markdown and LaTeX from the small result tables."""
    from datagradient.report.tables import write_tables

    write_tables(args.name, Path(args.results), Path(args.folder))


def figure(args: argparse.Namespace) -> None:
    """Draw figures as PNG and PDF from the small result tables."""
    from datagradient.report.figures import write_figures

    write_figures(args.name, Path(args.results), Path(args.folder))


def gallery(args: argparse.Namespace) -> None:
    """Show the most harmful and the most helpful training samples of a model as PNG and PDF."""
    from datagradient.report.gallery import write_gallery

    for scores, data, out in zipped(args, "scores", "data", "out"):
        write_gallery(Path(scores), Path(data), Path(out))


def readme(args: argparse.Namespace) -> None:
    """Write the tables of committed results between the markers of a README."""
    from datagradient.report.readme import update_readme

    update_readme(Path(args.readme), Path(args.results))


CONTROLS = tuple(policy for policy in POLICIES if policy not in ("influence", GUARDED))
# Command -> its options: (flag, keyword arguments of argparse).
COMMANDS = {
    prepare: [
        ("--dataset", {"required": True, "choices": modules("data/sets"), "help": "data set"}),
        ("--seed", {**MANY, "type": whole(0, LAST_SEED), "help": "seed of the split"}),
        ("--plan", {"default": "{}", "help": 'shares and limits as JSON, e.g. \'{"influence": 0.1, "test": 0.2}\''}),
        OUT,
    ],
    noise: [
        DATA, ("--rate", {"type": share(True), "required": True, "help": "share of labels to flip, in [0, 1)"}), OUT,
    ],
    train: [
        MODEL, SETTINGS, DATA, LABELS, KEPT, OUT,
    ],
    evaluate: [("--predictions", {**MANY, "help": "predictions.npz that 'train' wrote"}), OUT],
    influence: [MODEL, SOLVER, MODEL_FILE, DATA, LABELS, KEPT, ("--also", {**ALSO, "nargs": "+"}), OUT],
    direction: [MODEL, SOLVER, *ONE_MODEL, ONE_OUT],
    project: [
        MODEL, *ONE_MODEL, DIRECTION,
        ("--shard", {"type": shard, "required": True, "help": "which shard of how many, e.g. 1-of-4"}),
        ("--also", ALSO), ONE_OUT,
    ],
    gather: [
        DIRECTION, ("--shards", {**MANY, "help": "all files that 'project' wrote"}), ONE_OUT,
    ],
    prune: [
        ("--fraction", {"type": share(False), "required": True, "help": "at most this share is removed, in (0, 1)"}),
        ITERATION, SCORES, OUT,
    ],
    control: [
        ("--policy", {**MANY, "choices": CONTROLS, "help": "how samples are chosen"}),
        ITERATION, SCORES,
        ("--like", {**MANY, "help": "removed.csv of 'prune', whose numbers are copied"}),
        ("--quality", {"nargs": "+", "help": "quality.npz that 'cross-validate' wrote, for 'confident'"}),
        OUT,
    ],
    iterate: [
        (CONFIG[0], {**CONFIG[1], "required": True}), MODEL,
        ("--dataset", {"required": True, "help": "one of the configuration's data sets"}), ONE_OUT,
    ],
    cross_validate: [MODEL, SETTINGS, DATA, LABELS, OUT],
    guard: [
        ("--predictions", {**MANY, "help": "predictions.npz of every iteration, the first first"}), OUT,
    ],
    scalability: [
        MODEL, ONE_SETTINGS, SOLVER, ONE_MODEL[1],
        ("--n", {**MANY, "type": whole(100, 10**7),
                 "help": "training samples; of images more than there are: variants"}),
        ("--repeats", {"type": whole(1), "default": 3, "help": "of scoring, after a warm-up; the median counts"}),
        ("--fraction", {"type": share(False), "default": 0.05, "help": "removed in a round, for the cost of three"}),
        ONE_OUT,
    ],
    scalability_table: [ROWS, ONE_OUT],
    streamed: [
        MODEL, ONE_SETTINGS, SOLVER, ONE_MODEL[1],
        ("--plan", {"required": True, "help": 'e.g. \'{"trained_on": 1000, "chunk": 2000, "sizes": [4000]}\''}),
        ONE_OUT,
    ],
    halves: [
        MODEL, ONE_SETTINGS, *ONE_MODEL[1:3],
        ("--count", {"type": whole(1), "required": True, "help": "models to train"}), ONE_OUT,
    ],
    single: [
        MODEL, ONE_SETTINGS, SOLVER, *ONE_MODEL[:3],
        ("--count", {"type": whole(2), "required": True, "help": "samples to remove, each by itself"}),
        ("--initialisations", {"type": whole(1), "required": True, "help": "models to train without each of them"}),
        ONE_OUT,
    ],
    fidelity: [(CONFIG[0], {**CONFIG[1], "required": True})],
    sensitivity: [
        MODEL, SOLVER, *ONE_MODEL[:3], NOISE,
        ("--halves", {"required": True, "help": "halves.npz that 'halves' wrote"}),
        ("--removed", {"type": share(False), "required": True, "help": "share of the samples that would be removed"}),
        ONE_OUT,
    ],
    fractions: [
        MODEL, ONE_SETTINGS, *ONE_MODEL[:3], NOISE, SCORES,
        ("--predictions", {"required": True, "help": "predictions.npz of the model"}),
        ("--fractions", {**MANY, "type": share(False), "help": "shares to remove, each in (0, 1)"}), ONE_OUT,
    ],
    concatenate: [("kind", {"choices": ("sensitivity", "fractions"), "help": "which rows"}), ROWS, ONE_OUT],
    collect: [(CONFIG[0], {**CONFIG[1], "required": True})],
    statistics: [METRICS],
    orchestration: [RESULTS, OUT_FOLDER],
    claims: [
        ("--claims", {"required": True, "help": "config/claims.yaml"}), RESULTS, ONE_OUT,
    ],
    mlflow_init: [("--preset", {"required": True, "help": "name of the preset"}), ONE_OUT],
    track: [
        CONFIG,
        ("--dataset", {"nargs": "+", "help": "data sets to log"}),
        ("--model", {"nargs": "+", "help": "model families to log"}),
        ("--out", {"nargs": "+", "help": "empty files to write when done"}),
        ("--report", {"nargs": "+", "help": "figures and tables of a preset, figures/<preset>/… and so on"}),
        ("--rebuild", {"action": "store_true", "help": "make the whole store again from the result files"}),
    ],
    table: [
        ("name", {"nargs": "+", "help": "names of datagradient.report.tables.TABLES, e.g. main"}), RESULTS, OUT_FOLDER,
    ],
    figure: [
        ("name", {"nargs": "+", "help": "names of datagradient.report.figures.FIGURES, e.g. accuracy"}), RESULTS,
        OUT_FOLDER,
    ],
    readme: [
        ("--readme", {"required": True, "help": "the file to change"}),
        ("--results", {"required": True, "help": "the folder that holds one folder for each preset"}),
    ],
    gallery: [SCORES, DATA, OUT],
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as those of the commands are."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and where their help is; status 2."""
        self.exit(2, f"{self.prog}: {one_line(message)} ({self.prog} --help explains)\n")


@functools.cache
def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = Parser(prog="datagradient", description=__doc__, epilog="'datagradient COMMAND --help' explains a command.")
    top.add_argument("--version", action="version", version=f"datagradient {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for function, options in COMMANDS.items():
        summary = function.__doc__.partition("\n")[0]
        sub = commands.add_parser(
            function.__name__.replace("_", "-"), help=summary, description=function.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        sub.set_defaults(function=function)
        for flag, keywords in options:
            sub.add_argument(flag, **keywords)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command. An error that the user can mend is one line on standard error and status 2."""
    try:
        try:
            return _run(parser().parse_args(arguments))
        finally:
            sys.stdout.flush()  # now, and not when Python ends, where a closed pipe is a message
    except BrokenPipeError:
        return _quiet()


def _run(args: argparse.Namespace) -> int:
    try:
        check_outputs(args.out if isinstance(getattr(args, "out", None), list) else [getattr(args, "out", None)])
        args.function(args)
    except FileError as error:
        return _fail(args, f"{error}{_expected(args, error.path)}")
    except UserError as error:
        return _fail(args, error)
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(args, f"{place}{error.strerror or error}")
    except MemoryError as error:
        return _fail(args, f"not enough memory ({error}); take fewer samples or smaller settings")
    except KeyboardInterrupt:
        return _fail(args, "interrupted", 130)
    return 0


def _fail(args: argparse.Namespace, message: object, status: int = 2) -> int:
    print(f"datagradient {args.command}: {one_line(message)}", file=sys.stderr)
    return status


def _quiet() -> int:
    """Let nothing more be written, and return the status of a process that a closed pipe ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    return 141


def _expected(args: argparse.Namespace, path: Path) -> str:
    """Return what the options that `path` was given for take; nothing for a file that no option names."""
    takes = []
    for flag, keywords in COMMANDS[args.function]:
        given = getattr(args, flag.strip("-").replace("-", "_"), None)
        words = [word for word in (given if isinstance(given, list) else [given]) if isinstance(word, str)]
        if flag != "--out" and path in map(Path, words):
            takes.append(f"{flag} takes {keywords['help']}")
    return "".join(f"; {words}" for words in takes)
