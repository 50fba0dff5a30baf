# datagradient: data -> train -> evaluate -> influence -> prune -> train …, then tables and figures.
# snakemake --cores N [--configfile config/cpu.yaml]; each rule is one command of `datagradient`. The options of a
# command are keys: data set, model family, condition (`noise`), policy, seed and iteration. They determine the paths of
# files, see pipeline/layout.py.

import json
import sys
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "src"))
from datagradient.data import changes
from datagradient.data.conditions import PUBLISHED
from datagradient.evidence.claims import arm_files
from datagradient.files import write_json
from datagradient.models import declared
from datagradient.pipeline import layout
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.preflight import preflight
from datagradient.pipeline.sources import source_hash
from datagradient.pipeline.workflow import finish_run, lock_preset, start_run, validated_config
from datagradient.refine import policies
from datagradient.refine.policies import TRUE_LABELS, needs_crossfit, scores_besides
from datagradient.report.captions import write_captions

BASE = Path(workflow.basedir)
# Snakemake formats this path, so braces in the folder of a clone are doubled.
ENVIRONMENT = str(BASE / "environment.yml").replace("{", "{{").replace("}", "}}")


configfile: str(BASE / "config/defaults.yaml")


if not workflow.overwrite_configfiles:

    configfile: str(BASE / "config/quick.yaml")


PRESETS = workflow.overwrite_configfiles or [BASE / "config/quick.yaml"]
CONFIG = validated_config(config, [BASE / "config/defaults.yaml", *PRESETS])


include: "workflow/grid.smk"


# Renew the stamp of a data set whose source files have changed, and write the captions that Snakemake's report reads.
for name in CONFIG["datasets"]:
    changes.notice_changes(f"{ROOT}/{name}")


write_captions(CAPTIONS)


report: CAPTIONS / "report.rst"


wildcard_constraints:
    dataset="|".join(CONFIG["datasets"]),
    model="|".join(CONFIG["models"]),
    noise="|".join(CONDITIONS),
    policy="|".join([layout.BASELINE, *POLICIES]),
    seed="|".join(map(str, SEEDS)),
    iteration=r"\d+",
    sizes=r"[1-9][\d-]*",


localrules: all, experiments


onstart:
    lock_preset(PRESET)
    print(preflight(CONFIG), file=sys.stderr)
    write_json(Path(CONFIG_FILE), CONFIG)  # not by a rule: Snakemake does not check jobs after one that runs
    start_run(PRESET, workflow)


onsuccess:
    finish_run(PRESET)


rule all:
    input:
        expand(f"{TABLES}/{{name}}.{{kind}}", name=TABLE_NAMES, kind=["csv", "md", "tex"]),
        expand(f"{FIGURES}/{{name}}.{{kind}}", name=FIGURE_NAMES, kind=["png", "pdf"]),
        expand(f"{FIGURES}/gallery-{{dataset}}.png", dataset=CONFIG["datasets"]),
        expand(f"{ROOT}/tracked/{{model}}", model=CONFIG["models"]),
        f"{ROOT}/tracked/report",
        f"{ROOT}/provenance.json",
        f"{ROOT}/report.html",


rule experiments:
    input:
        expand(f"{TABLES}/{{name}}.{{kind}}", name=EXPERIMENT_TABLES, kind=["csv", "md", "tex"]),
        expand(f"{FIGURES}/{{name}}.{{kind}}", name=EXPERIMENT_FIGURES, kind=["png", "pdf"]),
        f"{ROOT}/report_has_experiments",


include: "workflow/prepare.smk"
# Models, scores and removals from the prepared data: one rule per step, or all iterations in one job; the same files.
include: "workflow/steps.smk" if CONFIG["one_job"] == "step" else "workflow/refine.smk"
include: "workflow/experiments.smk"
include: "workflow/report.smk"
