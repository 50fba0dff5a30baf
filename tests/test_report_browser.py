"""The page of a preset in a browser: that it works by keyboard, offline, on narrow screens, and on paper."""

import csv
import re

import pytest

from conftest import NARROW, REPOSITORY, WIDE, inaccessible
from datagradient.report.report_page import write_report_page

RESULTS, TABLES, FIGURES = (REPOSITORY / f"{name}/seeds" for name in ("results", "paper_tables", "figures"))
# For axe, which looks at every letter: columns of numbers and of long texts, filters, pages, a table of few rows.
SMALL_TABLES, SMALL_FIGURES = ("verdict", "main", "safety", "rounds", "costs"), ("accuracy", "f1", "pipeline")
LARGE = 2_500_000  # bytes of a file: above what browsers take of addresses that lead elsewhere


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages of presets")
    large = folder / "large.csv"
    with open(large, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["a", "b"], *[[str(k), "– ü"] for k in range(LARGE // 15)]])
    tables = [TABLES / f"{name}.csv" for name in SMALL_TABLES]
    figures = [FIGURES / f"{name}.png" for name in SMALL_FIGURES]
    write_report_page(folder / "small.html", RESULTS, tables, figures, [large, RESULTS / "tests.csv"])
    cpu = [REPOSITORY / f"{name}/cpu" for name in ("results", "paper_tables", "figures")]
    write_report_page(folder / "cpu.html", cpu[0], *(sorted(where.glob(kind)) for where, kind in (
        (cpu[1], "*.csv"), (cpu[2], "*.png"), (cpu[0], "*.csv"))))  # fmt: skip
    return folder


def unfolded(page):
    for summary in page.locator("summary").all():
        summary.click()
    return page


def column(page, table, title):
    """What is seen of a column of an opened table, top to bottom."""
    place = page.locator(f"#table-{table}")
    return place.locator(f"tr.main td[data-title='{title}']").evaluate_all(
        "cells => cells.map(cell => cell.textContent)"
    )


def opened_table(page, name):
    page.locator(f"#about-{name} > summary").click()
    page.locator(f"#table-{name} table.sortable").wait_for()
    return page.locator(f"#table-{name}")


@pytest.mark.parametrize("name", ["small", "cpu"])
def test_a_page_opens_without_errors_and_fits_a_narrow_screen(opened, name):
    page = unfolded(opened(name, NARROW))
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    # Nothing is cut at the sides, but in boxes that scroll.
    cut = page.evaluate("""[...document.querySelectorAll('body *')]
        .filter(element => !element.closest('.box:not(.tall), .visually-hidden, .skip'))
        .filter(element => element.getBoundingClientRect().right > 381)
        .map(element => element.outerHTML.slice(0, 80))""")
    assert not cut


@pytest.mark.parametrize("width", [700, 701, 1280])
def test_a_page_fits_screens_of_every_width(opened, width):
    page = unfolded(opened("small", {"width": width, "height": 800}))
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_figures_are_seen_beside_how_to_read_them(opened):
    page = opened("small")
    picture = page.locator("#figure-accuracy img")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 960
    text, drawn = page.locator("#figure-accuracy figcaption").bounding_box(), picture.bounding_box()
    assert text["x"] > drawn["x"] + drawn["width"] and abs(text["y"] - drawn["y"]) < 50


def test_a_table_sorts_by_keyboard_and_by_number(opened):
    page = opened("small")
    place = opened_table(page, "main")
    with open(TABLES / "main.csv", encoding="utf-8") as stream:
        listed = [row["d"] for row in csv.DictReader(stream)]
    assert place.locator("th[aria-sort]").count() == 0 and column(page, "main", "d") == listed
    place.get_by_role("button", name="d", exact=True).focus()
    page.keyboard.press("Enter")
    assert column(page, "main", "d") == sorted(listed, key=float)
    page.keyboard.press("Enter")
    assert column(page, "main", "d") == sorted(listed, key=float, reverse=True)
    assert place.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert page.locator("#status").text_content() == "Sorted by d, descending"


def test_a_table_filters_by_the_columns_that_say_what_a_row_is_about(opened):
    page = opened("small")
    place = opened_table(page, "main")
    labels = place.locator(".filters .field:visible label").all_text_contents()
    assert labels == ["Search", "Data set", "Model", "Noise", "Metric"]
    place.get_by_label("Metric").select_option("f1")
    place.get_by_label("Noise").select_option("0.2")
    assert set(column(page, "main", "Metric")) == {"f1"} and set(column(page, "main", "Noise")) == {"0.2"}
    place.get_by_role("button", name="Clear filters").click()
    assert set(column(page, "main", "Metric")) == {"accuracy", "f1"}


def test_a_table_of_few_rows_has_no_filters(opened):
    place = opened_table(opened("small"), "safety")
    assert not place.get_by_label("Search").is_visible() and not place.locator(".pages").is_visible()
    assert place.locator("tr.main").count() == 6


def test_a_narrow_screen_sorts_by_a_choice_and_back(opened):
    page = opened("small", NARROW)
    place = opened_table(page, "safety")
    listed = column(page, "safety", "Worst")
    place.get_by_label("Sort by").select_option(label="Worst, ascending")
    assert column(page, "safety", "Worst") == sorted(listed, key=float)
    place.get_by_label("Sort by").select_option(label="as listed")
    assert column(page, "safety", "Worst") == listed


@pytest.mark.parametrize(("link", "name"), [("tests.csv", "seeds-tests.csv"), ("large.csv", "seeds-large.csv")])
def test_a_file_is_saved_from_the_page_whole(opened, files, link, name):
    page = opened("small")
    with page.expect_download() as waiting:
        page.get_by_role("link", name=link, exact=True).click()
    assert waiting.value.suggested_filename == name
    expected = files / link if link == "large.csv" else RESULTS / link
    assert waiting.value.path().read_bytes() == expected.read_bytes()


def test_without_scripts_every_table_is_there(opened):
    page = opened("small", java_script_enabled=False)
    page.locator("#about-main > summary").click()
    assert page.locator("#table-main table tbody tr:visible").count() == 16
    assert page.locator("noscript").is_visible()


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light")])
def test_nothing_is_seriously_inaccessible(opened, viewport, scheme):
    assert not inaccessible(unfolded(opened("small", viewport, color_scheme=scheme)))


def test_it_prints_on_a4_and_of_the_tables_those_that_are_open(opened):
    page = opened("small")
    opened_table(page, "rounds")
    sizes = re.findall(rb"/MediaBox \[([\d. ]+)\]", page.pdf(prefer_css_page_size=True))
    assert len(sizes) >= 2
    assert all([round(float(side)) for side in size.split()] == [0, 0, 595, 842] for size in sizes)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#table-rounds tr.main").first.is_visible()
    assert page.get_by_text("On paper, only the tables that are open").is_visible()
    for hidden in ("#table-main", "nav", "#files", ".filters", ".sideways"):
        assert not page.locator(hidden).first.is_visible()
