# Features by seed, and labels by condition, from the files of a data set.
#
# A data set is read once for all seeds. If jobs do single steps, it is read for each seed, so that a new seed does not
# rerun the others.
PREPARED_AT_ONCE = {} if CONFIG["one_job"] == "step" else {"seed": SEEDS}
OF_SEED = "" if PREPARED_AT_ONCE else "-seed-{seed}"
SEED_OPTION = "" if PREPARED_AT_ONCE else "--seed {wildcards.seed} "


rule prepare:
    input:
        f"{ROOT}/{{dataset}}/{changes.STAMP}",  # updated when a source file of the data set has changed
    output:
        expand([f"{PREPARED}/features.npz", f"{PREPARED}/data.json"], allow_missing=True, **PREPARED_AT_ONCE),
    log:
        f"logs/{PRESET}/{{dataset}}/prepare{OF_SEED}.log",
    benchmark:
        f"logs/{PRESET}/{{dataset}}/prepare{OF_SEED}.tsv"
    priority: 100  # first, so that the longest jobs can start
    params:
        plan=lambda w: json.dumps({**CONFIG["split"], **{key: CONFIG["datasets"][w.dataset].get(key)
                                   for key in ("max_development", "max_test", "human_labels")}}),
        source=lambda w: source_hash("prepare", f"data.sets.{w.dataset}"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient prepare --config {CONFIG_FILE} --dataset {wildcards.dataset} "
        + SEED_OPTION + "2> {log:q}"


rule noise:
    input:
        expand(f"{PREPARED}/features.npz", allow_missing=True, **PREPARED_AT_ONCE),
    output:
        expand(f"{NOISE}/labels.npz", allow_missing=True, **PREPARED_AT_ONCE),
    log:
        f"logs/{PRESET}/{{dataset}}/noise-{{noise}}{OF_SEED}.log",
    priority: 100
    params:
        source=source_hash("noise"),
    conda:
        ENVIRONMENT
    shell:
        "python -m datagradient noise --config {CONFIG_FILE} --dataset {wildcards.dataset} --noise {wildcards.noise} "
        + SEED_OPTION + "2> {log:q}"
