# One job scores all training samples of a model.


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
        also=lambda w: [layout.ALSO_SCORED.get(keys["policy"], "none") for keys in cells_of(w)],
        solver=lambda w: json.dumps(CONFIG["model_settings"][w.model]["solver"]),
        source=lambda w: source_hash("influence", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient influence --model {wildcards.model} --solver {params.solver:q} "
        "--model-file {input.model:q} --data {input.data:q} --labels {input.labels:q} {params.kept:q} --also {params.also:q} "
        "--out {output.scores:q} 2> {log:q}"


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
