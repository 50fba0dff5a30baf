# Where config asks for shards: S once, then jobs that score a part of the training samples each. The same bytes.


def escaped(pattern):
    """Return a pattern whose wildcards are left as they are when others are filled in."""
    return pattern.replace("{", "{{").replace("}", "}}")


scattergather:
    shards=CONFIG["shards"],


rule direction:
    input:
        model=f"{CELL}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        kept=kept,
    output:
        f"{CELL}/direction.npz",
    log:
        f"{STEP_LOG}/direction.log",
    benchmark:
        f"{STEP_LOG}/direction.tsv"
    params:
        solver=solver,
        source=lambda w: source_hash("direction", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient direction " + STEP + " 2> {log:q}"


rule project:
    input:
        model=f"{CELL}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        kept=kept,
        direction=f"{CELL}/direction.npz",
    output:
        temp(f"{CELL}/shards/{{scatteritem}}.npz"),
    log:
        f"{STEP_LOG}/project-{{scatteritem}}.log",
    benchmark:
        f"{STEP_LOG}/project-{{scatteritem}}.tsv"
    params:
        also=also,
        source=lambda w: source_hash("project", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient project " + STEP + " --shard {wildcards.scatteritem} 2> {log:q}"


rule gather:
    input:
        direction=f"{CELL}/direction.npz",
        shards=gather.shards(escaped(CELL) + "/shards/{scatteritem}.npz"),
    output:
        scores=f"{CELL}/scores.npz",
        record=f"{CELL}/influence.json",
    log:
        f"{STEP_LOG}/gather.log",
    benchmark:
        f"{STEP_LOG}/gather.tsv"
    params:
        source=source_hash("gather"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient gather " + STEP + " 2> {log:q}"
