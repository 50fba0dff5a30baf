# One rule per step of an iteration, one job per model: train, evaluate, score, remove. Iteration 0 is the unrefined
# model, which all policies share.


def kept_file(wildcards):
    """Return the file of the samples that are left; nothing for the unrefined model, which is trained on all."""
    return f"{MODEL}/kept.npz" if wildcards.iteration != "0" else []


def files_for_removal(wildcards):
    """Return the inputs of a removal: previous scores, and for other policies than influence also its removals."""
    model = layout.Cell(ROOT, **{**wildcards, "iteration": int(wildcards.iteration)})
    files = [model.at(iteration=model.iteration - 1).file("scores.npz")]
    if model.policy != "influence" and not policies.POLICIES[model.policy].once:
        files.append(model.at(policy="influence").file("removed.csv"))
    if needs_crossfit([model.policy]):
        files += [model.at(iteration=0, model=family).file("crossfit.npz")
                  for family in layout.crossfit_families(CONFIG, model.model)]
    return files


def other_scores(wildcards):
    """Return the other scores of a model's samples besides influence: a job reruns when these change."""
    return " ".join(scores_besides(POLICIES, wildcards.policy, int(wildcards.iteration)))


rule train:
    input:
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
        kept=kept_file,
    output:
        model=f"{MODEL}/model.npz",
        predictions=f"{MODEL}/predictions.npz",
        record=f"{MODEL}/train.json",
        # What training kept of the samples, for the solver "record"; empty with another.
        kept_of_samples=f"{MODEL}/record.npz",
    log:
        f"{MODEL_LOG}/train.log",
    benchmark:
        f"{MODEL_LOG}/train.tsv"
    params:
        settings=training_settings,
        recorded=recorded_parameters,
        source=lambda w: source_hash("train", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient train " + MODEL_KEYS + " 2> {log:q}"


rule evaluate:
    input:
        predictions=f"{MODEL}/predictions.npz",
    output:
        f"{MODEL}/metrics.json",
    log:
        f"{MODEL_LOG}/evaluate.log",
    params:
        source=source_hash("evaluate"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient evaluate " + MODEL_KEYS + " 2> {log:q}"


include: "shards.smk" if CONFIG["shards"] > 1 else "influence.smk"


rule prune:
    input:
        files_for_removal,
    output:
        kept=f"{MODEL}/kept.npz",
        removed=f"{MODEL}/removed.csv",
    log:
        f"{MODEL_LOG}/prune.log",
    params:
        fraction=CONFIG["removal_fraction"],
        source=source_hash("prune"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient prune " + MODEL_KEYS + " 2> {log:q}"


rule cross_fit:
    input:
        data=f"{PREPARED}/features.npz",
        labels=f"{NOISE}/labels.npz",
    output:
        expand(f"{UNREFINED}/crossfit.{{kind}}", kind=["npz", "json"], allow_missing=True),
    log:
        f"{UNREFINED_LOG}/cross_fit.log",
    benchmark:
        f"{UNREFINED_LOG}/cross_fit.tsv"
    params:
        settings=training_settings,
        solver=solver_options,
        source=lambda w: source_hash("cross_fit", f"models.{w.model}"),
    resources:
        gpu=gpus,
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient cross-fit " + UNREFINED_KEYS + " 2> {log:q}"


rule guard:
    input:
        f"{UNREFINED}/predictions.npz",
        expand(f"{MODEL}/predictions.npz", policy="influence", iteration=range(1, ITERATIONS + 1), allow_missing=True),
    output:
        GUARD,
    log:
        f"{UNREFINED_LOG}/guard.log",
    params:
        source=source_hash("guard"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient guard " + UNREFINED_KEYS + " 2> {log:q}"
