# One rule for each step of an iteration: train, evaluate, score, remove.


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
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient train --model {wildcards.model} --settings {params.settings:q} --data {input.data:q} "
        "--labels {input.labels:q} {params.kept:q} --out {output.model:q} 2> {log:q}"


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
        ENVIRONMENT
    shell:
        "python -m datagradient evaluate --predictions {input.predictions:q} --out {output:q} 2> {log:q}"


use rule evaluate as evaluate_first with:
    input:
        predictions=per_cell(f"{FIRST}/predictions.npz"),
    output:
        each(f"{FIRST}/metrics.json"),
    log:
        f"{FIRST_LOG}/evaluate.log",


include: "shards.smk" if CONFIG["shards"] > 1 else "influence.smk"


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
        ENVIRONMENT
    shell:
        "python -m datagradient prune --fraction {params.fraction} --iteration {wildcards.iteration} "
        "--scores {input.scores:q} --out {output.kept:q} 2> {log:q}"


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
        ENVIRONMENT
    shell:
        "python -m datagradient control --policy {params.policy:q} --iteration {wildcards.iteration} "
        "--scores {input.scores:q} --like {input.like:q} {params.quality:q} --out {output.kept:q} 2> {log:q}"


rule cross_validate:
    input:
        data=per_cell(f"{PREPARED}/features.npz"),
        labels=per_cell(f"{NOISE}/labels.npz"),
    output:
        quality=each(f"{FIRST}/quality.npz"),
        seconds=each(f"{FIRST}/cross_validate.json"),
    log:
        f"{FIRST_LOG}/cross_validate.log",
    benchmark:
        f"{FIRST_LOG}/cross_validate.tsv"
    params:
        settings=settings,
        source=lambda w: source_hash("cross_validate", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient cross-validate --model {wildcards.model} --settings {params.settings:q} "
        "--data {input.data:q} --labels {input.labels:q} --out {output.quality:q} 2> {log:q}"


rule guard:
    input:
        rounds,
    output:
        each(GUARD),
    log:
        f"{LOGS}/{PART['seed']}/guard.log",
    params:
        source=source_hash("guard"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient guard --predictions {input:q} --out {output:q} 2> {log:q}"
