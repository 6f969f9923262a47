"""What functions and values are at this moment, down to all that they reach: nothing that has changed goes unseen."""

import dataclasses
import dis
import inspect
import itertools
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import jax
import numpy as np

from jaxstudies.engine.functions import cells
from jaxstudies.identity.provenance import array_digest, digest
from jaxstudies.identity.reach import LOOKUPS, imported_inside, is_followed, is_ours, reachable_code


class Unreadable(Exception):
    """An object whose code and content cannot be read."""


Seen = dict[int, tuple[int, object]]
"""By their identity: when objects were met, and these themselves, so that they stay."""


def object_digest(objects: object) -> str | None:
    """Return a digest of functions and values as they are now, of what they reach; None where it cannot be read.

    Functions, classes and objects of the user's count by what they were compiled to, by what they have closed over, by
    the globals that they mention and by their attributes; ours by their source; those of libraries by their names, or
    what they would be made from anew. What cannot be read to its end is not guessed: then nothing that was computed
    before is used again.
    """
    try:
        return digest([_described(objects, {})])
    except (Unreadable, RecursionError):
        return None


def _described(value: object, seen: Seen) -> object:
    """Return what tells an object from others, as JSON has it."""
    if value is None or value is ... or type(value) in (bool, int, float, complex, str, bytes):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, np.ndarray | np.generic | jax.Array) and getattr(value.dtype, "kind", "") != "O":
        # JAX's own, weakly typed, keys of an implementation: each makes another program.
        return [type(value).__name__, str(getattr(value, "weak_type", "")), str(value.dtype), array_digest(value)]
    if id(value) in seen:
        return f"object {seen[id(value)][0]} above"
    if (name := _library_name(value)) is not None:
        return f"named {name}"
    inside = _attribute(value, "__wrapped__")
    if type(value).__name__ == "PjitFunction" and inside is not None:
        return _described(inside, seen)  # compiled, it does the same
    seen[id(value)] = len(seen), value
    match value:
        case MethodType():
            return ["method", _described([value.__func__, value.__self__], seen)]
        case BuiltinFunctionType() if not isinstance(value.__self__, ModuleType | None):
            return [value.__name__, _described(value.__self__, seen)]
        case ModuleType():
            return _described_module(value, seen)
        case BuiltinFunctionType() | np.ufunc():
            return f"named {value.__name__}"
        case property():
            return ["property", _described([value.fget, value.fset], seen)]
        case staticmethod() | classmethod():
            return [type(value).__name__, _described(value.__func__, seen)]
        case FunctionType():
            return _described_function(value, seen)
        case type():
            return _described_class(value, seen)
    if type(value).__module__ == "nanobind":  # a function of JAX's that is none of Python
        return f"named {_attribute(value, '__name__')}"
    kind, held = _described(type(value), seen), _content(value, seen)
    if not isinstance(kind, str):  # of the user's
        return [kind, held, _described(_attributes(value), seen)]
    if held is None and dataclasses.is_dataclass(value):
        return [kind, _described(_attributes(value), seen)]
    if held is None and inside is not None:  # with derivatives of its own, cached
        return [kind, _described([inside, _attributes(value)], seen)]
    return [kind, _described(_reduced(value), seen) if held is None else held]


def _content(value: object, seen: Seen) -> object:
    """Return what a container, a partial or a number of a kind of its own holds, None of anything else."""
    match value:
        case Mapping():
            items = [[_described(k, seen), _described(v, seen)] for k, v in value.items()]
            return [items, _described(value.default_factory, seen)] if isinstance(value, defaultdict) else items
        case set() | frozenset():
            return sorted(json.dumps(_described(part, dict(seen))) for part in value)
        case tuple() | list():
            return [_described(part, seen) for part in value]
        case partial():
            return _described([value.func, value.args, value.keywords], seen)
        case int() | float() | complex() | str() | bytes():
            base: Any = next(base for base in type(value).__mro__ if base in (int, float, complex, str, bytes))
            return base.__repr__(value)
    return None


def _attribute(value: object, name: str) -> object:
    """Return an attribute, None where there is none or the object says something odd."""
    try:
        return getattr(value, name, None)
    except Exception:  # an object of the user's may raise anything
        return None


def _attributes(value: object) -> dict[str, object]:
    """Return what an object holds by name; of a network of Flax, without its place among others."""
    linen = sys.modules.get("flax.linen")
    private = linen is not None and isinstance(value, linen.Module)
    fields = getattr(type(value), "__dataclass_fields__", {}) if private else {}
    slots = [name for kind in type(value).__mro__ for name in _listed(vars(kind).get("__slots__", ()))]
    names = [*dict.fromkeys([*getattr(value, "__dict__", {}), *slots])]
    kept = [n for n in names if not (n.startswith("__") and n != "__wrapped__")]
    kept = [n for n in kept if not (private and n.startswith("_") and n not in fields)]
    return {name: object.__getattribute__(value, name) for name in sorted(kept) if _is_set(value, name)}


def _listed(slots: object) -> list[str]:
    return [slots] if isinstance(slots, str) else [name for name in slots] if isinstance(slots, Iterable) else []


def _is_set(value: object, name: str) -> bool:
    try:
        object.__getattribute__(value, name)
    except AttributeError:
        return False
    return True


def _reduced(value: object) -> list[object]:
    """Return what an object of a library would be made from anew."""
    try:
        parts = value.__reduce_ex__(2)
    except Exception as error:  # a generator, a lock
        raise Unreadable(type(value)) from error
    if isinstance(parts, str):
        return [parts]
    make, arguments, state, listed, named = (*parts, None, None, None)[:5]
    return [make, arguments, state, list(listed or ()), list(named or ())]


def _library_name(value: object) -> str | None:
    """Return the dotted name of what a module of a library defines, None of anything else."""
    module, name = _attribute(value, "__module__"), _attribute(value, "__name__")
    if not callable(value) or not isinstance(module, str) or not isinstance(name, str):
        return None
    about = vars(sys.modules[module]) if module in sys.modules else {}
    path = Path(about["__file__"]) if about.get("__file__") else None
    return f"{module}.{name}" if about.get(name) is value and path is not None and _is_library(path) else None


@cache
def _is_library(path: Path) -> bool:
    return path.is_file() and not is_followed(path.resolve())


@cache
def _own_source(module: str, path: Path, name: str) -> str:
    found = reachable_code([(module, path, name)])
    if found is None:
        raise Unreadable(name)
    return found


def _is_mine(module: ModuleType) -> bool:
    """Return whether a module is the user's, whose content can change."""
    file = vars(module).get("__file__")
    path = Path(file) if file else None
    return path is not None and path.is_file() and not _is_library(path) and not is_ours(path)


def _described_module(module: ModuleType, seen: Seen) -> object:
    """Return what tells a module from others: of the user's, which went somewhere as a value, all of it."""
    if not _is_mine(module):
        return f"named {vars(module)['__name__']}"
    return _described({name: value for name, value in vars(module).items() if not name.startswith("__")}, seen)


def _described_function(function: FunctionType, seen: Seen) -> object:
    """Return what tells a function from others."""
    code, path = function.__code__, Path(function.__code__.co_filename)
    inner = inspect.unwrap(function)
    wrapped = inner is not function and isinstance(inner, FunctionType) and _is_library(path)
    if wrapped and is_ours(Path(inner.__code__.co_filename)):
        return _described(inner, seen)  # checked by types while it is tested
    inside = [function.__defaults__, function.__kwdefaults__, cells(function)]
    attributes = {name: part for name, part in vars(function).items() if not name.startswith("__")}
    held = _described([inside, attributes], seen)
    if _is_library(path):
        return [path.name, code.co_qualname, held]
    if is_ours(path):
        return [code.co_qualname, _own_source(function.__module__, path, code.co_qualname.partition(".")[0]), held]
    return [held, _described_code(code, function.__globals__, seen)]


UNTOLD = (
    *("__module__", "__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__"),
    *("__annotations__", "__abstractmethods__", "__parameters__", "__orig_bases__"),
)
"""What is in a class without its body saying so, or makes no difference to numbers."""


def _described_class(kind: type, seen: Seen) -> object:
    """Return what tells a class from others: of the user's, all that its body says; of others the name, as text."""
    module = sys.modules.get(kind.__module__)
    about = vars(module) if module else {}
    path = Path(about["__file__"]) if about.get("__file__") else None
    if path is not None and is_ours(path):
        source = _own_source(kind.__module__, path, kind.__qualname__.partition(".")[0])
        return f"ours {kind.__qualname__} {source}"
    # What has neither a file nor a specification, a notebook or what was executed, is the user's.
    known = _is_library(path) if path else about.get("__spec__") is not None
    if known and kind.__module__ != "__main__":
        return f"named {kind.__module__}.{kind.__qualname__}"
    body = {
        name: value
        for name, value in vars(kind).items()
        if name not in UNTOLD and not name.startswith("_abc_") and not _is_in_c(value)
    }
    above = [type(kind), *(base for base in kind.__bases__ if base is not object)]
    return [kind.__qualname__, _described([above, body], seen)]


def _is_in_c(value: object) -> bool:
    """Return whether it is what Python makes of a name in `__slots__` or of a field of a NamedTuple."""
    named = type(value).__name__ == "_tuplegetter"
    return named or inspect.ismemberdescriptor(value) or inspect.isgetsetdescriptor(value)


def _described_code(code: CodeType, names: Mapping[str, object], seen: Seen) -> object:
    """Return the instructions that a function was compiled to, and what the globals are that it mentions."""
    if found := LOOKUPS & set(code.co_names) - set(names):
        raise Unreadable(found)
    listed, steps = list(dis.get_instructions(code)), []
    for step in listed:
        inner = isinstance(step.argval, CodeType)
        constant = step.opname in ("LOAD_CONST", "RETURN_CONST") and not inner
        steps.append([step.opname, _described(step.argval, seen) if constant else "" if inner else step.argrepr])
    # Instructions name parameters one by one, and not which stands where.
    numbers = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
    steps = [numbers, list(code.co_varnames), code.co_exceptiontable.hex(), *steps]
    inside = [_described_code(c, names, seen) for c in code.co_consts if isinstance(c, CodeType)]
    places = imported_inside(code, str(names.get("__package__") or ""))
    if places is None or (source := reachable_code(places)) is None:
        raise Unreadable(code.co_qualname)
    inside += [source] if places else []
    reached = {name: names[name] for name in code.co_names if name in names}
    # A module of which attributes are taken counts by these; one that goes elsewhere counts as a whole.
    taken = {a.argval for a, b in itertools.pairwise(listed) if b.opname in ("LOAD_ATTR", "LOAD_METHOD")}
    whole = {a.argval for a, b in itertools.pairwise(listed) if b.opname not in ("LOAD_ATTR", "LOAD_METHOD")}
    modules = {n: m for n, m in reached.items() if isinstance(m, ModuleType) and _is_mine(m) and n in taken - whole}
    reached = {name: value for name, value in reached.items() if name not in modules}
    todo = list(modules.values())
    for module in todo:
        found = {name: vars(module)[name] for name in code.co_names if name in vars(module)}
        further = [m for m in found.values() if isinstance(m, ModuleType) and _is_mine(m)]
        todo += [m for m in further if m not in todo]
        reached |= {f"{vars(module)['__name__']}.{n}": v for n, v in found.items() if v not in further}
    return [steps, inside, _described(dict(sorted(reached.items())), seen)]
