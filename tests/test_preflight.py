import re
from collections import Counter

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from conftest import REPOSITORY, merged
from datagradient.evidence.comparisons import comparison_rows
from datagradient.pipeline.config import validate
from datagradient.pipeline.layout import grid
from datagradient.pipeline.preflight import preflight


def config(seeds, datasets=3, models=3, **others):
    return {"seeds": range(seeds), "datasets": dict.fromkeys("abc"[:datasets]), "noise": [0.0, 0.2],
            "models": ["logistic", "boosted", "neural", "other"][:models], **others}  # fmt: skip


def test_five_seeds_can_reach_significance_one_sided_alone():
    text = preflight(config(5))
    assert text.startswith("preflight: condition 0, 0.2: families of 18 comparisons (accuracy and F1, all data sets, ")
    assert (
        "one-sided: smallest p of one comparison 0.03125; after Benjamini-Hochberg q <= 0.05 needs 12 unanimous ones "
        "of the 18\n" in text
    )
    assert "two-sided: smallest p of one comparison 0.0625; after Benjamini-Hochberg no q can reach 0.05" in text
    assert "(15 units): smallest p 3.1e-05" in text


@pytest.mark.parametrize(("unanimous", "reached"), [(11, False), (12, True)])
def test_the_number_is_what_statsmodels_says(unanimous, reached):
    p = [0.03125] * unanimous + [1.0] * (18 - unanimous)
    assert (min(multipletests(p, method="fdr_bh")[1]) <= 0.05) == reached


def test_twenty_seeds_reach_it_both_ways():
    assert preflight(config(20)).count("needs 1 unanimous") == 2


def test_the_confirmation_says_what_each_number_of_seeds_and_each_condition_can_reach():
    confirm = {**validate(*merged(REPOSITORY / "config/confirm.yaml")), "seeds": list(range(10)),
               "first_seeds": {"neural": 5}}  # fmt: skip
    everywhere, images = preflight(confirm).split("preflight: ")[1:]
    assert everywhere.startswith("condition 0, 0.2, 0.2-untrusted: families of 18 comparisons")
    assert images.startswith("condition worse_label, worse_label-untrusted: families of 6 comparisons (accuracy and "
                             "F1, cifar10, all models)")  # fmt: skip
    ten, five = "10 seeds (logistic, boosted), ", "5 seeds (neural), "
    for text, more, every, needed in ((everywhere, 12, 18, 12), (images, 4, 6, 4)):
        assert f"{ten}one-sided: smallest p of one comparison 0.0009766;" in text
        assert f"{ten}two-sided: smallest p of one comparison 0.001953;" in text
        assert text.count(f"needs 1 unanimous ones of the {more} with 10 seeds or more") == 2
        assert f"{five}one-sided: smallest p of one comparison 0.03125; " in text
        assert f"needs {needed} unanimous ones of the {every}\n" in text
        assert f"{five}two-sided: smallest p of one comparison 0.0625; after Benjamini-Hochberg no q" in text
    assert "(30 units)" in everywhere
    assert "(10 units)" in images


@pytest.mark.parametrize(("unanimous", "reached"), [((6, 8), False), ((6, 9), True), ((0, 15), True)])
def test_those_with_more_seeds_may_need_those_with_fewer(unanimous, reached):
    """Six comparisons have six seeds, 18 have five: the six alone are too few for 24."""
    seeds = {"boosted": 5, "neural": 5, "other": 5}
    six = preflight(config(6, models=4, first_seeds=seeds)).splitlines()[1]
    assert six.endswith("needs 15 unanimous ones of the 24")
    six, five = unanimous
    p = [0.5**6] * six + [0.5**5] * five + [1.0] * (24 - six - five)
    assert (min(multipletests(p, method="fdr_bh")[1]) <= 0.05) == reached


def test_families_are_as_large_as_those_of_the_tests():
    """Also of conditions that one data set has, of policies that run in some, and of families with fewer seeds."""
    policies = ["influence", "uniform", "crossfit", "crossfit_loss", "added", "true_labels"]
    settings = config(4, datasets=2, models=2, first_seeds={"boosted": 2}, validation=["trusted", "untrusted"],
                      policies=policies, iterations=1)  # fmt: skip
    settings["datasets"] = {"a": {"human_labels": ["people"]}, "b": {}}
    random, rows = np.random.default_rng(0), []
    for keys in grid(settings):
        numbers = dict.fromkeys(("accuracy", "f1"), random.normal())
        rows.append({**{key: str(value) for key, value in keys.items()}, **numbers, "solver_status": "converged"})
    tests = comparison_rows(rows)
    said = {}
    for line in preflight(settings).splitlines():
        for names, m in re.findall(r"^preflight: condition (.*): families of (\d+)", line):
            said.update(dict.fromkeys(names.split(", "), int(m)))
    sizes = Counter((test["policy"], test["against"], test["noise"]) for test in tests)
    assert said == {"0": 8, "0.2": 8, "0.2-untrusted": 8, "people": 4, "people-untrusted": 4}
    assert all(size == said[noise] for (_, _, noise), size in sizes.items())
    assert {noise for policy, _, noise in sizes if policy == "added"} == {"0", "0.2", "people"}
    smallest = {(test["model"], test["smallest_p"]) for test in tests}
    assert smallest == {("logistic", 0.5**4), ("boosted", 0.5**2)}
