"""The loop of an audit: a person checks rows, and the next audit knows their labels."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier

from datagradient import audit
from datagradient.auditing import answer, setup
from datagradient.auditing import review as review_module
from datagradient.auditing.material import gather, read_checked
from datagradient.auditing.reading import introduction, read_all
from datagradient.auditing.request import FEWEST_ROWS, Request
from datagradient.auditing.review import CHECKED, DRAWN
from datagradient.auditing.task import ENOUGH_TRUSTED
from datagradient.commands.main import main
from datagradient.data.readers import ReadOptions, read
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
    review = result.review.copy()
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


@pytest.mark.parametrize("as_file", [True, False])
def test_a_review_of_rows_with_other_names_is_refused(table, tmp_path, as_file):
    frame = table[0].assign(name=[f"c{row}" for row in range(N)])
    review = audit(frame, "answer", id="name", **OPTIONS, progress=False).review
    review.loc[0, CHECKED] = review.loc[0, "given"]
    trusted = review
    if as_file:
        trusted = tmp_path / "review.csv"
        review.to_csv(trusted, index=False)
    assert len(audit(frame, "answer", id="name", trusted=trusted, **OPTIONS, progress=False).checked.places) == 1
    row, name = review.loc[0, "row"], review.loc[0, "id"]
    moved = frame.assign(name=frame["name"].to_numpy()[::-1])  # other rows, with the same labels in their places
    found = moved["name"][row]
    with pytest.raises(UserError, match=f"row {row} was {name} when it was audited, and is {found} in the data"):
        audit(moved, "answer", id="name", trusted=trusted, **OPTIONS, progress=False)


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
    assert result.effect["headline"] == "These data are too small to be judged"
    result.save(tmp_path / "few")
    assert (tmp_path / "few/report.html").read_text().count("Too few rows to say") >= 1


def test_more_rows_than_allowed_are_drawn(table):
    result = audit(table[0], "answer", **OPTIONS, max_rows=100)
    assert len(result.rows) == 100
    assert any("200 of 300 rows: 100 were drawn at random (" in line for line in result.summary["not_checked"])
    checked = table[0].assign(right=["true"] * 60 + [""] * (N - 60))
    result = audit(checked, "answer", trusted_column="right", **OPTIONS, max_rows=200)
    assert any("100 of 300 rows: 140 were drawn at random, besides 60 that were checked (" in line
               for line in result.summary["not_checked"])  # fmt: skip


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


# What a person writes is not lost, and is counted


@pytest.fixture(scope="module")
def review(table, first):
    """The review of the first audit, as a DataFrame into which a person has written."""
    review = first.review.copy()
    look = review.index[review["decision"] == "look"][:60]
    review.loc[look, CHECKED] = table[1][review.loc[look, "row"]]
    return review


@pytest.fixture(scope="module")
def second(table, review):
    return audit(table[0], "answer", trusted=review, **OPTIONS)


def test_decisions_count_every_row_of_the_review(second, tmp_path):
    counts = second.review["decision"].value_counts()
    assert second.summary["decisions"] == {name: counts.get(name, 0) for name in answer.DECISIONS}
    acted = second.summary["decisions"]["drop"] + second.summary["decisions"]["relabel"]
    assert acted == len(second.plan["actions"]) > 10
    assert sum(second.summary["decisions"].values()) == N


def test_too_few_rows_count_those_that_were_checked(table):
    frame = table[0].head(FEWEST_ROWS - 1)
    changed = "no" if frame["answer"][3] == "yes" else "yes"
    given = pd.DataFrame({"row": [3, 4], CHECKED: [changed, frame["answer"][4]], DRAWN: ""})
    result = audit(frame, "answer", trusted=given, progress=False)
    assert result.summary["decisions"] == {"drop": 0, "relabel": 1, "look": 0, "keep": FEWEST_ROWS - 2}
    assert result.apply(frame)["answer"][3] == changed


def test_a_data_frame_is_a_review_as_its_file_is(table, first, second, review, tmp_path):
    review.to_csv(tmp_path / "review.csv", index=False)
    frame = audit(table[0], "answer", trusted=tmp_path / "review.csv", **OPTIONS)
    assert frame.plan == second.plan
    assert second.apply(table[0]).equals(frame.apply(table[0]))


def test_a_saved_review_keeps_what_was_written_into_it(first, tmp_path):
    first.save(tmp_path)
    before = (tmp_path / "review.csv").read_bytes()
    first.save(tmp_path)
    assert (tmp_path / "review.csv").read_bytes() == before
    written = pd.read_csv(tmp_path / "review.csv", dtype=str, keep_default_na=False)
    written.loc[[1, 4], CHECKED] = ["yes", "?"]
    written.to_csv(tmp_path / "review.csv", index=False)
    first.save(tmp_path)
    assert pd.read_csv(tmp_path / "review.csv", dtype=str, keep_default_na=False).equals(written)


def test_labels_that_do_not_fit_a_later_audit_are_not_replaced(first, second, tmp_path):
    second.save(tmp_path)
    path = tmp_path / "review.csv"
    before = path.read_bytes()
    second.save(tmp_path)
    assert path.read_bytes() == before
    first.save(tmp_path)  # of the same data: labels that came from a person stay
    review = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert (review[CHECKED] != "").sum() == len(second.checked.places)
    row = int(second.source.rows[second.checked.places[0]])
    other = {"no": "yes", "yes": "no"}[second.source.dataset.class_names[second.checked.labels[0]]]
    review.loc[review["row"] == str(row), CHECKED] = other
    review.to_csv(path, index=False)
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"row {row} was checked as '{other}' there, and as .* move the file away"):
        second.save(tmp_path)
    pd.concat([review, review.tail(1).assign(row=str(N), checked="yes")]).to_csv(path, index=False)
    with pytest.raises(UserError, match=f"row {N} was checked by hand there, and is not in the review of this audit"):
        first.save(tmp_path)


def test_a_folder_of_something_else_is_refused(table, first, tmp_path):
    first.save(tmp_path / "one")
    other = audit(table[0].head(40), "answer", progress=False)
    with pytest.raises(UserError, match=r"one: holds an audit of other data: give another folder$"):
        other.save(tmp_path / "one")
    (tmp_path / "one/plan.json").unlink()
    with pytest.raises(UserError, match=r"one: holds report.html, and no plan.json says of which data"):
        first.save(tmp_path / "one")
    with pytest.raises(UserError, match="holds one, which is not of an audit: give another folder"):
        first.save(tmp_path)


# Reviews from elsewhere


@pytest.mark.parametrize(
    "form",
    [
        {"sep": ";", "encoding": "utf-8-sig", "lineterminator": "\r\n"},
        {"sep": "\t", "encoding": "utf-16"},
        {"lineterminator": "\r"},
    ],
)
def test_a_review_is_read_as_a_spreadsheet_saves_it(tmp_path, form):
    frame = pd.DataFrame({"row": [4, 2, 7], "reason": "a, b; c", DRAWN: ["random", "", ""], CHECKED: ["é", "", " x "]})
    frame.to_csv(tmp_path / "review.csv", index=False, **form)
    entries = review_module.read_entries(tmp_path / "review.csv")
    assert [(entry.row, entry.label, entry.drawn) for entry in entries] == [(4, "é", "random"), (7, " x ", "")]


def test_a_sheet_in_another_encoding_is_refused_with_a_remedy(tmp_path):
    (tmp_path / "review.csv").write_bytes("row,checked,drawn\n1,é,\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"is no text in UTF-8: let the spreadsheet save it as CSV in UTF-8$"):
        review_module.read_entries(tmp_path / "review.csv")


@pytest.mark.parametrize(
    ("names", "label", "expected"),
    [
        (["False", "True"], "TRUE", "True"), (["0.0", "1.0"], "0", "0.0"), (["0.5", "1.5"], "0,5", "0.5"),
        (["no", "yes"], " yes ", "yes"), (["no", "yes"], "YES", "yes"), (["Yes", "yes"], "YES", None),
        (["Yes", "yes"], "yes", "yes"), (["1", "01"], "1.0", None), (["1", "2"], "1,000", None),
        (["no", "yes"], "y", None),
        (["007", "8"], "7", "007"), (["1", "2"], 2, "2"), (["False", "True"], True, "True"), (["0.0", "1.0"], 1, "1.0"),
        (["nan", "1"], "NaN", "nan"),
    ],
)  # fmt: skip
def test_labels_that_spreadsheets_have_changed(names, label, expected):
    numbers = {name: number for number, name in enumerate(names)}
    assert review_module.class_of(label, numbers) == numbers.get(expected)


@pytest.mark.parametrize(("labels", "checked"), [([True, False], [True, None, "?"]), ([3, 5], [3.0, np.nan, "?"])])
def test_values_of_a_data_frame_are_the_classes_themselves(labels, checked):
    frame = pd.DataFrame({"x": np.arange(40), "y": np.array(labels)[np.arange(40) % 2]})
    given = pd.DataFrame({"row": [1.0, 2, 3], CHECKED: pd.Series(checked, dtype=object), DRAWN: ["random", "", ""]})
    found = read_checked(read(frame, ReadOptions("y")), given)
    assert (found.places.tolist(), found.drawn.tolist(), found.corrected) == ([1], [True], 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame({"row": [1], CHECKED: ["yes"]}), "trusted: the DataFrame has no column 'drawn'"),
        (
            pd.DataFrame({"row": ["b"], CHECKED: ["yes"], DRAWN: [""]}),
            "position 0 of the DataFrame: row is 'b', and not",
        ),
        (pd.DataFrame({"row": [1], CHECKED: ["?"], DRAWN: [""]}), "trusted: no row has a label in the column checked"),
        ([1, 2], "trusted is a list: give the path of a review.csv, or a DataFrame"),
    ],
)
def test_what_is_no_review_is_refused(table, given, message):
    with pytest.raises(UserError, match=message):
        audit(table[0], "answer", trusted=given, **OPTIONS)


def test_another_review_does_not_go_on_with_an_audit(table, tmp_path):
    frame, given = table[0].head(40), pd.DataFrame({"row": [1], CHECKED: ["yes"], DRAWN: ["random"]})
    audit(frame, "answer", trusted=given, folder=tmp_path, progress=False)
    audit(frame, "answer", trusted=given.copy(), folder=tmp_path, progress=False)
    with pytest.raises(UserError, match="the review has changed since this audit was begun"):
        audit(frame, "answer", trusted=given.assign(row=2), folder=tmp_path, progress=False)


# What is said


def test_counts_have_the_right_words():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=60), "y": np.where(np.arange(60) % 2, "a", "b")})
    frame.loc[7, "y"] = None
    frame.loc[8, "x"] = frame.loc[10, "x"]
    found = read_all(Request(frame, ReadOptions("y")))
    assert next(iter(introduction(found))) == "60 rows, of which 59 can be used; 2 classes: a 29, b 30."
    material = gather(found.source, found.trusted, found.before, 1000, 0)
    assert material.not_checked == ["1 row that was set aside"]
    assert setup.before(material, 0)[1] == ["1 row repeats another."]


def test_a_review_of_the_rows_in_another_order_is_refused_and_of_corrected_ones_is_not(table, first, tmp_path):
    frame, right = table
    looked_at = filled_in(first, right, tmp_path / "review.csv")
    shuffled = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    with pytest.raises(UserError, match=r"review.csv, line \d+: row \d+ was (yes|no) when it was audited, and is .* in "
                                        "the data: is it the review of these data, in their order"):  # fmt: skip
        read_checked(read(shuffled, ReadOptions("answer")), tmp_path / "review.csv")
    corrected = frame.assign(answer=np.where(np.isin(np.arange(N), looked_at["row"]), right, frame["answer"]))
    found = read_checked(read(corrected, ReadOptions("answer")), tmp_path / "review.csv")
    assert len(found.places) == len(looked_at) and found.corrected == 0


def test_labels_written_into_the_review_of_a_result_stay_there(table):
    result = audit(table[0], "answer", **OPTIONS, progress=False)
    result.review.loc[:3, CHECKED] = result.review.loc[:3, "given"]
    second = audit(table[0], "answer", trusted=result.review, **OPTIONS, progress=False)
    assert len(second.checked.places) == 4
    result.review.loc[0, CHECKED] = {"yes": "no", "no": "yes"}[result.review.loc[0, "given"]]
    corrected = audit(table[0], "answer", trusted=result.review, **OPTIONS, progress=False)
    assert (
        "The plan gives 1 row the label that was written by hand; these rows stand last in review.csv."
        in corrected.effect["sentence"]
    )


def test_labels_written_into_the_review_of_a_result_are_saved_with_it(table, tmp_path):
    result = audit(table[0], "answer", **OPTIONS, progress=False)
    result.review.loc[[0, 1, 2], CHECKED] = ["yes", " No ", "?"]
    rows = result.review["row"].head(3).astype(str)
    result.save(tmp_path)
    saved = pd.read_csv(tmp_path / "review.csv", dtype=str, keep_default_na=False).set_index("row")
    assert saved.loc[rows, CHECKED].tolist() == ["yes", " No ", "?"] and (saved[CHECKED] != "").sum() == 3
    saved.loc[rows[1:], CHECKED] = ["no", "yes"]  # the same class in other letters; somebody could tell
    saved.reset_index().to_csv(tmp_path / "review.csv", index=False)
    result.save(tmp_path)
    for label in ("yes", "neither"):
        saved.loc[rows[1], CHECKED] = label
        saved.reset_index().to_csv(tmp_path / "review.csv", index=False)
        with pytest.raises(UserError, match=f"was checked as '{label}' there, and as ' No ' in this audit: move"):
            result.save(tmp_path)
    again = audit(
        table[0], "answer", trusted=result.review.replace({CHECKED: {" No ": "no"}}), **OPTIONS, progress=False
    )
    again.review.loc[again.review["row"] == int(rows[1]), CHECKED] = "yes"
    with pytest.raises(UserError, match=r"result.review: row \d+ was checked as 'yes' there, and as 'no' in "
                                        "this audit: audit again with it as trusted"):  # fmt: skip
        again.save(tmp_path / "other")


def test_a_model_that_has_learned_nothing_expects_no_number_of_wrong_labels(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    random = np.random.default_rng(0)
    noise = pd.DataFrame(random.normal(size=(N, 3)), columns=list("abc")).assign(y=random.choice(["no", "yes"], N))
    result = audit(noise, "y", **OPTIONS, progress=False)
    assert result.effect["headline"].startswith("The model may predict labels no better than guessing")
    assert result.summary["trusted"]["expected_wrong"] is result.summary["trusted"]["expected_wrong_share"] is None
    assert (
        "is not known: by held-out rows it is not clear that the model has learned anything"
        in result.summary["trusted"]["sentence"]
    )
    noise.to_csv("noise.csv", index=False)
    assert main(["audit", "noise.csv", "--target", "y", "--model", "logistic", "--folds", "2", "--fail-if",
                 "wrong > 0.9"]) == 1  # fmt: skip
    assert "wrong is not known: How many labels are wrong is not known" in capsys.readouterr().err


def test_a_model_that_finds_a_rare_class_by_probabilities_of_0_and_1_has_learned_something():
    random = np.random.default_rng(1)
    x, n = random.normal(size=(600, 4)), 600
    rare = x[:, 0] + 0.7 * random.normal(size=n) > 1.7
    data = pd.DataFrame(x, columns=list("abcd")).assign(y=np.where(rare, "rare", "usual"))
    result = audit(data, "y", model=KNeighborsClassifier(5), folds=2, progress=False)
    assert rare.mean() < 0.12 and result.effect["metric"] == "area under the ROC curve"
    assert result.summary["trusted"]["expected_wrong"] is not None
    assert "guessing" not in result.effect["headline"]


def test_audits_one_after_the_other_may_be_made_in_other_folders(table, tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        audit(table[0], "answer", folder="audited", **OPTIONS, progress=False)
        assert (tmp_path / name / "audited/work/whole.npz").exists()


def test_of_small_data_a_tenth_and_rows_drawn_at_random_are_to_be_looked_at(table):
    clean = table[0].assign(answer=np.where(table[0][list("abc")].sum(axis=1) > 0, "yes", "no"))[:150]
    review = audit(clean, "answer", **OPTIONS, progress=False).review
    by_why = review.loc[review["decision"] == "look", DRAWN].value_counts()
    assert by_why["random"] == answer.DRAWN and by_why.get("doubtful", 0) <= 15 + (review["doubt"] > 0.5).sum()
