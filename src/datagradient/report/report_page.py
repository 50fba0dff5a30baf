"""The page of a preset: verdicts, figures, tables, methods, provenance and the numbers, in one offline HTML file."""

import json
import re
from io import BytesIO
from pathlib import Path

from datagradient.files import read_json, read_rows, reading
from datagradient.pipeline.layout import all_conditions, seeds_of
from datagradient.refine.policies import POLICIES
from datagradient.report import amounts, captions, offline, verdicts
from datagradient.report.amounts import capital, count, percent
from datagradient.report.formats import noise_words

STYLES = ["page.css", "report.css"]
SCRIPTS = ["page.js", "table.js", "report.js"]
# The figures that a reader should see first: of each place, the first that there is. Cost has a table too.
COST, COST_TABLE = "scalability", "costs"
PLACES = (("recovered", "effects"), ("accuracy",), ("controls",), ("optimism",), ("detection", "influence"), (COST,))
OVERVIEW = "pipeline"  # stands with the method
TRIAL = "quick"  # preset whose data are small stand-ins
LARGEST = 5_000_000  # bytes of a file that the page may hold
DOTS = 160  # of a figure in an inch of the page, of which a browser makes 96; it is drawn with 200 for print
BEGINS, SENTENCE = re.compile(r"[^(:;.?]*\??"), re.compile(r".*?[.?](?= |$)|.*")  # what a caption says first
NUMBER = re.compile(r"[+−-]?\d")  # begins a cell that sorts as a number
MINUS = re.compile(r"(?<![\w.])-(?=\d)")  # of a number, not of a range or a word
LONG = 40  # characters of a cell that is read, and not compared with its neighbours


def write_report_page(path: Path, results: Path, tables: list[Path], figures: list[Path], files: list[Path]) -> None:
    """Write the page of a preset, from what `report_page` takes."""
    offline.write_page(path, report_page(results, tables, figures, files))


def report_page(results: Path, tables: list[Path], figures: list[Path], files: list[Path]) -> str:
    """Return the page of a preset as the text of one HTML file, which needs nothing else.

    Args:
        results: folder of the small result tables, with claims.json, provenance.json, data.csv and costs.csv.
        tables: those that there are, as CSV.
        figures: those that there are, as PNG.
        files: CSV files that the page holds for readers to save; those above `LARGEST` are named alone.

    Raises:
        UserError: a file cannot be read or is of another kind.
    """
    claims_file, run_file = results / "claims.json", results / "provenance.json"
    run = read_json(run_file, config=dict, libraries=dict, data=dict)
    claims = read_json(claims_file, claims=list)["claims"]
    preset, rows = run["preset"], [_with_minus(row) for row in verdicts.rows(claims)]
    shown = {path.stem: _table(path, preset) for path in _in_order(tables, captions.TABLES)}
    drawn = {path.stem: _figure(path) for path in _in_order(figures, captions.FIGURES)}
    first = _first(drawn)
    content = {
        "preset": preset,
        "trial": preset == TRIAL,
        "headline": verdicts.headline(claims),
        "sentences": verdicts.in_two_sentences(claims),
        "verdicts": rows,
        "conditions": [words for words in verdicts.BESIDES.values() if words in rows[0]],
        "where": verdicts.summary(claims),
        "rules": captions.TABLES["verdict"],
        "run": _run(run["config"], results),
        "figures": [drawn.pop(name) for name in first],
        "overview": drawn.pop(OVERVIEW, None),
        "cost": shown.pop(COST_TABLE, None) if COST not in first else None,
        "more_figures": list(drawn.values()),
        "tables": list(shown.values()),
        "config": run["config"],
        "policies": {name: POLICIES[name].description for name in run["config"]["policies"] if name in POLICIES},
        "facts": _facts(run),
        "settings": json.dumps(run["config"], indent=1, ensure_ascii=False),
        "files": [_file(path, f"{preset}-") for path in (*sorted(files), claims_file, run_file)],
        "largest": LARGEST,
    }
    return offline.page("report.html", STYLES, SCRIPTS, None, **content)


def _in_order(paths: list[Path], order: dict[str, str]) -> list[Path]:
    """Return files, those with a caption first, in the order of captions."""
    places = {name: place for place, name in enumerate(order)}
    return sorted(paths, key=lambda path: places.get(path.stem, len(places)))


def _first(drawn: dict) -> list[str]:
    """Return the names of the figures that the page begins with, in the order of their questions."""
    found = [name for names in PLACES for name in [name for name in names if name in drawn][:1]]
    return sorted(found, key=list(captions.QUESTIONS).index)


def _with_minus(row: dict[str, str]) -> dict[str, str]:
    return {name: MINUS.sub(amounts.MINUS, text) for name, text in row.items()}


def _figure(path: Path) -> dict:
    """Return what a figure shows, with its size as drawn, and the picture itself."""
    from PIL import Image

    with reading(path):
        content = path.read_bytes()
        with Image.open(BytesIO(content), formats=["PNG"]) as picture:
            width, height = (round(96 * side / DOTS) for side in picture.size)
    caption = captions.FIGURES.get(path.stem) or captions.FIGURES.get(path.stem.partition("-")[0], "")
    return {**_words(path.stem, caption), "width": width, "height": height, "src": offline.picture_address(content)}


def _table(path: Path, preset: str) -> dict:
    """Return a table's columns, with how each is read, its rows, and the file itself."""
    with reading(path):
        is_empty = not path.read_bytes().strip()  # what pandas writes of a table without rows
    rows = [] if is_empty else read_rows(path)
    columns = [{"name": name, **_kind([row[name] for row in rows])} for name in (rows[0] if rows else ())]
    return {**_words(path.stem, captions.TABLES.get(path.stem, "")), "columns": columns,
            "rows": [list(row.values()) for row in rows], "file": _file(path, f"{preset}-table-")}  # fmt: skip


def _kind(cells: list[str]) -> dict[str, bool]:
    known = [cell for cell in cells if cell not in ("", "–")]
    is_long = any(len(cell) > LONG for cell in cells)
    return {"number": bool(known) and not is_long and all(map(NUMBER.match, known)), "long": is_long}


def _words(name: str, caption: str) -> dict[str, str]:
    """Return the words of a table or figure; what it shows is what its caption says first."""
    question, reading_aid = captions.QUESTIONS.get(name, ("", ""))
    return {"name": name, "title": capital(re.sub("[_-]", " ", name)), "shows": BEGINS.match(caption)[0].strip(),
            "sentence": SENTENCE.match(caption)[0], "caption": caption, "question": question,
            "reading": reading_aid}  # fmt: skip


def _file(path: Path, prefix: str) -> dict:
    """Return a file's name, the name to save it by, its size, and the file itself unless it is large."""
    with reading(path):
        content = path.read_bytes()
    address = offline.text_address(content, path.suffix[1:]) if len(content) <= LARGEST else None
    return {"name": path.name, "saved": prefix + path.name, "size": len(content), "address": address}


def _run(config: dict, results: Path) -> list[tuple[str, str]]:
    """Return what was run: terms and values."""
    data = {row["dataset"]: row for row in read_rows(results / "data.csv", "dataset", "title", "modality", "n_train")}
    trained = sum(int(row["models_trained"]) for row in read_rows(results / "costs.csv", "models_trained"))
    conditions = [noise_words(name, "of labels flipped") for name in all_conditions(config)]
    return [
        ("Data sets", ", ".join(f"{row['title']} ({row['modality']}, {count(int(row['n_train']))} training samples)"
                                for row in data.values())),
        ("Models", ", ".join(config["models"])),
        ("Labels", "; ".join(conditions)),
        ("Policies", ", ".join(config["policies"])),
        ("Seeds", _seeds(config)),
        ("Rounds", f"{config['iterations']}, each removes at most {percent(config['removal_fraction'], 0)}"),
        ("Models trained", count(trained)),
    ]  # fmt: skip


def _seeds(config: dict) -> str:
    """Return the seeds, and those of families that have fewer."""
    fewer = {model: seeds for model in config["models"] if (seeds := seeds_of(config, model)) != config["seeds"]}
    return "; ".join([_numbers(config["seeds"]), *(f"{model}: {_numbers(seeds)}" for model, seeds in fewer.items())])


def _numbers(seeds: list[int]) -> str:
    """Return numbers, a run of them by its ends."""
    is_run = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]} to {seeds[-1]} ({len(seeds)})" if is_run else ", ".join(map(str, seeds))


def _facts(run: dict) -> list[tuple[str, str]]:
    """Return what made the results: terms and values."""
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(run["libraries"].items()))
    return [
        ("Preset", run["preset"]), ("Configuration", run["config_hash"]), ("datagradient", run["version"]),
        ("Git commit", ", ".join(run.get("git_commits", [run["git_commit"]]))),
        ("Libraries", libraries), ("Machine", run["machine"]),
        ("Started", run["started"]), ("Finished", run["finished"]),
        *((f"Data, {name}", source) for name, source in run["data"].items()),
    ]  # fmt: skip
