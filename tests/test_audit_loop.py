"""The loop of an audit: a person checks rows, and the next audit knows their labels."""

import json

import numpy as np
import pandas as pd
import pytest

from datagradient import audit
from datagradient.auditing.request import FEWEST_ROWS
from datagradient.auditing.review import CHECKED, DRAWN
from datagradient.auditing.task import ENOUGH_TRUSTED
from datagradient.errors import UserError

N = 300
OPTIONS = {"model": "logistic", "folds": 2}


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(3)
    x = random.normal(size=(N, 3))
    right = np.where(x.sum(axis=1) + 0.5 * random.normal(size=N) > 0, "yes", "no")
    given = right.copy()
    wrong = random.permutation(N)[:45]
    given[wrong] = np.where(right[wrong] == "yes", "no", "yes")
    return pd.DataFrame(x, columns=list("abc")).assign(answer=given), right


@pytest.fixture(scope="module")
def first(table):
    return audit(table[0], "answer", **OPTIONS)


def filled_in(result, right: np.ndarray, path):
    """Write the review with the right labels of the rows that are to be looked at."""
    review = result.review
    look = review["decision"] == "look"
    review.loc[look, CHECKED] = right[review.loc[look, "row"]]
    review.to_csv(path, index=False)
    return review[look]


def test_checked_labels_come_back(table, first, tmp_path, capsys):
    frame, right = table
    looked_at = filled_in(first, right, tmp_path / "review.csv")
    assert len(looked_at) >= ENOUGH_TRUSTED
    second = audit(frame, "answer", trusted=tmp_path / "review.csv", **OPTIONS)
    given = frame["answer"].to_numpy()[looked_at["row"]]
    corrected = set(looked_at["row"][right[looked_at["row"]] != given])
    assert len(corrected) > 20
    assert (
        f"{len(looked_at)} labels were checked by hand, {len(corrected)} of them changed.\n" in capsys.readouterr().err
    )
    relabelled = {action["row"]: action["label"] for action in second.plan["actions"] if "label" in action}
    assert corrected <= set(relabelled)
    assert all(relabelled[row] == right[row] for row in corrected)
    at_random = looked_at[DRAWN] == "random"
    assert second.summary["trusted"]["rows"] == at_random.sum()
    drawn = second.summary["trusted"]["drawn"]
    assert (drawn["rows"], drawn["wrong"]) == (at_random.sum(), looked_at["row"][at_random].isin(corrected).sum())
    assert 0 < drawn["low"] < drawn["wrong"] / drawn["rows"] < drawn["high"] < 1
    assert f"Of {drawn['rows']} rows that were drawn at random, " in second.summary["trusted"]["sentence"]
    judged = {row["row"] for row in second.rows}
    assert not judged & set(looked_at["row"])
    review = second.review
    assert sorted(review["row"]) == list(range(N))
    assert set(review.loc[review[CHECKED] != "", "row"]) == set(looked_at["row"])


def test_a_third_audit_knows_what_was_checked_before(table, first, tmp_path):
    frame, right = table
    filled_in(first, right, tmp_path / "review.csv")
    second = audit(frame, "answer", trusted=tmp_path / "review.csv", **OPTIONS)
    filled_in(second, right, tmp_path / "again.csv")
    third = audit(frame, "answer", trusted=tmp_path / "again.csv", **OPTIONS)
    before, after = (set(result.review["row"][result.review[CHECKED] != ""]) for result in (second, third))
    assert before < after


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (CHECKED, "maybe", "line 2: checked is 'maybe', and classes are 'no', 'yes'"),
        (CHECKED, "", "no row has a label in the column checked"),
        ("row", 1234, "line 2: row 1234 is not in"),
    ],
)
def test_a_review_that_does_not_fit_is_refused(table, first, tmp_path, column, value, message):
    review = first.review.head(1).assign(**{CHECKED: "yes"}).assign(**{column: value})
    review.to_csv(tmp_path / "review.csv", index=False)
    with pytest.raises(UserError, match=message):
        audit(table[0], "answer", trusted=tmp_path / "review.csv", **OPTIONS)


def test_a_row_that_stands_twice_is_refused(table, first, tmp_path):
    review = first.review.head(1).assign(**{CHECKED: "yes"})
    pd.concat([review, review]).to_csv(tmp_path / "review.csv", index=False)
    with pytest.raises(UserError, match=r"line 3: row \d+ stands twice"):
        audit(table[0], "answer", trusted=tmp_path / "review.csv", **OPTIONS)


def test_the_same_seed_gives_the_same_files(table, tmp_path):
    for name in ("one", "two"):
        audit(table[0], "answer", **OPTIONS).save(tmp_path / name)
    for file in ("review.csv", "samples.parquet", "plan.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    summary = json.loads((tmp_path / "one/summary.json").read_text())
    assert summary["schema"] == 1
    assert sum(summary["decisions"].values()) == N


def test_the_data_are_not_changed(table):
    frame = table[0].copy()
    audit(frame, "answer", **OPTIONS)
    pd.testing.assert_frame_equal(frame, table[0])


def test_few_rows_are_an_answer(table, tmp_path):
    result = audit(table[0].head(FEWEST_ROWS - 1), "answer")
    assert result.effect["verdict"] == "too few"
    assert result.plan["actions"] == []
    result.save(tmp_path / "few")
    assert (tmp_path / "few/report.html").read_text().count("Too few rows to say") >= 1


def test_more_rows_than_allowed_are_drawn(table):
    result = audit(table[0], "answer", **OPTIONS, max_rows=100)
    assert len(result.rows) == 100
    assert any("100 were drawn at random" in line for line in result.summary["not_checked"])


def test_files_besides_the_first_may_lack_a_class():
    random = np.random.default_rng(4)
    frame = pd.DataFrame(random.normal(size=(300, 3)), columns=list("abc"))
    frame["answer"] = np.array(["x", "y", "z"])[frame[["a", "b", "c"]].to_numpy().argmax(axis=1)]
    more, test = frame[240:270].query("answer != 'z'"), frame[270:].query("answer != 'x'")
    repeated = pd.concat([more, frame[:3]])
    result = audit(frame[:240], "answer", validation=repeated, test=test, **OPTIONS)
    assert result.summary["findings"]["repeats"] == [{"file": "validation", "rows": 3}]
    assert result.effect["baseline"] > 0.7  # chance, and any shift of the classes' numbers, is far below
    assert result.effect["rows"] == len(test)
    assert result.summary["trusted"]["rows"] == len(more)
