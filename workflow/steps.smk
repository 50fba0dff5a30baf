# One rule for each step of an iteration, one job for each model: train, evaluate, score, remove. Iteration 0 is the
# unrefined model, which all policies share.
KEYS = ("--config {CONFIG_FILE} --dataset {wildcards.dataset} --model {wildcards.model} --noise {wildcards.noise} "
        "--seed {wildcards.seed}")
STEP = KEYS + " --policy {wildcards.policy} --iteration {wildcards.iteration}"
STEP_LOG = f"logs/{PRESET}/{{dataset}}/{{model}}/noise-{{noise}}/{{policy}}/seed-{{seed}}/iter-{{iteration}}"


def kept(wildcards):
    """Which samples are left; nothing for the unrefined model, which is trained on all."""
    return f"{CELL}/kept.npz" if wildcards.iteration != "0" else []


def chosen_by(wildcards):
    """What samples are removed by: scores of the iteration before, for other policies than influence its removals too."""
    model = layout.Cell(ROOT, **{**wildcards, "iteration": int(wildcards.iteration)})
    files = [model.at(iteration=model.iteration - 1).file("scores.npz")]
    if model.policy != "influence":
        files.append(model.at(policy="influence").file("removed.csv"))
    if model.policy == "confident":
        files.append(model.at(iteration=0).file("quality.npz"))
    return files


rule train:
    input:
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        kept=kept,
    output:
        model=f"{CELL}/model.npz",
        predictions=f"{CELL}/predictions.npz",
        record=f"{CELL}/train.json",
    log:
        f"{STEP_LOG}/train.log",
    benchmark:
        f"{STEP_LOG}/train.tsv"
    params:
        settings=settings,
        source=lambda w: source_hash("train", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient train " + STEP + " 2> {log:q}"


rule evaluate:
    input:
        predictions=f"{CELL}/predictions.npz",
    output:
        f"{CELL}/metrics.json",
    log:
        f"{STEP_LOG}/evaluate.log",
    params:
        source=source_hash("evaluate"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient evaluate " + STEP + " 2> {log:q}"


include: "shards.smk" if CONFIG["shards"] > 1 else "influence.smk"


rule prune:
    input:
        chosen_by,
    output:
        kept=f"{CELL}/kept.npz",
        removed=f"{CELL}/removed.csv",
    log:
        f"{STEP_LOG}/prune.log",
    params:
        fraction=CONFIG["removal_fraction"],
        source=source_hash("prune"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient prune " + STEP + " 2> {log:q}"


rule cross_validate:
    input:
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
    output:
        quality=f"{FIRST}/quality.npz",
        seconds=f"{FIRST}/cross_validate.json",
    log:
        f"{MODEL_LOG}/cross_validate.log",
    benchmark:
        f"{MODEL_LOG}/cross_validate.tsv"
    params:
        settings=settings,
        source=lambda w: source_hash("cross_validate", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient cross-validate " + KEYS + " 2> {log:q}"


rule guard:
    input:
        predictions=lambda w: [layout.Cell(ROOT, **w, policy="influence", iteration=k).file("predictions.npz")
                               for k in range(K + 1)],
    output:
        GUARD,
    log:
        f"{MODEL_LOG}/guard.log",
    params:
        source=source_hash("guard"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient guard " + KEYS + " 2> {log:q}"
