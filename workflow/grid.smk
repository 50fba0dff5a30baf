# Names and paths of the preset, and the files that its jobs read and write.

PRESET, SEEDS, ITERATIONS = CONFIG["preset"], CONFIG["seeds"], CONFIG["iterations"]
CONDITIONS, RATES = layout.all_conditions(CONFIG), layout.noise_names(CONFIG)  # what the wildcard `noise` may be
POLICIES = layout.trained_policies(CONFIG)
ROOT = layout.root(PRESET)  # results/<preset>
CONFIG_FILE = f"{ROOT}/config.json"
CLAIMS = BASE / "config/claims.yaml"
CAPTIONS = Path.cwd() / ".snakemake/captions"  # the report reads captions from files
TABLES, FIGURES = f"paper_tables/{PRESET}", f"figures/{PRESET}"


def below_root(pattern):
    """Return a pattern of layout.py with the preset's folder filled in; other names in braces remain wildcards."""
    return pattern.replace("{root}", ROOT)


PREPARED = below_root(layout.PREPARED)  # {dataset}/prepared/seed-{seed}
NOISE = below_root(layout.NOISE)  # {dataset}/prepared/seed-{seed}/noise-{noise}
MODEL = below_root(layout.CELL)  # {dataset}/{model}/noise-{noise}/{policy}/seed-{seed}/iter-{iteration}
UNREFINED = MODEL.replace("{policy}", layout.BASELINE).replace("{iteration}", "0")  # …/baseline/seed-{seed}/iter-0
GUARD = below_root(layout.GUARD)  # {dataset}/{model}/noise-{noise}/guarded/seed-{seed}/guard.json
REFINED = below_root(layout.REFINED)  # {dataset}/{model}/noise-{noise}/seed-{seed}.json
SCALE = below_root(layout.SCALE)  # {dataset}/scalability/features.npz
SCALE_ROWS = below_root(layout.SCALE_ROWS)  # {dataset}/scalability/{model}/{sizes}/rows.json
UNREFINED_LOG = f"logs/{PRESET}/{{dataset}}/{{model}}/noise-{{noise}}/seed-{{seed}}"
MODEL_LOG = f"logs/{PRESET}/{{dataset}}/{{model}}/noise-{{noise}}/{{policy}}/seed-{{seed}}/iter-{{iteration}}"
# Options of the commands that select an unrefined model, and any model.
UNREFINED_KEYS = ("--config {CONFIG_FILE} --dataset {wildcards.dataset} --model {wildcards.model} "
                  "--noise {wildcards.noise} --seed {wildcards.seed}")
MODEL_KEYS = UNREFINED_KEYS + " --policy {wildcards.policy} --iteration {wildcards.iteration}"
# Tables and figures by section of Snakemake's report.
SECTIONS = {
    "1. Verdict": (["verdict"], ["pipeline"]),
    "2. Main results": (["main", "pooled"], ["accuracy", "f1", "effects"]),
    "3. Controls": (["controls", "safety"], ["controls"]),
    "4. Iterations": (["rounds", "tracking", "iterations"], ["contribution", "optimism"]),
    "5. Scores": ([], ["influence"]),
    "6. Cost": (["costs"], []),
    "7. Details": (["effects", "tests", "data", "environment"], []),
}
if any(condition != PUBLISHED for condition in CONDITIONS):  # some labels are known to be wrong
    SECTIONS["5. Scores"][0].append("detection")
    SECTIONS["5. Scores"][1].append("detection")
    if TRUE_LABELS in POLICIES:
        SECTIONS["2. Main results"][0].insert(0, "recovered")
        SECTIONS["2. Main results"][1][:0] = ["summary", "recovered"]
if CONFIG["scalability"]:
    SECTIONS["6. Cost"][0].extend(["scalability", "slopes"])
    SECTIONS["6. Cost"][1].append("scalability")
TABLE_NAMES = [name for tables, figures in SECTIONS.values() for name in tables]
FIGURE_NAMES = [name for tables, figures in SECTIONS.values() for name in figures]
GALLERIES = [f"gallery-{dataset}" for dataset in CONFIG["datasets"]]
RUN_FIGURES = [name for name in FIGURE_NAMES if name != "scalability"]
# For each experiment of `rule experiments`: section, tables and figures, and the results that these are made from.
VARIED = ["damping", "solver", "curvature-samples", "validation-samples", "lissa-steps", "lissa-batch"]
if any("curvature" in declared(model).solver for model in CONFIG["models"]):  # a family with a choice
    VARIED.append("curvature")
EXPERIMENT_SECTIONS = {
    "streaming": ("6. Cost", (["streamed"], ["streamed"]), ["streamed"]),
    "fidelity": ("8. Fidelity", (["fidelity"], ["fidelity", "single"]), ["fidelity", "single", "stability"]),
    "trusted": ("9. Trusted labels", (["trusted", "checked"], ["trusted", "checked"]), ["trusted_shares"]),
    "sensitivity": ("Appendix. Sensitivity", (["sensitivity"], ["fractions", *VARIED]), ["sensitivity", "fractions"]),
}
ASKED_EXPERIMENTS = [content for name, content in EXPERIMENT_SECTIONS.items() if CONFIG.get(name)]
EXPERIMENT_TABLES = [name for section, (tables, figures), results in ASKED_EXPERIMENTS for name in tables]
EXPERIMENT_FIGURES = [name for section, (tables, figures), results in ASKED_EXPERIMENTS for name in figures]
EXPERIMENT_RESULTS = [name for section, (tables, figures), results in ASKED_EXPERIMENTS for name in results]
SCALABILITY = ["scalability", "slopes"] if CONFIG["scalability"] else []
STATISTICS = ["tests", "pooled", "rounds", "safety", "tracking", "iterations", "costs", "recovered"]
SMALL_TABLES = [*STATISTICS, "data", "detection", "detection_curves", "influence_histogram"]


def model_files(name, **keys):
    """Return the paths of a file for the trained models with these keys."""
    return [layout.Cell(ROOT, **model).file(name) for model in layout.grid(CONFIG, **keys)]


def fidelity_files():
    """Return the files that fidelity is measured with: of the first seed, and of noise rates alone."""
    unrefined = layout.rate_grid(CONFIG, policy=layout.BASELINE, seed=SEEDS[0])
    return [layout.Cell(ROOT, **model).file(name) for model in unrefined
            for name in ("scores.npz", "halves.npz", "single.npz")]


def refinement_files(**keys):
    """Return files that exist when all iterations of the models with these keys are done."""
    unrefined = [layout.Cell(ROOT, **model) for model in layout.grid(CONFIG, iteration=0, **keys)]
    if CONFIG["one_job"] != "step":
        return [model.refined for model in unrefined]
    files = [file for name in ("metrics.json", "influence.json", "train.json") for file in model_files(name, **keys)]
    files += model_files("crossfit.npz", iteration=0, **keys) if needs_crossfit(POLICIES) else []
    return files + [model.guard for model in unrefined if layout.GUARDED in CONFIG["policies"]]


def training_settings(wildcards):
    """Return the settings of one model's training as text: a job reruns when they change."""
    return json.dumps(model_settings(CONFIG, wildcards.dataset, wildcards.model, wildcards.noise))


def solver_options(wildcards):
    """Return the options of one model's solver as text."""
    return json.dumps(CONFIG["model_settings"][wildcards.model]["solver"])


def recorded_parameters(wildcards):
    """Return as text what trainings of one model's family keep a record of: a job reruns when it changes."""
    solvers = CONFIG["model_settings"][wildcards.model]["solver"]
    return json.dumps({kind: solver.get("parameters") for kind, solver in solvers.items() if solver["name"] == "record"})


def gpus(wildcards):
    """Return the number of GPUs that a job requests: if its family can use them and the preset says so."""
    return gpus_of(wildcards.model)


def gpus_of(model):
    """Return the number of GPUs that a job of a model family requests."""
    return CONFIG["gpu"] if declared(model).gpu else 0


def in_report(path, kind, name, dataset=None):
    """Return an output marked for the report, in the section of its table (kind "tables") or figure."""
    place = {"tables": 0, "figures": 1}[kind]
    contents = [*SECTIONS.items(), *((section, names) for section, names, results in EXPERIMENT_SECTIONS.values())]
    section = next((section for section, names in contents if name in names[place]), "5. Scores")
    label = {kind.removesuffix("s"): f"{name}, {dataset}" if dataset else name}
    return report(path, category=section, labels=label, caption=CAPTIONS / kind / f"{name}.rst")
