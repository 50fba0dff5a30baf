# With shards: S once, then jobs that each score a part of the training samples. The results are byte-identical.


def escaped(pattern):
    """Return a pattern whose wildcards are kept when other wildcards are filled in."""
    return pattern.replace("{", "{{").replace("}", "}}")


scattergather:
    shards=CONFIG["shards"],


rule direction:
    input:
        model=f"{MODEL}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        kept=kept_file,
        kept_of_samples=f"{MODEL}/record.npz",
    output:
        f"{MODEL}/direction.npz",
    log:
        f"{MODEL_LOG}/direction.log",
    benchmark:
        f"{MODEL_LOG}/direction.tsv"
    params:
        solver=solver_options,
        source=lambda w: source_hash("direction", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient direction " + MODEL_KEYS + " 2> {log:q}"


rule project:
    input:
        model=f"{MODEL}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        kept=kept_file,
        kept_of_samples=f"{MODEL}/record.npz",
        direction=f"{MODEL}/direction.npz",
    output:
        temp(f"{MODEL}/shards/{{scatteritem}}.npz"),
    log:
        f"{MODEL_LOG}/project-{{scatteritem}}.log",
    benchmark:
        f"{MODEL_LOG}/project-{{scatteritem}}.tsv"
    params:
        other_scores=other_scores,
        source=lambda w: source_hash("project", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient project " + MODEL_KEYS + " --shard {wildcards.scatteritem} 2> {log:q}"


rule gather:
    input:
        direction=f"{MODEL}/direction.npz",
        shards=gather.shards(escaped(MODEL) + "/shards/{scatteritem}.npz"),
    output:
        scores=f"{MODEL}/scores.npz",
        record=f"{MODEL}/influence.json",
    log:
        f"{MODEL_LOG}/gather.log",
    benchmark:
        f"{MODEL_LOG}/gather.tsv"
    params:
        source=source_hash("gather"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient gather " + MODEL_KEYS + " 2> {log:q}"
