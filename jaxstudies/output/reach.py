"""Which code a run reaches: the source behind names in files, and functions that stand in none."""

import ast
import contextlib
import dataclasses
import dis
import importlib.util
import inspect
import json
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import NamedTuple

import jax
import numpy as np

import jaxstudies
from jaxstudies.engine.functions import cells
from jaxstudies.output.provenance import array_digest, digest

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


def read_source(name: str, path: Path) -> Source:
    """Parse a module's file, again where it was edited; comments and docstrings are left out."""
    about = path.stat()
    return _parsed(name, path, (about.st_mtime_ns, about.st_size))


@lru_cache(1000)
def _parsed(name: str, path: Path, modified: tuple[int, int]) -> Source:
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
    return names | {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}


def is_followed(path: Path) -> bool:
    """Return whether a module is of the project or the user's, not of an installed library."""
    if Path(jaxstudies.__file__).parent in path.parents:
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
            source = read_source(module, path)
            statements = source.statements.get(name, [])
            seen[path, name] = [ast.unparse(statement) for statement in statements]
            nodes = [node for statement in statements for node in ast.walk(statement)]
            todo += [(module, path, node.id) for node in nodes if isinstance(node, ast.Name)]
            for dotted in _imported(source, name, nodes):
                owner, _, attribute = dotted.rpartition(".")
                if owner and (file := find_module(owner)):
                    todo.append((owner, file, attribute))
    except (OSError, SyntaxError):
        return None
    # Where a file lies is no part of what it does.
    roots_in_words = [name for _, _, name in roots]
    return digest([roots_in_words, sorted((path.stem, name, texts) for (path, name), texts in seen.items() if texts)])


def _imported(source: Source, name: str, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the dotted names that a name may stand for, and those that its statements mention."""
    yield source.imports.get(name, "")
    yield from (f"{star}.{name}" for star in source.stars)
    for node in nodes:
        if isinstance(node, ast.Attribute):
            head, _, tail = ast.unparse(node).partition(".")
            if head in source.imports and tail.replace(".", "").isidentifier():
                yield f"{source.imports[head]}.{tail}"


class Unreadable(Exception):
    """An object whose code and content cannot be read."""


Seen = dict[int, tuple[int, object]]
"""By their identity: when objects were met, and these themselves, so that they stay."""


def object_digest(objects: object) -> str | None:
    """Return a digest of functions and values as they are now, of what they reach; None where it cannot be read.

    Functions and classes of the user's count by what they were compiled to, by what they have closed over and by the
    globals that they mention, ours by their source, those of libraries by their names. Whatever else is reached counts
    by its content. What cannot be read to its end is not guessed: then nothing that was computed before is used again.
    """
    try:
        return digest([_described(objects, {})])
    except (Unreadable, RecursionError):
        return None


def _described(value: object, seen: Seen) -> object:
    """Return what tells an object from others, as JSON has it."""
    if value is None or value is ... or isinstance(value, bool | int | float | complex | str | bytes):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, np.ndarray | np.generic | jax.Array) and getattr(value.dtype, "kind", "") != "O":
        return array_digest(value)
    if id(value) in seen:
        return f"object {seen[id(value)][0]} above"
    if (name := _library_name(value)) is not None:
        return f"named {name}"
    if isinstance(value, jax.stages.Wrapped) and hasattr(value, "__wrapped__"):
        return _described(value.__wrapped__, seen)  # compiled, it does the same
    seen[id(value)] = len(seen), value
    kind = type(value).__qualname__
    match value:
        case Mapping():
            return [kind, [[_described(k, seen), _described(v, seen)] for k, v in value.items()]]
        case set() | frozenset():
            return [kind, sorted(json.dumps(_described(part, dict(seen))) for part in value)]
        case tuple() | list():
            return [kind, [_described(part, seen) for part in value]]
        case partial():
            return [kind, _described([value.func, value.args, value.keywords], seen)]
        case MethodType():
            return [kind, _described([value.__func__, value.__self__], seen)]
        case BuiltinFunctionType() if not isinstance(value.__self__, ModuleType | None):
            return [kind, value.__name__, _described(value.__self__, seen)]
        case ModuleType() | BuiltinFunctionType() | np.ufunc():
            return f"named {value.__name__}"
        case property():
            return [kind, _described([value.fget, value.fset], seen)]
        case staticmethod() | classmethod():
            return [kind, _described(value.__func__, seen)]
        case FunctionType():
            return _described_function(value, seen)
        case type():
            return _described_class(value, seen)
    if type(value).__module__ == "nanobind":  # a function of JAX's that is none of Python
        return f"named {getattr(value, '__name__', kind)}"
    if dataclasses.is_dataclass(value):
        content: object = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        return [_described(type(value), seen), _described(content, seen)]
    if hasattr(value, "__wrapped__"):  # with derivatives of its own, cached
        own = {name: part for name, part in getattr(value, "__dict__", {}).items() if not name.startswith("__")}
        return [kind, _described([value.__wrapped__, own], seen)]
    return [kind, _described(_reduced(value), seen)]


def _reduced(value: object) -> list[object]:
    """Return what an object would be made from anew."""
    try:
        parts = value.__reduce_ex__(2)
    except Exception as error:  # whatever an object of the user's raises
        raise Unreadable(type(value)) from error
    if isinstance(parts, str):
        return [type(value), parts]
    make, arguments, state, listed, named = (*parts, None, None, None)[:5]
    return [make, arguments, state, list(listed or ()), list(named or ())]


def _library_name(value: object) -> str | None:
    """Return the dotted name of what a module of a library defines, None of anything else."""
    names = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not callable(value) or not all(isinstance(name, str) for name in names):
        return None
    about = vars(sys.modules[names[0]]) if names[0] in sys.modules else {}
    path = Path(about["__file__"]) if about.get("__file__") else None
    return ".".join(names) if about.get(names[1]) is value and path is not None and _is_library(path) else None


def _is_ours(path: Path) -> bool:
    return Path(jaxstudies.__file__).parent in path.parents


@cache
def _is_library(path: Path) -> bool:
    return path.is_file() and not is_followed(path.resolve())


@cache
def _own_source(module: str, path: Path, name: str) -> str:
    found = reachable_code([(module, path, name)])
    if found is None:
        raise Unreadable(name)
    return found


def _described_function(function: FunctionType, seen: Seen) -> object:
    """Return what tells a function from others."""
    code, path = function.__code__, Path(function.__code__.co_filename)
    inner = inspect.unwrap(function)
    if inner is not function and _is_ours(Path(inner.__code__.co_filename)) and _is_library(path):
        return _described(inner, seen)  # checked by types while it is tested
    inside = [function.__defaults__, function.__kwdefaults__, cells(function)]
    attributes = {name: part for name, part in vars(function).items() if not name.startswith("__")}
    held = _described([inside, attributes], seen)
    if _is_library(path):
        return [path.name, code.co_qualname, held]
    if _is_ours(path):
        return [code.co_qualname, _own_source(function.__module__, path, code.co_qualname.partition(".")[0]), held]
    return [held, _described_code(code, function.__globals__, seen)]


GENERATED = ("__module__", "__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__", "__hash__")


def _described_class(kind: type, seen: Seen) -> object:
    """Return what tells a class from others: of the user's, all that its body says."""
    module = sys.modules.get(kind.__module__)
    about = vars(module) if module else {}
    path = Path(about["__file__"]) if about.get("__file__") else None
    if path is not None and _is_ours(path):
        return [kind.__qualname__, _own_source(kind.__module__, path, kind.__qualname__.partition(".")[0])]
    # What has neither a file nor a specification, a notebook or what was executed, is the user's.
    known = _is_library(path) if path else about.get("__spec__") is not None
    if known and kind.__module__ != "__main__":
        return f"named {kind.__module__}.{kind.__qualname__}"
    fields = vars(kind).get("__dataclass_fields__", {})
    body = {}
    for name, value in vars(kind).items():
        special = name.startswith("__") and name.endswith("__")
        written = not special or isinstance(value, FunctionType | classmethod)
        in_c = inspect.ismemberdescriptor(value) or inspect.isgetsetdescriptor(value)
        # What a dataclass makes of its fields.
        made = special and fields and isinstance(value, FunctionType) and value.__code__.co_filename == "<string>"
        if written and not in_c and not made and not name.startswith("_abc_") and name not in GENERATED:
            body[name] = value
    factories = {name: field.default_factory for name, field in fields.items()}
    bases = [base for base in kind.__bases__ if base is not object]
    return [kind.__qualname__, _described([bases, body, factories], seen)]


def _described_code(code: CodeType, names: Mapping[str, object], seen: Seen) -> object:
    """Return the instructions that a function was compiled to, and what the globals are that it mentions."""
    steps = []
    for step in dis.get_instructions(code):
        inner = isinstance(step.argval, CodeType)
        constant = step.opname in ("LOAD_CONST", "RETURN_CONST") and not inner
        steps.append([step.opname, _described(step.argval, seen) if constant else "" if inner else step.argrepr])
    inside = [_described_code(c, names, seen) for c in code.co_consts if isinstance(c, CodeType)]
    reached = {name: names[name] for name in code.co_names if name in names}
    # Of a module of the user's, what is mentioned is followed; of a library's, its name tells.
    modules = list(reached.values())
    for module in modules:
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if file and is_followed(Path(file).resolve()) and not _is_ours(Path(file)):
            found = {name: vars(module)[name] for name in code.co_names if name in vars(module)}
            reached |= {f"{vars(module)['__name__']}.{name}": value for name, value in found.items()}
            modules += [value for value in found.values() if value not in modules and isinstance(value, ModuleType)]
    return [steps, inside, _described(dict(sorted(reached.items())), seen)]
