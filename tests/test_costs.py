"""What the documents say of the cost of influence beside its goals."""

import pytest

from datagradient.files import write_rows
from datagradient.report import costs

NETWORK = {"dataset": "affairs", "model": "neural", "noise": "0.2", "curvature": "ggn", "status": "converged"}


def solver(name, parameters, damping, lds, passes="0.2", ratio="0.01"):
    return {**NETWORK, "solver": name, "parameters": parameters, "damping": damping, "samples": "9", "lds": lds,
            "forward_passes": passes, "ratio": ratio}  # fmt: skip


def write(folder, **tables):
    for name, rows in tables.items():
        path = folder / ("cpu" if name in ("slopes", "data") else "benchmarks") / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        write_rows(path, tuple(rows[0]), rows)


@pytest.fixture
def results(tmp_path):
    both = [solver("record", "last", "0.1", "0.5"), solver("record-all", "projected", "1.0", "0.4", "1.5"),
            solver("cg", "all", "0.1", "0.45", "6")]  # fmt: skip
    overhead = [{"dataset": "affairs", "model": model, "noise": "0.2", "ratio": ratio, "train_ratio": "1.2",
                 "train_seconds": "10", "forward_passes": "2"}
                for model, ratio in (("neural", "0.01"), ("logistic", "0.3"), ("boosted", "0.05"))]  # fmt: skip
    peer = {"dataset": "affairs", "status": "done", "auroc": "0.9", "lds": "0.5", "times_ours": "1", "covers": ""}
    write(
        tmp_path,
        choice=[*both, solver("record", "last", "1.0", "0.1")],
        solvers=[*both, solver("record", "last", "1.0", "0.9")],
        overhead=overhead,
        rates=[{"dataset": "affairs", "schedule": costs.WITHIN, "rank_correlation": value} for value in ("0.98", "1")],
        peers=[
            {**peer, "method": "datagradient", "covers": "all layers"},
            {**peer, "method": "datagradient, not the default", "covers": "last layer", "lds": "0.7"},
            {**peer, "method": "worse", "lds": "0.4", "times_ours": "2"},
            {**peer, "method": "equal", "lds": "0.49", "times_ours": "30"},
        ],
        slopes=[{"dataset": "affairs", "model": "neural", "solver": "record", "what": "influence", "slope": "0.9"}],
        data=[{"dataset": "affairs", "title": "Affairs", "n_train": "100", "n_influence": "10"}],
    )  # fmt: skip
    return tmp_path


def test_goals_are_judged_at_the_damping_that_another_seed_chose_and_misses_are_bold(results):
    lines = [line.split(" | ") for line in costs.goals(results).splitlines() if line.startswith("| ")]
    found = {words[0].strip("| "): words[-1].strip("| ") for words in lines[1:]}
    assert found == {
        "last layer from the record: forward passes": "0.2", "… of training": "0.01",
        "… with the validation samples passed for it, which an evaluation does anyway": "**0.3**",
        "… rank correlation with a pass, the lower of two seeds": "**0.980**",
        "all layers from the record, projected: forward passes": "**1.50**",
        "… LDS, and that of a converged solve": "**0.40, 0.45**",
        "training with the record of the last layer ÷ without": "**1.20**",
        "… what it adds to training, in forward passes": "40.0",
        "cheapest library method of equal LDS and AUROC ÷ the last layer from the record": "none is of equal worth",
        "cheapest library method of equal LDS and AUROC ÷ our default": "30 (equal)",
        "logistic: of training": "**0.3**",
        "boosted: of training": "0.05", "network: slope in the number of samples, from the record": "0.9",
    }  # fmt: skip


def test_what_was_not_measured_has_a_dash(results):
    write(results, peers=[{"dataset": "digits", "status": "done", "method": "datagradient", "covers": "all layers"}],
          slopes=[{"dataset": "digits", "model": "neural", "solver": "record", "what": "influence", "slope": "2"}],
          choice=[{**solver("record", "last", "0.1", "0.5"), "dataset": "digits"}])  # fmt: skip
    lines = costs.goals(results).splitlines()
    assert sum(line.endswith("| – |") for line in lines) == 8


def test_the_chosen_solver_stands_beside_the_one_of_the_highest_score(results):
    row = {"dataset": "affairs", "model": "neural", "solver": "cg", "curvature": "ggn", "parameters": "all",
           "samples": "1000", "limit": "", "tolerance": "", "damping": "0.1", "noise": "0.2", "forward_passes": "6",
           "lds": "0.5", "auroc": "0.9", "judged_forward_passes": "7", "judged_lds": "0.4",
           "judged_auroc": ""}  # fmt: skip
    kept = {**row, "solver": "record", "parameters": "last", "limit": "3"}
    published = {**kept, "noise": "0", "auroc": "", "judged_forward_passes": "8"}
    write(results, chosen=[{"which": "chosen", **kept}, {"which": "highest", **row}, {"which": "default", **row},
                           {"which": "chosen", **published}])  # fmt: skip
    assert costs.chosen(results).splitlines()[2:] == [
        "| Affairs, neural | chosen | record, last, damping 0.1, 1,000 samples, 3 steps | 7 to 8 | "
        "20% flipped 0.50, 0.40; as published 0.50, 0.40 | 20% flipped 0.90, – |",
        "| Affairs, neural | highest LDS and default then | cg, all, damping 0.1, 1,000 samples | 7 | "
        "20% flipped 0.50, 0.40 | 20% flipped 0.90, – |",
    ]


def test_a_record_that_was_refused_on_the_seed_that_judges_is_a_miss_and_a_default_by_record_comes_first(results):
    own = {**solver("record", "last", "3.0", "0.5", "0.7"), "default": "1"}
    write(results, solvers=[own, {**solver("cg", "all", "0.1", "0.45", "6"), "default": "0"}])
    lines = {line.split(" | ")[0]: line for line in costs.goals(results).splitlines()}
    assert lines["| last layer from the record: forward passes"].endswith("| **0.7** |")
    assert lines["| all layers from the record, projected: forward passes"].endswith("| **refused** |")
    assert lines["| … LDS, and that of a converged solve"].endswith("| **refused** |")


def test_families_with_one_solver_stand_once_for_all_data_sets_and_costs_of_the_other_seed_say_so(results):
    row = {"dataset": "affairs", "model": "boosted", "which": "chosen", "solver": "cg", "curvature": "ggn",
           "parameters": "all", "samples": "all", "limit": "", "tolerance": "0.01", "damping": "0.1", "noise": "0.2",
           "forward_passes": "6", "lds": "0.5", "auroc": "", "judged_forward_passes": "", "judged_lds": "",
           "judged_auroc": ""}  # fmt: skip
    write(results, chosen=[row, {**row, "dataset": "any", "noise": "affairs 0.2"}])
    assert costs.chosen(results).splitlines()[2:] == [
        "| all data sets, boosted | chosen | cg, all, damping 0.1, all samples, to 0.01 | 6 (seed 0) | affairs 0.50, – "
        "|  |"
    ]
