# One job scores all training samples of a model.


rule influence:
    input:
        model=f"{MODEL}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        kept=kept_file,
        kept_of_samples=f"{MODEL}/record.npz",
    output:
        direction=f"{MODEL}/direction.npz",
        scores=f"{MODEL}/scores.npz",
        record=f"{MODEL}/influence.json",
    log:
        f"{MODEL_LOG}/influence.log",
    benchmark:
        f"{MODEL_LOG}/influence.tsv"
    params:
        solver=solver_options,
        other_scores=other_scores,
        source=lambda w: source_hash("influence", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient influence " + MODEL_KEYS + " 2> {log:q}"
