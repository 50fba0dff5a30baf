"""What an audit says of rows, labels and the data, and what its page shows of samples."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from datagradient import audit
from datagradient.auditing import answer, demo, display, outcome
from datagradient.data.record import Dataset

N = 240
MARKED = "Drawn at random: such rows show how many labels are wrong."


@pytest.mark.parametrize(
    ("decision", "suggested", "probability", "doubt", "drawn", "doubtful", "words"),
    [
        ("look", "True", 1.0, 1.0, False, True,
         "The models think this label is wrong (over 99 %); they suggest True."),
        ("look", "True", 0.7, 0.78, False, True, "The models think this label is wrong (78 %); they suggest True."),
        ("look", "ok", 0.66, 0.34, False, True, "The models doubt this label (34 %) but suggest no other."),
        ("look", "True", 0.5, 0.45, False, True, "The models doubt this label (45 %); they suggest True."),
        ("look", "ok", 0.99, 0.001, False, True,
         "Among the most doubtful rows, but the models think that its label is right (doubt under 1 %)."),
        ("relabel", "True", 0.9999, 0.9999, False, False, "Models trained without this row predict True (over 99 %)."),
        ("drop", "ok", 0.4, 0.6, False, False,
         "The models think this label is wrong (60 %), but cannot tell which one is right."),
        ("look", "ok", 0.9, 0.0002, True, False, MARKED),
        ("look", "True", 0.8, 0.8, True, True,
         f"The models think this label is wrong (80 %); they suggest True. {MARKED}"),
        ("keep", "ok", 0.9, 0.1, False, False, ""),
    ],
)  # fmt: skip
def test_a_reason_tells_what_the_models_think(decision, suggested, probability, doubt, drawn, doubtful, words):
    assert outcome._reason(decision, suggested, "ok", probability, doubt, drawn, doubtful) == words


def said_of(decision, drawn, order):
    return SimpleNamespace(decision=np.array(decision, dtype=object), drawn=np.array(drawn), order=np.array(order))


def test_a_row_drawn_at_random_may_be_among_the_doubtful():
    said = said_of(["look", "keep", "look", "look", "drop"], [True, False, False, True, False], [4, 0, 2, 3, 1])
    assert outcome._doubtful(said).tolist() == [True, False, True, False, False]
    said.drawn[:] = True
    assert not outcome._doubtful(said).any()


def row(position, harm, influence, doubt=0.0):
    return {"position": position, "harm": harm, "influence": influence, "doubt": doubt, "decision": "look"}


def test_neighbours_are_harmful_or_helpful_by_their_influence_and_never_both():
    rows = [row(0, 2, 0.1, 0.9), row(1, 4, -0.3, 0.0002), row(2, 1, 0.4), row(3, 3, 0.0)]
    pools = {kind: pool.tolist() for kind, pool in outcome._pools(rows).items()}
    assert pools == {"harmful": [2, 0], "helpful": [1]}


def test_without_influence_neighbours_are_harmful_by_their_doubt():
    rows = [row(0, 1, None, 0.9), row(1, 2, None, 0.6), row(2, 3, None, 0.4)]
    pools = {kind: pool.tolist() for kind, pool in outcome._pools(rows).items()}
    assert pools == {"harmful": [0, 1], "helpful": []}


def effect(verdict, acted=True):
    fold = {"removed": 3 * acted, "relabelled": 0}
    return answer.Effect(verdict, "accuracy", "held-out rows", 100, [fold], {}, {})


def wrong(expected, share):
    return {"expected_wrong": expected, "expected_wrong_share": share}


@pytest.mark.parametrize("verdict", [answer.NOTHING, answer.TOO_FEW, answer.HURTS])
def test_labels_that_look_wrong_are_in_the_headline_unless_refining_helps(verdict):
    assert outcome._headline(effect(verdict), wrong(120.3, 0.067)) == "About 120 labels look wrong: check them by hand"
    assert outcome._headline(effect(verdict), wrong(4, 0.5)) == outcome.HEADLINES[verdict]
    assert outcome._headline(effect(verdict), wrong(50, 0.001)) == outcome.HEADLINES[verdict]
    assert outcome._headline(effect(answer.HELPS), wrong(120, 0.067)) == outcome.HEADLINES[answer.HELPS]


def test_a_model_that_is_no_better_than_guessing_is_the_headline_unless_refining_helps():
    assert outcome._headline(effect(answer.TOO_FEW), wrong(None, None)) == outcome.GUESSING
    assert outcome._headline(effect(answer.HELPS), wrong(None, None)) == outcome.HEADLINES[answer.HELPS]


def test_where_no_row_stands_out_the_headline_says_to_keep_them():
    assert outcome._headline(effect(answer.NOTHING, acted=False), wrong(0, 0.0)) == "Keep the rows as they are"


def test_what_to_believe_is_short_and_counts_the_rows_that_are_missing():
    words = outcome._believe({"rows": 12, "expected_wrong": 3.0}, None)
    assert "50 checked rows drawn at random are needed, 12 are there." in words
    assert len(words) < 300
    words = outcome._believe({"rows": 60, "expected_wrong": 30.0}, None)
    assert "60 labels that were checked by hand" in words and "Fewer than" not in words
    words = outcome._believe({"rows": 60, "expected_wrong": 3.0}, None)
    assert words.endswith("Fewer than 5 of the others look wrong: checking more will hardly change anything.")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "missing"), (float("nan"), "missing"), (3.0, "3"), (0.1 + 0.2, "0.3"), (-1.23456789, "-1.23457"),
        (123456.789, "123457"), (1234567.8, "1234568"), (1e300, "1e+300"), (12345678901.0, "12345678901"), (7, "7"),
        (float("inf"), "inf"), (True, "True"), ("3.0", "3.0"),
    ],
)  # fmt: skip
def test_cells_are_short(value, shown):
    assert display._value(value) == shown


def test_a_missing_value_is_named_and_counted():
    table = pd.DataFrame({"income": [None, *range(9)], "town": [None, *"aaaaabbbb"]}, dtype=object)
    table["income"] = table["income"].astype(float)
    dataset = Dataset("x", "X", "table", table, np.arange(10) % 2, ("a", "b"))
    (cells,) = (shown["cells"] for shown in display.show(dataset, [0], np.zeros(1, int), np.ones(1, int)))
    assert [(cell["value"], cell["unusual"]) for cell in cells] == [("missing", "in 1 of 10 rows")] * 2


@pytest.fixture(scope="module")
def audited():
    random = np.random.default_rng(3)
    x = random.normal(size=(N, 3))
    right = np.array(["a", "b", "c"])[x.argmax(axis=1)]
    given, places = right.copy(), random.permutation(N)[:24]
    given[places] = np.array(["b", "c", "a"])[x[places].argmax(axis=1)]
    return audit(pd.DataFrame(x, columns=list("xyz")).assign(answer=given), "answer", model="logistic", folds=2)


def test_every_doubtful_row_is_counted_among_the_labels_that_are_mixed_up(audited):
    pairs = audited.curves["confusion"]
    assert all(pair["given"] != pair["suggested"] for pair in pairs)
    review = audited.review
    doubtful = review["decision"].isin(["drop", "relabel"]) | ((review["decision"] == "look")
                                                               & (review["drawn"] == "doubtful"))  # fmt: skip
    drawn = ((review["decision"] == "look") & (review["drawn"] == "random")).sum()
    assert doubtful.sum() <= sum(pair["rows"] for pair in pairs) < doubtful.sum() + drawn


def test_headline_and_sentence_do_not_repeat_each_other(audited):
    headline, words = audited.effect["headline"], audited.effect["sentence"]
    expected = audited.summary["trusted"]["expected_wrong"]
    if audited.effect["verdict"] != answer.HELPS:
        assert headline == f"About {expected:.0f} labels look wrong: check them by hand"
        assert words.endswith(" The labels to check are those marked look in review.csv.")
    assert headline not in words


def test_no_reason_is_certain(audited):
    assert not audited.review["reason"].str.contains(r"\(100 %|\(0 %").any()


def test_the_demo_compares_what_was_planted_with_what_is_expected(audited, monkeypatch, tmp_path):
    planted = np.zeros(N, dtype=bool)
    planted[[entry["row"] for entry in audited.rows[:60]]] = True
    monkeypatch.setattr(demo, "planted", lambda: (np.zeros((N, 8, 8, 1), np.uint8), np.zeros(N), planted))
    copied = replace(audited, summary={**audited.summary, "source": {**audited.summary["source"]}})
    monkeypatch.setattr(demo, "run_audit", lambda *_: copied)
    said = []
    demo.run_demo(tmp_path / "demo", said.append)
    expected = audited.summary["trusted"]["expected_wrong"]
    assert f"60 mistakes were planted, and the audit expects about {expected:.0f}." in said[-2]
    assert "Of the first 50 rows of review.csv, 50 are planted;" in said[-2]
    assert "<h1><bdi>Handwritten digits</bdi></h1>" in (tmp_path / "demo/report.html").read_text()
