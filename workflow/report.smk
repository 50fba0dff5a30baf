# From results to small tables, statistics, verdicts, MLflow, tables and figures.


rule mlflow_init:
    output:
        f"{ROOT}/mlflow_ready",
    log:
        f"logs/{PRESET}/mlflow_init.log",
    params:
        preset=PRESET,
    conda:
        "../environment.yml"
    shell:
        "python -m datagradient mlflow-init --preset {params.preset} --out {output} 2> {log}"


rule track:
    input:
        ready=ancient(rules.mlflow_init.output),
        config=rules.configuration.output,
        results=lambda w: [file for name in RECORDS for file in cells(name, **dict(w.items()))],
        guards=lambda w: guards(**dict(w.items())),
    output:
        each(f"{ROOT}/{{dataset}}/{{model}}/tracked"),
    log:
        f"logs/{PRESET}/{PART['dataset']}/{{model}}/track.log",
    params:
        dataset=IN_JOB.get("dataset", "{dataset}"),
        source=source_hash("track"),
    conda:
        "../environment.yml"
    shell:
        "python -m datagradient track --config {input.config} --dataset {params.dataset} --model {wildcards.model} "
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
        "../environment.yml"
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
        "../environment.yml"
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
        "../environment.yml"
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
        "../environment.yml"
    shell:
        "python -m datagradient orchestration --metrics {input.metrics} --jobs {input.jobs} "
        "--cores $DATAGRADIENT_CORES --out {output} 2> {log}"


rule claims:
    input:
        claims=BASE / "config/claims.yaml",
        results=expand(f"{ROOT}/{{name}}.csv", name=[*STATISTICS, "data", *SCALABILITY]),
    output:
        f"{ROOT}/claims.json",
    log:
        f"logs/{PRESET}/claims.log",
    params:
        results=ROOT,
        source=source_hash("claims"),
    conda:
        "../environment.yml"
    shell:
        "python -m datagradient claims --claims {input.claims} --results {params.results} --out {output} 2> {log}"


rule table:
    input:
        expand(f"{ROOT}/{{name}}.csv", name=SMALL),
        f"{ROOT}/orchestration.csv",
        f"{ROOT}/claims.json",
        f"{ROOT}/provenance.json",
        made_from(0),
    output:
        csv=report(f"{TABLES}/{{name}}.csv", category=section(0), labels={"table": "{name}"},
               caption="../src/datagradient/report/captions/table.rst"),
        others=expand(f"{TABLES}/{{name}}.{{kind}}", kind=["md", "tex"], allow_missing=True),
    log:
        f"logs/{PRESET}/table-{{name}}.log",
    params:
        results=ROOT,
        source=source_hash("table"),
    wildcard_constraints:
        name="|".join([*TABLE_NAMES, *EXPERIMENT_TABLES]),
    conda:
        "../environment.yml"
    shell:
        "python -m datagradient table {wildcards.name} --results {params.results} --out {output.csv} 2> {log}"


rule figure:
    input:
        expand(f"{ROOT}/{{name}}.csv", name=SMALL),
        made_from(1),
    output:
        png=report(f"{FIGURES}/{{name}}.png", category=section(1), labels={"figure": "{name}"},
               caption="../src/datagradient/report/captions/figure.rst"),
        pdf=f"{FIGURES}/{{name}}.pdf",
    log:
        f"logs/{PRESET}/figure-{{name}}.log",
    params:
        results=ROOT,
        source=source_hash("figure"),
    wildcard_constraints:
        name="|".join([*FIGURE_NAMES, *EXPERIMENT_FIGURES]),
    conda:
        "../environment.yml"
    shell:
        "python -m datagradient figure {wildcards.name} --results {params.results} --out {output.png} 2> {log}"


rule gallery:
    input:
        scores=lambda w: f"{FIRST}/scores.npz".format(dataset=w.dataset, model=CONFIG["models"][-1], seed=SEEDS[0],
                                                      noise=f"{min(CONFIG['noise']):g}"),
        data=lambda w: f"{PREPARED}/features.npz".format(dataset=w.dataset, seed=SEEDS[0]),
    output:
        png=report(f"{FIGURES}/gallery-{{dataset}}.png", category="5. Scores", labels={"figure": "gallery, {dataset}"},
               caption="../src/datagradient/report/captions/gallery.rst"),
        pdf=f"{FIGURES}/gallery-{{dataset}}.pdf",
    log:
        f"logs/{PRESET}/gallery-{{dataset}}.log",
    params:
        source=lambda w: source_hash("gallery", f"data.sets.{w.dataset}"),
    conda:
        "../environment.yml"
    shell:
        "python -m datagradient gallery --scores {input.scores} --data {input.data} --out {output.png} 2> {log}"
