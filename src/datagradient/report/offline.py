"""Pages that are one offline HTML file: templates, escaping, and a policy under which a browser loads nothing else."""

import base64
import functools
import hashlib
import json
import math
import re
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from datagradient.files import replacing
from datagradient.report import amounts

UNKNOWN = "–"  # stands for None
CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")  # characters that HTML does not allow
# What HTML, or JavaScript of old, would read as more than text. JSON may write any character by its number.
PLAIN = "!$()*+,/:;=?@"  # what a text in an address may hold as it is, besides letters and digits
UNSAFE = re.compile(r"[<>&\x7f-\x9f\u2028\u2029]")


def page(template: str, styles: list[str], scripts: list[str], data: Any, **content: Any) -> str:
    """Return a whole page as one text that can be written as UTF-8.

    Args:
        template: the name of a template that extends `layout.html`; all names are of files in `templates/`.
        styles: style sheets, put into the page in this order.
        scripts: scripts, likewise.
        data: what the scripts find as JSON in the element `data`; a number that is not finite becomes null.
        content: what the template asks for; it may ask for nothing else.
    """
    style, script = _joined(styles), _joined(scripts)
    rendered = _environment().get_template(template).render(
        style=style, script=script, policy=_policy(style, script), data=as_json(data), **content
    )  # fmt: skip
    # File names may hold what is no character; in JSON, what stands here for it is read as what it was.
    return rendered.encode("utf-8", "backslashreplace").decode("utf-8")


def write_page(path: Path, text: str) -> None:
    """Write a page to a temporary file that is then renamed, so that `path` never holds a part of one."""
    with replacing(path) as stream:
        stream.write(text)


def picture_address(content: bytes) -> str:
    """Return an address that is the picture itself, a PNG."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def text_address(content: bytes, kind: str) -> str:
    """Return an address that is the text itself; most of it stands as it is, where base64 would make it a third longer.

    Args:
        content: the text as UTF-8.
        kind: the second word of its type: csv, json.
    """
    return f"data:text/{kind};charset=utf-8,{quote(content, safe=PLAIN)}"


def as_json(content: Any) -> str:
    """Return JSON that may stand in a `<script>` as it is."""
    text = json.dumps(_finite(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@functools.cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("datagradient.report"), autoescape=True, undefined=StrictUndefined, finalize=_printable,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= {function.__name__: function for function in amounts.FILTERS}
    return found


def _printable(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return UNKNOWN
    has_control = isinstance(value, str) and CONTROL.search(value)
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", value) if has_control else value


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _joined(names: list[str]) -> str:
    folder = resources.files("datagradient.report") / "templates"
    return "\n".join((folder / name).read_text(encoding="utf-8").strip() for name in names)


def _policy(style: str, script: str) -> str:
    """Return a Content-Security-Policy that allows this style, this script and pictures inside the page alone."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)
    )
    return (
        f"default-src 'none'; script-src 'sha256-{script_hash}'; style-src 'sha256-{style_hash}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
