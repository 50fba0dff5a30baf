# Cost, fidelity and sensitivity of the scores, and few trusted labels. Timed jobs run alone on the machine, with one
# thread like all jobs of the workflow: with two, scikit-learn and BLAS wait for each other, which would lengthen training
# in our favour.
ONE_THREAD = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 "


STREAMING = CONFIG["streaming"] or {}


rule prepare_scale:
    input:
        f"{ROOT}/{{dataset}}/{changes.STAMP}",
    output:
        features=SCALE,
        data=SCALE.replace("features.npz", "data.json"),
    log:
        f"logs/{PRESET}/{{dataset}}/scalability/prepare.log",
    params:
        plan=json.dumps([SEEDS[0], CONFIG["split"]]),
        source=lambda w: source_hash("prepare", f"data.sets.{w.dataset}"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient prepare --scale --config {CONFIG_FILE} --dataset {wildcards.dataset} 2> {log:q}"


rule scalability:
    input:
        SCALE,
    output:
        SCALE_ROWS,
    log:
        f"logs/{PRESET}/{{dataset}}/scalability/{{model}}-{{sizes}}.log",
    threads: 1000  # all that there are, to be alone
    params:
        settings=lambda w: json.dumps([model_settings(CONFIG, w.dataset, w.model, RATES[0]), CONFIG["removal_fraction"],
                                       CONFIG["model_settings"][w.model]["solver"], CONFIG["scalability"]["repeats"]]),
        sizes=lambda w: w.sizes.split("-"),
        source=lambda w: source_hash("scalability", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        ONE_THREAD + "python -m datagradient scalability --config {CONFIG_FILE} --dataset {wildcards.dataset} "
        "--model {wildcards.model} --n {params.sizes} 2> {log:q}"


rule scalability_table:
    input:
        layout.scale_rows(CONFIG, ROOT),
    output:
        expand(f"{ROOT}/{{name}}", name=["scalability.csv", "slopes.csv", "scalability.json"]),
    log:
        f"logs/{PRESET}/scalability_table.log",
    params:
        source=source_hash("scalability_table"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient scalability-table --config {CONFIG_FILE} 2> {log:q}"


rule streamed:
    input:
        SCALE.format(dataset=STREAMING.get("dataset")),
    output:
        f"{ROOT}/streamed.csv",
        f"{ROOT}/streamed.json",
    log:
        f"logs/{PRESET}/streamed.log",
    threads: 1000  # all that there are, to be alone
    params:
        plan=lambda w: json.dumps([STREAMING, model_settings(CONFIG, STREAMING["dataset"], STREAMING["model"], RATES[0]),
                                   CONFIG["model_settings"][STREAMING["model"]]["solver"]]),
        source=lambda w: source_hash("streamed", f"models.{STREAMING['model']}"),
    resources:
        gpu=gpus_of(STREAMING["model"]) if STREAMING else 0,
    conda:
        ENVIRONMENT
    shell:
        ONE_THREAD + "python -m datagradient streamed --config {CONFIG_FILE} 2> {log:q}"


rule halves:
    input:
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
    output:
        f"{UNREFINED}/halves.npz",
    log:
        f"{UNREFINED_LOG}/halves.log",
    params:
        settings=training_settings,
        models=(CONFIG["fidelity"] or {}).get("halves"),
        source=lambda w: source_hash("halves", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient halves " + UNREFINED_KEYS + " 2> {log:q}"


rule single:
    input:
        model=f"{UNREFINED}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
    output:
        f"{UNREFINED}/single.npz",
    log:
        f"{UNREFINED_LOG}/single.log",
    params:
        settings=training_settings,
        solver=solver_options,
        plan=json.dumps(CONFIG["fidelity"]),
        source=lambda w: source_hash("single", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient single " + UNREFINED_KEYS + " 2> {log:q}"


rule fidelity:
    input:
        fidelity_files(),
    output:
        expand(f"{ROOT}/{{name}}", name=["fidelity.csv", "single.csv", "stability.csv", "fidelity.json"]),
    log:
        f"logs/{PRESET}/fidelity.log",
    params:
        config=json.dumps(CONFIG, sort_keys=True),
        source=source_hash("fidelity"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient fidelity --config {CONFIG_FILE} 2> {log:q}"


rule sensitivity:
    input:
        model=f"{UNREFINED}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        halves=f"{UNREFINED}/halves.npz",
    output:
        f"{UNREFINED}/sensitivity.json",
    log:
        f"{UNREFINED_LOG}/sensitivity.log",
    params:
        solver=solver_options,
        removed=CONFIG["removal_fraction"],
        source=lambda w: source_hash("sensitivity", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient sensitivity " + UNREFINED_KEYS + " 2> {log:q}"


rule fractions:
    input:
        model=f"{UNREFINED}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        scores=f"{UNREFINED}/scores.npz",
        predictions=f"{UNREFINED}/predictions.npz",
    output:
        f"{UNREFINED}/fractions.json",
    log:
        f"{UNREFINED_LOG}/fractions.log",
    params:
        settings=training_settings,
        plan=json.dumps(CONFIG["sensitivity"]),
        source=lambda w: source_hash("fractions", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient fractions " + UNREFINED_KEYS + " 2> {log:q}"


rule trusted:
    input:
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
    output:
        f"{UNREFINED}/trusted.json",
    log:
        f"{UNREFINED_LOG}/trusted.log",
    params:
        settings=training_settings,
        solver=solver_options,
        plan=json.dumps(CONFIG.get("trusted")),
        source=lambda w: source_hash("trusted", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient trusted " + UNREFINED_KEYS + " 2> {log:q}"


rule trusted_shares:
    input:
        f"{ROOT}/trusted.csv",
        f"{ROOT}/data.csv",
    output:
        f"{ROOT}/trusted_shares.csv",
    log:
        f"logs/{PRESET}/trusted_shares.log",
    params:
        results=ROOT,
        source=source_hash("trusted_shares"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient trusted-shares --results {params.results:q} 2> {log:q}"


rule concatenate:
    input:
        lambda w: layout.varied(CONFIG, ROOT, w.kind),
    output:
        csv=f"{ROOT}/{{kind}}.csv",
        provenance=f"{ROOT}/{{kind}}.json",
    log:
        f"logs/{PRESET}/concatenate-{{kind}}.log",
    params:
        source=source_hash("concatenate"),
    wildcard_constraints:
        kind="sensitivity|fractions|trusted",
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient concatenate {wildcards.kind} --config {CONFIG_FILE} 2> {log:q}"
