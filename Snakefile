# datagradient: data -> train -> evaluate -> influence -> prune -> train …, then tables and figures.
# snakemake --cores N [--configfile config/cpu.yaml]; one rule is one command of `datagradient`, whose options are keys:
# which data set, model family, noise rate, policy, seed and iteration. Files follow from them, see pipeline/layout.py.

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "src"))
from datagradient.data import changes
from datagradient.files import write_json
from datagradient.pipeline import layout
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.preflight import preflight
from datagradient.pipeline.sources import source_hash
from datagradient.pipeline.workflow import begin, end, lock, start
from datagradient.report.captions import write_captions

BASE = Path(workflow.basedir)
# Snakemake formats this path: braces in the folder of a clone are doubled.
ENVIRONMENT = str(BASE / "environment.yml").replace("{", "{{").replace("}", "}}")


configfile: str(BASE / "config/defaults.yaml")


if not workflow.overwrite_configfiles:

    configfile: str(BASE / "config/quick.yaml")


PRESETS = workflow.overwrite_configfiles or [BASE / "config/quick.yaml"]
CONFIG = start(config, [BASE / "config/defaults.yaml", *PRESETS])


include: "workflow/grid.smk"


for name in CONFIG["datasets"]:
    changes.notice_changes(f"{ROOT}/{name}")


write_captions(CAPTIONS)


report: CAPTIONS / "report.rst"


wildcard_constraints:
    dataset="|".join(CONFIG["datasets"]),
    model="|".join(CONFIG["models"]),
    noise="|".join(NOISES),
    policy="|".join([layout.BASELINE, *POLICIES]),
    seed="|".join(map(str, SEEDS)),
    iteration=r"\d+",
    sizes=r"[1-9][\d-]*",


localrules: all, experiments


onstart:
    lock(PRESET)
    print(preflight(CONFIG), file=sys.stderr)
    write_json(Path(CONFIG_FILE), CONFIG)  # not by a rule: Snakemake looks at no job that comes after one that runs
    begin(PRESET, workflow)


onsuccess:
    end(PRESET)


rule all:
    input:
        expand(f"{TABLES}/{{name}}.{{kind}}", name=TABLE_NAMES, kind=["csv", "md", "tex"]),
        expand(f"{FIGURES}/{{name}}.{{kind}}", name=FIGURE_NAMES, kind=["png", "pdf"]),
        expand(f"{FIGURES}/gallery-{{dataset}}.png", dataset=CONFIG["datasets"]),
        expand(f"{ROOT}/tracked/{{model}}", model=CONFIG["models"]),
        f"{ROOT}/tracked/report",
        f"{ROOT}/provenance.json",


rule experiments:
    input:
        expand(f"{TABLES}/{{name}}.{{kind}}", name=EXPERIMENT_TABLES, kind=["csv", "md", "tex"]),
        expand(f"{FIGURES}/{{name}}.{{kind}}", name=EXPERIMENT_FIGURES, kind=["png", "pdf"]),


# A data set is read once for all seeds. Where jobs do single steps, it is read for each: a new seed leaves the others
# alone.
PREPARED_AT_ONCE = {} if CONFIG["one_job"] == "step" else {"seed": SEEDS}
OF_SEED = "" if PREPARED_AT_ONCE else "-seed-{seed}"
SEED_OPTION = "" if PREPARED_AT_ONCE else "--seed {wildcards.seed} "


rule prepare:
    input:
        f"{ROOT}/{{dataset}}/{changes.STAMP}",  # renewed when a file that the set was read from has changed
    output:
        expand([f"{PREPARED}/features.npz", f"{PREPARED}/data.json"], allow_missing=True, **PREPARED_AT_ONCE),
    log:
        f"logs/{PRESET}/{{dataset}}/prepare{OF_SEED}.log",
    benchmark:
        f"logs/{PRESET}/{{dataset}}/prepare{OF_SEED}.tsv"
    priority: 100  # first, so that the longest jobs can start
    params:
        plan=lambda w: json.dumps({**CONFIG["split"], **{key: CONFIG["datasets"][w.dataset][key]
                                   for key in ("max_development", "max_test")}}),
        source=lambda w: source_hash("prepare", f"data.sets.{w.dataset}"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient prepare --config {CONFIG_FILE} --dataset {wildcards.dataset} "
        + SEED_OPTION + "2> {log:q}"


rule noise:
    input:
        expand(f"{PREPARED}/features.npz", allow_missing=True, **PREPARED_AT_ONCE),
    output:
        expand(f"{NOISE}/labels.npz", allow_missing=True, **PREPARED_AT_ONCE),
    log:
        f"logs/{PRESET}/{{dataset}}/noise-{{noise}}{OF_SEED}.log",
    priority: 100
    params:
        source=source_hash("noise"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient noise --config {CONFIG_FILE} --dataset {wildcards.dataset} --noise {wildcards.noise} "
        + SEED_OPTION + "2> {log:q}"


# From the prepared data to scores and removals: one rule a step, or all iterations in one job. The same files.
include: "workflow/steps.smk" if CONFIG["one_job"] == "step" else "workflow/refine.smk"
include: "workflow/experiments.smk"
include: "workflow/report.smk"
