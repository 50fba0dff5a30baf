"""The page of an audit as a file: what it holds, that nothing in it is more than text, and how large it gets."""

import base64
import hashlib
import itertools
import json
import math
import re

import numpy as np
import pytest

from audit_examples import EMOJI, HEADLINES, HEBREW, NASTY, NOT_JUDGED, clean_file, example, only, replaced
from datagradient.report import amounts, offline, report_page
from datagradient.report.audit_rows import ROWS, table_data
from datagradient.report.charts import Mark, dot_plot, histogram
from datagradient.report.page import SCRIPTS, STYLES, audit_page, write_audit_page
from pages import parsed, text_of, words

TEMPLATES = offline.resources.files("datagradient.report") / "templates"
LONG = "a class with a long name " * 12
LETTERS = [chr(ord("A") + k) for k in range(26)]


def nothing_found():
    summary, rows, curves = example("table", "nothing", n=0)
    return clean_file(summary), rows, curves


CASES = {
    "table": lambda: example("table", "helps"),
    "text": lambda: example("text", "hurts", classes=("neg", "pos")),
    "image": lambda: example("image", "nothing", n=4, classes=("cat", "dog", "truck")),
    "too few": lambda: example("table", "too few", n=0, judged=False),
    "nothing found": nothing_found,
    "one row": lambda: example("text", "nothing", n=1),
    "one class": lambda: example("text", "too few", n=1, classes=("a",)),
    "26 classes": lambda: example("table", "helps", classes=LETTERS, columns=60),
    "long names": lambda: example("text", "helps", classes=(LONG, f"{LONG}2", f"{EMOJI} {HEBREW}")),
    "nasty": lambda: replaced(list(example("table", "helps")), NASTY),
    "nasty text": lambda: replaced(list(example("text", "helps")), NASTY),
}


def embedded(page):
    """The data that the script of a page reads."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


def texts_of(content):
    """All texts in nested content, without its keys."""
    if isinstance(content, str):
        return [content]
    parts = content.values() if isinstance(content, dict) else content if isinstance(content, (list, tuple)) else ()
    return [text for part in parts for text in texts_of(part)]


@pytest.mark.parametrize("case", CASES)
def test_a_page_is_well_formed_loads_nothing_and_runs_nothing_but_its_own_script(case):
    page = audit_page(*CASES[case]())
    assert page.startswith("<!DOCTYPE html>")
    tree = parsed(page)
    elements = list(tree.iter())
    assert [element.get("type") for element in tree.iter("script")] == ["application/json", None]
    names = {name for element in elements for name in element.attrib}
    assert not [name for name in names if name.startswith("on") or name in ("style", "src", "srcset", "action")]
    links = [element.get("href") for element in elements if "href" in element.attrib]
    assert all(link.startswith("#") or link == "data:," for link in links)
    ids = [element.get("id") for element in elements if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert not {element.tag for element in elements} & {"iframe", "object", "embed", "form", "base", "img"}


@pytest.mark.parametrize("case", ["table", "nasty"])
def test_the_policy_allows_the_pages_own_style_and_script_alone(case):
    page = audit_page(*CASES[case]())
    tree = parsed(page)
    (policy,) = [element.get("content") for element in tree.iter("meta") if element.get("http-equiv")]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (style,) = tree.iter("style")
    script = next(element for element in tree.iter("script") if not element.get("type"))
    for rule, element in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert rules.pop(rule) == f"'sha256-{digest}'"
    assert rules == {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert "{" not in policy


@pytest.mark.parametrize("case", CASES)
def test_every_text_of_the_summary_is_on_the_page(case):
    summary, rows, curves = CASES[case]()
    tree = parsed(audit_page(summary, rows, curves))
    attributes = {value for element in tree.iter() for value in element.attrib.values()}
    found = words("".join(tree.find("body").itertext()))
    for text in texts_of([summary, curves]):
        assert words(text) in found or text in attributes, text


@pytest.mark.parametrize("case", ["table", "text", "image", "nasty", "long names"])
def test_every_text_of_the_rows_is_in_the_data_as_it_was(case):
    summary, rows, curves = CASES[case]()
    page = audit_page(summary, rows, curves)
    data = embedded(page)
    held = texts_of(data)
    together = "\n".join(held)
    for text in texts_of([{key: value for key, value in row.items() if key not in ("shown", "near")} for row in rows]):
        assert text in held
    for shown in [row["shown"] for row in rows]:
        kept = [text for text in texts_of(shown) if text != shown["kind"]]
        assert all(text in together for text in kept)
    assert "<script>alert" not in page
    (raw,) = re.findall(r'id="data">(.*)</script>', page)
    assert not re.search("[<>&\u2028\u2029]", raw)


def test_rows_can_be_put_together_again():
    _, rows, _ = example("table", n=30)
    data = table_data(rows)
    names = data["names"]
    for row, values in zip(rows, data["rows"], strict=True):
        found = dict(zip(data["fields"], values, strict=True))
        assert names[found["given"]] == row["given"] and names[found["suggested"]] == row["suggested"]
        assert {key: found[key] for key in ("row", "harm", "doubt", "reason")} == {
            key: row[key] for key in ("row", "harm", "doubt", "reason")
        }
        sample = data["samples"][found["shown"]]
        cells = row["shown"]["cells"]
        assert [names[k] for k in data["columns"][sample["columns"]]] == [cell["name"] for cell in cells]
        assert sample["values"] == [cell["value"] for cell in cells]
        assert sample["unusual"] == {str(k): cell["unusual"] for k, cell in enumerate(cells) if cell["unusual"]}
        assert [near[0] for near in found["harmful"]] == [near["row"] for near in row["near"]["harmful"]]
    assert not data["cut"]


def test_words_keep_their_weights_and_recurring_samples_are_held_once():
    row = example("text", n=1)[1][0]
    row["shown"] = {"kind": "text", "parts": [["The film ", 0.0], ["is ", 0.02], ["awful", -0.8], [" and fine", 7.0]]}
    row["near"] = {"helpful": [], "harmful": [{"row": 4, "given": "a", "distance": 0.1, "shown": row["shown"]}]}
    data = table_data([row, row])
    assert data["samples"] == [{"parts": ["The film is ", 0, "awful", -4, " and fine", 5]}]


def large(modality, length):
    """A page of 1,000 rows and their nearest ones, no two alike, with samples of about `length` letters."""
    summary, rows, curves = example("table", n=1, columns=60, classes=LETTERS)
    noise = np.random.default_rng(3).bytes(8_000_000).hex()
    places = itertools.count()

    def letters(n):
        start = 97 * next(places) % (len(noise) - n)
        return f"<{noise[start + 1 : start + n]}"  # of what takes more space in JSON, some

    def sample():
        if modality == "text":
            return {"kind": "text", "parts": [[f"{letters(9)} ", (k % 11 - 5) / 5] for k in range(length // 10)]}
        return {"kind": "table", "cells": [{"name": f"column {k}", "value": letters(1 + length // 60), "unusual": ""}
                                           for k in range(60)]}  # fmt: skip

    def near():
        return [{"row": 1, "given": "A", "distance": 0.5, "shown": sample()} for _ in range(3)]

    def row(k):
        return rows[0] | {"row": k, "shown": sample(), "near": {"helpful": near(), "harmful": near()}}

    return summary, [row(k) for k in range(1000)], curves


@pytest.mark.parametrize(("modality", "length"), [("table", 60), ("table", 1200), ("text", 300), ("text", 1500)])
def test_a_page_of_1000_rows_stays_below_5_million_bytes(modality, length):
    page = audit_page(*large(modality, length))
    assert len(page.encode()) < 5_000_000
    data = embedded(page)
    assert len(data["rows"]) == 1000
    assert data["cut"] == ("Long samples are cut" in page)


def test_only_the_worst_rows_are_shown_and_it_is_said():
    summary, rows, curves = example("text", n=1)
    many = [rows[0] | {"row": k} for k in range(ROWS + 5)]
    page = audit_page(summary | {"source": summary["source"] | {"rows": 12345}}, many, curves)
    assert len(embedded(page)["rows"]) == ROWS
    assert "The page shows 1,000\u00a0rows of 12,345; review.csv holds all that were judged." in page


@pytest.mark.parametrize("verdict", HEADLINES)
def test_every_verdict_is_a_full_answer(verdict):
    summary, rows, curves = example("table", verdict, n=3)
    page = words(audit_page(summary, rows, curves))
    assert f'<h2 id="verdict">{HEADLINES[verdict]}</h2>' in page
    assert summary["effect"]["sentence"] in page


def test_changes_have_words_and_no_sign():
    summary, rows, curves = example("table", "hurts", n=3)
    summary["effect"]["change"] = {"mean": -0.011, "low": -0.019, "high": 0.003, "folds_better": 1, "folds": 5}
    text = text_of(audit_page(summary, rows, curves))
    expected = "1.1 points worse, interval 1.9 worse to 0.3 better; better in 1 of 5 folds."
    assert expected in text


def test_what_was_not_found_is_said():
    summary, _, curves = example("table", "nothing", n=0)
    text = text_of(audit_page(clean_file(summary), [], curves))
    for sentence in ("Every row was used.", "No two rows have the same sample.", "Every class was judged.",
                     "Keep all rows.", "No row is shown, since none was judged."):  # fmt: skip
        assert sentence in text
    assert "No row is dropped or relabelled by rule. Check the rows marked look" in audit_page(
        only(summary, look=3), [], curves
    )


def test_where_nothing_was_changed_no_change_is_shown():
    summary, rows, curves = example("table", "nothing", n=2)
    for fold in summary["effect"]["by_fold"]:
        fold |= {"removed": 0, "relabelled": 0}
    text = text_of(audit_page(summary, rows, curves))
    assert "As they are" in text
    for words_of_changes in ("Refined ", "Against the data", "The numbers of each fold", "One line for each fold"):
        assert words_of_changes not in text


def test_what_does_not_exist_is_left_out():
    summary, rows, curves = example("table", "helps", n=2)
    summary["source"] |= {"path": "data in memory", "format": "DataFrame", "target": None, "id": None}
    summary["provenance"]["git_commit"] = None
    summary["seconds"] = 10.702661174997047
    text = text_of(audit_page(summary, rows, curves))
    assert "Data in memory" in text and "SHA-256 of the datacdcd" in text and "Seconds10.7" in text
    assert text.count(summary["source"]["sha256"]) == 1
    for absent in ("SHA-256 of the file", "data in memory", "Label: ", "Name of a row", "What is learned", "Git com"):
        assert absent not in text


def test_data_that_were_not_judged_have_a_headline_of_their_own():
    summary, rows, curves = example("table", "too few", n=0, judged=False)
    summary["model"] |= {"name": None, "title": "no model", "judges": []}
    text = text_of(audit_page(summary, rows, curves))
    assert NOT_JUDGED in text and "(None)" not in text


def test_wrong_labels_come_before_the_contribution_score():
    text = text_of(audit_page(*example("table", "nothing", n=1)))
    assert text.index("labels look wrong") < text.index("Contribution score")


def test_where_the_harm_is_is_said_in_words():
    text = text_of(audit_page(*example("table", "helps", n=1)))
    assert re.search(r"5 % of the rows account for \d+ % of the harm\.", text)


def test_unknown_numbers_are_dashes():
    summary, rows, curves = example("table", "helps", n=2)
    summary["effect"]["against_random"] = dict.fromkeys(("mean", "low", "high", "folds_better", "folds"))
    summary["provenance"]["git_commit"] = None
    rows[0] |= dict.fromkeys(("influence", "loss", "probability", "id"))
    rows[1]["influence"] = math.nan
    page = audit_page(summary, rows, curves)
    data = embedded(page)
    assert not re.search(r"\bNone\b(?!\.| was)|\bnan\b", text_of(page))
    assert [row[data["fields"].index("influence")] for row in data["rows"]] == [None, None]


def test_a_missing_key_is_an_error():
    summary, rows, curves = example("table", n=1)
    del summary["model"]["title"]
    with pytest.raises(KeyError, match="title"):
        audit_page(summary, rows, curves)


def test_a_picture_outside_the_page_is_refused():
    summary, rows, curves = example("image", n=1)
    rows[0]["shown"]["src"] = "https://example.org/a.png"
    with pytest.raises(ValueError, match="inside"):
        audit_page(summary, rows, curves)


def test_characters_that_html_does_not_allow_do_no_harm(tmp_path):
    summary, rows, curves = example("text", n=1)
    summary["source"]["path"] = "a\udce9b\x00\x1b.csv"
    rows[0]["id"] = "a\udce9b\x00\x85"
    write_audit_page(tmp_path / "out" / "report.html", summary, rows, curves)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    data = embedded(page)
    assert data["rows"][0][data["fields"].index("id")] == rows[0]["id"]


def test_scripts_write_text_and_never_html():
    forbidden = r"(inner|outer)HTML|insertAdjacent|document\.write|(eval|Function|fetch|url)\(|https?:|@import|</|<!--"
    for name in {*SCRIPTS, *STYLES, *report_page.SCRIPTS, *report_page.STYLES}:
        source = (TEMPLATES / name).read_text(encoding="utf-8")
        assert not re.search(forbidden, source)


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1])
def test_letters_stand_out_from_what_is_behind_them(scheme):
    colours = {}
    for name in (*STYLES, *report_page.STYLES):
        block = re.findall(r":root \{(.*?)\}", (TEMPLATES / name).read_text(encoding="utf-8"), re.DOTALL)[scheme]
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for behind in ("page", "panel"):
        for letters in ("ink", "soft", "accent", "drop", "relabel", "look", "keep", "confirmed",
                        "partly", "missed"):  # fmt: skip
            light, dark = sorted((luminance(colours[letters]), luminance(colours[behind])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (letters, behind)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (amounts.changed(0.012), "1.2\u00a0points better"),
        (amounts.changed(-0.0004), "0.04\u00a0points worse"),
        (amounts.changed(0.0), "no change"),
        (amounts.changed(None), "–"),
        (amounts.changed_range(-0.004, 0.02), "0.4 worse to 2.0 better"),
        (amounts.changed_range(None, 0.02), "–"),
        (amounts.percent(0.0864), "8.6\u00a0%"),
        (amounts.decimal(-0.314), "−0.31"),
        (amounts.decimal(-0.001), "0.00"),
        (amounts.counted(1, "row"), "1\u00a0row"),
        (amounts.counted(1234, "class"), "1,234\u00a0classes"),
        (amounts.count(math.nan), "–"),
    ],
)
def test_amounts_in_words(made, expected):
    assert made == expected


@pytest.mark.parametrize("values", [[0.0], [1e-9, -1e-9], [-3.0, 12.5], [1e6], [None]])
def test_marks_of_a_dot_plot_lie_inside_it(values):
    lines = [(f"fold {k}", [Mark(value, "refined", value, value)]) for k, value in enumerate(values)]
    drawing = dot_plot(lines, "title", "words", "points", {"refined": "refined"})
    marks = [shape for tag, shape, _ in drawing.shapes if tag == "circle"]
    assert len(marks) == 1 + sum(value is not None for value in values)  # one of them in the legend
    assert all(0 < mark["cx"] < 330 and 0 < mark["cy"] < drawing.height for mark in marks)
    assert any(tag == "text" and text for tag, _, text in drawing.shapes)


def test_a_single_row_is_seen_in_a_histogram_of_many():
    drawing = histogram([0, 0.5, 1], [1_000_000, 1], "Doubt", "doubt", "rows")
    assert min(shape["height"] for tag, shape, _ in drawing.shapes if tag == "rect") >= 1.5
    assert "50\u00a0% to 100\u00a0%: 1" in drawing.description
