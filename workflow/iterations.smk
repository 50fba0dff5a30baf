# One job does an iteration of a model family on a data set, for all noise rates, policies and seeds: where models are
# small, programs take longer to start than to train them.


def of_iteration(name, iteration, policies=TRAINED):
    """The files of one iteration; the wildcards of data set and model are left open."""
    policies = policies if iteration else [layout.BASELINE]
    return expand(CELL.replace("{iteration}", str(iteration)) + f"/{name}", policy=policies,
                  noise=layout.noise_names(CONFIG), seed=SEEDS, allow_missing=True)  # fmt: skip


MADE = ["model.npz", "predictions.npz", "train.json", "metrics.json", "scores.npz", "influence.json"]

for k in range(K + 1):

    rule:
        name:
            f"iteration_{k}"
        input:
            config=ancient(rules.configuration.output),
            data=expand(f"{PREPARED}/features.npz", seed=SEEDS, allow_missing=True),
            labels=expand(f"{NOISE}/labels.npz", noise=layout.noise_names(CONFIG), seed=SEEDS, allow_missing=True),
            scores=of_iteration("scores.npz", k - 1) if k else [],
            quality=of_iteration("quality.npz", 0) if k and "confident" in TRAINED else [],
        output:
            [file for name in [*MADE, *(["kept.npz", "removed.csv"] if k else [])] for file in of_iteration(name, k)],
        log:
            f"logs/{PRESET}/{{dataset}}/{{model}}/iteration-{k}.log",
        params:
            k=k,
            settings=lambda w: json.dumps([CONFIG["removal_fraction"], CONFIG["model_settings"][w.model],
                                           CONFIG["datasets"][w.dataset]["models"][w.model]]),
            source=lambda w: source_hash("iterate", f"models.{w.model}"),
        resources:
            gpu=gpus,
        conda:
            ENVIRONMENT
        shell:
            "python -m datagradient iterate --config {input.config:q} --dataset {wildcards.dataset} "
            "--model {wildcards.model} --iteration {params.k} 2> {log:q}"
