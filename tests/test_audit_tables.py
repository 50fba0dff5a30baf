"""The tables of audits with known truth, on rows made up by hand."""

import pytest

from datagradient.files import write_rows
from datagradient.report import audit_tables

TRIAL = {
    "dataset": "votes", "kind": "flips", "trusted": "0", "rows": 300, "planted": 30, "verdict": "helps",
    "change": 0.02, "low": 0.01, "high": 0.03, "true_change": 0.025, "right": 1, "acted": 20, "acted_right": 0.9,
    "precision": 0.5, "precision_by_influence": 0.1, "precision_by_loss": 0.4, "precision_datalab": 0.42,
    "auroc": 0.9, "auroc_by_influence": 0.6, "auroc_by_loss": 0.8, "auroc_datalab": 0.85, "seconds": 3.4,
    "seconds_datalab": 1.2, "acted_by_influence": "", "acted_right_by_influence": "", "true_change_by_influence": "",
}  # fmt: skip
TRIALS = [
    TRIAL,
    TRIAL | {"dataset": "digits", "planted": 90, "precision": 1.0, "verdict": "nothing", "right": 0, "auroc": 0.7},
    TRIAL
    | {
        "trusted": "1",
        "verdict": "too few",
        "right": "",
        "acted": 0,
        "acted_right": "",
        "acted_by_influence": 10,
        "acted_right_by_influence": 0.6,
        "true_change_by_influence": -0.01,
    },
]
CHECKED = {
    "dataset": "votes", "checked": 100, "checked_wrong": 40, "expected_wrong_share": 0.03, "low": 0.01, "high": 0.08,
    "left_wrong_share": 0.04, "verdict": "nothing", "change": 0.0, "change_low": -0.01, "change_high": 0.005,
    "accuracy_given": 0.9, "accuracy_checked": 0.92, "accuracy_refined": 0.921, "acted": 0,
}  # fmt: skip


@pytest.fixture
def results(tmp_path):
    write_rows(tmp_path / "audits.csv", tuple(TRIAL), TRIALS)
    write_rows(tmp_path / "checking.csv", tuple(CHECKED), [CHECKED, CHECKED | {"low": "", "high": ""}])
    return tmp_path


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_trials_are_counted_by_kind_and_trust(results):
    head, _, without, with_trust = map(cells, audit_tables.trials_said(results).splitlines())
    found = dict(zip(head, without, strict=True))
    assert [found[f"said: {verdict}"] for verdict in ("helps", "nothing", "too few")] == ["1", "1", "0"]
    assert found["right of those that said"] == "1 of 2"
    assert found["mistakes among rows acted on, by doubt"] == "90 %"
    assert found["mean true change, by influence"] == "–"
    found = dict(zip(head, with_trust, strict=True))
    assert found["right of those that said"] == "0 of 0"
    assert found["mistakes among rows acted on, by doubt"] == "–"
    assert found["mistakes among rows acted on, by influence"] == "60 %"
    assert found["mean true change, by influence"] == "-1.00"
    head, _, without, _ = map(cells, audit_tables.trials_found(results).splitlines())
    found = dict(zip(head, without, strict=True))
    assert found["found, review"] == "94 %"  # 25 of 30 and 50 of 50
    assert found["AUROC, review"] == "0.80"


def test_seconds_are_a_range_over_trials(results):
    head, _, votes, digits = map(cells, audit_tables.seconds(results).splitlines())
    assert votes == ["votes", "300", "3", "1"] and digits[0] == "digits" and len(head) == 4


def test_checks_show_what_is_left_and_no_interval_where_there_is_none(results):
    *table, empty, said = audit_tables.checking(results).split("\n", 5)
    head, _, first, second = map(cells, table)
    found = dict(zip(head, first, strict=True))
    assert found["wrong labels left: expected [95 %]"] == "3 % [1 %, 8 %]"
    assert (found["true"], found["with checked labels"]) == ("4 %", "92.00")
    assert second[2] == "3 %" and not empty
    assert said.startswith("In none of these 2 audits does the plan drop or relabel a row")
    assert " ".join(said.split()).endswith("more than the checked labels alone in 2, less in 0.")
