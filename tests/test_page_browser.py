"""The page of an audit in a browser: that it works by keyboard, offline, on narrow screens, and on paper."""

import functools
import re

import pytest

from audit_examples import NASTY, clean_file, example, replaced
from conftest import NARROW, WIDE, inaccessible
from datagradient.report.page import write_audit_page

LONG = "a class with a long name " * 12
LETTERS = [chr(ord("A") + k) for k in range(26)]
EXAMPLES = {
    "table": lambda: example("table", "helps"),
    "text": lambda: example("text", "hurts", classes=("neg", "pos")),
    "image": lambda: example("image", "nothing", n=30, classes=("cat", "dog", "truck")),
    "too few": lambda: example("table", "too few", n=0, judged=False),
    "one row": lambda: example("text", "nothing", n=1),
    "long names": lambda: example("text", "helps", n=30, classes=(LONG, LONG.replace(" ", "_"))),
    "60 columns": lambda: example("table", "helps", n=30, classes=LETTERS, columns=60),
    "nasty": lambda: replaced(list(example("table", "helps", n=30)), NASTY),
}
# For axe, which looks at every letter.
SMALL = {f"small {modality}": functools.partial(example, modality, n=6) for modality in ("table", "text", "image")}
# What is seen of the rows of the table, top to bottom: the text of one column.
COLUMN = "cells => cells.map(cell => cell.textContent)"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages of audits")
    for name, make in (EXAMPLES | SMALL).items():
        write_audit_page(folder / f"{name}.html", *make())
    summary, rows, curves = example("table", "nothing", n=0)
    write_audit_page(folder / "clean.html", clean_file(summary), rows, curves)
    return folder


def column(page, key):
    return page.locator(f"tr.main td.of-{key}").evaluate_all(COLUMN)


def numbers(page, key):
    return [float(text) for text in column(page, key)]


@pytest.mark.parametrize("name", [*EXAMPLES, "clean"])
def test_a_page_opens_without_errors_and_fits_a_narrow_screen(opened, name):
    page = opened(name, NARROW)
    buttons = page.locator("button.open")
    for k in range(min(2, buttons.count())):
        buttons.nth(k).click()
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    # Nothing is cut at the sides, but in boxes that scroll.
    cut = page.evaluate("""[...document.querySelectorAll('body *')]
        .filter(element => !element.closest('.box:not(.tall), svg, .visually-hidden, .skip'))
        .filter(element => element.getBoundingClientRect().right > 381)
        .map(element => element.outerHTML.slice(0, 80))""")
    assert not cut


@pytest.mark.parametrize("width", [700, 701, 1179, 1180])
def test_a_page_fits_screens_of_every_width(opened, width):
    page = opened("table", {"width": width, "height": 800})
    page.locator("button.open").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_table_sorts_by_keyboard(opened):
    page = opened("table")
    assert page.locator("th.of-place").get_attribute("aria-sort") == "ascending"
    assert numbers(page, "place") == list(range(1, 26))
    button = page.get_by_role("button", name="Row", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort]").count() == 1
    assert page.locator("th.of-row").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert page.locator("th.of-row").get_attribute("aria-sort") == "descending"
    assert numbers(page, "row") == sorted(numbers(page, "row"), reverse=True)
    assert numbers(page, "row")[0] == 7 * 59 + 3
    assert "descending" in page.locator("#status").text_content()
    assert page.evaluate("document.activeElement.textContent") == "Row"


def test_every_column_sorts(opened):
    page = opened("table")
    heads = page.locator("table.sortable > thead button")
    assert heads.count() == 14
    for k in range(heads.count()):
        orders = []
        for _ in range(2):
            heads.nth(k).click()
            orders.append(page.locator("th[aria-sort]").get_attribute("aria-sort"))
        assert sorted(orders) == ["ascending", "descending"]
    assert len(column(page, "harm")) == 25


def test_influence_is_told_in_words(opened):
    page = opened("table")
    assert all(re.fullmatch(r"[\d.]+ harmful", text) for text in column(page, "influence"))
    page.locator("th.of-influence button").click()
    page.locator("th.of-influence button").click()
    assert all(re.fullmatch(r"[\d.]+ helpful", text) for text in column(page, "influence")[:5])


def test_a_narrow_screen_sorts_by_a_choice(opened):
    page = opened("table", NARROW)
    page.get_by_label("Sort by").select_option(label="Row, descending")
    assert numbers(page, "row") == sorted(numbers(page, "row"), reverse=True)
    assert not page.locator("table.sortable > thead").is_visible()


def test_the_table_filters(opened):
    page = opened("table")
    page.get_by_label("Decision", exact=True).select_option("relabel")
    assert set(column(page, "decision")) == {"relabel"}
    page.get_by_label("Given label", exact=True).select_option(label="democrat")
    assert set(column(page, "given")) == {"democrat"}
    assert "filtered from 60" in page.locator(".shown").text_content()
    page.get_by_label("Search").fill("R-00")
    assert column(page, "id")
    page.get_by_label("Search").fill("nothing is called so")
    assert page.locator("tr.main").count() == 0
    assert page.get_by_text("No rows fit the filters.").is_visible()
    page.get_by_role("button", name="Clear filters").click()
    assert len(column(page, "harm")) == 25
    page.get_by_label("Search").fill("r-0042")
    assert column(page, "id") == ["r-0042"]


def test_the_table_has_pages(opened):
    page = opened("table")
    previous, following = (page.get_by_role("button", name=name) for name in ("Previous", "Next"))
    assert previous.is_disabled() and page.locator(".place").text_content() == "Page 1 of 3"
    following.click()
    assert numbers(page, "harm") == list(range(26, 51))
    following.click()
    assert numbers(page, "harm") == list(range(51, 61)) and following.is_disabled()
    assert page.locator(".shown").text_content() == "Showing rows 51 to 60 of 60"


def test_a_page_of_cards_is_shorter(opened):
    page = opened("table", NARROW)
    assert numbers(page, "place") == list(range(1, 11)) and page.locator(".place").text_content() == "Page 1 of 6"
    page.set_viewport_size(WIDE)
    page.wait_for_function("document.querySelectorAll('tr.main').length === 25")


def test_a_probability_fits_on_one_line(opened):
    page = opened("table")
    page.locator("td.of-doubt .value").first.evaluate("cell => { cell.textContent = 'over 99\u00a0%'; }")
    heights = page.locator("td.of-doubt .value").evaluate_all("cells => cells.map(cell => cell.clientHeight)")
    assert heights[0] == min(heights)


def test_a_narrow_screen_says_that_nearest_rows_are_at_the_side(opened):
    hint = "Scroll the table sideways to see the nearest rows"
    for viewport, is_seen in ((NARROW, True), (WIDE, False)):
        page = opened("table", viewport)
        page.locator("button.open").first.click()
        assert page.get_by_text(hint).first.is_visible() == is_seen
        box = page.locator("tr.details .box").first
        assert box.evaluate("box => box.scrollWidth > box.clientWidth") == is_seen


@pytest.mark.parametrize("name", ["table", "text", "image"])
def test_a_row_opens_by_keyboard(opened, name):
    page = opened(name)
    button = page.locator("button.open").first
    below = page.locator(f"[id='{button.get_attribute('aria-controls')}']")
    assert button.get_attribute("aria-expanded") == "false" and not below.is_visible()
    button.focus()
    page.keyboard.press("Space")
    assert button.get_attribute("aria-expanded") == "true" and below.is_visible()
    text = below.inner_text()
    assert "Models trained without this row predict" in text and "helpful" in text and "harmful" in text
    assert "null" not in text and "undefined" not in text
    page.locator("th.of-row button").click()
    page.locator("th.of-harm button").click()  # it stays open when the table is sorted
    assert page.locator("button.open").first.get_attribute("aria-expanded") == "true"
    page.locator("button.open").first.press("Enter")
    assert not page.locator("tr.details").first.is_visible()


def test_pictures_are_seen(opened):
    page = opened("image")
    page.locator("button.open").first.click()
    page.wait_for_function("[...document.images].every(image => image.complete)")
    sizes = page.evaluate("[...document.images].map(image => [image.naturalWidth, image.width, image.alt])")
    assert len(sizes) == 25 + 1 + 6
    assert all(natural == 32 and width > 0 and alt.startswith("Picture of row") for natural, width, alt in sizes)


def test_words_are_marked_by_more_than_colour(opened):
    page = opened("text")
    page.locator("button.open").first.click()
    looks = page.locator("tr.details .text").first.locator("mark").evaluate_all(
        "marks => marks.map(mark => [mark.className.split(' ')[0], getComputedStyle(mark).textDecorationStyle])"
    )  # fmt: skip
    assert {tuple(look) for look in looks} <= {("against", "solid"), ("for", "dotted")}
    assert looks
    assert "Against the label" in page.locator("tr.details").first.inner_text()


def test_unusual_cells_are_told_in_words(opened):
    page = opened("60 columns")
    page.locator("button.open").first.click()
    rows = page.locator("tr.details table.compared tbody tr.unusual")
    assert rows.count() == 15
    assert all("smallest 1 %" in text for text in rows.all_inner_texts())


def test_texts_of_the_user_are_shown_and_never_run(opened):
    page = opened("nasty")
    page.locator("button.open").first.click()
    assert page.locator("h1").text_content() == NASTY[NASTY.index("/") + 1 :]
    assert column(page, "given")[0].startswith("<script>alert(1)</script>")
    assert page.evaluate("document.scripts.length") == 2


def test_the_policy_stops_scripts_from_elsewhere(browser, files):
    page = browser.new_page()
    page.goto((files / "table.html").as_uri())
    page.evaluate("""() => {
        const script = document.createElement('script');
        script.textContent = 'window.ran = true';
        document.body.append(script);
        const button = document.createElement('button');
        button.setAttribute('onclick', 'window.ran = true');
        document.body.append(button);
        button.click();
    }""")
    assert page.evaluate("window.ran") is None
    page.close()


def test_a_command_is_copied(opened):
    page = opened("table")
    button = page.get_by_role("button", name="Copy")
    assert button.count() == 1
    button.click()
    page.wait_for_function("document.getElementById('status').textContent === 'Copied'")
    page.get_by_label("Search").focus()
    page.keyboard.press("Control+V")
    assert page.get_by_label("Search").input_value() == "datagradient apply out/plan.json --out votes-refined.csv"


def test_without_scripts_the_page_says_what_is_missing(opened):
    page = opened("table", java_script_enabled=False)
    assert page.locator("noscript").is_visible()
    assert page.get_by_role("heading", name="Refining this data helps").is_visible()
    assert not page.get_by_role("button", name="Copy").is_visible()


@pytest.mark.parametrize("name", [*SMALL, "too few", "clean"])
@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light")])
def test_nothing_is_seriously_inaccessible(opened, name, viewport, scheme):
    page = opened(name, viewport, color_scheme=scheme)
    for button in page.locator("button.open").all()[:2]:
        button.click()
    for summary in page.locator("summary").all():
        summary.click()
    assert not inaccessible(page)


@pytest.mark.parametrize("name", ["table", "image", "too few"])
def test_it_prints_on_a4(opened, name):
    page = opened(name)
    paper = page.pdf(prefer_css_page_size=True)
    sizes = re.findall(rb"/MediaBox \[([\d. ]+)\]", paper)
    assert len(sizes) >= 2
    assert all([round(float(side)) for side in size.split()] == [0, 0, 595, 842] for size in sizes)


def test_paper_has_the_details_of_the_first_rows_and_no_controls(opened):
    page = opened("table")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("tr.details").count() == 25
    assert all(row.is_visible() for row in page.locator("tr.details").all())
    assert page.get_by_text("Accuracy by fold", exact=True).is_visible()  # folded on the screen
    for control in ("button.open", ".filters", ".pages", "nav", "button.copy"):
        assert not page.locator(control).first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not any(row.is_visible() for row in page.locator("tr.details").all())
