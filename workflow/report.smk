# From results to small tables, statistics, verdicts, MLflow, tables and figures.


rule mlflow_init:
    output:
        f"{ROOT}/mlflow_ready",
    log:
        f"logs/{PRESET}/mlflow_init.log",
    priority: 50
    params:
        preset=PRESET,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient mlflow-init --preset {params.preset:q} --out {output:q} 2> {log:q}"


# One job has the store for itself, and MLflow takes seconds to start: where a job does all data sets, one logs them all.
rule track:
    input:
        ready=ancient(rules.mlflow_init.output),
        config=rules.configuration.output,
        results=lambda w: finished(**dict(w.items())),
    output:
        expand(f"{ROOT}/{{dataset}}/{{model}}/tracked", allow_missing=True, **TRACKED_AT_ONCE),
    log:
        f"logs/{PRESET}/{'datasets' if TRACKED_AT_ONCE else '{dataset}'}/{{model}}/track.log",
    priority: 50  # beside models that are still trained, and not after them, when cores are idle
    params:
        dataset=TRACKED_AT_ONCE.get("dataset", "{dataset}"),
        source=source_hash("track"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient track --config {input.config:q} --dataset {params.dataset:q} --model {wildcards.model} "
        "--out {output:q} 2> {log:q}"


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
        ENVIRONMENT
    shell:
        "python -m datagradient track --report {input.figures:q} {input.galleries:q} {input.tables:q} --out {output:q} 2> {log:q}"


rule collect:
    input:
        config=rules.configuration.output,
        results=finished(),
        data=expand(f"{PREPARED}/data.json", dataset=CONFIG["datasets"], seed=SEEDS),
    output:
        expand(f"{ROOT}/{{name}}", name=["metrics.csv", "data.csv", "influence_histogram.csv", "detection.csv",
                                         "detection_curves.csv", "provenance.json"]),
    log:
        f"logs/{PRESET}/collect.log",
    priority: 50
    params:
        source=source_hash("collect"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient collect --config {input.config:q} 2> {log:q}"


rule statistics:
    input:
        f"{ROOT}/metrics.csv",
    output:
        expand(f"{ROOT}/{{name}}.csv", name=STATISTICS),
    log:
        f"logs/{PRESET}/statistics.log",
    priority: 50
    params:
        source=source_hash("statistics"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient statistics --metrics {input:q} 2> {log:q}"


rule claims:
    input:
        results=expand(f"{ROOT}/{{name}}.csv", name=[*STATISTICS, "data", *SCALABILITY]),
    output:
        f"{ROOT}/claims.json",
    log:
        f"logs/{PRESET}/claims.log",
    params:
        results=ROOT,
        # No input: braces in the folder of a clone would count as wildcards. The text makes the job run again.
        claims=lambda w: str(CLAIMS),
        text=CLAIMS.read_text(encoding="utf-8"),
        source=source_hash("claims"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient claims --claims {params.claims:q} --results {params.results:q} --out {output:q} 2> {log:q}"


rule tables:
    input:
        expand(f"{ROOT}/{{name}}.csv", name=[*SMALL, *SCALABILITY]),
        f"{ROOT}/claims.json",
        f"{ROOT}/provenance.json",
    output:
        [in_report(f"{TABLES}/{name}.csv", "tables", name) for name in TABLE_NAMES],
        expand(f"{TABLES}/{{name}}.{{kind}}", name=TABLE_NAMES, kind=["md", "tex"]),
    log:
        f"logs/{PRESET}/tables.log",
    params:
        names=TABLE_NAMES,
        results=ROOT,
        out=TABLES,
        source=source_hash("table"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient table {params.names:q} --results {params.results:q} --out {params.out:q} 2> {log:q}"


rule figures:
    input:
        expand(f"{ROOT}/{{name}}.csv", name=SMALL),
    output:
        [in_report(f"{FIGURES}/{name}.png", "figures", name) for name in RUN_FIGURES],
        expand(f"{FIGURES}/{{name}}.pdf", name=RUN_FIGURES),
    log:
        f"logs/{PRESET}/figures.log",
    params:
        names=RUN_FIGURES,
        results=ROOT,
        out=FIGURES,
        source=source_hash("figure"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient figure {params.names:q} --results {params.results:q} --out {params.out:q} 2> {log:q}"


use rule figures as scalability_figure with:  # apart: what is timed has to wait for all cores
    input:
        expand(f"{ROOT}/{{name}}.csv", name=["data", *SCALABILITY]),
    output:
        in_report(f"{FIGURES}/scalability.png", "figures", "scalability"),
        f"{FIGURES}/scalability.pdf",
    log:
        f"logs/{PRESET}/scalability_figure.log",
    params:
        names="scalability",
        results=ROOT,
        out=FIGURES,
        source=source_hash("figure"),


use rule tables as experiment_tables with:
    input:
        expand(f"{ROOT}/{{name}}.csv", name=[*SMALL, *EXPERIMENT_RESULTS]),
        f"{ROOT}/provenance.json",
    output:
        [in_report(f"{TABLES}/{name}.csv", "tables", name) for name in EXPERIMENT_TABLES],
        expand(f"{TABLES}/{{name}}.{{kind}}", name=EXPERIMENT_TABLES, kind=["md", "tex"]),
    log:
        f"logs/{PRESET}/experiment_tables.log",
    params:
        names=EXPERIMENT_TABLES,
        results=ROOT,
        out=TABLES,
        source=source_hash("table"),


use rule figures as experiment_figures with:
    input:
        expand(f"{ROOT}/{{name}}.csv", name=[*SMALL, *EXPERIMENT_RESULTS]),
    output:
        [in_report(f"{FIGURES}/{name}.png", "figures", name) for name in EXPERIMENT_FIGURES],
        expand(f"{FIGURES}/{{name}}.pdf", name=EXPERIMENT_FIGURES),
    log:
        f"logs/{PRESET}/experiment_figures.log",
    params:
        names=EXPERIMENT_FIGURES,
        results=ROOT,
        out=FIGURES,
        source=source_hash("figure"),


rule galleries:
    input:
        scores=[f"{FIRST}/scores.npz".format(dataset=dataset, model=CONFIG["models"][-1], seed=SEEDS[0],
                                             noise=f"{min(CONFIG['noise']):g}") for dataset in CONFIG["datasets"]],
        data=[f"{PREPARED}/features.npz".format(dataset=dataset, seed=SEEDS[0]) for dataset in CONFIG["datasets"]],
    output:
        png=[in_report(f"{FIGURES}/gallery-{dataset}.png", "figures", "gallery", dataset)
             for dataset in CONFIG["datasets"]],
        pdf=expand(f"{FIGURES}/gallery-{{dataset}}.pdf", dataset=CONFIG["datasets"]),
    log:
        f"logs/{PRESET}/galleries.log",
    params:
        source=source_hash("gallery", *(f"data.sets.{dataset}" for dataset in CONFIG["datasets"])),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient gallery --scores {input.scores:q} --data {input.data:q} --out {output.png:q} 2> {log:q}"
