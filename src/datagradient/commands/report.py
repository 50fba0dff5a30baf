"""Tables, figures, galleries, the page of a preset, and the tables of README and docs."""

import argparse
from pathlib import Path

from datagradient.commands.options import CONFIG, OUT_FOLDER, RESULTS, preset_of


def table(args: argparse.Namespace) -> None:
    """Write some of the paper's tables as CSV, Markdown and LaTeX from the small result tables."""
    from datagradient.report.tables import write_tables

    write_tables(args.name, Path(args.results), Path(args.folder))


def figure(args: argparse.Namespace) -> None:
    """Draw figures as PNG and PDF from the small result tables."""
    from datagradient.report.figures import write_figures

    write_figures(args.name, Path(args.results), Path(args.folder))


def gallery(args: argparse.Namespace) -> None:
    """Show the most harmful and the most helpful training samples of each data set: gallery-<data set>.png and .pdf.

    The scores are those of the preset's last model family, first seed and lowest noise rate.
    """
    from datagradient.pipeline.layout import gallery_of
    from datagradient.report.gallery import write_gallery

    config, root = preset_of(args)
    for dataset in config["datasets"]:
        cell = gallery_of(config, root, dataset)
        write_gallery(cell.file("scores.npz"), cell.data, Path(args.folder) / f"gallery-{dataset}.png")


def report(args: argparse.Namespace) -> None:
    """Write the page of a preset: verdicts, figures, tables, method, provenance and the numbers in one offline file."""
    from datagradient.report.report_page import write_report_page

    tables, figures, files = ([Path(name) for name in names] for names in (args.tables, args.figures, args.csv))
    write_report_page(Path(args.out), Path(args.results), tables, figures, files)


def readme(args: argparse.Namespace) -> None:
    """Write the tables of committed results between the markers of README and docs."""
    from datagradient.report.readme import update_files

    update_files([Path(file) for file in args.files], Path(args.results))


# Command -> its options: (flag, keyword arguments of argparse).
COMMANDS = {
    table: [
        ("name", {"nargs": "+", "help": "names of tables, e.g. main, controls"}), RESULTS, OUT_FOLDER,
    ],
    figure: [
        ("name", {"nargs": "+", "help": "names of figures, e.g. accuracy"}), RESULTS,
        OUT_FOLDER,
    ],
    gallery: [CONFIG, OUT_FOLDER],
    report: [
        RESULTS,
        ("--tables", {"nargs": "*", "default": [], "help": "its tables, paper_tables/<preset>/*.csv"}),
        ("--figures", {"nargs": "*", "default": [], "help": "its figures, figures/<preset>/*.png"}),
        ("--csv", {"nargs": "*", "default": [], "help": "files that readers can save, results/<preset>/*.csv"}),
        ("--out", {"required": True, "help": "the page, results/<preset>/report.html"}),
    ],
    readme: [
        ("--files", {"required": True, "nargs": "+", "help": "Markdown files that hold each block once between them"}),
        ("--results", {"required": True, "help": "the folder with one folder per preset"}),
    ],
}  # fmt: skip
