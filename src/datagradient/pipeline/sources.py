"""A hash of the code that one command runs, so that editing the package reruns only what is affected."""

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
NAME = PACKAGE.name
RUNS_ALL = ("main", "parser")  # functions of `commands.main` that every command runs
# The layout uses only the names of policies, which are in the configuration and thus in the settings of their jobs.
NAMES_ALONE = ("pipeline/layout.py", f"{NAME}.refine.policies")
DECLARED = ("FAMILY", "POLICIES")  # the names of the declarations of families and policies
LOOKS = ("colour", "marker", "description")  # parts of a declaration on which only figures and pages depend
STYLE = "report/style.py"  # reached by commands that draw; it reads the declarations of all families
PAGES = "report/offline.py"  # reached by commands that make pages, from templates, which are no Python


@functools.cache
def source_hash(command: str, *modules: str) -> str:
    """Return a hash of one command's code: of its syntax trees, so that docstrings, comments and help do not count.

    The code is the command's function in its file of `commands` and its options there, the functions that every command
    runs, and all modules of the package that these can reach. Imports are read from the source, including those inside
    functions; nothing is imported. The looks declared by families and policies count only for commands that draw or
    make pages, and templates for the latter.

    Args:
        command: the name of its function.
        modules: names of further modules that the command loads by name, e.g. ``models.logistic``.
    """
    digest, imported = hashlib.sha256(), {f"{NAME}.{module}" for module in modules}
    file, main = _tree(_file_of(command)), _tree(PACKAGE / "commands/main.py")
    for tree, used in ((file, _used(file, (), command)), (main, _used(main, RUNS_ALL))):
        names = {name for part in used for name in _names(part)}
        imported |= _imports(used)
        for node in tree.body:
            # Imports from the files of commands are skipped: the parts that a command uses are already covered.
            wanted = isinstance(node, ast.ImportFrom) and node.module != f"{NAME}.commands"
            if wanted and names & {alias.asname or alias.name for alias in node.names}:
                imported |= _imports([node])
        for part in used:
            digest.update(ast.dump(part).encode())
    reached = _reach(imported)
    draws, makes_pages = PACKAGE / STYLE in reached, PACKAGE / PAGES in reached
    for path in sorted(reached):
        digest.update(str(path.relative_to(PACKAGE)).encode() + _dump(_tree(path, draws or makes_pages)))
    for path in sorted((PACKAGE / PAGES).with_name("templates").iterdir()) if makes_pages else ():
        digest.update(path.name.encode() + path.read_bytes())
    for path in sorted((PACKAGE / "models").glob("[a-z]*.py")) if draws else ():
        declarations = [node for node in _tree(path, draws).body if "FAMILY" in _defined(node)]
        digest.update(path.stem.encode() + "".join(map(ast.dump, declarations)).encode())
    return digest.hexdigest()[:12]


def _file_of(command: str) -> Path:
    """Return the file of `commands` that defines a command."""
    for path in sorted((PACKAGE / "commands").glob("*.py")):
        if any(command in _defined(node) for node in _tree(path).body) and path.name != "main.py":
            return path
    raise ValueError(f"no command {command}")


def _used(tree: ast.Module, wanted: Iterable[str], command: str | None = None) -> list[ast.AST]:
    """Return the given functions of a file and all that they use; for a command also its options."""
    defined = {name: node for node in tree.body for name in _defined(node)}
    waiting, used, seen = list(wanted), [], set()
    if command:
        options = defined.pop("COMMANDS").value
        used = [next(value for key, value in zip(options.keys, options.values, strict=True) if key.id == command)]
        waiting += [command, *_names(used[0])]
    while waiting:
        name = waiting.pop(0)
        if name in defined and name not in seen:
            seen.add(name)
            used.append(defined[name])
            waiting += _names(defined[name])
    return used


def _defined(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []


def _names(part: ast.AST) -> list[str]:
    return sorted({node.id for node in ast.walk(part) if isinstance(node, ast.Name)})


@functools.cache
def _tree(path: Path, with_looks: bool = False) -> ast.Module:
    """Return a module's syntax tree without docstrings, types' imports, help of options and, by default, looks."""
    if with_looks and not any(set(_defined(node)) & set(DECLARED) for node in _tree(path).body):
        return _tree(path)  # the same, and most modules are of this kind
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [statement for part in tree.body for statement in ([part] if not _for_types(part) else part.orelse)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        elif isinstance(node, ast.Dict):
            _leave_out(node, ("help",))
    for node in tree.body if not with_looks else ():
        for part in ast.walk(node) if set(_defined(node)) & set(DECLARED) else ():
            _leave_out(part, LOOKS)
    return tree


@functools.cache
def _dump(tree: ast.Module) -> bytes:
    return ast.dump(tree).encode()


@functools.cache
def _imports_of(path: Path) -> set[str]:
    return _imports([_tree(path)])


def _for_types(part: ast.stmt) -> bool:
    """Return whether a statement is for a type checker alone: what it imports never runs."""
    return isinstance(part, ast.If) and isinstance(part.test, ast.Name) and part.test.id == "TYPE_CHECKING"


def _leave_out(node: ast.AST, names: tuple[str, ...]) -> None:
    """Remove keys of a mapping, or keywords of a call, from its syntax tree."""
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        kept = [(key, value) for key, value in pairs if not (isinstance(key, ast.Constant) and key.value in names)]
        node.keys, node.values = [key for key, _ in kept], [value for _, value in kept]
    elif isinstance(node, ast.Call):
        node.keywords = [keyword for keyword in node.keywords if keyword.arg not in names]


def _reach(names: set[str]) -> set[Path]:
    reached: set[Path] = set()
    waiting = [_file(name) for name in names]
    while waiting:
        path = waiting.pop()
        if path is not None and path not in reached:
            reached.add(path)
            place = str(path.relative_to(PACKAGE).as_posix())
            waiting += [_file(name) for name in _imports_of(path) if (place, name) != NAMES_ALONE]
    return reached


def _imports(trees: Iterable[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == NAME}


@functools.cache
def _file(name: str) -> Path | None:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
