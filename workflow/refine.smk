# One job does all iterations of all policies, either for one noise rate and seed (`one_job: seed`), or for a whole
# model family on a data set (`one_job: family`), because starting a program takes longer than training a small model.
# Snakemake tracks only the unrefined models, which experiments use, and the last file of each seed: tracking all files
# would take longer than many of our jobs.
# One rule per family, the most expensive first, so that it does not keep the other cores waiting at the end.
REFINED_AT_ONCE = {"noise": NOISES, "seed": SEEDS} if CONFIG["one_job"] == "family" else {}
REFINE_LOG = "refine" if REFINED_AT_ONCE else "noise-{noise}/seed-{seed}"

for family in CONFIG["models"]:

    rule:
        name:
            f"refine_{family}"
        input:
            data=expand(f"{PREPARED}/features.npz", seed=REFINED_AT_ONCE.get("seed", ["{seed}"]), allow_missing=True),
            labels=expand(f"{NOISE}/labels.npz", allow_missing=True, **REFINED_AT_ONCE),
        output:
            expand(f"{UNREFINED}/{{file}}", file=["model.npz", "predictions.npz", "scores.npz"], model=family,
                   allow_missing=True, **REFINED_AT_ONCE),
            expand(REFINED, model=family, allow_missing=True, **REFINED_AT_ONCE),
        log:
            f"logs/{PRESET}/{{dataset}}/{family}/{REFINE_LOG}.log",
        benchmark:
            f"logs/{PRESET}/{{dataset}}/{family}/{REFINE_LOG}.tsv"
        priority: 1 + CONFIG["models"].index(family)
        params:
            model=family,
            options="" if REFINED_AT_ONCE else "--noise {noise} --seed {seed}",
            settings=lambda w, model=family: json.dumps(
                [CONFIG["removal_fraction"], CONFIG["iterations"], CONFIG["policies"],
                 CONFIG["model_settings"][model]["solver"],
                 [model_settings(CONFIG, w.dataset, model, noise)
                  for noise in REFINED_AT_ONCE.get("noise", [w.get("noise")])]]),
            source=source_hash("refine", f"models.{family}"),
        resources:
            gpu=gpus_of(family),
        conda:
            ENVIRONMENT
        shell:
            "python -m datagradient refine --config {CONFIG_FILE} --dataset {wildcards.dataset} --model {params.model} "
            "{params.options} 2> {log:q}"
