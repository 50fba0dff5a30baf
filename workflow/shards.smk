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
        kept=f"{CELL}/kept.npz",
    output:
        f"{CELL}/direction.npz",
    log:
        f"{CELL_LOG}/direction.log",
    benchmark:
        f"{CELL_LOG}/direction.tsv"
    params:
        kept=option("kept"),
        solver=lambda w: json.dumps(CONFIG["model_settings"][w.model]["solver"]),
        source=lambda w: source_hash("direction", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient direction --model {wildcards.model} --solver {params.solver:q} "
        "--model-file {input.model:q} --data {input.data:q} --labels {input.labels:q} {params.kept:q} --out {output:q} 2> {log:q}"


use rule direction as direction_first with:
    input:
        model=f"{FIRST}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
    output:
        f"{FIRST}/direction.npz",
    log:
        f"{FIRST_LOG}/direction.log",
    benchmark:
        f"{FIRST_LOG}/direction.tsv"


rule project:
    input:
        model=f"{CELL}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        kept=f"{CELL}/kept.npz",
        direction=f"{CELL}/direction.npz",
    output:
        temp(f"{CELL}/shards/{{scatteritem}}.npz"),
    log:
        f"{CELL_LOG}/project-{{scatteritem}}.log",
    benchmark:
        f"{CELL_LOG}/project-{{scatteritem}}.tsv"
    params:
        kept=option("kept"),
        also=lambda w: layout.ALSO_SCORED.get(dict(w.items()).get("policy", layout.BASELINE), "none"),
        source=lambda w: source_hash("project", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient project --model {wildcards.model} --model-file {input.model:q} --data {input.data:q} "
        "--labels {input.labels:q} {params.kept:q} --direction {input.direction:q} --shard {wildcards.scatteritem} "
        "--also {params.also:q} --out {output:q} 2> {log:q}"


use rule project as project_first with:
    input:
        model=f"{FIRST}/model.npz",
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        direction=f"{FIRST}/direction.npz",
    output:
        temp(f"{FIRST}/shards/{{scatteritem}}.npz"),
    log:
        f"{FIRST_LOG}/project-{{scatteritem}}.log",
    benchmark:
        f"{FIRST_LOG}/project-{{scatteritem}}.tsv"


rule gather:
    input:
        direction=f"{CELL}/direction.npz",
        shards=gather.shards(escaped(CELL) + "/shards/{scatteritem}.npz"),
    output:
        scores=f"{CELL}/scores.npz",
        record=f"{CELL}/influence.json",
    log:
        f"{CELL_LOG}/gather.log",
    benchmark:
        f"{CELL_LOG}/gather.tsv"
    params:
        source=source_hash("gather"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient gather --direction {input.direction:q} --shards {input.shards:q} --out {output.scores:q} "
        "2> {log:q}"


use rule gather as gather_first with:
    input:
        direction=f"{FIRST}/direction.npz",
        shards=gather.shards(escaped(FIRST) + "/shards/{scatteritem}.npz"),
    output:
        scores=f"{FIRST}/scores.npz",
        record=f"{FIRST}/influence.json",
    log:
        f"{FIRST_LOG}/gather.log",
    benchmark:
        f"{FIRST_LOG}/gather.tsv"
