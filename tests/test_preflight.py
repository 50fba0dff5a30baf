import pytest
from statsmodels.stats.multitest import multipletests

from datagradient.pipeline.preflight import preflight


def config(seeds, datasets=3, models=3):
    return {"seeds": range(seeds), "datasets": range(datasets), "models": range(models)}


def test_five_seeds_can_reach_significance_one_sided_alone():
    text = preflight(config(5))
    assert (
        "one-sided: smallest p of one comparison 0.03125; after Benjamini-Hochberg q <= 0.05 needs 12 unanimous" in text
    )
    assert "two-sided: smallest p of one comparison 0.0625; after Benjamini-Hochberg no q can reach 0.05" in text
    assert "(15 units): smallest p 3.1e-05" in text


@pytest.mark.parametrize(("unanimous", "reached"), [(11, False), (12, True)])
def test_the_number_is_what_statsmodels_says(unanimous, reached):
    p = [0.03125] * unanimous + [1.0] * (18 - unanimous)
    assert (min(multipletests(p, method="fdr_bh")[1]) <= 0.05) == reached


def test_twenty_seeds_reach_it_both_ways():
    assert preflight(config(20)).count("needs 1 unanimous") == 2
