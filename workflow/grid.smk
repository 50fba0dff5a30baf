# Names and paths of the preset, and which files its jobs read and write.

PRESET, SEEDS, K, NOISES = CONFIG["preset"], CONFIG["seeds"], CONFIG["iterations"], layout.noise_names(CONFIG)
POLICIES = layout.trained_policies(CONFIG)
ROOT = layout.root(PRESET)
CONFIG_FILE = f"{ROOT}/config.json"
CLAIMS = BASE / "config/claims.yaml"
CAPTIONS = Path.cwd() / ".snakemake/captions"  # of the report, by its path: Snakemake reads no other kind
TABLES, FIGURES = f"paper_tables/{PRESET}", f"figures/{PRESET}"
PREPARED, NOISE, CELL, GUARD, REFINED, SCALE, SCALE_ROWS = (
    path.replace("{root}", ROOT) for path in (layout.PREPARED, layout.NOISE, layout.CELL, layout.GUARD, layout.REFINED,
                                              layout.SCALE, layout.SCALE_ROWS))  # fmt: skip
FIRST = CELL.replace("{policy}", layout.BASELINE).replace("{iteration}", "0")  # the unrefined model
MODEL_LOG = f"logs/{PRESET}/{{dataset}}/{{model}}/noise-{{noise}}/seed-{{seed}}"
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


def cells(file, **fixed):
    """A file of every trained model with the keys `fixed`."""
    return [layout.Cell(ROOT, **keys).file(file) for keys in layout.grid(CONFIG, **fixed)]


def finished(**fixed):
    """What is there when all iterations of some models are done: the last file of each seed, or all that are read."""
    first = [{**keys, "root": ROOT} for keys in layout.grid(CONFIG, iteration=0, **fixed)]
    if CONFIG["one_job"] != "step":
        return [layout.REFINED.format(**keys) for keys in first]
    files = [file for name in ("metrics.json", "influence.json", "train.json") for file in cells(name, **fixed)]
    files += cells("quality.npz", iteration=0, **fixed) if "confident" in POLICIES else []
    return files + [GUARD.format(**keys) for keys in first if layout.GUARDED in CONFIG["policies"]]


def settings(wildcards):
    """The settings of one model's training: a job runs again when they change."""
    return json.dumps(model_settings(CONFIG, wildcards.dataset, wildcards.model, wildcards.noise))


def solver(wildcards):
    """How one model is scored."""
    return json.dumps(CONFIG["model_settings"][wildcards.model]["solver"])


def gpus(wildcards):
    """How many GPUs a job asks for: networks, where the preset says so."""
    return CONFIG["gpu"] if wildcards.model == "neural" else 0


def in_report(path, kind, name, dataset=None):
    """An output that stands in the report, in the section of its table (kind "tables") or figure."""
    place = ["tables", "figures"].index(kind)
    sections = [(title, part[place]) for title, part in SECTIONS.items()]
    sections += [(part[0], part[place + 1]) for part in EXPERIMENT_SECTIONS.values()]
    title = next((title for title, names in sections if name in names), "5. Scores")
    label = {kind.removesuffix("s"): f"{name}, {dataset}" if dataset else name}
    return report(path, category=title, labels=label, caption=CAPTIONS / kind / f"{name}.rst")
