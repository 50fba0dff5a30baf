"""A hash of the code that one command runs, so that editing the package reruns what it must and no more."""

import ast
import functools
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parent
NAME = PACKAGE.name


@functools.cache
def source_hash(command: str, *modules: str) -> str:
    """Return a hash of one command's function in `cli` and of every module of the package that it can reach.

    Imports are read from the source, those inside functions too; nothing is imported.

    Args:
        command: the name of the function in the module ``cli``.
        modules: names of further modules that the command loads by name, e.g. ``models.logistic``.
    """
    tree = ast.parse((PACKAGE / "cli.py").read_text(encoding="utf-8"))
    body = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == command)
    digest = hashlib.sha256(ast.dump(body).encode())
    for path in sorted(_reach(_imports(body) | {f"{NAME}.{module}" for module in modules})):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _reach(names: set[str]) -> set[Path]:
    found: set[Path] = set()
    waiting = [_file(name) for name in names]
    while waiting:
        path = waiting.pop()
        if path is not None and path not in found:
            found.add(path)
            waiting += [_file(name) for name in _imports(ast.parse(path.read_text(encoding="utf-8")))]
    return found


def _imports(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == NAME}


def _file(name: str) -> Path | None:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
