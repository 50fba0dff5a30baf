# Names, paths and lists of the grid: which files one job reads and writes.

import itertools
import json

from datagradient.config import model_settings
from datagradient.layout import trained_policies

PRESET, SEEDS, K = CONFIG["preset"], CONFIG["seeds"], CONFIG["iterations"]
ROOT = layout.root(PRESET)
TABLES, FIGURES = f"paper_tables/{PRESET}", f"figures/{PRESET}"
PREPARED, NOISE, CELL = (p.replace("{root}", ROOT) for p in (layout.PREPARED, layout.NOISE, layout.CELL))
TRAINED, CONTROLS = trained_policies(CONFIG), [p for p in trained_policies(CONFIG) if p != "influence"]
# Many small jobs spend their time starting: the preset says what one job does of a model and iteration.
# The order of the keys is that of the outputs, and of `cells_of`.
EVERY = {"dataset": list(CONFIG["datasets"]), "noise": layout.noise_names(CONFIG), "policy": TRAINED, "seed": SEEDS}
IN_JOB = {name: EVERY[name] for name in EVERY if name in layout.BATCHES[CONFIG["one_job"]]}
PART = {"dataset": "{dataset}", "noise": "noise-{noise}", "policy": "{policy}", "seed": "seed-{seed}"}
PART |= {name: {"dataset": "datasets", "noise": "all-noise", "policy": "policies", "seed": "seeds"}[name]
         for name in IN_JOB}
# Tables and figures by the section of the report that they stand in.
SECTIONS = {
    "1. Verdict": (["verdict"], ["pipeline"]),
    "2. Main results": (["main", "pooled"], ["accuracy", "f1", "effects"]),
    "3. Controls": (["controls", "safety"], ["controls"]),
    "4. Iterations": (["rounds", "tracking", "iterations"], ["contribution", "optimism"]),
    "5. Scores": ([], ["influence"]),
    "6. Cost": (["costs", "orchestration"], []),
    "7. Details": (["effects", "tests", "data", "environment"], []),
}
if max(CONFIG["noise"]) > 0:
    SECTIONS["5. Scores"][0].append("detection")
    SECTIONS["5. Scores"][1].append("detection")
TABLE_NAMES, FIGURE_NAMES = ([name for part in SECTIONS.values() for name in part[kind]] for kind in (0, 1))
STATISTICS = ["tests", "pooled", "rounds", "safety", "tracking", "iterations", "costs"]
SMALL = [*STATISTICS, "data", "detection", "detection_curves", "influence_histogram"]
RECORDS = ["metrics.json", "influence.json", "train.json"]
LOGS = f"logs/{PRESET}/{PART['dataset']}/{{model}}/{PART['noise']}"
PREPARE_TIME = f"logs/{PRESET}/{{dataset}}/{PART['seed']}/prepare.tsv"
FIRST_LOG = f"{LOGS}/{layout.BASELINE}/{PART['seed']}/iter-0"
CELL_LOG = f"{LOGS}/{PART['policy']}/{PART['seed']}/iter-{{iteration}}"
INFLUENCE_LOG = CELL_LOG.replace("{policy}", "influence")
FIRST = CELL.replace("{policy}", layout.BASELINE).replace("{iteration}", "0")
INFLUENCE, GUARD = CELL.replace("{policy}", "influence"), layout.GUARD.replace("{root}", ROOT)
ALSO = {layout.BASELINE: "all", "loss": "loss", "gradient": "gradient"}  # other scores that a policy, or a table, needs


def each(pattern, policies=TRAINED, names=tuple(IN_JOB)):
    """One file for every model of the job, as an output of a rule; `names` of the wildcards that the job fills in."""
    wanted = {name: IN_JOB[name] for name in names if name in IN_JOB and f"{{{name}}}" in pattern}
    if "policy" in wanted:
        wanted["policy"] = policies
    return expand(pattern, allow_missing=True, **wanted) if wanted else [pattern]


def cells_of(wildcards, policies=TRAINED):
    """The keys of the models that one job works on; without an iteration they are the baseline's."""
    keys = dict(wildcards.items())
    policies = policies if "iteration" in keys else [layout.BASELINE]
    values = {name: [keys[name]] if name in keys else every for name, every in {**EVERY, "policy": policies}.items()}
    return [{"iteration": 0, **keys, **dict(zip(values, one))} for one in itertools.product(*values.values())]


def per_cell(pattern, policies=TRAINED):
    """One file for every model of the job, as an input function."""
    return lambda wildcards: [pattern.format(**keys) for keys in cells_of(wildcards, policies)]


def before(name, policies):
    """The files of the iteration before; iteration 0 is the shared baseline."""

    def files(wildcards):
        k = int(wildcards.iteration) - 1
        return [f"{layout.cell(root=ROOT, **{**keys, 'iteration': k})}/{name}" for keys in cells_of(wildcards, policies)]

    return files


def rounds(wildcards):
    """The predictions of every iteration of the policy influence, run by run."""
    runs = [{**keys, "root": ROOT, "policy": "influence"} for keys in cells_of(wildcards)]
    return [f"{layout.cell(**{**run, 'iteration': k})}/predictions.npz" for run in runs for k in range(K + 1)]


def quality(wildcards):
    """Label quality, which the policy confident goes by."""
    wanted = any(keys["policy"] == "confident" for keys in cells_of(wildcards, CONTROLS))
    return per_cell(f"{FIRST}/quality.npz", CONTROLS)(wildcards) if wanted else []


def settings(wildcards):
    """The model's settings: one for all models of the job, or one for each data set and noise rate."""
    which = dict.fromkeys((keys["dataset"], keys["noise"]) for keys in cells_of(wildcards))
    found = [json.dumps(model_settings(CONFIG, dataset, wildcards.model, noise)) for dataset, noise in which]
    return found if len(set(found)) > 1 else found[:1]


def option(name):
    """A command line option that takes an input of the same name, left out where there is none."""
    return lambda wildcards, input: f"--{name} {input[name]}" if input.get(name) else ""


def cells(name, **fixed):
    return [f"{layout.cell(root=ROOT, **keys)}/{name}" for keys in layout.grid(CONFIG, **fixed)]


def timed_jobs(wildcards):
    """The measured seconds of every job that prepares, trains, scores or cross-validates."""
    keys = [{"dataset": d, "model": m, "noise": n} for d in CONFIG["datasets"] for m in CONFIG["models"]
            for n in layout.noise_names(CONFIG)]
    steps = ["train", "influence", "cross_validate"] if "confident" in TRAINED else ["train", "influence"]
    first = expand(f"{FIRST_LOG}/{{step}}.tsv", step=steps, seed=SEEDS, allow_missing=True)
    refined = expand(f"{CELL_LOG}/{{step}}.tsv", step=["train", "influence"], seed=SEEDS, policy=TRAINED,
                     iteration=range(1, K + 1), allow_missing=True)
    prepare = expand(PREPARE_TIME, seed=SEEDS, allow_missing=True)
    return sorted({pattern.format(**key) for key in keys for pattern in [*prepare, *first, *refined]})


def section(kind):
    """The section of the report that a table (0) or a figure (1) stands in."""
    return lambda wildcards: next(title for title, part in SECTIONS.items() if wildcards.name in part[kind])


def guards(**fixed):
    """What the policy guarded decided, where it runs."""
    wanted = layout.grid(CONFIG, policy=layout.BASELINE, **fixed) if layout.GUARDED in CONFIG["policies"] else []
    return [GUARD.format(**keys) for keys in wanted]
