"""What the confirmation says of its questions, on made-up results."""

import pytest

from datagradient.evidence.recovered import COLUMNS
from datagradient.files import write_rows
from datagradient.report import confirmation

POLICIES = ("influence", "guarded", "crossfit", "repair", "crossfit_loss", "crossfit_uniform", "oracle_removal")
CELLS = (("pooled", "pooled"), ("adult", "logistic"), ("imdb", "logistic"), ("imdb", "neural"))


def results(folder, share=0.8, least=0.1, untrusted=0.5, change=0.0005, worse=False):
    rows = []
    for condition in ("0.2", "worse_label"):
        for validation in ("trusted", "untrusted"):
            for dataset, model in CELLS:
                for policy in POLICIES:
                    value = untrusted if validation == "untrusted" else least if (dataset, model) == CELLS[1] else share
                    value = 0.1 if policy in ("crossfit_loss", "crossfit_uniform") else value
                    rows.append({**dict.fromkeys(COLUMNS, "5"), "dataset": dataset, "model": model, "noisy": 0.5,
                                 "condition": condition, "validation": validation, "policy": policy,
                                 "refined": 0.5 + value / 10, "true_labels": 0.6, "share": value, "low": value - 0.05,
                                 "high": value + 0.05, "share_of_oracle": value, "oracle_low": value - 0.1,
                                 "oracle_high": value + 0.1, "trainings": 7})  # fmt: skip
    write_rows(folder / "recovered.csv", COLUMNS, rows)
    keys = ("policy", "against", "noise", "metric")
    changes = [{**dict(zip(keys, (policy, "baseline", "0", "accuracy"), strict=True)), "mean_difference": change,
                "t_low": change - 0.001, "t_high": change + (0.0001 if worse else 0.001)}
               for policy in ("repair", "crossfit", "guarded")]  # fmt: skip
    for name in ("pooled.csv", "tests.csv"):
        write_rows(folder / name, tuple(changes[0]), changes)
    runs = [{"policy": row["policy"], "noise": "0", "runs": 33, "acted": 15} for row in changes]
    write_rows(folder / "safety.csv", tuple(runs[0]), runs)
    return folder


def reached(folder):
    return [is_reached for *_, is_reached in confirmation.answers(folder)]


def test_every_goal_is_reached_where_shares_are_high(tmp_path):
    found = reached(results(tmp_path, share=0.95, least=0.9))
    assert found == [True] * 15
    text = confirmation.goals(tmp_path)
    assert "| 20 % flips: recovered share of `repair` | at least 0.70 | 0.95 [0.90, 1.00] | reached |" in text
    assert "+0.05 [-0.05, +0.15]; 0 of 1 t intervals below 0; acted in 15 of 33 runs" in text


@pytest.mark.parametrize(("changed", "missed"), [
    ({"share": 0.6, "least": 0.9}, {0, 2, 3, 4, 5}), ({"least": -0.1, "share": 0.95}, {1, 3}),
    ({"share": 0.95, "least": 0.9, "untrusted": 0.3}, {6, 8, 9, 10, 11}),
    ({"share": 0.95, "least": 0.9, "change": -0.002}, {12, 13, 14}),
    ({"share": 0.95, "least": 0.9, "change": -0.0005, "worse": True}, {12, 13, 14}),
])  # fmt: skip
def test_a_goal_that_is_missed_is_said_to_be(tmp_path, changed, missed):
    found = reached(results(tmp_path, **changed))
    assert {place for place, is_reached in enumerate(found) if not is_reached} == missed
    assert confirmation.goals(tmp_path).count("**missed**") == len(missed)


def test_policies_stand_with_their_share_in_every_condition(tmp_path):
    lines = confirmation.recovered(results(tmp_path)).splitlines()
    assert lines[0].count("validation |") == 4
    assert len(lines) == 2 + len(POLICIES)
    assert lines[2].startswith("| three rounds by influence (published) | 7 | 0.80 [0.75, 0.85] |")


def test_few_trusted_labels_stand_by_their_number(tmp_path):
    columns = ("dataset", "model", "condition", "way", "labels", "share", "low", "high")
    rows = [dict(zip(columns, (dataset, model, "0.2", way, labels, 0.4, 0.3, 0.5), strict=True))
            for dataset, model in (("adult", "pooled"), ("adult", "logistic"), ("pooled", "pooled"))
            for way in ("influence", "check_random") for labels in ("all", "0", "50")]  # fmt: skip
    write_rows(tmp_path / "trusted_shares.csv", columns, rows)
    write_rows(tmp_path / "data.csv", ("dataset", "title"), [{"dataset": "adult", "title": "Adult"}])
    assert confirmation.few_trusted(tmp_path).splitlines() == [
        "| labels, data set | way | 0 | 50 | all |",
        "|---|---|---|---|---|",
        "| 20 % flips, Adult | influence | 0.40 [0.30, 0.50] | 0.40 [0.30, 0.50] | 0.40 [0.30, 0.50] |",
    ]


def test_in_short_are_the_published_policy_ours_and_the_ceiling(tmp_path):
    lines = confirmation.in_short(results(tmp_path)).splitlines()
    assert [line.split("|")[1].strip()[:12] for line in lines[2:]] == ["three rounds", "`repair`: re", "removal of e"]


def test_definitions_of_the_contribution_score_stand_with_the_primary_first_and_the_counter_last(tmp_path):
    columns = ("score", "noise", "correlation", "low", "high")
    rows = [(score, noise, value, value - 0.1, value + 0.1) for noise, value in (("0", 0.3), ("0.2-untrusted", -0.2))
            for score in ("dcs", "iteration", "harm_reduction_selection")]  # fmt: skip
    write_rows(tmp_path / "tracking.csv", columns, [dict(zip(columns, row, strict=True)) for row in rows])
    assert confirmation.tracking(tmp_path).splitlines() == [
        "| contribution score | as published | 20% flipped, validation too |",
        "|---|---|---|",
        "| `harm_reduction_selection` (primary) | 0.30 [0.20, 0.40] | -0.20 [-0.30, -0.10] |",
        "| `dcs` | 0.30 [0.20, 0.40] | -0.20 [-0.30, -0.10] |",
        "| the number of the iteration | 0.30 [0.20, 0.40] | -0.20 [-0.30, -0.10] |",
    ]
