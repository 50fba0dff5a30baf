# One job does all iterations of all policies, either for one condition and seed (`one_job: seed`), or for a whole
# model family on a data set (`one_job: family`), because starting a program takes longer than training a small model.
# Snakemake tracks only the unrefined models, which experiments use, and the last file of each seed: tracking all files
# would take longer than many of our jobs.
# One rule per family, the most expensive first, so that it does not keep the other cores waiting at the end. If a job
# does a whole family, one rule for all data sets with the same conditions, since a rule's outputs cannot differ.
BY_FAMILY = CONFIG["one_job"] == "family"
REFINE_LOG = "refine" if BY_FAMILY else "noise-{noise}/seed-{seed}"
ALIKE = {}  # conditions that one job does -> data sets
for dataset in CONFIG["datasets"]:
    at_once = tuple(layout.conditions(CONFIG, dataset)) if BY_FAMILY else ()
    ALIKE.setdefault(at_once, []).append(dataset)


def refined_at_once(conditions, family):
    """Return the values of the wildcards that one job of a family does together."""
    return {"noise": conditions, "seed": layout.seeds_of(CONFIG, family)} if conditions else {}


def crossfit_files(families, conditions, family):
    """Return what the cross-fitted models of some families say of the training parts of one family's job."""
    return expand(f"{UNREFINED}/crossfit.{{kind}}", kind=["npz", "json"], model=families, allow_missing=True,
                  **refined_at_once(conditions, family))


for family, (place, (conditions, datasets)) in product(CONFIG["models"], enumerate(ALIKE.items())):
    GROUP = f"{family}_{place + 1}" if place else family
    AT_ONCE = refined_at_once(conditions, family)
    OF_CELLS = {
        "data": expand(f"{PREPARED}/features.npz", seed=AT_ONCE.get("seed", ["{seed}"]), allow_missing=True),
        "labels": expand(f"{NOISE}/labels.npz", allow_missing=True, **AT_ONCE),
    }

    # Models trained on all folds but one. Those of cheap families also judge the samples of dearer ones.
    rule:
        name:
            f"cross_fit_{GROUP}"
        input:
            **OF_CELLS,
        output:
            crossfit_files(family, conditions, family),
        wildcard_constraints:
            dataset="|".join(datasets),
        log:
            f"logs/{PRESET}/{{dataset}}/{family}/cross_fit-{REFINE_LOG}.log",
        benchmark:
            f"logs/{PRESET}/{{dataset}}/{family}/cross_fit-{REFINE_LOG}.tsv"
        priority: 50 + CONFIG["models"].index(family)
        params:
            model=family,
            options="" if BY_FAMILY else "--noise {noise} --seed {seed}",
            settings=lambda w, model=family, conditions=conditions: json.dumps(
                [CONFIG["model_settings"][model]["solver"],
                 [model_settings(CONFIG, w.dataset, model, noise) for noise in conditions or [w.noise]]]),
            source=source_hash("cross_fit", f"models.{family}"),
        resources:
            gpu=gpus_of(family),
        conda:
            ENVIRONMENT
        shell:
            "python -m datagradient cross-fit --config {CONFIG_FILE} --dataset {wildcards.dataset} "
            "--model {params.model} {params.options} 2> {log:q}"

    rule:
        name:
            f"refine_{GROUP}"
        input:
            crossfit_files(layout.crossfit_families(CONFIG, family), conditions, family) if needs_crossfit(POLICIES) else [],
            **OF_CELLS,
        output:
            expand(f"{UNREFINED}/{{file}}", file=["model.npz", "predictions.npz", "scores.npz"], model=family,
                   allow_missing=True, **AT_ONCE),
            expand(REFINED, model=family, allow_missing=True, **AT_ONCE),
        wildcard_constraints:
            dataset="|".join(datasets),
        log:
            f"logs/{PRESET}/{{dataset}}/{family}/{REFINE_LOG}.log",
        benchmark:
            f"logs/{PRESET}/{{dataset}}/{family}/{REFINE_LOG}.tsv"
        priority: 1 + CONFIG["models"].index(family)
        params:
            model=family,
            options="" if BY_FAMILY else "--noise {noise} --seed {seed}",
            settings=lambda w, model=family, conditions=conditions: json.dumps(
                [CONFIG["removal_fraction"], CONFIG["iterations"], CONFIG["policies"],
                 CONFIG["model_settings"][model]["solver"],
                 [model_settings(CONFIG, w.dataset, model, noise) for noise in conditions or [w.noise]]]),
            source=source_hash("refine", f"models.{family}"),
        resources:
            gpu=gpus_of(family),
        conda:
            ENVIRONMENT
        shell:
            "python -m datagradient refine --config {CONFIG_FILE} --dataset {wildcards.dataset} --model {params.model} "
            "{params.options} 2> {log:q}"
