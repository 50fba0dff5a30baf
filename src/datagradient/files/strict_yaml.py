"""Strict YAML: unlike PyYAML, it refuses duplicate keys, and numbers that are read as different numbers."""

import re
from pathlib import Path

import yaml

from datagradient.errors import UserError, one_line, shown

# YAML 1.1 reads 010 as 8 and 1:30 as 90.
_MISREAD = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: Path) -> dict:
    """Return the mapping in a YAML (or JSON) file of settings.

    Raises:
        UserError: the file cannot be read, is not UTF-8 or not a mapping, has a key twice in one mapping, or a number
            that YAML reads differently from a human reader.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        content = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{path}: {where}{one_line(error.problem or error.context)}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is not YAML ({one_line(error)})") from None
    except (RecursionError, ValueError, TypeError) as error:  # raised for an invalid number or date
        raise UserError(f"{path}: is not YAML that can be read ({one_line(error)})") from None
    if not isinstance(content, dict):
        what = "empty" if content is None else shown(content)
        raise UserError(f"{path}: is {what}, and not a mapping of keys to values")
    return content


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses what PyYAML silently accepts: duplicate keys, 010 read as 8, 1:30 read as 90."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                name, line = (key.tag, key.value), key.start_mark.line + 1
                if name in lines:
                    first = f"the key {shown(key.value)} is also in line {lines[name]}; keep one of them"
                    raise yaml.MarkedYAMLError(problem=first, problem_mark=key.start_mark)
                lines[name] = line
        return node

    def compose_scalar_node(self, anchor: str | None) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if node.tag in _NUMBERS and _MISREAD.fullmatch(node.value):
            read = self.construct_object(node)
            raise yaml.MarkedYAMLError(
                problem=f"{node.value} is read as {read}: write {read}, or put quotes around it if it is a word",
                problem_mark=node.start_mark,
            )
        return node
