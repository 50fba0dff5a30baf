"""Jobs of every size, killed and resumed, jobs that fail, and two presets at once."""

import functools
import os
import re
import signal
import subprocess
import sys
import time
from itertools import product

import numpy as np
import pytest

import conftest
from conftest import environment, finish
from datagradient.files import read_json, read_rows
from datagradient.refine.policies import POLICIES

MODELS = ("logistic", "boosted")

NANO = """
preset: micro
models: [logistic]
seeds: [0, 1]
iterations: 1
noise: [0.2]
policies: [influence, repair, guarded]
datasets: {affairs: {max_development: 300, max_test: 100}}
"""
PLACE = "results/micro/affairs/logistic/noise-0.2"
ONE_SEED = [f"{PLACE}/guarded/seed-0/guard.json",
            *(f"{PLACE}/{policy}/seed-0/iter-{k}/{what}.json" for what in ("metrics", "influence")
              for policy, k in (("baseline", 0), ("influence", 1), ("repair", 1)))]  # fmt: skip
MODELS_TRAINED = 1 + 2  # the baseline, and the policies that train
METRICS = "results/micro/metrics.csv"  # what follows from it is in test_pipeline.py
snakemake = functools.partial(conftest.snakemake, config=NANO)


@pytest.mark.parametrize("policies", ["[influence]", "[influence,uniform,repair,guarded]"])
def test_every_set_of_policies_plans(clone, tmp_path, policies):
    process = snakemake(clone, tmp_path, "--dry-run", "--config", "one_job=family", f"policies={policies}")
    assert "This was a dry-run" in finish(process)


def test_networks_with_a_record_plan_step_by_step(clone, tmp_path):
    solver = "{name: record, parameters: last, damping: 0.1, tolerance: 0.01, max_iterations: 300, samples: 500}"
    config = f"{NANO.replace('[logistic]', '[logistic, neural]')}one_job: step\nmodel_settings: {{neural: {{solver: "
    config += f"{{name: record, table: {solver}, text: {solver}, image: {solver}}}}}}}\n"
    assert "This was a dry-run" in finish(snakemake(clone, tmp_path, "--dry-run", config=config))


@pytest.fixture(scope="module")
def at_once(clone):
    """The folder of a run with one job for all seeds."""
    folder = clone / "family"
    finish(snakemake(clone, folder, METRICS, config=f"{NANO}one_job: family\n"))
    return folder


@pytest.fixture(scope="module")
def step_by_step(clone):
    """The folder of a run of one seed with a job for every step, killed half-way and resumed; what was there then."""
    folder, config = clone / "step", f"{NANO}one_job: step\nshards: 2\n"
    with open(clone / "log", "w+") as log:  # nobody reads a pipe meanwhile: a full one would stop the run
        process = snakemake(clone, folder, *ONE_SEED, config=config, log=log)
        while len(list(folder.rglob("model.npz"))) < MODELS_TRAINED / 2:
            assert process.poll() is None, (clone / "log").read_text()
            time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    made = {path: path.stat().st_mtime_ns for name in ("features", "labels") for path in folder.rglob(f"{name}.npz")}
    assert not (folder / ONE_SEED[0]).exists()
    finish(snakemake(clone, folder, *ONE_SEED, config=config))
    return folder, made


def without_times(path):
    """The content of a table, without what a clock says."""
    return [{key: row[key] for key in row if not key.endswith("_seconds")} for row in read_rows(path)]


def arrays(path):
    with np.load(path) as file:
        return {name: file[name].tobytes() for name in file.files if name != "meta"}


def results(folder):
    """What does not depend on clocks, nor on how large the jobs were, of seed 0."""
    found = {
        str(path.relative_to(folder)): arrays(path)
        for path in (folder / "results/micro").rglob("*.npz")
        if "seed-0" in path.parts and path.name != "record.npz"
    }  # between the jobs of single steps alone
    measured = {name: read_json(folder / name) for name in ONE_SEED}
    keys = ("metrics", "contribution", "contribution_selection", "iteration")  # the last one of the guard
    return found | {name: [content[key] for key in keys if key in content] for name, content in measured.items()}


def test_a_killed_run_of_small_jobs_resumes_to_the_files_of_one_large_job(at_once, step_by_step):
    folder, made = step_by_step
    assert made and made == {path: path.stat().st_mtime_ns for path in made}  # what was finished is not done again
    assert not list((folder / "results").rglob("*.tmp"))
    expected, found = results(at_once), results(folder)
    assert found.keys() == expected.keys() and all(found[name] for name in ONE_SEED)
    assert [name for name in expected if found[name] != expected[name]] == []


def test_jobs_of_one_seed_give_the_same_numbers(clone, at_once, tmp_path):
    finish(snakemake(clone, tmp_path, METRICS, config=f"{NANO}one_job: seed\n"))
    found, expected = (without_times(folder / METRICS) for folder in (tmp_path, at_once))
    assert found == expected


@pytest.mark.parametrize("change", ["iterations=2", "policies=[influence,random,uniform,confident]",
                                    "removal_fraction=0.1"])  # fmt: skip
def test_a_change_runs_a_large_job_again_though_the_workflow_knows_few_of_its_files(clone, at_once, change):
    again = snakemake(clone, at_once, METRICS, "--dry-run", "--config", change,
                      config=f"{NANO}one_job: family\n", quiet=())  # fmt: skip
    assert "refine_logistic" in finish(again)


ALL = f"""
preset: micro
models: [{", ".join(MODELS)}]
model_settings: {{boosted: {{settings: {{rounds: 3, depth: 2}}}}, logistic: {{settings: {{l2: 0.1}}}}}}
seeds: [0, 1]
iterations: 1
noise: [0.0, 0.2]
validation: [trusted, untrusted]
policies: [{", ".join(POLICIES)}]
one_job: family
datasets: {{digits: {{max_development: 240, max_test: 100}}}}
"""


def test_all_policies_in_all_conditions_reach_the_tables_and_those_that_decide_once_are_compared(clone, tmp_path):
    finish(snakemake(clone, tmp_path, "results/micro/tests.csv", config=ALL))
    rows, tests, detection = (read_rows(tmp_path / f"results/micro/{name}.csv")
                              for name in ("metrics", "tests", "detection"))  # fmt: skip
    once = {name for name, policy in POLICIES.items() if policy.once}
    ideal, repeated = {"true_labels", "oracle_removal"}, set(POLICIES) - once
    adding = {"added", "repair_added"}
    conditions = {"0": once - ideal, "0.2": once, "0.2-untrusted": once - ideal - adding}
    for condition, present in conditions.items():
        found = [(row["model"], row["policy"], row["iteration"], row["seed"]) for row in rows
                 if row["noise"] == condition]  # fmt: skip
        steps = [("baseline", "0"), *((name, "1") for name in present), *product(repeated, "1")]
        assert len(found) == len(set(found))
        assert set(found) == {(model, *step, seed) for model, step, seed in product(MODELS, steps, "01")}
        compared = {(row["policy"], row["against"]) for row in tests if row["noise"] == condition}
        controls = {(name, against) for name in ("crossfit", "repair")
                    for against in ("crossfit_uniform", "crossfit_loss")}  # fmt: skip
        controls |= {(name, "added") for name in ("repair", "repair_added")} if adding <= present else set()
        plain = set(product(repeated - {"random", "uniform", "guarded"}, ("random", "uniform")))
        assert compared == {(name, "baseline") for name in present | repeated} | controls | plain
    value = {tuple(row[key] for key in ("model", "noise", "policy", "iteration", "seed")): row for row in rows}
    for model, condition, seed in product(MODELS, conditions, "01"):
        removed = {name: int(value[model, condition, name, "1", seed]["removed"])
                   for name in ("crossfit", "crossfit_loss", "crossfit_uniform")}  # fmt: skip
        assert len(set(removed.values())) == 1
    test = next(row for row in tests if (row["model"], row["noise"], row["policy"], row["against"], row["metric"])
                == ("logistic", "0.2", "repair", "crossfit_loss", "accuracy"))  # fmt: skip
    by_hand = [float(value["logistic", "0.2", "repair", "1", seed]["accuracy"])
               - float(value["logistic", "0.2", "crossfit_loss", "1", seed]["accuracy"]) for seed in "01"]  # fmt: skip
    assert float(test["mean_difference"]) == pytest.approx(sum(by_hand) / 2)
    ends = {name: value["logistic", "0.2", name, "1", "0"] for name in ("true_labels", "oracle_removal", "repair")}
    flipped = round(0.2 * int(ends["true_labels"]["n_train"]))
    assert (ends["true_labels"]["relabelled"], ends["true_labels"]["removed"]) == (str(flipped), "0")
    assert (ends["oracle_removal"]["removed"], ends["oracle_removal"]["removed_flipped"]) == (str(flipped),) * 2
    assert int(ends["repair"]["relabelled"]) > 0
    scores = {row["score"] for row in detection}
    assert scores >= {"influence", "confident", "crossfit", "repair", "crossfit_loss"}
    assert not list((tmp_path / "results/micro").rglob("noise-0.2-untrusted/true_labels"))


def test_where_jobs_are_steps_a_new_seed_runs_nothing_of_the_others(clone, step_by_step):
    planned = finish(snakemake(clone, step_by_step[0], METRICS, "--dry-run",
                               config=f"{NANO}one_job: step\nshards: 2\n", quiet=()))  # fmt: skip
    assert "rule prepare" in planned and "rule noise" in planned
    assert set(re.findall(r"wildcards: .*seed=(\d+)", planned)) == {"1"}


def test_a_failed_job_is_told_by_rule_data_model_and_reason_and_what_is_finished_is_kept(clone, tmp_path):
    target = "results/micro/affairs/logistic/noise-0.2/baseline/seed-0/iter-0/model.npz"
    config = f"{NANO}one_job: step\nmodel_settings: {{logistic: {{settings: {{max_iterations: 1}}}}}}\n"
    process = snakemake(clone, tmp_path, target, config=config, quiet=())
    output, _ = process.communicate(timeout=100)
    assert process.returncode != 0
    failed = output[output.index("failed: ") :]
    assert failed.startswith(
        "failed: train affairs logistic, noise 0.2, policy baseline, seed 0, iteration 0 (logs/micro/"
    )
    assert "datagradient train: logistic: the fit did not converge" in failed
    assert "python -m datagradient" not in output  # the command, which may be thousands of characters long
    assert "Select jobs" not in output
    assert "micro: 0 of 3 jobs done" in output
    assert (tmp_path / "results/micro/affairs/prepared/seed-0/features.npz").exists()


def test_two_presets_that_start_at_once_in_a_fresh_folder_both_end_well(clone, tmp_path):
    targets = ("results/micro/mlflow_ready", "results/other/mlflow_ready")
    (tmp_path / "other.yaml").write_text(NANO.replace("micro", "other"))
    first = snakemake(clone, tmp_path, targets[0], config=NANO)
    command = [sys.executable, "-m", "snakemake", targets[1], "--directory", str(tmp_path), "--cores", "1",
               "--configfile", str(tmp_path / "other.yaml")]  # fmt: skip
    other = subprocess.run(command, cwd=clone, env=environment(), check=False, capture_output=True, text=True)
    finish(first)
    assert other.returncode == 0, other.stderr
    assert all((tmp_path / target).exists() for target in targets)
