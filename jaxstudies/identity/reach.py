"""Which code a run reaches: the source behind names in files."""

import ast
import contextlib
import dis
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import jaxstudies
from jaxstudies.identity.provenance import digest

Place = tuple[str, Path, str]
"""A module, its file, and a name in it."""
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Source(NamedTuple):
    """What a module's file says."""

    statements: dict[str, list[ast.stmt]]
    """By the names that they define or act on."""
    imports: dict[str, str]
    """What the names of imports stand for."""
    stars: list[str]
    """Modules from which everything is imported."""


class Part(NamedTuple):
    """What the statements of a name say."""

    texts: list[str]
    names: list[str]
    """All that are mentioned."""
    imported: list[str]
    """Dotted names that the name may stand for, and those that are mentioned."""
    alone: list[tuple[str, str]]
    """Names that go somewhere as values, or are called, each with what it stands for if it is an import's."""


Modified = tuple[int, int]
"""When a file was changed, and how long it is."""


def _modified(path: Path) -> Modified:
    about = path.stat()
    return about.st_mtime_ns, about.st_size


def read_source(name: str, path: Path) -> Source:
    """Parse a module's file, again where it was edited; comments and docstrings are left out."""
    return _parsed(name, path, _modified(path))


@lru_cache(10_000)
def _part(module: str, path: Path, name: str, modified: Modified) -> Part:
    source = _parsed(module, path, modified)
    statements = source.statements.get(name, [])
    nodes = [node for statement in statements for node in ast.walk(statement)]
    heads = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    names = {node.id: None for node in nodes if isinstance(node, ast.Name)}
    alone = {node.id: None for node in nodes if isinstance(node, ast.Name) and id(node) not in heads}
    return Part(
        [ast.unparse(statement) for statement in statements],
        list(names),
        list(dict.fromkeys(_imported(source, name, nodes))),
        [(name, source.imports.get(name, "")) for name in alone],
    )


@lru_cache(1000)
def _parsed(name: str, path: Path, modified: Modified) -> Source:
    tree = ast.parse(path.read_bytes())
    source = Source({}, {}, [])
    around = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | Definition):
            kept = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            node.body = kept or [ast.Pass()]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                head = alias.name.partition(".")[0]
                source.imports[alias.asname or head] = alias.name if alias.asname else head
        elif isinstance(node, ast.ImportFrom):
            above = around[: len(around) - node.level + 1] if node.level else []
            package = ".".join([*above, *filter(None, [node.module])])
            source.imports.update({a.asname or a.name: f"{package}.{a.name}" for a in node.names if a.name != "*"})
            source.stars.extend(package for a in node.names if a.name == "*")
    for statement in tree.body:
        for defined in _subjects(statement):
            source.statements.setdefault(defined, []).append(statement)
    return source


def _subjects(statement: ast.stmt) -> set[str]:
    """Return the names that a statement defines or, such as a call or a decorator, acts on."""
    names, nodes = set(), [statement]
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            names, nodes = {statement.name}, statement.decorator_list
        case ast.Assign():
            nodes = statement.targets
        case ast.AnnAssign(target=ast.Name()) | ast.AugAssign(target=ast.Name()):
            nodes = [statement.target]
    inside = [n for node in nodes for n in ast.walk(node)]
    # A definition may stand in a branch.
    names |= {n.name for n in inside if isinstance(n, Definition)}
    return names | {n.id for n in inside if isinstance(n, ast.Name)}


def is_followed(path: Path) -> bool:
    """Return whether a module is of the project or the user's, not of an installed library."""
    if is_ours(path):
        return True
    installed = {Path(sysconfig.get_path(key)) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    # Libraries also lie where a .pth file or PYTHONPATH points to, or at a user's own.
    return not {"site-packages", "dist-packages"} & set(path.parts) and not installed & set(path.parents)


@cache
def find_module(name: str) -> Path | None:
    """Return the file of a module whose source is followed."""
    found = vars(sys.modules[name]).get("__file__") if name in sys.modules else None
    # To look for a module imports the packages around it, which may fail in any way.
    with contextlib.suppress(Exception):
        head = importlib.util.find_spec(name.partition(".")[0])
        library = head is not None and head.has_location and not is_followed(Path(str(head.origin)).resolve())
        if found is None and not library and (spec := importlib.util.find_spec(name)):
            found = spec.origin
    path = Path(found).resolve() if found and found.endswith(".py") else None
    return path if path is not None and path.is_file() and is_followed(path) else None


def reachable_code(roots: Iterable[Place]) -> str | None:
    """Return a digest of the source that names reach, in the project and in the user's files, None if unreadable.

    Comments, docstrings and layout make no difference, nor does what is not reached. A name that
    is mentioned counts as reached.
    """
    seen: dict[tuple[Path, str], list[str]] = {}
    roots = list(roots)
    todo = list(roots)
    try:
        while todo:
            module, path, name = todo.pop()
            if (path, name) in seen:
                continue
            part = _part(module, path, name, _modified(path))
            seen[path, name] = part.texts
            todo += [(module, path, mentioned) for mentioned in part.names]
            for dotted in part.imported:
                owner, _, attribute = dotted.rpartition(".")
                if owner and (file := find_module(owner)):
                    todo.append((owner, file, attribute))
            for other, file in _whole(part, module, path):
                todo += [(other, file, defined) for defined in read_source(other, file).statements]
    except (OSError, SyntaxError):
        return None
    # Where a file lies is no part of what it does.
    roots_in_words = [name for _, _, name in roots]
    return digest([roots_in_words, sorted((path.stem, name, texts) for (path, name), texts in seen.items() if texts)])


LOOKUPS = {"globals", "locals", "vars", "eval", "exec", "__import__"}
"""What finds by text what neither a statement nor an instruction mentions."""


def _whole(part: Part, module: str, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the user's modules any part of which statements may reach: they go somewhere as values, or are searched."""
    for name, dotted in part.alone:
        if dotted and (file := find_module(dotted)) and not is_ours(file):
            yield dotted, file
        if name in LOOKUPS and not is_ours(path):
            yield module, path


def is_ours(path: Path) -> bool:
    """Return whether a file is of this package."""
    return Path(jaxstudies.__file__).parent in path.parents


def _imported(source: Source, name: str, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the dotted names that a name may stand for, and those that its statements mention."""
    yield source.imports.get(name, "")
    yield from (f"{star}.{name}" for star in source.stars)
    for node in nodes:
        if isinstance(node, ast.Attribute):
            head, _, tail = ast.unparse(node).partition(".")
            if head in source.imports and tail.replace(".", "").isidentifier():
                yield f"{source.imports[head]}.{tail}"


def imported_inside(code: CodeType, package: str) -> list[Place] | None:
    """Return what a function of a package imports when it is called, None if that cannot be told.

    It may not be there yet. Modules are those whose source is followed; one of the user's counts as a whole.
    """
    listed, places = list(dis.get_instructions(code)), []
    for level, chosen, step in zip(listed, listed[1:], listed[2:], strict=False):
        if step.opname != "IMPORT_NAME":
            continue
        try:
            name = importlib.util.resolve_name("." * int(level.argval) + step.argval, package)
        except ImportError:
            return None
        parts = name.split(".")
        # Each package on the way is bound, too, or what is chosen of one may be a module.
        modules = [".".join(parts[: i + 1]) for i in range(len(parts))]
        if chosen.argval is not None:
            modules = [f"{name}.{attribute}" for attribute in chosen.argval]
            if file := find_module(name):
                places += [(name, file, attribute) for attribute in chosen.argval]
        for module in modules:
            if file := find_module(module):
                mine = () if is_ours(file) else read_source(module, file).statements
                places += [(module, file, attribute) for attribute in (*mine, *code.co_names)]
    return places
