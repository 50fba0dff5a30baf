"""The page of a preset as a file: what it holds and in which order, what it leaves out, that it loads nothing."""

import base64
import csv
import io
import json
import re
import shutil
from urllib.parse import unquote_to_bytes

import pytest
from PIL import Image

from conftest import REPOSITORY
from datagradient.files import read_json, read_rows
from datagradient.report import captions, report_page, verdicts
from pages import parsed, text_of, words

FACTS = ("claims.json", "provenance.json", "data.csv", "costs.csv")
NASTY = '<script>alert("1")</script> & </table> \u2028 \x1b'
PNG = "data:image/png;base64,"
CSV = "data:text/csv;charset=utf-8,"


def files_of(preset):
    """What the page of a committed preset is made from."""
    folders = [REPOSITORY / f"{name}/{preset}" for name in ("results", "paper_tables", "figures")]
    return (
        folders[0],
        *(
            sorted(folder.glob(f"*.{kind}"))
            for folder, kind in zip(folders[1:] + folders[:1], ("csv", "png", "csv"), strict=True)
        ),
    )


def named(paths, *names):
    return [path for path in paths if path.stem in names]


@pytest.fixture(scope="module")
def pages():
    """The pages of two committed presets: one with experiments and scalability, one without."""
    return {preset: report_page.report_page(*files_of(preset)) for preset in ("cpu", "seeds")}


@pytest.fixture
def results(tmp_path):
    """A copy of the results that a page cannot do without."""
    for name in FACTS:
        shutil.copy(REPOSITORY / "results/seeds" / name, tmp_path)
    return tmp_path


def edited(results, name, change):
    content = json.loads((results / name).read_text())
    change(content)
    (results / name).write_text(json.dumps(content))


def picture(path, size=(400, 300)):
    Image.new("RGB", size, "white").save(path)
    return path


def table(path, *rows):
    with open(path, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    return path


def attributes(page, tag, name):
    return [element.get(name) for element in parsed(page).iter(tag)]


def saved(page):
    """The files that a page holds, by the names that they are saved by."""
    return {element.get("download"): unquote_to_bytes(element.get("href").partition(",")[2])
            for element in parsed(page).iter("a") if element.get("download")}  # fmt: skip


@pytest.mark.parametrize("preset", ["cpu", "seeds"])
def test_a_page_is_well_formed_loads_nothing_and_runs_nothing_but_its_own_script(pages, preset):
    tree = parsed(pages[preset])
    elements = list(tree.iter())
    assert [element.get("type") for element in tree.iter("script")] == ["application/json", None]
    names = {name for element in elements for name in element.attrib}
    assert not [name for name in names if name.startswith("on") or name in ("style", "srcset", "action", "ping")]
    assert not {element.tag for element in elements} & {"iframe", "object", "embed", "form", "base"}
    ids = [element.get("id") for element in elements if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    links = [element.get("href") for element in elements if "href" in element.attrib]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert all(link.startswith(("#", "data:")) for link in links)
    assert all(source.startswith(PNG) for source in attributes(pages[preset], "img", "src"))
    (policy,) = [element.get("content") for element in tree.iter("meta") if element.get("http-equiv")]
    assert "default-src 'none'" in policy and "img-src data:" in policy


def test_the_verdict_comes_first_and_files_last(pages):
    headings = [words("".join(heading.itertext())) for heading in parsed(pages["cpu"]).iter("h2")]
    claims = read_json(REPOSITORY / "results/cpu/claims.json")["claims"]
    assert headings == [verdicts.headline(claims), "What was run", "What happened", "Tables", "Method", "Provenance",
                        "Files"]  # fmt: skip


@pytest.mark.parametrize("preset", ["cpu", "seeds"])
def test_each_claim_has_its_verdict_under_each_condition_as_in_the_readme(pages, preset):
    claims = read_json(REPOSITORY / f"results/{preset}/claims.json")["claims"]
    text = text_of(pages[preset])
    for row in verdicts.rows(claims):
        for cell in row.values():
            assert words(report_page.MINUS.sub("−", cell)) in text
    assert words(verdicts.in_two_sentences(claims)) in text and words(verdicts.summary(claims)) in text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["not confirmed"] * 3, "None of the paper's 3 claims is confirmed in full"),
        (
            ["confirmed", "partly", "not tested"],
            "1 of the paper's 3 claims is confirmed in full, 1 is in part, 1 is not tested",
        ),
        (["confirmed", "partly"] * 2, "2 of the paper's 4 claims are confirmed in full, 2 are in part"),
    ],
)
def test_the_headline_counts_claims(given, says):
    assert verdicts.headline([{"verdict": verdict} for verdict in given]) == says


def test_the_summary_lists_claims_by_verdict_and_the_change_of_accuracy_under_each_condition():
    found = [("C1", "not confirmed"), ("C2", "confirmed"), ("C3", "not confirmed"), ("C4", "partly")]
    parts = [{"condition": "0", "measured": -0.5, "low": -1.0, "high": 0.0},
             {"condition": "0.2", "measured": 0.75, "low": None, "high": None},
             {"condition": "human", "measured": None, "low": None, "high": None}]  # fmt: skip
    claims = [{"claim": name, "verdict": verdict, "unit": "points", "interval": "95 % t", "by_condition": parts}
              for name, verdict in found]  # fmt: skip
    assert verdicts.in_two_sentences(claims) == (
        "By one rule for each, C2 is confirmed; C4 is partly confirmed; C1 and C3 are not confirmed. Refinement by "
        "influence changes test accuracy by −0.50 points [−1.00, 0.00] (as published) and +0.75 points [–, –] "
        "(20% of labels flipped); in brackets: 95 % t."
    )
    claims[0]["by_condition"] = []
    assert verdicts.in_two_sentences(claims).endswith("C1 and C3 are not confirmed.")


def shown_first(page):
    return [figure.get("id") for figure in parsed(page).iter("figure") if figure.get("class") == "first"]


def test_six_figures_come_first_each_with_how_to_read_it(pages):
    names = ["accuracy", "controls", "effects", "optimism", "detection", "scalability"]
    assert shown_first(pages["cpu"]) == [f"figure-{name}" for name in names]
    text = text_of(pages["cpu"])
    for name in names:
        question, how = captions.QUESTIONS[name]
        assert words(question) in text and words(how) in text and words(captions.FIGURES[name]) in text


def test_the_share_recovered_comes_before_all_others_and_takes_the_place_of_effect_sizes(results):
    figures = [picture(results / f"{name}.png") for name in ("effects", "accuracy", "recovered", "influence")]
    page = report_page.report_page(results, [], figures, [])
    assert shown_first(page) == ["figure-recovered", "figure-accuracy", "figure-influence"]
    assert 'id="figure-effects"' in page


def test_without_scalability_the_table_of_costs_says_what_influence_costs(pages):
    assert shown_first(pages["seeds"])[-1] == "figure-detection"
    tree = parsed(pages["seeds"])
    (place,) = [element for element in tree.iter("div") if element.get("id") == "cost"]
    assert captions.QUESTIONS["costs"][0] in words("".join(place.itertext()))
    assert list(place.iter("table"))
    assert 'id="about-costs"' not in pages["seeds"] and 'id="about-costs"' in pages["cpu"]


@pytest.mark.parametrize("preset", ["cpu", "seeds"])
def test_every_figure_is_whole_and_has_words_for_those_who_do_not_see_it(pages, preset):
    held = {base64.b64decode(source.removeprefix(PNG)) for source in attributes(pages[preset], "img", "src")}
    assert held == {path.read_bytes() for path in files_of(preset)[2]}
    assert all(attributes(pages[preset], "img", "alt"))
    assert set(attributes(pages[preset], "img", "decoding")) == {"async"}


def test_a_figure_is_as_large_as_its_letters_need(results):
    page = report_page.report_page(results, [], [picture(results / "accuracy.png", (1600, 800))], [])
    assert attributes(page, "img", "width") == ["960"] and attributes(page, "img", "height") == ["480"]


@pytest.mark.parametrize("preset", ["cpu", "seeds"])
def test_every_table_is_there_with_all_cells_and_its_caption(pages, preset):
    tree, text = parsed(pages[preset]), text_of(pages[preset])
    for path in files_of(preset)[1]:
        (place,) = [element for element in tree.iter("div") if element.get("id") == f"table-{path.stem}"]
        cells = ["".join(cell.itertext()) for cell in place.iter("td")]
        assert cells == [cell for row in read_rows(path) for cell in row.values()]
        assert words(captions.TABLES[path.stem]) in text


def test_columns_are_told_apart_by_what_they_hold(results):
    rows = [["Data set", "Change", "Noise", "Detail"], ["Adult", "-0.5 [-1, 0]", "0", "x" * 50], ["B", "–", "a", ""]]
    page = report_page.report_page(results, [table(results / "main.csv", *rows)], [], [])
    (place,) = [element for element in parsed(page).iter("div") if element.get("id") == "table-main"]
    assert [head.get("class") for head in place.iter("th")] == [None, "number", None, "long"]


def test_a_table_without_rows_and_one_without_a_caption_are_shown_as_they_are(results):
    (results / "recovered.csv").write_text("\n")
    tables = [results / "recovered.csv", table(results / "of my own.csv", ["a"], ["1"])]
    text = text_of(report_page.report_page(results, tables, [], []))
    assert "Recovered How much" in text and "0 rows. recovered.csv" in text
    assert "Of my own" in text


@pytest.mark.parametrize("preset", ["cpu", "seeds"])
def test_every_csv_is_saved_from_the_page_as_it_was(pages, preset):
    _, tables, _, files = files_of(preset)
    found = saved(pages[preset])
    for prefix, paths in ((f"{preset}-table-", tables), (f"{preset}-", files)):
        for path in paths:
            assert found[prefix + path.name] == path.read_bytes()
    assert found[f"{preset}-provenance.json"] == (REPOSITORY / f"results/{preset}/provenance.json").read_bytes()


def test_any_text_survives_being_saved(results):
    rows = [["a", "b"], [NASTY, "100 % + ü – \U0001f600"], ['"quoted"', "a,b;c\nd"]]
    path = table(results / "metrics.csv", *rows)
    content = saved(report_page.report_page(results, [], [], [path]))["seeds-metrics.csv"]
    assert content == path.read_bytes()
    assert list(csv.reader(io.StringIO(content.decode()))) == rows


def test_a_file_that_is_too_large_is_named_and_left_out(results, monkeypatch):
    monkeypatch.setattr(report_page, "LARGEST", 2_000)
    path = table(results / "metrics.csv", ["a"], *[["0.123456789"]] * 500)
    page = report_page.report_page(results, [], [], [path])
    assert "seeds-metrics.csv" not in saved(page)
    said = text_of(page)
    assert "metrics.csv 6 kB: not in this page, which holds files of at most 2 kB" in said


def test_the_page_of_the_largest_committed_preset_stays_below_15_million_bytes(pages):
    assert len(pages["cpu"].encode()) < 15_000_000


def test_what_there_is_not_is_left_out_without_a_gap(results):
    page = report_page.report_page(results, [], [], [])
    text = text_of(page)
    headings = ["".join(heading.itertext()) for heading in parsed(page).iter("h2")]
    assert headings[1:] == ["What was run", "Method", "Provenance", "Files"]
    for absent in ("More figures", "What does influence cost?", "With human labels", "Tables"):
        assert absent not in text
    assert not list(parsed(page).iter("img")) and not list(parsed(page).iter("figure"))
    assert not re.search(r"\b(None|nan)\b(?! of)", text)


def test_conditions_that_were_run_have_a_column(results):
    def with_human(content):
        for claim in content["claims"]:
            claim["by_condition"].append({"condition": "worse_label", "measured": 1.5, "low": None, "high": None,
                                          "verdict": "partly"})  # fmt: skip

    edited(results, "claims.json", with_human)
    text = text_of(report_page.report_page(results, [], [], []))
    assert "With human labels" in text and "1.5 points; partly" in text


def test_what_was_run_is_told_from_the_configuration(results):
    def change(content):
        content["config"] |= {"models": ["logistic", "neural"], "first_seeds": {"neural": 2}, "iterations": 7,
                              "removal_fraction": 0.07, "split": {"influence": 0.11, "selection": 0.13, "test": 0.2},
                              "policies": ["influence", "gone"]}  # fmt: skip

    edited(results, "provenance.json", change)
    text = text_of(report_page.report_page(results, [], [], []))
    assert "30 to 49 (20); neural: 30, 31" in text
    assert "Each of 7 rounds scores all samples, removes at most 7 % of them" in text
    assert "one validation part (11 %), the guard decides by another (13 %)" in text
    assert "as published; 20% of labels flipped" in text
    assert "The most harmful samples: the largest influence" in text  # a policy that is known has its description


def test_provenance_and_all_settings_are_there(pages):
    run, text = read_json(REPOSITORY / "results/cpu/provenance.json"), text_of(pages["cpu"])
    facts = [run[name] for name in ("preset", "config_hash", "version", "git_commit", "machine", "started", "finished")]
    for fact in [*facts, *run["data"].values(), *(f"{name} {number}" for name, number in run["libraries"].items())]:
        assert fact in text
    (settings,) = parsed(pages["cpu"]).iter("pre")
    assert json.loads("".join(settings.itertext())) == run["config"]


def test_texts_are_shown_and_never_run(results):
    edited(results, "claims.json", lambda content: content["claims"][0].update(statement=NASTY, detail=NASTY))
    edited(results, "provenance.json", lambda content: content.update(machine=NASTY, preset=NASTY))
    (results / "data.csv").write_text("dataset,title,modality,n_train\na," + '"<script>alert(""1"")</script>",text,5\n')
    rows = [[NASTY, "b"], [NASTY, NASTY]]
    page = report_page.report_page(results, [table(results / "main.csv", *rows)], [], [])
    assert "<script>alert" not in page
    tree = parsed(page)
    assert len(list(tree.iter("script"))) == 2
    assert text_of(page).count('<script>alert("1")</script>') >= 7
    cells = ["".join(cell.itertext()) for cell in tree.iter("td")]
    assert NASTY.replace("\x1b", "\N{REPLACEMENT CHARACTER}") in cells


def test_the_page_is_written_whole(results):
    path = results / "out/report.html"
    report_page.write_report_page(path, results, [], [], [])
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == report_page.report_page(results, [], [], [])
