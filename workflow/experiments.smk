# Cost, fidelity and sensitivity of the scores. What is timed runs alone on the machine, with one thread, as all jobs of
# the workflow do: two of scikit-learn's and BLAS's wait for each other, which would lengthen training and flatter us.
ONE_THREAD = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 "


rule prepare_scale:
    input:
        f"{ROOT}/{{dataset}}/{changes.STAMP}",
    output:
        features=f"{SCALE}/features.npz",
        data=f"{SCALE}/data.json",
    log:
        f"logs/{PRESET}/{{dataset}}/scalability/prepare.log",
    params:
        seed=SEEDS[0],
        plan=json.dumps(CONFIG["split"]),
        source=lambda w: source_hash("prepare", f"data.sets.{w.dataset}"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient prepare --dataset {wildcards.dataset} --seed {params.seed} --plan {params.plan:q} "
        "--out {output.features:q} 2> {log:q}"


rule scalability:
    input:
        f"{SCALE}/features.npz",
    output:
        f"{SCALE}/{{model}}/{{sizes}}/rows.json",
    log:
        f"logs/{PRESET}/{{dataset}}/scalability/{{model}}-{{sizes}}.log",
    threads: 1000  # all that there are, to be alone
    params:
        settings=published_settings,
        solver=lambda w: json.dumps(CONFIG["model_settings"][w.model]["solver"]),
        sizes=lambda w: w.sizes.split("-"),
        repeats=(CONFIG["scalability"] or {}).get("repeats"),
        fraction=CONFIG["removal_fraction"],
        source=lambda w: source_hash("scalability", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        ONE_THREAD + "python -m datagradient scalability --model {wildcards.model} --settings {params.settings:q} "
        "--solver {params.solver:q} --data {input:q} --n {params.sizes} --repeats {params.repeats} "
        "--fraction {params.fraction} --out {output:q} 2> {log:q}"


rule scalability_table:
    input:
        scalability_rows(),
    output:
        expand(f"{ROOT}/{{name}}", name=["scalability.csv", "slopes.csv", "scalability.json"]),
    log:
        f"logs/{PRESET}/scalability_table.log",
    params:
        source=source_hash("scalability_table"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient scalability-table --rows {input:q} --out {output[0]:q} 2> {log:q}"


rule streamed:
    input:
        SCALE.format(dataset=STREAMING.get("dataset")) + "/features.npz",
    output:
        f"{ROOT}/streamed.csv",
        f"{ROOT}/streamed.json",
    log:
        f"logs/{PRESET}/streamed.log",
    threads: 1000  # all that there are, to be alone
    params:
        model=STREAMING.get("model"),
        settings=lambda w: json.dumps(model_settings(CONFIG, STREAMING["dataset"], STREAMING["model"],
                                                   layout.noise_names(CONFIG)[0])),
        solver=lambda w: json.dumps(CONFIG["model_settings"][STREAMING["model"]]["solver"]),
        plan=json.dumps({key: STREAMING.get(key) for key in ("trained_on", "chunk", "sizes")}),
        source=lambda w: source_hash("streamed", f"models.{STREAMING['model']}"),
    resources:
        gpu=CONFIG["gpu"],
    conda:
        ENVIRONMENT
    shell:
        ONE_THREAD + "python -m datagradient streamed --model {params.model} --settings {params.settings:q} "
        "--solver {params.solver:q} --data {input:q} --plan {params.plan:q} --out {output[0]:q} 2> {log:q}"


rule halves:
    input:
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
    output:
        f"{FIRST}/halves.npz",
    log:
        f"{ONE_LOG}/halves.log",
    params:
        settings=one_settings,
        models=FIDELITY.get("halves"),
        source=lambda w: source_hash("halves", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient halves --model {wildcards.model} --settings {params.settings:q} --data {input.data:q} "
        "--labels {input.labels:q} --count {params.models} --out {output:q} 2> {log:q}"


rule single:
    input:
        model=f"{FIRST}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
    output:
        f"{FIRST}/single.npz",
    log:
        f"{ONE_LOG}/single.log",
    params:
        settings=one_settings,
        solver=lambda w: json.dumps(CONFIG["model_settings"][w.model]["solver"]),
        removals=FIDELITY.get("single"),
        initialisations=FIDELITY.get("initialisations"),
        source=lambda w: source_hash("single", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient single --model {wildcards.model} --settings {params.settings:q} "
        "--solver {params.solver:q} --model-file {input.model:q} --data {input.data:q} --labels {input.labels:q} "
        "--count {params.removals} --initialisations {params.initialisations} --out {output:q} 2> {log:q}"


rule fidelity:
    input:
        config=rules.configuration.output,
        results=[file for name in ("scores.npz", "halves.npz", "single.npz")
                 for file in cells(name, policy=layout.BASELINE, seed=SEEDS[0])],
    output:
        expand(f"{ROOT}/{{name}}", name=["fidelity.csv", "single.csv", "stability.csv", "fidelity.json"]),
    log:
        f"logs/{PRESET}/fidelity.log",
    params:
        source=source_hash("fidelity"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient fidelity --config {input.config:q} 2> {log:q}"


rule sensitivity:
    input:
        model=f"{FIRST}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        halves=f"{FIRST}/halves.npz",
    output:
        f"{FIRST}/sensitivity.json",
    log:
        f"{ONE_LOG}/sensitivity.log",
    params:
        solver=lambda w: json.dumps(CONFIG["model_settings"][w.model]["solver"]),
        removed=CONFIG["removal_fraction"],
        source=lambda w: source_hash("sensitivity", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient sensitivity --model {wildcards.model} --solver {params.solver:q} "
        "--model-file {input.model:q} --data {input.data:q} --labels {input.labels:q} --noise {wildcards.noise} "
        "--halves {input.halves:q} --removed {params.removed} --out {output:q} 2> {log:q}"


rule fractions:
    input:
        model=f"{FIRST}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        scores=f"{FIRST}/scores.npz",
        predictions=f"{FIRST}/predictions.npz",
    output:
        f"{FIRST}/fractions.json",
    log:
        f"{ONE_LOG}/fractions.log",
    params:
        settings=one_settings,
        fractions=(CONFIG["sensitivity"] or {}).get("fractions"),
        source=lambda w: source_hash("fractions", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient fractions --model {wildcards.model} --settings {params.settings:q} "
        "--model-file {input.model:q} --data {input.data:q} --labels {input.labels:q} --noise {wildcards.noise} "
        "--scores {input.scores:q} --predictions {input.predictions:q} --fractions {params.fractions} --out {output:q} "
        "2> {log:q}"


rule concatenate:
    input:
        varied,
    output:
        csv=f"{ROOT}/{{kind}}.csv",
        provenance=f"{ROOT}/{{kind}}.json",
    log:
        f"logs/{PRESET}/concatenate-{{kind}}.log",
    params:
        source=source_hash("concatenate"),
    wildcard_constraints:
        kind="sensitivity|fractions",
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient concatenate {wildcards.kind} --rows {input:q} --out {output.csv:q} 2> {log:q}"
