# Small tables, statistics, verdicts, MLflow, tables, figures and the page of the preset from the results.


rule mlflow_init:
    output:
        touch(f"{ROOT}/mlflow_ready"),
    log:
        f"logs/{PRESET}/mlflow_init.log",
    priority: 50
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient mlflow-init --config {CONFIG_FILE} 2> {log:q}"


# A job locks the store, and MLflow takes seconds to start, so one job logs all data sets of a family.
rule track:
    input:
        lambda w: refinement_files(model=w.model),
        ready=ancient(rules.mlflow_init.output),
    output:
        touch(f"{ROOT}/tracked/{{model}}"),
    log:
        f"logs/{PRESET}/track-{{model}}.log",
    priority: 50  # while other models are trained, not after them when cores are idle
    params:
        config=json.dumps(CONFIG, sort_keys=True),
        source=source_hash("track"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient track --config {CONFIG_FILE} --model {wildcards.model} 2> {log:q}"


rule track_report:
    input:
        ready=ancient(rules.mlflow_init.output),
        figures=expand(f"{FIGURES}/{{name}}.png", name=FIGURE_NAMES),
        galleries=expand(f"{FIGURES}/gallery-{{dataset}}.png", dataset=CONFIG["datasets"]),
        tables=expand(f"{TABLES}/{{name}}.csv", name=TABLE_NAMES),
        page=ancient(f"{ROOT}/report.html"),  # which experiments and `make report` write again
    output:
        touch(f"{ROOT}/tracked/report"),
    log:
        f"logs/{PRESET}/track-report.log",
    params:
        source=source_hash("track"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient track --report {input.figures:q} {input.galleries:q} {input.tables:q} {input.page:q} "
        "2> {log:q}"


rule collect:
    input:
        refinement_files(),
        data=expand(f"{PREPARED}/data.json", dataset=CONFIG["datasets"], seed=SEEDS),
    output:
        expand(f"{ROOT}/{{name}}", name=["metrics.csv", "data.csv", "influence_histogram.csv", "detection.csv",
                                         "detection_curves.csv", "provenance.json"]),
    log:
        f"logs/{PRESET}/collect.log",
    priority: 50
    params:
        config=json.dumps(CONFIG, sort_keys=True),
        source=source_hash("collect"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient collect --config {CONFIG_FILE} 2> {log:q}"


rule statistics:
    input:
        f"{ROOT}/metrics.csv",
    output:
        expand(f"{ROOT}/{{name}}.csv", name=STATISTICS),
    log:
        f"logs/{PRESET}/statistics.log",
    priority: 50
    params:
        results=ROOT,
        source=source_hash("statistics"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient statistics --results {params.results:q} 2> {log:q}"


rule claims:
    input:
        results=expand(f"{ROOT}/{{name}}.csv", name=[*STATISTICS, "data", *SCALABILITY]),
        arm=arm_files(Path(ROOT)),  # of another preset, where that was run
    output:
        f"{ROOT}/claims.json",
    log:
        f"logs/{PRESET}/claims.log",
    params:
        results=ROOT,
        # Not an input: braces in the folder of a clone would count as wildcards. A change of the text reruns the job.
        claims=lambda w: str(CLAIMS),
        text=CLAIMS.read_text(encoding="utf-8"),
        source=source_hash("claims"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient claims --claims {params.claims:q} --results {params.results:q} 2> {log:q}"


rule tables:
    input:
        expand(f"{ROOT}/{{name}}.csv", name=[*SMALL_TABLES, *SCALABILITY]),
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
        expand(f"{ROOT}/{{name}}.csv", name=SMALL_TABLES),
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


use rule figures as scalability_figure with:  # separate, because timed jobs have to wait for all cores
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
        expand(f"{ROOT}/{{name}}.csv", name=[*SMALL_TABLES, *EXPERIMENT_RESULTS]),
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
        expand(f"{ROOT}/{{name}}.csv", name=[*SMALL_TABLES, *EXPERIMENT_RESULTS]),
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
        [[cell.file("scores.npz"), cell.data]
         for cell in [layout.gallery_of(CONFIG, ROOT, dataset) for dataset in CONFIG["datasets"]]],
    output:
        [in_report(f"{FIGURES}/gallery-{dataset}.png", "figures", "gallery", dataset) for dataset in CONFIG["datasets"]],
        expand(f"{FIGURES}/gallery-{{dataset}}.pdf", dataset=CONFIG["datasets"]),
    log:
        f"logs/{PRESET}/galleries.log",
    params:
        out=FIGURES,
        source=source_hash("gallery", *(f"data.sets.{dataset}" for dataset in CONFIG["datasets"])),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient gallery --config {CONFIG_FILE} --out {params.out:q} 2> {log:q}"


rule page:
    input:
        facts=[f"{ROOT}/claims.json", f"{ROOT}/provenance.json"],
        csv=expand(f"{ROOT}/{{name}}.csv", name=["metrics", *SMALL_TABLES, *SCALABILITY]),
        tables=expand(f"{TABLES}/{{name}}.csv", name=TABLE_NAMES),
        figures=expand(f"{FIGURES}/{{name}}.png", name=[*FIGURE_NAMES, *GALLERIES]),
    output:
        f"{ROOT}/report.html",
    log:
        f"logs/{PRESET}/page.log",
    params:
        results=ROOT,
        out=f"{ROOT}/report.html",
        source=source_hash("report"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient report --results {params.results:q} --tables {input.tables:q} "
        "--figures {input.figures:q} --csv {input.csv:q} --out {params.out:q} 2> {log:q}"


# The same page, with the experiments. Two rules cannot have one output, so this one's is a mark. With experiments among
# the inputs of `page`, `rule all` would run them too.
use rule page as page_with_experiments with:
    input:
        page=f"{ROOT}/report.html",
        csv=expand(f"{ROOT}/{{name}}.csv", name=["metrics", *SMALL_TABLES, *SCALABILITY, *EXPERIMENT_RESULTS]),
        tables=expand(f"{TABLES}/{{name}}.csv", name=[*TABLE_NAMES, *EXPERIMENT_TABLES]),
        figures=expand(f"{FIGURES}/{{name}}.png", name=[*FIGURE_NAMES, *EXPERIMENT_FIGURES, *GALLERIES]),
    output:
        touch(f"{ROOT}/report_has_experiments"),
    log:
        f"logs/{PRESET}/page_with_experiments.log",
