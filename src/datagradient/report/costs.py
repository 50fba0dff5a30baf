"""What README and docs say of the cost of influence beside its goals, from the benchmarks and the scale experiment."""

from pathlib import Path

from datagradient.files import read_rows
from datagradient.influence.options import RECORD
from datagradient.report.formats import dataset_titles, noise_words

FLIPS, NETWORK = "0.2", "neural"
# Goals of the last layer from the record, set before it was measured. A pass of the table's small network costs little
# beside the fixed parts of a scoring.
PASSES, PASSES_OF_TABLES, SHARE, RANKS = 0.25, 2.0, 0.02, 0.99
ALL_PASSES, ALL_GAP = 1.0, 0.02  # of all layers: forward passes, and LDS below that of the converged solve
LONGER = 1.05  # training with the record ÷ training without
DEARER = 10.0  # the cheapest library method of equal worth ÷ ours
EQUAL = 0.02  # a library's method is of equal worth if neither its LDS nor its AUROC is lower by more
OTHERS = 0.10  # influence ÷ training of logistic regression and trees
SLOPE = 1.0  # of influence in the number of samples
TABLE = "adult"
WITHIN = "cosine to nothing"  # in rates.csv, the schedule of the networks here
CANDIDATE = ("solver", "curvature", "parameters", "samples", "limit", "tolerance", "damping")  # columns of chosen.csv
OURS, OTHER, LAST = "datagradient", "datagradient, not the default", "last layer"  # in peers.csv
ANY = "any"  # data set
WHICH = {"chosen": "chosen", "highest": "highest LDS", "default": "default then"}
REFUSED: dict[str, str] = {}  # row of a solver that had scores on the seed that chose alone: the record was too old
Cell = tuple[str, bool] | None  # in words, and whether the goal is reached; None: not measured


def goals(results: Path) -> str:
    """Return each goal of the cost of influence with what was measured, by data set; what misses a goal is bold."""
    folder = results / "benchmarks"
    tables = {name: read_rows(folder / f"{name}.csv") for name in ("choice", "solvers", "overhead", "rates", "peers")}
    slopes, titles = read_rows(results / "cpu/slopes.csv"), dataset_titles(results / "cpu")
    datasets = list(dict.fromkeys(row["dataset"] for row in tables["solvers"]))
    lines = [f"| | goal | {' | '.join(titles[name] for name in datasets)} |", "|---" * (2 + len(datasets)) + "|"]

    def add(what: str, goal: str, cells: list[Cell]) -> None:
        words = ["–" if cell is None else cell[0] if cell[1] else f"**{cell[0]}**" for cell in cells]
        lines.append(f"| {what} | {goal} | {' | '.join(words)} |")

    last = [_default(tables["solvers"], name) or _row(tables, name, RECORD, "last") for name in datasets]
    add("last layer from the record: forward passes", f"at most {PASSES:g}; tables {PASSES_OF_TABLES:g}",
        [_most(row, "forward_passes", PASSES_OF_TABLES if name == TABLE else PASSES)
         for name, row in zip(datasets, last, strict=True)])  # fmt: skip
    data = {row["dataset"]: row for row in read_rows(results / "cpu/data.csv")}
    add("… with the validation samples passed for it, which an evaluation does anyway", "the same",
        [_most(row and {"forward_passes": _with_validation(row, data[name])}, "forward_passes",
               PASSES_OF_TABLES if name == TABLE else PASSES)
         for name, row in zip(datasets, last, strict=True)])  # fmt: skip
    add("… of training", f"at most {SHARE:g}", [_most(row, "ratio", SHARE) for row in last])
    add("… rank correlation with a pass, the lower of two seeds", f"at least {RANKS:g}",
        [_least_correlation(tables["rates"], name) for name in datasets])  # fmt: skip
    add("… what it adds to training, in forward passes", "–",
        [_added(_one(tables["overhead"], name, NETWORK)) for name in datasets])  # fmt: skip
    every = [_row(tables, name, f"{RECORD}-all", "projected") for name in datasets]
    add("all layers from the record, projected: forward passes", f"at most {ALL_PASSES:g}",
        [_most(row, "forward_passes", ALL_PASSES) for row in every])  # fmt: skip
    add("… LDS, and that of a converged solve", f"at most {ALL_GAP:g} below",
        [_gap(row, _row(tables, name, "cg", "all")) for name, row in zip(datasets, every, strict=True)])  # fmt: skip
    add("training with the record of the last layer ÷ without", f"at most {LONGER:g}",
        [_most(_one(tables["overhead"], name, NETWORK), "train_ratio", LONGER) for name in datasets])  # fmt: skip
    for words, covers in (("the last layer from the record", LAST), ("our default", "")):
        add(f"cheapest library method of equal LDS and AUROC ÷ {words}", f"at least {DEARER:g}",
            [_dearer(tables["peers"], name, covers) for name in datasets])  # fmt: skip
    for model in ("logistic", "boosted"):
        add(f"{model}: of training", f"at most {OTHERS:g}",
            [_most(_one(tables["overhead"], name, model), "ratio", OTHERS) for name in datasets])  # fmt: skip
    keys = {"model": NETWORK, "solver": RECORD, "what": "influence"}
    of_record = [next((row for row in slopes if {**keys, "dataset": name}.items() <= row.items()), None)
                 for name in datasets]  # fmt: skip
    add("network: slope in the number of samples, from the record", f"at most {SLOPE:g}",
        [_most(row, "slope", SLOPE) for row in of_record])  # fmt: skip
    return "\n".join(
        [
            *lines,
            "",
            f"Networks: {noise_words(FLIPS, 'of labels flipped')}. Dampings are the default's, or else "
            "those of the highest LDS on another seed. Bold: missed; a dash: not measured.",
        ]
    )


def chosen(results: Path) -> str:
    """Return which solver is worth its cost for each data set and model, beside the one of the highest score."""
    rows = read_rows(results / "benchmarks/chosen.csv")
    titles = {**dataset_titles(results / "cpu"), ANY: "all data sets"}
    heads = ["data set, model", "", "solver", "forward passes", "LDS", "AUROC of wrong labels"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    alike = {row["model"] for row in rows if row["dataset"] == ANY}  # families with one solver for all kinds of data
    for dataset, model in dict.fromkeys((row["dataset"], row["model"]) for row in rows):
        if model in alike and dataset != ANY:
            continue
        own = [row for row in rows if (row["dataset"], row["model"]) == (dataset, model)]
        which = dict.fromkeys(tuple(row[key] for key in CANDIDATE) for row in own)  # the same may be chosen and highest
        for candidate in which:
            found = [row for row in own if tuple(row[key] for key in CANDIDATE) == candidate]
            said = " and ".join(dict.fromkeys(WHICH[row["which"]] for row in found))
            found = list({row["noise"]: row for row in found}.values())
            judged = [row["judged_forward_passes"] for row in found if row["judged_forward_passes"]]
            passes = sorted(
                {f"{float(text):.2g}" for text in judged or [row["forward_passes"] for row in found]}, key=float
            )
            cost = " to ".join(dict.fromkeys((passes[0], passes[-1]))) + ("" if judged else " (seed 0)")
            lines.append(f"| {titles[dataset]}, {model} | {said} | {_described(found[0])} | {cost} | "
                         f"{_both(found, 'lds')} | {_both(found, 'auroc')} |")  # fmt: skip
    return "\n".join(lines)


def _described(row: dict) -> str:
    samples = row["samples"] if row["samples"] == "all" else f"{int(row['samples']):,}"
    words = [row["solver"], row["parameters"], f"damping {float(row['damping']):g}", f"{samples} samples"]
    words += (
        [f"{row['limit']} steps"] if row["limit"] else [f"to {float(row['tolerance']):g}"] if row["tolerance"] else []
    )
    return ", ".join(words)


def _both(rows: list[dict], column: str) -> str:
    """Return a column under each condition, on the seed that chose and on the one that judges; a dash: not there."""
    words = []
    for row in rows:
        where = row["noise"].split()[0] if row["dataset"] == ANY else noise_words(row["noise"])
        judged = row[f"judged_{column}"]
        if row[column]:
            words.append(f"{where} {float(row[column]):.2f}, {f'{float(judged):.2f}' if judged else '–'}")
    return "; ".join(words)


def _one(rows: list[dict], dataset: str, model: str) -> dict | None:
    keys = {"dataset": dataset, "model": model, "noise": FLIPS}
    return next((row for row in rows if keys.items() <= row.items()), None)


def _default(solvers: list[dict], dataset: str) -> dict | None:
    """Return the row of a network's own solver, if that goes by a record of the last layer."""
    keys = {"dataset": dataset, "model": NETWORK, "noise": FLIPS, "default": "1", "solver": RECORD}
    return next((row for row in solvers if keys.items() <= row.items()), None)


def _row(tables: dict[str, list[dict]], dataset: str, solver: str, parameters: str) -> dict | None:
    """Return the row of a solver for a network at the damping that had the highest LDS on the seed that chose."""
    keys = {"dataset": dataset, "model": NETWORK, "noise": FLIPS, "solver": solver, "parameters": parameters,
            "curvature": "ggn", "status": "converged"}  # fmt: skip
    tried = [row for row in tables["choice"] if keys.items() <= row.items()]
    best = max(tried, key=lambda row: float(row["lds"]), default=None)
    if best is None:
        return None
    keys |= {key: best[key] for key in ("damping", "samples")}
    return next((row for row in tables["solvers"] if keys.items() <= row.items()), REFUSED)


def _most(row: dict | None, column: str, limit: float) -> Cell:
    if row is REFUSED:
        return "refused", False
    if row is None or not row.get(column):
        return None
    value = float(row[column])
    return f"{value:.2g}" if value < 1 else f"{value:.2f}", value <= limit


def _with_validation(row: dict, sizes: dict) -> float:
    """Return forward passes over the training samples, one over the validation samples among them."""
    return float(row["forward_passes"]) + int(sizes["n_influence"]) / int(sizes["n_train"])


def _added(row: dict | None) -> Cell:
    if row is None:
        return None
    forward = float(row["ratio"]) * float(row["train_seconds"]) / float(row["forward_passes"])
    return f"{(float(row['train_ratio']) - 1) * float(row['train_seconds']) / forward:.1f}", True


def _least_correlation(rates: list[dict], dataset: str) -> Cell:
    values = [float(row["rank_correlation"]) for row in rates if (row["dataset"], row["schedule"]) == (dataset, WITHIN)]
    return (f"{min(values):.3f}", min(values) >= RANKS) if values else None


def _gap(projected: dict | None, converged: dict | None) -> Cell:
    if projected is REFUSED:
        return "refused", False
    if projected is None or converged is None or converged is REFUSED:
        return None
    ours, theirs = float(projected["lds"]), float(converged["lds"])
    return f"{ours:.2f}, {theirs:.2f}", ours >= theirs - ALL_GAP


def _dearer(peers: list[dict], dataset: str, covers: str) -> Cell:
    """Return how many times ours the cheapest library method costs; ours is the default, or what covers so much."""
    done = [row for row in peers if (row["dataset"], row["status"]) == (dataset, "done")]
    own = [row for row in done if row["method"] in (OURS, OTHER)]
    ours = next((row for row in own if (row["covers"] == covers if covers else row["method"] == OURS)), None)
    if ours is None:
        return None
    equal = [row for row in done if not row["method"].startswith(OURS)
             and all(float(row[key]) >= float(ours[key]) - EQUAL for key in ("lds", "auroc"))]  # fmt: skip
    if not equal:
        return "none is of equal worth", True
    cheapest = min(equal, key=lambda row: float(row["times_ours"]))
    times = float(cheapest["times_ours"]) / float(ours["times_ours"])
    return f"{times:.3g} ({cheapest['method']})", times >= DEARER
