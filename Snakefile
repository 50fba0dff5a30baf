# datagradient: data -> train -> evaluate -> influence -> prune -> train …, then tables and figures.
# snakemake --cores N [--configfile config/cpu.yaml]; one rule is one command of `datagradient`.

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "src"))
from datagradient import layout
from datagradient.config import model_settings
from datagradient.layout import trained_policies
from datagradient.preflight import preflight
from datagradient.sources import source_hash
from datagradient.workflow import lock, start

BASE = Path(workflow.basedir)


configfile: str(BASE / "config/defaults.yaml")


if not workflow.overwrite_configfiles:

    configfile: str(BASE / "config/quick.yaml")


PRESETS = workflow.overwrite_configfiles or [BASE / "config/quick.yaml"]
CONFIG = start(config, [BASE / "config/defaults.yaml", *PRESETS])
PRESET, SEEDS, K = CONFIG["preset"], CONFIG["seeds"], CONFIG["iterations"]
ROOT = layout.root(PRESET)
TABLES, FIGURES = f"paper_tables/{PRESET}", f"figures/{PRESET}"
PREPARED, NOISE, CELL = (p.replace("{root}", ROOT) for p in (layout.PREPARED, layout.NOISE, layout.CELL))
TRAINED, CONTROLS = trained_policies(CONFIG), [p for p in trained_policies(CONFIG) if p != "influence"]
# Many small jobs spend their time starting: the preset says what one job does of a data set, model and iteration.
# The order of the keys is that of the outputs, and of `cells_of`.
EVERY = {"noise": layout.noise_names(CONFIG), "policy": TRAINED, "seed": SEEDS}
IN_JOB = {name: EVERY[name] for name in EVERY if name in layout.BATCHES[CONFIG["one_job"]]}
PART = {"noise": "noise-{noise}", "policy": "{policy}", "seed": "seed-{seed}"}
PART |= {name: {"noise": "all-noise", "policy": "policies", "seed": "seeds"}[name] for name in IN_JOB}
# Tables and figures by the section of the report that they stand in.
SECTIONS = {
    "1. Verdict": (["verdict"], ["pipeline"]),
    "2. Main results": (["main", "pooled"], ["accuracy", "f1", "effects"]),
    "3. Controls": (["controls", "safety"], ["controls"]),
    "4. Iterations": (["tracking", "iterations"], ["contribution", "optimism"]),
    "5. Scores": ([], ["influence"]),
    "6. Cost": (["costs", "orchestration"], []),
    "7. Details": (["effects", "tests", "data", "environment"], []),
}
if max(CONFIG["noise"]) > 0:
    SECTIONS["5. Scores"][0].append("detection")
    SECTIONS["5. Scores"][1].append("detection")
TABLE_NAMES, FIGURE_NAMES = ([name for part in SECTIONS.values() for name in part[kind]] for kind in (0, 1))
STATISTICS = ["tests", "pooled", "safety", "tracking", "iterations", "costs"]
SMALL = [*STATISTICS, "data", "detection", "detection_curves", "influence_histogram"]
RECORDS = ["metrics.json", "influence.json", "train.json"]
LOGS = f"logs/{PRESET}/{{dataset}}/{{model}}/{PART['noise']}"
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
    noise, policy, seed = ([keys[name]] if name in keys else values
                           for name, values in {**EVERY, "policy": policies}.items())
    return [{"iteration": 0, **keys, "noise": n, "policy": p, "seed": s} for n in noise for p in policy for s in seed]


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
    """The predictions of every iteration of the policy influence, seed by seed."""
    keys = {**dict(wildcards.items()), "root": ROOT, "policy": "influence"}
    return [f"{layout.cell(**keys, seed=seed, iteration=k)}/predictions.npz" for seed in SEEDS for k in range(K + 1)]


def quality(wildcards):
    """Label quality, which the policy confident goes by."""
    wanted = any(keys["policy"] == "confident" for keys in cells_of(wildcards, CONTROLS))
    return per_cell(f"{FIRST}/quality.npz", CONTROLS)(wildcards) if wanted else []


def settings(wildcards):
    """The model's settings: one for all models of the job, or one for each."""
    found = [json.dumps(model_settings(CONFIG, **{name: keys[name] for name in ("dataset", "model", "noise")}))
             for keys in cells_of(wildcards)]
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


report: "src/datagradient/report/captions/workflow.rst"


wildcard_constraints:
    dataset="|".join(CONFIG["datasets"]),
    model="|".join(CONFIG["models"]),
    noise="|".join(layout.noise_names(CONFIG)),
    policy="|".join(TRAINED),
    seed="|".join(map(str, SEEDS)),
    iteration=r"[1-9]\d*",


localrules: all, configuration


onstart:
    lock(PRESET)
    os.environ["DATAGRADIENT_CORES"] = str(workflow.cores)
    print(preflight(CONFIG), file=sys.stderr)


rule all:
    input:
        expand(f"{TABLES}/{{name}}.{{kind}}", name=TABLE_NAMES, kind=["csv", "md", "tex"]),
        expand(f"{FIGURES}/{{name}}.{{kind}}", name=FIGURE_NAMES, kind=["png", "pdf"]),
        expand(f"{FIGURES}/gallery-{{dataset}}.png", dataset=CONFIG["datasets"]),
        expand(f"{ROOT}/{{dataset}}/{{model}}/tracked", dataset=CONFIG["datasets"], model=CONFIG["models"]),
        f"{ROOT}/report_tracked",
        f"{ROOT}/provenance.json",


rule configuration:
    output:
        f"{ROOT}/config.json",
    log:
        f"logs/{PRESET}/configuration.log",
    params:
        content=json.dumps(CONFIG, indent=1, sort_keys=True),
    shell:
        "printf '%s\\n' {params.content:q} > {output} 2> {log}"


rule prepare:
    output:
        features=each(f"{PREPARED}/features.npz"),
        data=each(f"{PREPARED}/data.json"),
    log:
        f"logs/{PRESET}/{{dataset}}/{PART['seed']}/prepare.log",
    benchmark:
        PREPARE_TIME
    params:
        seeds=IN_JOB.get("seed", "{seed}"),
        plan=lambda w: json.dumps({**CONFIG["split"], **{key: CONFIG["datasets"][w.dataset][key]
                                   for key in ("max_development", "max_test")}}),
        source=lambda w: source_hash("prepare", f"data.sets.{w.dataset}"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient prepare --dataset {wildcards.dataset} --seed {params.seeds} --plan {params.plan:q} "
        "--out {output.features} 2> {log}"


rule noise:
    input:
        data=per_cell(f"{PREPARED}/features.npz"),
    output:
        each(f"{NOISE}/labels.npz", names=("seed",)),
    log:
        f"logs/{PRESET}/{{dataset}}/{PART['seed']}/noise-{{noise}}.log",
    params:
        source=source_hash("noise"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient noise --data {input.data} --rate {wildcards.noise} --out {output} 2> {log}"


rule train:
    input:
        data=per_cell(f"{PREPARED}/features.npz"),
        labels=per_cell(f"{NOISE}/labels.npz"),
        kept=per_cell(f"{CELL}/kept.npz"),
    output:
        model=each(f"{CELL}/model.npz"),
        predictions=each(f"{CELL}/predictions.npz"),
        record=each(f"{CELL}/train.json"),
    log:
        f"{CELL_LOG}/train.log",
    benchmark:
        f"{CELL_LOG}/train.tsv"
    params:
        kept=option("kept"),
        settings=settings,
        source=lambda w: source_hash("train", f"models.{w.model}"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient train --model {wildcards.model} --settings {params.settings:q} --data {input.data} "
        "--labels {input.labels} {params.kept} --out {output.model} 2> {log}"


use rule train as train_first with:
    input:
        data=per_cell(f"{PREPARED}/features.npz"),
        labels=per_cell(f"{NOISE}/labels.npz"),
    output:
        model=each(f"{FIRST}/model.npz"),
        predictions=each(f"{FIRST}/predictions.npz"),
        record=each(f"{FIRST}/train.json"),
    log:
        f"{FIRST_LOG}/train.log",
    benchmark:
        f"{FIRST_LOG}/train.tsv"


rule evaluate:
    input:
        predictions=per_cell(f"{CELL}/predictions.npz"),
    output:
        each(f"{CELL}/metrics.json"),
    log:
        f"{CELL_LOG}/evaluate.log",
    params:
        source=source_hash("evaluate"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient evaluate --predictions {input.predictions} --out {output} 2> {log}"


use rule evaluate as evaluate_first with:
    input:
        predictions=per_cell(f"{FIRST}/predictions.npz"),
    output:
        each(f"{FIRST}/metrics.json"),
    log:
        f"{FIRST_LOG}/evaluate.log",


rule influence:
    input:
        model=per_cell(f"{CELL}/model.npz"),
        data=per_cell(f"{PREPARED}/features.npz"),
        labels=per_cell(f"{NOISE}/labels.npz"),
        kept=per_cell(f"{CELL}/kept.npz"),
    output:
        scores=each(f"{CELL}/scores.npz"),
        record=each(f"{CELL}/influence.json"),
    log:
        f"{CELL_LOG}/influence.log",
    benchmark:
        f"{CELL_LOG}/influence.tsv"
    params:
        kept=option("kept"),
        also=lambda w: [ALSO.get(keys["policy"], "none") for keys in cells_of(w)],
        solver=lambda w: json.dumps(CONFIG["model_settings"][w.model]["solver"]),
        source=lambda w: source_hash("influence", f"models.{w.model}"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient influence --model {wildcards.model} --solver {params.solver:q} "
        "--model-file {input.model} --data {input.data} --labels {input.labels} {params.kept} --also {params.also} "
        "--out {output.scores} 2> {log}"


use rule influence as influence_first with:
    input:
        model=per_cell(f"{FIRST}/model.npz"),
        data=per_cell(f"{PREPARED}/features.npz"),
        labels=per_cell(f"{NOISE}/labels.npz"),
    output:
        scores=each(f"{FIRST}/scores.npz"),
        record=each(f"{FIRST}/influence.json"),
    log:
        f"{FIRST_LOG}/influence.log",
    benchmark:
        f"{FIRST_LOG}/influence.tsv"


rule prune:
    input:
        scores=before("scores.npz", ["influence"]),
    output:
        kept=each(f"{INFLUENCE}/kept.npz"),
        removed=each(f"{INFLUENCE}/removed.csv"),
    log:
        f"{INFLUENCE_LOG}/prune.log",
    params:
        fraction=CONFIG["removal_fraction"],
        source=source_hash("prune"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient prune --fraction {params.fraction} --iteration {wildcards.iteration} "
        "--scores {input.scores} --out {output.kept} 2> {log}"


rule control:
    input:
        scores=before("scores.npz", CONTROLS),
        like=per_cell(f"{INFLUENCE}/removed.csv", CONTROLS),
        quality=quality,
    output:
        kept=each(f"{CELL}/kept.npz", CONTROLS),
        removed=each(f"{CELL}/removed.csv", CONTROLS),
    log:
        f"{CELL_LOG}/control.log",
    params:
        policy=lambda w: [keys["policy"] for keys in cells_of(w, CONTROLS)],
        quality=option("quality"),
        source=source_hash("control"),
    wildcard_constraints:
        policy="|".join(CONTROLS) or "(?!)",
    conda:
        "environment.yml"
    shell:
        "python -m datagradient control --policy {params.policy} --iteration {wildcards.iteration} "
        "--scores {input.scores} --like {input.like} {params.quality} --out {output.kept} 2> {log}"


rule cross_validate:
    input:
        data=per_cell(f"{PREPARED}/features.npz"),
        labels=per_cell(f"{NOISE}/labels.npz"),
    output:
        each(f"{FIRST}/quality.npz"),
    log:
        f"{FIRST_LOG}/cross_validate.log",
    benchmark:
        f"{FIRST_LOG}/cross_validate.tsv"
    params:
        settings=settings,
        source=lambda w: source_hash("cross_validate", f"models.{w.model}"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient cross-validate --model {wildcards.model} --settings {params.settings:q} "
        "--data {input.data} --labels {input.labels} --out {output} 2> {log}"


rule guard:
    input:
        rounds,
    output:
        expand(GUARD, seed=SEEDS, allow_missing=True),
    log:
        f"logs/{PRESET}/{{dataset}}/{{model}}/noise-{{noise}}/guard.log",
    params:
        source=source_hash("guard"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient guard --predictions {input} --out {output} 2> {log}"


rule mlflow_init:
    output:
        f"{ROOT}/mlflow_ready",
    log:
        f"logs/{PRESET}/mlflow_init.log",
    params:
        preset=PRESET,
    conda:
        "environment.yml"
    shell:
        "python -m datagradient mlflow-init --preset {params.preset} --out {output} 2> {log}"


rule track:
    input:
        ready=ancient(rules.mlflow_init.output),
        config=rules.configuration.output,
        results=lambda w: [file for name in RECORDS for file in cells(name, dataset=w.dataset, model=w.model)],
        guards=lambda w: guards(dataset=w.dataset, model=w.model),
    output:
        f"{ROOT}/{{dataset}}/{{model}}/tracked",
    log:
        f"logs/{PRESET}/{{dataset}}/{{model}}/track.log",
    params:
        source=source_hash("track"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient track --config {input.config} --dataset {wildcards.dataset} --model {wildcards.model} "
        "--out {output} 2> {log}"


rule track_report:
    input:
        ready=ancient(rules.mlflow_init.output),
        figures=expand(f"{FIGURES}/{{name}}.png", name=FIGURE_NAMES),
        galleries=expand(f"{FIGURES}/gallery-{{dataset}}.png", dataset=CONFIG["datasets"]),
        tables=expand(f"{TABLES}/{{name}}.csv", name=TABLE_NAMES),
    output:
        f"{ROOT}/report_tracked",
    log:
        f"logs/{PRESET}/track_report.log",
    params:
        source=source_hash("track"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient track --report {input.figures} {input.galleries} {input.tables} --out {output} 2> {log}"


rule collect:
    input:
        config=rules.configuration.output,
        results=[file for name in RECORDS for file in cells(name)],
        kept=[file for p in TRAINED for file in cells("kept.npz", policy=p)],
        scores=cells("scores.npz", policy=layout.BASELINE),
        quality=cells("quality.npz", policy=layout.BASELINE) if "confident" in TRAINED else [],
        guards=guards(),
        data=expand(f"{PREPARED}/data.json", dataset=CONFIG["datasets"], seed=SEEDS),
    output:
        expand(f"{ROOT}/{{name}}", name=["metrics.csv", "data.csv", "influence_histogram.csv", "detection.csv",
                                         "detection_curves.csv", "provenance.json"]),
    log:
        f"logs/{PRESET}/collect.log",
    params:
        source=source_hash("collect"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient collect --config {input.config} 2> {log}"


rule statistics:
    input:
        f"{ROOT}/metrics.csv",
    output:
        expand(f"{ROOT}/{{name}}.csv", name=STATISTICS),
    log:
        f"logs/{PRESET}/statistics.log",
    params:
        source=source_hash("statistics"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient statistics --metrics {input} 2> {log}"


rule orchestration:
    input:
        metrics=f"{ROOT}/metrics.csv",
        jobs=timed_jobs,
    output:
        f"{ROOT}/orchestration.csv",
    log:
        f"logs/{PRESET}/orchestration.log",
    params:
        source=source_hash("orchestration"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient orchestration --metrics {input.metrics} --jobs {input.jobs} "
        "--cores $DATAGRADIENT_CORES --out {output} 2> {log}"


rule claims:
    input:
        claims=BASE / "config/claims.yaml",
        results=expand(f"{ROOT}/{{name}}.csv", name=[*STATISTICS, "data"]),
    output:
        f"{ROOT}/claims.json",
    log:
        f"logs/{PRESET}/claims.log",
    params:
        results=ROOT,
        source=source_hash("claims"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient claims --claims {input.claims} --results {params.results} --out {output} 2> {log}"


rule table:
    input:
        expand(f"{ROOT}/{{name}}.csv", name=SMALL),
        f"{ROOT}/orchestration.csv",
        f"{ROOT}/claims.json",
        f"{ROOT}/provenance.json",
    output:
        csv=report(f"{TABLES}/{{name}}.csv", category=section(0), labels={"table": "{name}"},
               caption="src/datagradient/report/captions/table.rst"),
        others=expand(f"{TABLES}/{{name}}.{{kind}}", kind=["md", "tex"], allow_missing=True),
    log:
        f"logs/{PRESET}/table-{{name}}.log",
    params:
        results=ROOT,
        source=source_hash("table"),
    wildcard_constraints:
        name="|".join(TABLE_NAMES),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient table {wildcards.name} --results {params.results} --out {output.csv} 2> {log}"


rule figure:
    input:
        expand(f"{ROOT}/{{name}}.csv", name=SMALL),
    output:
        png=report(f"{FIGURES}/{{name}}.png", category=section(1), labels={"figure": "{name}"},
               caption="src/datagradient/report/captions/figure.rst"),
        pdf=f"{FIGURES}/{{name}}.pdf",
    log:
        f"logs/{PRESET}/figure-{{name}}.log",
    params:
        results=ROOT,
        source=source_hash("figure"),
    wildcard_constraints:
        name="|".join(FIGURE_NAMES),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient figure {wildcards.name} --results {params.results} --out {output.png} 2> {log}"


rule gallery:
    input:
        scores=lambda w: f"{FIRST}/scores.npz".format(dataset=w.dataset, model=CONFIG["models"][-1], seed=SEEDS[0],
                                                      noise=f"{min(CONFIG['noise']):g}"),
        data=lambda w: f"{PREPARED}/features.npz".format(dataset=w.dataset, seed=SEEDS[0]),
    output:
        png=report(f"{FIGURES}/gallery-{{dataset}}.png", category="5. Scores", labels={"figure": "gallery, {dataset}"},
               caption="src/datagradient/report/captions/gallery.rst"),
        pdf=f"{FIGURES}/gallery-{{dataset}}.pdf",
    log:
        f"logs/{PRESET}/gallery-{{dataset}}.log",
    params:
        source=lambda w: source_hash("gallery", f"data.sets.{w.dataset}"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient gallery --scores {input.scores} --data {input.data} --out {output.png} 2> {log}"
