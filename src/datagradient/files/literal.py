"""Reading a literal from the source of a module that is not imported."""

import ast
from pathlib import Path
from typing import Any

from datagradient.errors import UserError


def read_literal(file: Path, name: str) -> Any:
    """Return the value assigned to `name` at the top of a module; None if there is no such assignment.

    Raises:
        UserError: the value is no literal.
    """
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                raise UserError(f"{file}: {name} is read without running the file: write plain words, numbers, tuples "
                                "and None, with no names or operations") from None  # fmt: skip
    return None
