"""Every verdict rule on made-up results of every kind."""

import json

import pytest
import yaml

from conftest import REPOSITORY, merged
from datagradient.errors import UserError
from datagradient.evidence import claims as claims_module
from datagradient.evidence.claims import (
    CONFIRMED,
    NOT_ATTAINABLE,
    NOT_CONFIRMED,
    NOT_TESTED,
    PARTLY,
    RULES,
    arm_files,
    judge,
    judge_files,
)  # fmt: skip
from datagradient.files import read_json, read_rows, write_rows
from datagradient.influence.record import AGED
from datagradient.pipeline import layout
from datagradient.pipeline.config import validate
from datagradient.report import captions
from datagradient.report.experiment_figures import PAPER_RATIO
from datagradient.report.readme import verdict as readme_verdict
from datagradient.report.style import PAPER_D
from datagradient.report.tables import verdict as verdict_table
from datagradient.report.tables import verdict_summary
from datagradient.report.verdicts import summary, texts

CLAIMS = yaml.safe_load((REPOSITORY / "config/claims.yaml").read_text())
CELLS = [("tables", "logistic"), ("tables", "neural"), ("images", "logistic"), ("images", "neural")]


def rows_of_tests(metric, difference, t_low, noise="0", **more):
    return [
        {"dataset": dataset, "model": model, "noise": noise, "policy": "influence", "against": "baseline",
         "metric": metric, "mean_difference": str(d), "t_low": str(low), "n": "5", "smallest_p_two_sided": "0.0625",
         "d": "0.8", "q_one_sided": "0.04", "q_two_sided": "0.08", **more}
        for (dataset, model), d, low in zip(CELLS, difference, t_low, strict=True)
    ]  # fmt: skip


def pooled(metric, mean, low, high, noise="0"):
    return {"policy": "influence", "against": "baseline", "metric": metric, "noise": noise,
            "mean_difference": str(mean), "t_low": str(low), "t_high": str(high)}  # fmt: skip


def tables(**changed):
    empty = {name: [] for name in (*claims_module.TABLES, "scalability")}
    data = [{"dataset": "tables", "modality": "table"}, {"dataset": "images", "modality": "image"}]
    return {**empty, "data": data, **changed}


def verdict(claim, **changed):
    return next(row for row in judge(CLAIMS, tables(**changed)) if row["claim"] == claim)


def test_figures_and_captions_show_the_numbers_of_the_claims():
    assert (CLAIMS["C3"]["low"], CLAIMS["C3"]["high"]) == PAPER_D
    assert CLAIMS["C5"]["low"] == PAPER_RATIO
    assert f"{PAPER_D[0]} to {PAPER_D[1]}" in captions.FIGURES["effects"]
    assert f"C6 asks for {CLAIMS['C6']['low']}" in captions.TABLES["tracking"]
    assert f"correlation of {AGED} in" in captions.TABLES["rates"]


UP, NONE, DOWN = ([0.02] * 4, [0.01] * 4), ([0.02] * 4, [-0.01] * 4), ([-0.02] * 4, [-0.03] * 4)
SOME = ([0.02, 0.02, 0.005, -0.02], [0.01, -0.01, 0.001, -0.03])


@pytest.mark.parametrize(("found", "expected", "reached"), [
    (UP, CONFIRMED, 4), (SOME, PARTLY, 1), (NONE, NOT_CONFIRMED, 0), (DOWN, NOT_CONFIRMED, 0),
])  # fmt: skip
def test_accuracy_gain(found, expected, reached):
    row = verdict("C1", tests=rows_of_tests("accuracy", *found), pooled=[pooled("accuracy", 0.016, 0.01, 0.022)])
    assert row["verdict"] == expected
    assert (row["measured"], row["low"], row["high"]) == pytest.approx((1.6, 1.0, 2.2))
    assert f"{reached} of 4" in row["detail"]


def test_the_condition_is_the_data_as_published_and_noise_is_named_apart():
    tests = rows_of_tests("accuracy", *DOWN) + rows_of_tests("accuracy", *UP, noise="0.2")
    row = verdict("C1", tests=tests, pooled=[pooled("accuracy", -0.02, -0.03, -0.01),
                                             pooled("accuracy", 0.02, 0.01, 0.03, noise="0.2")])  # fmt: skip
    assert (row["verdict"], row["measured"]) == (NOT_CONFIRMED, pytest.approx(-2))
    assert "with flipped labels 4 of 4" in row["detail"]


@pytest.mark.parametrize(("scale", "expected"), [(2, CONFIRMED), (1, NOT_CONFIRMED)])
def test_f1_gain_is_in_f1_and_not_in_points(scale, expected):
    found = [[scale * value for value in values] for values in UP]
    row = verdict("C2", tests=rows_of_tests("f1", *found), pooled=[pooled("f1", 0.03, 0.01, 0.05)])
    assert (row["verdict"], row["measured"]) == (expected, 0.03)


@pytest.mark.parametrize(("d", "found", "expected"), [
    ("0.41", UP, CONFIRMED), ("0.4", UP, NOT_CONFIRMED), ("2", NONE, NOT_CONFIRMED), ("2", SOME, PARTLY),
    ("inf", UP, CONFIRMED),
])  # fmt: skip
def test_effect_size_needs_a_gain_that_is_surely_one(d, found, expected):
    assert verdict("C3", tests=rows_of_tests("accuracy", *found, d=d))["verdict"] == expected


@pytest.mark.parametrize(("q_one", "q_two", "smallest", "found", "expected"), [
    (0.04, 0.08, 0.0625, UP, PARTLY), (0.06, 0.1, 0.0625, UP, NOT_CONFIRMED),
    (0.04, 0.08, 0.0625, SOME, NOT_ATTAINABLE), (0.04, 0.04, 0.0625, DOWN, NOT_CONFIRMED),
    (0.01, 0.02, 1e-6, UP, CONFIRMED), (0.01, 0.02, 1e-6, SOME, PARTLY), (0.01, 0.06, 1e-6, UP, NOT_CONFIRMED),
])  # fmt: skip
def test_significance(q_one, q_two, smallest, found, expected):
    more = {"q_one_sided": str(q_one), "q_two_sided": str(q_two), "smallest_p_two_sided": str(smallest)}
    tests = [row for metric in ("accuracy", "f1") for row in rows_of_tests(metric, *found, **more)]
    assert verdict("C4", tests=tests)["verdict"] == expected


def test_too_few_seeds_in_one_comparison_are_too_few_for_the_claim():
    more = {"q_one_sided": "0.01", "q_two_sided": "0.02", "smallest_p_two_sided": "1e-6"}
    tests = [row for metric in ("accuracy", "f1") for row in rows_of_tests(metric, *UP, **more)]
    tests[2]["smallest_p_two_sided"] = "0.0625"
    row = verdict("C4", tests=tests)
    assert row["verdict"] == PARTLY
    assert "is 0.0625" in row["detail"]


def cost(n, ratio, solver="cg", status="converged", default=None, train_ratio=""):
    return {"dataset": "images", "model": "neural", "solver": solver, "n": str(n), "ratio": str(ratio),
            "default": str(int(solver == "cg") if default is None else default), "solver_status": status,
            "three_rounds_ratio": str(3 * ratio), "train_ratio": str(train_ratio)}  # fmt: skip


def sizes(ratios, largest=100_000):
    return [cost(n, ratio) for n, ratio in zip((1000, 10_000, largest), ratios, strict=True)]


@pytest.mark.parametrize(("ratios", "largest", "expected"), [
    ((0.1, 0.2, 0.3), 100_000, CONFIRMED), ((0.1, 0.2, 0.5), 100_000, PARTLY),
    ((0.5, 0.6, 0.7), 100_000, NOT_CONFIRMED),
    ((0.1, 0.2, 0.3), 50_000, NOT_TESTED),
])  # fmt: skip
def test_overhead(ratios, largest, expected):
    assert verdict("C5", scalability=sizes(ratios, largest), costs=[{"ratio": "0.2"}])["verdict"] == expected


def test_overhead_without_the_experiment_is_not_tested_and_says_what_the_run_cost():
    row = verdict("C5", costs=[{"ratio": "0.2"}, {"ratio": "0.31"}])
    assert (row["verdict"], row["measured"]) == (NOT_TESTED, 0.31)
    assert "at most 0.31" in row["detail"]


def follows(score, noise, correlation, low):
    return {"score": score, "noise": noise, "correlation": str(correlation), "low": str(low), "high": "1"}


@pytest.mark.parametrize(("at_0", "at_02", "other", "expected"), [
    ((0.9, 0.8), (0.9, 0.8), (0, -0.1), CONFIRMED), ((0.9, 0.8), (-0.9, -1), (0, -0.1), CONFIRMED),
    ((0.3, 0.2), (-0.9, -1), (0.8, 0.6), PARTLY), ((0.3, 0.2), (0.9, 0.8), (0, -0.1), PARTLY),
    ((0.3, 0.2), (0.9, -0.1), (0, -0.1), NOT_CONFIRMED), ((0.9, -0.2), (-0.9, -1), (0, -1), NOT_CONFIRMED),
    ((float("nan"), float("nan")), (-0.9, -1), (0, -1), NOT_TESTED),
])  # fmt: skip
def test_tracking(at_0, at_02, other, expected):
    rows = [follows("dcs", "0.2", *at_02), follows("dcs", "0", *at_0), follows("helpful_share", "0", *other)]
    row = verdict("C6", tracking=rows)
    assert row["verdict"] == expected
    assert row["measured"] == (None if expected == NOT_TESTED else at_0[0])  # of the data as published


def test_tracking_says_what_reaches_the_threshold_and_that_a_counter_does_as_well():
    rows = [follows("dcs", "0", 0.2, 0.1), follows("harm_reduction", "0.2", 0.6, 0.4),
            follows("iteration", "0.2", 0.9, 0.8)]  # fmt: skip
    row = verdict("C6", tracking=rows)
    assert row["verdict"] == PARTLY
    assert "in 0 of 1 correlations; with flipped labels 1 of 1; harm_reduction at noise 0.2: 0.60" in row["detail"]
    assert "the number of the iteration itself at noise 0.2: 0.90 [0.80, 1.00]" in row["detail"]
    assert verdict("C6", tracking=[rows[0], rows[2]])["verdict"] == NOT_CONFIRMED  # a counter is no score


@pytest.mark.parametrize(("pooled_low", "above", "expected"), [
    (0.01, 1, NOT_CONFIRMED), (-0.01, 1, PARTLY), (-0.01, 0, CONFIRMED), (0.01, 0, NOT_CONFIRMED),
])  # fmt: skip
def test_overfitting_of_validation(pooled_low, above, expected):
    iterations = [
        {"dataset": dataset, "model": model, "noise": "0", "policy": "influence", "iteration": k, "metric": "optimism",
         "mean": str(0.01 * (i + 1)), "low": "0.01" if i < above else "-0.01"}
        for i, (dataset, model) in enumerate(CELLS) for k in ("1", "3")
    ]  # fmt: skip
    row = verdict("C7", iterations=iterations, pooled=[pooled("optimism", 0.02, pooled_low, 0.05)])
    assert row["verdict"] == expected
    assert f"{above} of 4" in row["detail"] and "by 1.0 to 4.0 points" in row["detail"]


@pytest.mark.parametrize(("found", "expected"), [
    (UP, PARTLY), (SOME, PARTLY), (NONE, NOT_CONFIRMED), (DOWN, NOT_CONFIRMED),
])  # fmt: skip
def test_generality(found, expected):
    row = verdict("C8", tests=rows_of_tests("accuracy", *found))
    assert row["verdict"] == expected
    assert ("table/logistic, image/logistic" in row["detail"]) == (found is SOME)


def test_gains_where_a_modality_or_family_is_missing_confirm_in_part():
    tests = rows_of_tests("accuracy", *UP)
    assert "not tested: boosted, text" in verdict("C8", tests=tests)["detail"]
    names = [
        (dataset, model) for dataset in ("tables", "images", "texts") for model in ("logistic", "boosted", "neural")
    ]
    everything = [{**tests[0], "dataset": dataset, "model": model} for dataset, model in names]
    data = [{"dataset": f"{modality}s", "modality": modality} for modality in ("table", "image", "text")]
    assert verdict("C8", tests=everything, data=data)["verdict"] == CONFIRMED


def test_families_that_the_paper_does_not_speak_of_change_no_verdict():
    tests = rows_of_tests("accuracy", *UP)
    others = [{**row, "model": "ridge"} for row in rows_of_tests("accuracy", *DOWN)]
    for claim in ("C1", "C4", "C8"):
        assert verdict(claim, tests=[*tests, *others]) == verdict(claim, tests=tests)
    assert verdict("C1", tests=others)["verdict"] == NOT_TESTED


def test_flipped_labels_alone_test_no_claim_about_the_data_as_published():
    changed = {
        "tests": rows_of_tests("accuracy", *UP, noise="0.2"), "tracking": [follows("dcs", "0.2", 0.9, 0.8)],
        "pooled": [pooled("accuracy", 0.02, 0.01, 0.03, "0.2")],
    }  # fmt: skip
    assert {row["verdict"] for row in judge(CLAIMS, tables(**changed))} == {NOT_TESTED}


def test_intervals_that_one_seed_cannot_give_are_not_tested():
    iterations = [{"dataset": "tables", "model": "logistic", "noise": "0", "policy": "influence", "iteration": "3",
                   "metric": "optimism", "low": "nan"}]  # fmt: skip
    row = verdict("C7", iterations=iterations, pooled=[pooled("optimism", 0.02, "nan", "nan")])
    assert row["verdict"] == NOT_TESTED


def test_the_most_expensive_model_of_a_size_counts():
    rows = [cost(100_000, ratio) for ratio in (9, 0.1)]
    row = verdict("C5", scalability=rows, costs=[{"ratio": "0.2"}])
    assert (row["verdict"], row["measured"]) == (NOT_CONFIRMED, 9)


def test_the_default_solver_decides_about_the_cost_and_the_others_stand_beside_it():
    others = [cost(100_000, 0.001, "record", train_ratio=1.02), cost(100_000, 0.9, "cg-all"),
              cost(100_000, 2, "lissa", "unconverged"), cost(1000, 50, "lissa")]  # fmt: skip
    row = verdict("C5", scalability=[*sizes((0.1, 0.2, 0.3)), *others], costs=[{"ratio": "0.2"}])
    assert (row["verdict"], row["measured"], row["high"]) == (CONFIRMED, 0.3, 0.3)
    assert row["detail"].endswith(
        "in this run at most 0.20; at 100,000 samples one scoring and three rounds of networks cost, over one "
        "training, 0.3 and 0.9 by the solver without a record (cg), 0.001 and 0.003 by the record of the last epoch "
        "(training with it takes 1.02 times as long), 0.9 and 2.7 by a converged solve over all layers, 2 and 6 by "
        "LiSSA as in the paper (unconverged)"
    )


def test_a_record_that_is_the_default_decides():
    rows = [cost(100_000, 0.6, default=0), cost(100_000, 0.01, "record", default=1)]
    assert verdict("C5", scalability=rows, costs=[])["measured"] == 0.01


def test_families_with_one_solver_have_no_costs_by_solver():
    row = verdict("C5", scalability=sizes((0.1, 0.2, 0.3)), costs=[{"ratio": "0.2"}])
    assert row["detail"].endswith("in this run at most 0.20")


def test_nothing_measured_is_not_tested_and_every_claim_has_a_row():
    rows = judge(CLAIMS, tables())
    assert [row["claim"] for row in rows] == list(RULES) == list(CLAIMS)
    assert {row["verdict"] for row in rows} == {NOT_TESTED}


def test_a_claim_without_a_rule_is_refused(tmp_path):
    (tmp_path / "claims.yaml").write_text("C1: {}\nC9: {}\n")
    with pytest.raises(UserError, match=r"claims.yaml: holds C1, C9; there are rules for C1, C2"):
        judge_files(tmp_path / "claims.yaml", tmp_path, tmp_path / "claims.json")


def test_the_file_holds_the_rows(tmp_path):
    for name in claims_module.TABLES:
        write_rows(tmp_path / f"{name}.csv", ["ratio"], [{"ratio": 1}] if name == "costs" else [])
    judge_files(REPOSITORY / "config/claims.yaml", tmp_path, tmp_path / "claims.json")
    assert [row["claim"] for row in read_json(tmp_path / "claims.json")["claims"]] == list(CLAIMS)


def conditioned(**by_condition):
    """Tables in which C1 holds as the words up, some or down say, by condition."""
    found = {
        "up": (UP, (0.016, 0.01, 0.022)),
        "some": (SOME, (0.005, -0.01, 0.02)),
        "down": (DOWN, (-0.02, -0.03, -0.01)),
    }
    tests, pools = [], []
    for condition, word in by_condition.items():
        cells, mean = found[word]
        tests += rows_of_tests("accuracy", *cells, noise=condition)
        pools.append(pooled("accuracy", *mean, noise=condition))
    return {"tests": tests, "pooled": pools}


def claim(name, arm=None, **changed):
    return next(row for row in judge(CLAIMS, tables(**changed), arm) if row["claim"] == name)


def test_each_condition_is_judged_by_the_same_rule_alone():
    row = claim("C1", **conditioned(**{"0": "down", "0.2": "up", "worse_label": "some", "0.2-untrusted": "up"}))
    assert row["verdict"] == NOT_CONFIRMED
    assert [(part["condition"], part["verdict"]) for part in row["by_condition"]] == [
        ("0", NOT_CONFIRMED), ("0.2", CONFIRMED), ("worse_label", PARTLY),
    ]  # fmt: skip
    assert texts(row) == {"flipped": "1.6 points [1, 2.2]; confirmed", "human": "0.5 points [-1, 2]; partly",
                          "as in the paper": ""}  # fmt: skip


def test_conditions_besides_the_usual_ones_are_named_after_them():
    row = claim("C1", **conditioned(**{"0.1": "down", "0.2": "up", "aggre_label": "some", "worse_label": "down"}))
    assert texts(row)["flipped"] == "1.6 points [1, 2.2]; confirmed; 0.1: -2 points [-3, -1]; not confirmed"
    assert texts(row)["human"] == "-2 points [-3, -1]; not confirmed; aggre_label: 0.5 points [-1, 2]; partly"


def test_what_was_not_run_is_empty_and_cost_has_no_condition():
    row = claim("C1", **conditioned(**{"0": "up"}))
    assert set(texts(row).values()) == {""}
    row = claim("C5", **conditioned(**{"0.2": "up", "worse_label": "up"}), costs=[{"ratio": "0.2"}])
    assert (row["by_condition"], set(texts(row).values())) == ([], {""})


def test_tracking_of_each_condition_says_nothing_of_another():
    rows = [follows("dcs", "0", 0.3, 0.2), follows("dcs", "0.2", 0.9, 0.8), follows("dcs", "worse_label", 0.2, 0.1)]
    row = claim("C6", tracking=rows)
    assert row["verdict"] == PARTLY  # by flipped labels
    assert [part["verdict"] for part in row["by_condition"]] == [NOT_CONFIRMED, CONFIRMED, NOT_CONFIRMED]


def test_the_summary_names_the_conditions_where_the_numbers_appear():
    rows = judge(CLAIMS, tables(**conditioned(**{"0": "down", "0.2": "up", "worse_label": "some"})))
    text = summary(rows)
    assert "on the data as published: none; with flipped labels (0.2): in full C1, C3, in part C4, C8" in text
    assert "with human labels (worse_label): in part C1, C3, C8" in text
    assert text.endswith("As in the paper (LiSSA over all layers of the networks), not run.")
    assert "human labels: not run" in summary(judge(CLAIMS, tables(**conditioned(**{"0": "up"}))))
    assert summary(judge(CLAIMS, tables())) == ""


def costs_of(model, ratio, solves, unconverged):
    return {"dataset": "tables", "model": model, "ratio": str(ratio), "models_trained": str(solves),
            "solver_unconverged": str(unconverged)}  # fmt: skip


def arm_tables(**by_condition):
    found = conditioned(**by_condition)
    tests = [row for row in found["tests"] if row["model"] == "neural"]
    return {"tests": tests, "pooled": found["pooled"], "costs": [costs_of("neural", 0.54, 40, 12)]}


def test_the_arm_as_in_the_paper_stands_beside_the_same_networks_by_our_solvers():
    ours = conditioned(**{"0": "down"}) | {
        "costs": [costs_of("neural", 0.11, 200, 1), costs_of("boosted", 0.9, 200, 2)]
    }
    rows = {row["claim"]: row for row in judge(CLAIMS, tables(**ours), arm_tables(**{"0": "up", "0.2": "some"}))}
    arm = rows["C1"]["as_in_the_paper"]
    assert (rows["C1"]["verdict"], arm["verdict"], arm["measured"]) == (NOT_CONFIRMED, CONFIRMED, pytest.approx(1.6))
    assert "2 of 2 data sets and models" in arm["detail"] and "0 of 2 data sets and models" in arm["ours"]["detail"]
    assert texts(rows["C1"])["as in the paper"] == (
        "1.6 points [1, 2.2]; confirmed; 20% of labels flipped: 0.5 points [-1, 2]; not confirmed; 12 of "
        "40 solves unconverged; the same networks by our solvers: 0 of 2 data sets and models gain at least 1.3; 1 of "
        "200 solves unconverged"
    )
    cost = rows["C5"]["as_in_the_paper"]
    assert (cost["verdict"], cost["measured"], cost["ours"]["measured"]) == (NOT_TESTED, 0.54, 0.11)
    assert rows["C3"]["as_in_the_paper"]["verdict"] == CONFIRMED
    assert rows["C2"]["as_in_the_paper"]["verdict"] == NOT_TESTED  # this arm has no F1
    assert [name for name, row in rows.items() if row["as_in_the_paper"]] == ["C1", "C2", "C3", "C5"]
    text = summary(list(rows.values()))
    assert "of C1, C3, on the data as published: in full C1, C3; with flipped labels (0.2): none" in text


def test_the_arm_is_read_where_all_of_its_tables_are_and_shown(tmp_path):
    ours, arm = tables(**conditioned(**{"0": "down", "0.2": "up"})), arm_tables(**{"0": "up"})
    ours["costs"] = [costs_of("neural", 0.11, 200, 1)]
    for folder, content in (("cpu", ours), ("quick", ours), ("lissa", arm)):
        for name, rows in content.items():
            write_rows(tmp_path / folder / f"{name}.csv", list(rows[0]) if rows else ["noise", "metric"], rows)
    judge_files(REPOSITORY / "config/claims.yaml", tmp_path / "cpu", tmp_path / "cpu/claims.json")
    shown = {row["claim"]: row for row in verdict_table(tmp_path / "cpu")}
    assert shown["C1"]["as in the paper"].startswith("1.6 points [1, 2.2]; confirmed; 12 of 40 solves unconverged; ")
    assert shown["C1"]["flipped"] == "1.6 points [1, 2.2]; confirmed"
    assert "| as in the paper (networks, LiSSA) | verdict |" in readme_verdict(tmp_path / "cpu")
    assert verdict_summary(tmp_path / "cpu").endswith("Of its 40 solves 12 miss their tolerance.\n\n")
    assert arm_files(tmp_path / "quick") == []  # has other data
    (tmp_path / "lissa/costs.csv").unlink()
    assert arm_files(tmp_path / "cpu") == []
    judge_files(REPOSITORY / "config/claims.yaml", tmp_path / "cpu", tmp_path / "cpu/claims.json")
    assert {row["as in the paper"] for row in verdict_table(tmp_path / "cpu")} == {""}


def test_claims_of_an_earlier_version_are_shown_without_conditions(tmp_path):
    content = read_json(REPOSITORY / "results/cpu/claims.json")
    for row in content["claims"]:
        for key in ("by_condition", "as_in_the_paper"):
            row.pop(key, None)
    (tmp_path / "claims.json").write_text(json.dumps(content))
    assert {row["flipped"] for row in verdict_table(tmp_path)} == {""}
    assert verdict_summary(tmp_path) == ""
    assert "| measured | as published | verdict |" in readme_verdict(tmp_path)


def test_the_arm_has_the_data_and_networks_of_the_preset_that_it_stands_beside():
    cpu, lissa = (validate(*merged(REPOSITORY / f"config/{name}.yaml")) for name in ("cpu", "lissa"))
    for key in ("noise", "iterations", "removal_fraction", "split"):
        assert lissa[key] == cpu[key], key
    assert lissa["seeds"] == cpu["seeds"][: len(lissa["seeds"])]
    assert list(lissa["datasets"]) == list(cpu["datasets"])
    for name, options in lissa["datasets"].items():
        assert options["models"]["neural"] == cpu["datasets"][name]["models"]["neural"], name
        for key in ("max_development", "max_test"):
            assert options[key] == cpu["datasets"][name][key], (name, key)
    assert lissa["models"] == ["neural"]
    assert layout.all_conditions(lissa) == ["0", "0.2", "worse_label"]


def test_the_arms_solver_is_the_benchmarked_lissa_that_finds_flipped_labels_best():
    lissa = validate(*merged(REPOSITORY / "config/lissa.yaml"))
    kinds = {row["dataset"]: row["modality"] for row in read_rows(REPOSITORY / "results/cpu/data.csv")}
    rows = [row for row in read_rows(REPOSITORY / "results/benchmarks/solvers.csv")
            if (row["solver"], row["parameters"]) == ("lissa", "all") and row["auroc"]]  # fmt: skip
    for name in lissa["datasets"]:
        best = max((row for row in rows if row["dataset"] == name), key=lambda row: float(row["auroc"]))
        solver = lissa["model_settings"]["neural"]["solver"][kinds[name]]
        found = (solver["name"], solver["parameters"], solver["damping"], solver["max_iterations"], solver["samples"])
        assert found == ("lissa", "all", float(best["damping"]), int(best["steps"]), int(best["samples"])), name
