# datagradient: data -> train -> evaluate -> influence -> prune -> train …, then tables and figures.
# snakemake --cores N [--configfile config/cpu.yaml]; one rule is one command of `datagradient`.

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "src"))
from datagradient import layout
from datagradient.config import model_settings
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
# Many small jobs spend their time starting, so one job does all seeds unless the preset says otherwise.
TOGETHER = CONFIG["seeds_in_one_job"]
SEED_PART = "seeds" if TOGETHER else "seed-{seed}"
TABLE_NAMES = ["main", "tests", "iterations", "costs", "data"]
FIGURE_NAMES = ["accuracy", "contribution", "influence", "effects"]
CELL_LOG = f"logs/{PRESET}/{{dataset}}/{{model}}/noise-{{noise}}/{{policy}}/{SEED_PART}/iter-{{iteration}}"


def each_seed(pattern):
    """One file for every seed of the job, as an output of a rule."""
    return expand(pattern, seed=SEEDS, allow_missing=True) if TOGETHER else pattern


def per_seed(pattern):
    """The same as an input function, with some wildcards changed."""

    def files(wildcards, **changed):
        keys = {**dict(wildcards.items()), **changed}
        return [pattern.format(**{**keys, "seed": seed}) for seed in (SEEDS if TOGETHER else [keys["seed"]])]

    return files


def previous(name):
    """The file of the iteration before this one; iteration 0 is the shared baseline."""

    def files(wildcards):
        k = int(wildcards.iteration) - 1
        policy = wildcards.policy if k else layout.BASELINE
        return per_seed(f"{CELL}/" + name)(wildcards, iteration=k, policy=policy)

    return files


def kept(wildcards):
    """What pruning left over; the baseline keeps everything."""
    return per_seed(f"{CELL}/kept.npz")(wildcards) if int(wildcards.iteration) else []


def removed_by_influence(wildcards):
    """The removals that the policy `random` copies in number and class mix."""
    if wildcards.policy != "random":
        return []
    return per_seed(f"{CELL}/removed.csv")(wildcards, policy="influence")


def option(name):
    """A command line option that takes an input of the same name, left out where there is none."""
    return lambda wildcards, input: f"--{name} {input[name]}" if input.get(name) else ""


def cells(name, **fixed):
    return [f"{layout.cell(root=ROOT, **keys)}/{name}" for keys in layout.grid(CONFIG, **fixed)]


report: "src/datagradient/report/captions/workflow.rst"


wildcard_constraints:
    dataset="|".join(CONFIG["datasets"]),
    model="|".join(CONFIG["models"]),
    noise="|".join(layout.noise_names(CONFIG)),
    policy="|".join([layout.BASELINE, *CONFIG["policies"]]),
    seed="|".join(map(str, SEEDS)),
    iteration=r"\d+",


localrules: all, configuration


onstart:
    lock(PRESET)


rule all:
    input:
        expand(f"{TABLES}/{{name}}.{{kind}}", name=TABLE_NAMES, kind=["csv", "md", "tex"]),
        expand(f"{FIGURES}/{{name}}.{{kind}}", name=FIGURE_NAMES, kind=["png", "pdf"]),
        expand(f"{ROOT}/{{dataset}}/{{model}}/tracked", dataset=CONFIG["datasets"], model=CONFIG["models"]),
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
        features=each_seed(f"{PREPARED}/features.npz"),
        data=each_seed(f"{PREPARED}/data.json"),
    log:
        f"logs/{PRESET}/{{dataset}}/{SEED_PART}/prepare.log",
    benchmark:
        f"logs/{PRESET}/{{dataset}}/{SEED_PART}/prepare.tsv"
    params:
        seeds=SEEDS if TOGETHER else "{seed}",
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
        data=per_seed(f"{PREPARED}/features.npz"),
    output:
        each_seed(f"{NOISE}/labels.npz"),
    log:
        f"logs/{PRESET}/{{dataset}}/{SEED_PART}/noise-{{noise}}.log",
    params:
        source=source_hash("noise"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient noise --data {input.data} --rate {wildcards.noise} --out {output} 2> {log}"


rule train:
    input:
        data=per_seed(f"{PREPARED}/features.npz"),
        labels=per_seed(f"{NOISE}/labels.npz"),
        kept=kept,
    output:
        model=each_seed(f"{CELL}/model.npz"),
        predictions=each_seed(f"{CELL}/predictions.npz"),
        record=each_seed(f"{CELL}/train.json"),
    log:
        f"{CELL_LOG}/train.log",
    benchmark:
        f"{CELL_LOG}/train.tsv"
    params:
        kept=option("kept"),
        settings=lambda w: json.dumps(model_settings(CONFIG, w.dataset, w.model, w.noise)),
        source=lambda w: source_hash("train", f"models.{w.model}"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient train --model {wildcards.model} --settings {params.settings:q} --data {input.data} "
        "--labels {input.labels} {params.kept} --out {output.model} 2> {log}"


rule evaluate:
    input:
        predictions=per_seed(f"{CELL}/predictions.npz"),
    output:
        each_seed(f"{CELL}/metrics.json"),
    log:
        f"{CELL_LOG}/evaluate.log",
    params:
        source=source_hash("evaluate"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient evaluate --predictions {input.predictions} --out {output} 2> {log}"


rule influence:
    input:
        model=per_seed(f"{CELL}/model.npz"),
        data=per_seed(f"{PREPARED}/features.npz"),
        labels=per_seed(f"{NOISE}/labels.npz"),
        kept=kept,
    output:
        scores=each_seed(f"{CELL}/scores.npz"),
        record=each_seed(f"{CELL}/influence.json"),
    log:
        f"{CELL_LOG}/influence.log",
    benchmark:
        f"{CELL_LOG}/influence.tsv"
    params:
        kept=option("kept"),
        solver=lambda w: json.dumps(CONFIG["model_settings"][w.model]["solver"]),
        source=lambda w: source_hash("influence", f"models.{w.model}"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient influence --model {wildcards.model} --solver {params.solver:q} "
        "--model-file {input.model} --data {input.data} --labels {input.labels} {params.kept} "
        "--out {output.scores} 2> {log}"


rule prune:
    input:
        scores=previous("scores.npz"),
        like=removed_by_influence,
    output:
        kept=each_seed(f"{CELL}/kept.npz"),
        removed=each_seed(f"{CELL}/removed.csv"),
    log:
        f"{CELL_LOG}/prune.log",
    params:
        like=option("like"),
        fraction=CONFIG["removal_fraction"],
        source=source_hash("prune"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient prune --policy {wildcards.policy} --fraction {params.fraction} "
        "--iteration {wildcards.iteration} --scores {input.scores} {params.like} --out {output.kept} 2> {log}"


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
        results=lambda w: [file for name in ("metrics.json", "influence.json", "train.json")
                           for file in cells(name, dataset=w.dataset, model=w.model)],
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


rule collect:
    input:
        config=rules.configuration.output,
        results=[file for name in ("metrics.json", "influence.json", "train.json") for file in cells(name)],
        data=expand(f"{PREPARED}/data.json", dataset=CONFIG["datasets"], seed=SEEDS),
    output:
        expand(f"{ROOT}/{{name}}", name=["metrics.csv", "data.csv", "influence_histogram.csv", "provenance.json"]),
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
        tests=f"{ROOT}/tests.csv",
        iterations=f"{ROOT}/iterations.csv",
        costs=f"{ROOT}/costs.csv",
    log:
        f"logs/{PRESET}/statistics.log",
    params:
        source=source_hash("statistics"),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient statistics --metrics {input} 2> {log}"


rule table:
    input:
        expand(f"{ROOT}/{{name}}", name=["tests.csv", "iterations.csv", "costs.csv", "data.csv", "provenance.json"]),
    output:
        csv=report(f"{TABLES}/{{name}}.csv", category="2. Tables", labels={"table": "{name}"},
               caption="src/datagradient/report/captions/table.rst"),
        others=expand(f"{TABLES}/{{name}}.{{kind}}", kind=["md", "tex"], allow_missing=True),
    log:
        f"logs/{PRESET}/table-{{name}}.log",
    params:
        results=lambda w, input: Path(input[0]).parent,
        source=source_hash("table"),
    wildcard_constraints:
        name="|".join(TABLE_NAMES),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient table {wildcards.name} --results {params.results} --out {output.csv} 2> {log}"


rule figure:
    input:
        expand(f"{ROOT}/{{name}}", name=["tests.csv", "iterations.csv", "data.csv", "influence_histogram.csv"]),
    output:
        png=report(f"{FIGURES}/{{name}}.png", category="1. Figures", labels={"figure": "{name}"},
               caption="src/datagradient/report/captions/figure.rst"),
        pdf=f"{FIGURES}/{{name}}.pdf",
    log:
        f"logs/{PRESET}/figure-{{name}}.log",
    params:
        results=lambda w, input: Path(input[0]).parent,
        source=source_hash("figure"),
    wildcard_constraints:
        name="|".join(FIGURE_NAMES),
    conda:
        "environment.yml"
    shell:
        "python -m datagradient figure {wildcards.name} --results {params.results} --out {output.png} 2> {log}"
