# datagradient: data -> train -> evaluate -> influence -> prune -> train …, then tables and figures.
# snakemake --cores N [--configfile config/cpu.yaml]; one rule is one command of `datagradient`.

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "src"))
from datagradient import layout
from datagradient.data import changes
from datagradient.preflight import preflight
from datagradient.sources import source_hash
from datagradient.workflow import begin, end, hasten, lock, start

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


report: "src/datagradient/report/captions/workflow.rst"


wildcard_constraints:
    dataset="|".join(CONFIG["datasets"]),
    model="|".join(CONFIG["models"]),
    noise="|".join(layout.noise_names(CONFIG)),
    policy="|".join(TRAINED),
    seed="|".join(map(str, SEEDS)),
    iteration=r"[1-9]\d*",
    sizes=r"[1-9][\d-]*",


localrules: all, experiments, configuration


onstart:
    hasten(workflow)
    lock(PRESET)
    print(preflight(CONFIG), file=sys.stderr)
    begin(PRESET, workflow)


onsuccess:
    end(PRESET)


rule all:
    input:
        expand(f"{TABLES}/{{name}}.{{kind}}", name=TABLE_NAMES, kind=["csv", "md", "tex"]),
        expand(f"{FIGURES}/{{name}}.{{kind}}", name=FIGURE_NAMES, kind=["png", "pdf"]),
        expand(f"{FIGURES}/gallery-{{dataset}}.png", dataset=CONFIG["datasets"]),
        expand(f"{ROOT}/{{dataset}}/{{model}}/tracked", dataset=CONFIG["datasets"], model=CONFIG["models"]),
        f"{ROOT}/report_tracked",
        f"{ROOT}/provenance.json",


rule experiments:
    input:
        expand(f"{TABLES}/{{name}}.{{kind}}", name=EXPERIMENT_TABLES, kind=["csv", "md", "tex"]),
        expand(f"{FIGURES}/{{name}}.{{kind}}", name=EXPERIMENT_FIGURES, kind=["png", "pdf"]),


rule configuration:
    output:
        f"{ROOT}/config.json",
    log:
        f"logs/{PRESET}/configuration.log",
    params:
        content=json.dumps(CONFIG, indent=1, sort_keys=True),
    shell:
        "printf '%s\\n' {params.content:q} > {output:q} 2> {log:q}"


rule prepare:
    input:
        f"{ROOT}/{{dataset}}/{changes.STAMP}",  # renewed when a file that the set was read from has changed
    output:
        features=each(f"{PREPARED}/features.npz", names=("seed",)),
        data=each(f"{PREPARED}/data.json", names=("seed",)),
    log:
        f"logs/{PRESET}/{{dataset}}/{PART['seed']}/prepare.log",
    benchmark:
        PREPARE_TIME
    priority: 100  # first, so that the longest jobs can start
    params:
        seeds=IN_JOB.get("seed", "{seed}"),
        plan=lambda w: json.dumps({**CONFIG["split"], **{key: CONFIG["datasets"][w.dataset][key]
                                   for key in ("max_development", "max_test")}}),
        source=lambda w: source_hash("prepare", f"data.sets.{w.dataset}"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient prepare --dataset {wildcards.dataset} --seed {params.seeds:q} --plan {params.plan:q} "
        "--out {output.features:q} 2> {log:q}"


rule noise:
    input:
        data=per_cell(f"{PREPARED}/features.npz"),
    output:
        each(f"{NOISE}/labels.npz", names=("seed",)),
    log:
        f"logs/{PRESET}/{{dataset}}/{PART['seed']}/noise-{{noise}}.log",
    priority: 100
    params:
        source=source_hash("noise"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient noise --data {input.data:q} --rate {wildcards.noise} --out {output:q} 2> {log:q}"


# From the prepared data to scores and removals, in jobs of the size that the preset asks for: the same files.
include: "workflow/iterations.smk" if "dataset" in IN_JOB else "workflow/steps.smk"


include: "workflow/experiments.smk"
include: "workflow/report.smk"
