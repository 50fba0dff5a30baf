# One job scores all training samples of a model.


rule influence:
    input:
        model=f"{CELL}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        kept=kept,
    output:
        direction=f"{CELL}/direction.npz",
        scores=f"{CELL}/scores.npz",
        record=f"{CELL}/influence.json",
    log:
        f"{STEP_LOG}/influence.log",
    benchmark:
        f"{STEP_LOG}/influence.tsv"
    params:
        solver=solver,
        also=also,
        source=lambda w: source_hash("influence", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient influence " + STEP + " 2> {log:q}"
