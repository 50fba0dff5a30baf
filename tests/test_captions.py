"""Words under tables and figures: one source, for pages and for Snakemake's report."""

import matplotlib.pyplot as plt
import pytest
from docutils.core import publish_parts

from datagradient.report import captions, figures, report_page, tables
from datagradient.report.style import save

TEXTS = {**captions.TABLES, **captions.FIGURES}


def test_each_table_and_figure_has_a_caption():
    assert captions.TABLES.keys() == tables.TABLES.keys()
    assert captions.FIGURES.keys() == figures.FIGURES.keys() | {"gallery"}


def test_each_figure_that_a_page_begins_with_answers_a_question():
    first = {name for place in report_page.PLACES for name in place}
    assert captions.QUESTIONS.keys() == first | {report_page.COST_TABLE}
    assert first <= captions.FIGURES.keys() and report_page.COST_TABLE in captions.TABLES
    assert all(question.endswith("?") and how.endswith(".") for question, how in captions.QUESTIONS.values())


@pytest.mark.parametrize("name", TEXTS)
def test_a_caption_is_plain_in_the_report(name):
    page = publish_parts(TEXTS[name], writer="html", settings_overrides={"halt_level": 2})["body"]
    assert page.count("<") == 2  # one paragraph without markup


def test_the_report_reads_each_caption_from_a_file_that_follows_it(tmp_path, monkeypatch):
    captions.write_captions(tmp_path)
    file = tmp_path / "tables/main.rst"
    assert file.read_text().startswith(captions.TABLES["main"])
    assert (tmp_path / "figures/gallery.rst").read_text() == f"{captions.FIGURES['gallery']}\n"
    before = file.stat().st_mtime_ns
    captions.write_captions(tmp_path)
    assert file.stat().st_mtime_ns == before
    monkeypatch.setitem(captions.TABLES, "main", "Other words.")
    captions.write_captions(tmp_path)
    assert file.read_text().startswith("Other words.")


def test_a_narrow_figure_is_enlarged_to_its_legend_and_labels(tmp_path):
    drawing, axis = plt.subplots(figsize=(1, 1))
    axis.plot([0, 1], label="a line that says a good deal about itself")
    drawing.legend(loc="outside upper center")
    drawing.supylabel("a label along the axis that is long")
    save(drawing, tmp_path / "narrow.png")
    width, height = drawing.get_size_inches()
    assert width > 2 and height > 1.5
