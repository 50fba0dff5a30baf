# Names, paths and lists of the grid: which files one job reads and writes.

import itertools
import json

from datagradient.config import model_settings
from datagradient.layout import trained_policies

PRESET, SEEDS, K = CONFIG["preset"], CONFIG["seeds"], CONFIG["iterations"]
ROOT = layout.root(PRESET)
CLAIMS = BASE / "config/claims.yaml"
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
TRACKED_AT_ONCE = {"dataset": list(CONFIG["datasets"])} if "dataset" in IN_JOB else {}
# Tables and figures by the section of the report that they stand in.
SECTIONS = {
    "1. Verdict": (["verdict"], ["pipeline"]),
    "2. Main results": (["main", "pooled"], ["accuracy", "f1", "effects"]),
    "3. Controls": (["controls", "safety"], ["controls"]),
    "4. Iterations": (["rounds", "tracking", "iterations"], ["contribution", "optimism"]),
    "5. Scores": ([], ["influence"]),
    "6. Cost": (["costs"], []),
    "7. Details": (["effects", "tests", "data", "environment"], []),
}
if max(CONFIG["noise"]) > 0:
    SECTIONS["5. Scores"][0].append("detection")
    SECTIONS["5. Scores"][1].append("detection")
if CONFIG["scalability"]:
    SECTIONS["6. Cost"][0].extend(["scalability", "slopes"])
    SECTIONS["6. Cost"][1].append("scalability")
TABLE_NAMES, FIGURE_NAMES = ([name for part in SECTIONS.values() for name in part[kind]] for kind in (0, 1))
RUN_FIGURES = [name for name in FIGURE_NAMES if name != "scalability"]
# Of the experiments that `rule experiments` does: their tables and figures, and what these are made from.
VARIED = ["damping", "solver", "curvature-samples", "validation-samples", "lissa-steps", "lissa-batch"]
if "neural" in CONFIG["models"]:
    VARIED.append("curvature")
EXPERIMENT_SECTIONS = {
    "streaming": ("6. Cost", ["streamed"], ["streamed"], ["streamed"]),
    "fidelity": ("8. Fidelity", ["fidelity"], ["fidelity", "single"], ["fidelity", "single", "stability"]),
    "sensitivity": ("Appendix. Sensitivity", ["sensitivity"], ["fractions", *VARIED], ["sensitivity", "fractions"]),
}
ASKED = {name: content for name, content in EXPERIMENT_SECTIONS.items() if CONFIG[name]}
EXPERIMENT_TABLES, EXPERIMENT_FIGURES = ([name for part in ASKED.values() for name in part[kind]] for kind in (1, 2))
EXPERIMENT_RESULTS = [name for part in ASKED.values() for name in part[3]]
SCALABILITY = ["scalability", "slopes"] if CONFIG["scalability"] else []
STATISTICS = ["tests", "pooled", "rounds", "safety", "tracking", "iterations", "costs"]
SMALL = [*STATISTICS, "data", "detection", "detection_curves", "influence_histogram"]
LOGS = f"logs/{PRESET}/{PART['dataset']}/{{model}}/{PART['noise']}"
PREPARE_TIME = f"logs/{PRESET}/{{dataset}}/{PART['seed']}/prepare.tsv"
FIRST_LOG = f"{LOGS}/{layout.BASELINE}/{PART['seed']}/iter-0"
CELL_LOG = f"{LOGS}/{PART['policy']}/{PART['seed']}/iter-{{iteration}}"
INFLUENCE_LOG = CELL_LOG.replace("{policy}", "influence")
FIRST = CELL.replace("{policy}", layout.BASELINE).replace("{iteration}", "0")
INFLUENCE, GUARD = CELL.replace("{policy}", "influence"), layout.GUARD.replace("{root}", ROOT)
# Experiments besides refinement.
SCALE, STREAMING, FIDELITY = f"{ROOT}/{{dataset}}/scalability", CONFIG["streaming"] or {}, CONFIG["fidelity"] or {}
ONE_LOG = f"logs/{PRESET}/{{dataset}}/{{model}}/noise-{{noise}}/seed-{{seed}}"


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

    def words(wildcards, input):
        files = input.get(name) or []
        files = [files] if isinstance(files, str) else files
        return [f"--{name}", *files] if files else []

    return words


def cells(name, **fixed):
    return [f"{layout.cell(root=ROOT, **keys)}/{name}" for keys in layout.grid(CONFIG, **fixed)]


def in_report(path, kind, name, dataset=None):
    """An output that stands in the report, in the section of its table (kind "tables") or figure."""
    place = ["tables", "figures"].index(kind)
    sections = [(title, part[place]) for title, part in SECTIONS.items()]
    sections += [(part[0], part[place + 1]) for part in EXPERIMENT_SECTIONS.values()]
    title = next((title for title, names in sections if name in names), "5. Scores")
    captions = Path("src/datagradient/report/captions") / kind
    caption = captions / f"{name if (BASE / captions / f'{name}.rst').exists() else 'others'}.rst"
    label = {kind.removesuffix("s"): f"{name}, {dataset}" if dataset else name}
    return report(path, category=title, labels=label, caption=f"../{caption}")


def finished(**fixed):
    """What the jobs of some models leave when all is done: all their files, or the last one of each job."""
    if "dataset" in IN_JOB:
        cells_ = [{**keys, "root": ROOT} for keys in layout.grid(CONFIG, policy=layout.BASELINE, seed=SEEDS[0], **fixed)]
        return list(dict.fromkeys("{root}/{dataset}/{model}/iterated.json".format(**keys) for keys in cells_))
    files = [file for name in ["metrics.json", "influence.json", "train.json"] for file in cells(name, **fixed)]
    files += [file for policy in TRAINED for file in cells("kept.npz", policy=policy, **fixed)]
    files += cells("scores.npz", policy=layout.BASELINE, **fixed)
    files += cells("quality.npz", policy=layout.BASELINE, **fixed) if "confident" in TRAINED else []
    guarded = layout.grid(CONFIG, policy=layout.BASELINE, **fixed) if layout.GUARDED in CONFIG["policies"] else []
    return files + [GUARD.format(**keys) for keys in guarded]


def one_settings(wildcards):
    """The settings of one model of one data set and noise rate."""
    return json.dumps(model_settings(CONFIG, wildcards.dataset, wildcards.model, wildcards.noise))


def published_settings(wildcards):
    """The settings of one model of one data set as published."""
    return json.dumps(model_settings(CONFIG, wildcards.dataset, wildcards.model, layout.noise_names(CONFIG)[0]))


def scalability_rows():
    """The rows of every data set and model of the preset."""
    datasets = (CONFIG["scalability"] or {}).get("datasets", {})
    return [f"{SCALE}/{model}/{sizes}/rows.json".format(dataset=dataset)
            for dataset, plan in datasets.items() for model in plan["models"] for sizes in _in_jobs(plan["sizes"])]


def _in_jobs(sizes):
    """The sizes that each job measures: all where a job does all of a model, otherwise one."""
    return ["-".join(map(str, sizes))] if "dataset" in IN_JOB else sizes


def varied(wildcards):
    """The rows that sensitivity.csv (of the first seed and the highest noise rate) or fractions.csv is made from."""
    if wildcards.kind == "fractions":
        return [file for seed in SEEDS[:3] for file in cells("fractions.json", policy=layout.BASELINE, seed=seed)]
    noise = layout.noise_names(CONFIG)[-1]
    return cells("sensitivity.json", policy=layout.BASELINE, seed=SEEDS[0], noise=noise)


def gpus(wildcards):
    """How many GPUs a job asks for: networks, where the preset says so."""
    return CONFIG["gpu"] if wildcards.model == "neural" else 0
