# One job does an iteration of a model family for the whole preset: where models are small, programs take longer to start
# than to train them.


def of_iteration(name, iteration, policies=TRAINED):
    """The files of one iteration of a model family; its wildcard is left open."""
    policies = policies if iteration else [layout.BASELINE]
    return expand(CELL.replace("{iteration}", str(iteration)) + f"/{name}", policy=policies, dataset=CONFIG["datasets"],
                  noise=layout.noise_names(CONFIG), seed=SEEDS, allow_missing=True)  # fmt: skip


MADE = ["model.npz", "predictions.npz", "train.json", "metrics.json", "scores.npz", "influence.json"]

for k in range(K + 1):

    rule:
        name:
            f"iteration_{k}"
        input:
            config=ancient(rules.configuration.output),
            data=expand(f"{PREPARED}/features.npz", dataset=CONFIG["datasets"], seed=SEEDS),
            labels=expand(f"{NOISE}/labels.npz", dataset=CONFIG["datasets"], noise=layout.noise_names(CONFIG), seed=SEEDS),
            scores=of_iteration("scores.npz", k - 1) if k else [],
            quality=of_iteration("quality.npz", 0) if k and "confident" in TRAINED else [],
        output:
            [file for name in [*MADE, *(["kept.npz", "removed.csv"] if k else [])] for file in of_iteration(name, k)],
        log:
            f"logs/{PRESET}/{{model}}/iteration-{k}.log",
        params:
            k=k,
            settings=lambda w: json.dumps([CONFIG["removal_fraction"], CONFIG["model_settings"][w.model],
                                           [entry["models"][w.model] for entry in CONFIG["datasets"].values()]]),
            source=lambda w: source_hash("iterate", f"models.{w.model}"),
        resources:
            gpu=gpus,
        conda:
            ENVIRONMENT
        shell:
            "python -m datagradient iterate --config {input.config:q} --model {wildcards.model} --iteration {params.k} "
            "2> {log:q}"
