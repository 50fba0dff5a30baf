# One job does all iterations of a model family on a data set: where models are small, programs take longer to start than
# to train them. Snakemake is told of the unrefined models, which experiments go on from, and of the job's last file: to
# look after all of some thousand files takes it longer than many of our jobs.
# One rule a family, the most expensive first, so that no core waits for it in the end.

for family in CONFIG["models"]:

    rule:
        name:
            f"iterate_{family}"
        input:
            config=ancient(rules.configuration.output),
            data=expand(f"{PREPARED}/features.npz", seed=SEEDS, allow_missing=True),
            labels=expand(f"{NOISE}/labels.npz", noise=layout.noise_names(CONFIG), seed=SEEDS, allow_missing=True),
        output:
            expand(f"{FIRST}/{{name}}.npz", name=["model", "predictions", "scores"], noise=layout.noise_names(CONFIG),
                   seed=SEEDS, model=family, allow_missing=True),
            done=f"{ROOT}/{{dataset}}/{family}/iterated.json",
        log:
            f"logs/{PRESET}/{{dataset}}/{family}/iterate.log",
        benchmark:
            f"logs/{PRESET}/{{dataset}}/{family}/iterate.tsv"
        priority: 1 + CONFIG["models"].index(family)
        params:
            model=family,
            settings=lambda w, model=family: json.dumps([CONFIG["removal_fraction"], CONFIG["model_settings"][model],
                                                         CONFIG["datasets"][w.dataset]["models"][model]]),
            source=source_hash("iterate", f"models.{family}"),
        resources:
            gpu=CONFIG["gpu"] if family == "neural" else 0,
        conda:
            ENVIRONMENT
        shell:
            "python -m datagradient iterate --config {input.config:q} --dataset {wildcards.dataset} --model {params.model} "
            "--out {output.done:q} 2> {log:q}"
