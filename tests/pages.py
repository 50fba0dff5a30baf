"""Pages as their readers take them: strictly parsed, and as text."""

import functools

import html5lib


@functools.lru_cache(maxsize=4)  # a page of megabytes takes seconds
def parsed(page):
    """The tree of a page, which a strict reader accepts."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def words(text):
    return " ".join(text.split())


def text_of(page):
    return words("".join(parsed(page).find("body").itertext()))
