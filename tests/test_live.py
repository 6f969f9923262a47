"""Whatever has changed of a function, or of what it reaches, is seen: nothing stale is used again."""

import importlib
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxstudies import map_seeds
from jaxstudies.identity import reach
from jaxstudies.identity.live import object_digest

START = """
import collections, dataclasses, enum, fractions, functools, types
import equinox as eqx
import flax.linen as nn
import jax, jax.numpy as jnp, jax.random as jr
import numpy as np
import optax
from typing import NamedTuple
"""
CHANGES = {
    "number": ("A = 1.0\ndef simulate(key): return A", "A = 2.0"),
    "function": ("def f(x): return x\ndef simulate(key): return f(key)", "def f(x): return 2 * x"),
    "far function": (
        "def g(x): return x\ndef f(x): return g(x)\ndef simulate(key): return f(key)",
        "def g(x): return 2 * x",
    ),
    "library function": ("f = jnp.tanh\ndef simulate(key): return f(key)", "f = jax.nn.relu"),
    "partial": (
        "f = functools.partial(jax.nn.leaky_relu, negative_slope=0.1)\ndef simulate(key): return f(key)",
        "f = functools.partial(jax.nn.leaky_relu, negative_slope=0.2)",
    ),
    "jit": ("f = jax.jit(lambda x: x)\ndef simulate(key): return f(key)", "f = jax.jit(lambda x: 2 * x)"),
    "grad": (
        "def h(a, b): return a * b\nf = jax.grad(h)\ndef simulate(key): return f(key, 2.0)",
        "f = jax.grad(h, argnums=1)",
    ),
    "no grad": ("def h(a): return a * a\nf = jax.grad(h)\ndef simulate(key): return f(key)", "f = h"),
    "decorator": (
        "def add(n):\n def wrap(f):\n  @functools.wraps(f)\n  def inner(x): return f(x) + n\n"
        "  return inner\n return wrap\n"
        "@add(1)\ndef f(x): return x\ndef simulate(key): return f(key)",
        "@add(2)\ndef f(x): return x",
    ),
    "derivative": (
        "@jax.custom_vjp\ndef f(x): return x\nf.defvjp(lambda x: (x, None), lambda r, g: (g,))\n"
        "def simulate(key): return f(key)",
        "f.defvjp(lambda x: (x, None), lambda r, g: (2 * g,))",
    ),
    "type": ("kind = jnp.float32\ndef simulate(key): return kind", "kind = jnp.bfloat16"),
    "range": ("r = range(2)\ndef simulate(key): return r", "r = range(3)"),
    "fraction": ("r = fractions.Fraction(1, 2)\ndef simulate(key): return r", "r = fractions.Fraction(1, 3)"),
    "deque": ("d = collections.deque([1])\ndef simulate(key): return d", "d.append(2)"),
    "dictionary": ("d = {'a': 1}\ndef simulate(key): return d", "d['a'] = 2"),
    "namespace": ("d = types.SimpleNamespace(a=1)\ndef simulate(key): return d", "d.a = 2"),
    "array": ("a = np.ones(2)\ndef simulate(key): return a", "a[0] = 2"),
    "slots": ("class S:\n __slots__ = ('a',)\ns = S()\ns.a = 1\ndef simulate(key): return s", "s.a = 2"),
    "class constant": ("class C:\n s = 1\ndef simulate(key): return C.s", "C.s = 2"),
    "property": (
        "class C:\n @property\n def q(self): return 1\ndef simulate(key): return C().q",
        "class C:\n @property\n def q(self): return 2",
    ),
    "compiled method": (
        "class C:\n @functools.partial(jax.jit, static_argnums=0)\n def m(self, x): return x\n"
        "def simulate(key): return C().m(key)",
        "class C:\n @functools.partial(jax.jit, static_argnums=0)\n def m(self, x): return 2 * x",
    ),
    "method's global": ("A = 1\nclass C:\n def m(self): return A\nc = C()\ndef simulate(key): return c.m()", "A = 2"),
    "tuple's fields": ("class T(NamedTuple):\n a: int = 1\nt = T()\ndef simulate(key): return t", "t = T(2)"),
    "enumeration": ("class E(enum.Enum):\n A = 1\ndef simulate(key): return E.A.value", "class E(enum.Enum):\n A = 2"),
    "network": ("net = nn.Dense(2)\ndef simulate(key): return net", "net = nn.Dense(3)"),
    "network class": (
        "class N(nn.Module):\n width = 2\n @nn.compact\n def __call__(self, x): return nn.Dense(self.width)(x)\n"
        "def simulate(key): return N()",
        "class N(nn.Module):\n width = 3\n @nn.compact\n def __call__(self, x): return nn.Dense(self.width)(x)",
    ),
    "optimizer": ("opt = optax.adam(0.1)\ndef simulate(key): return opt", "opt = optax.adam(0.2)"),
    "attribute": ("def f(x): return f.s\nf.s = 1\ndef simulate(key): return f(key)", "f.s = 2"),
    "which of two": (
        "fs = [jnp.tanh, jnp.sin, jnp.tanh]\ndef simulate(key): return fs",
        "fs = [jnp.tanh, jnp.sin, jnp.sin]",
    ),
    "default": ("A = 1\ndef simulate(key, a=A): return a", "A = 2\ndef simulate(key, a=A): return a"),
    "closure": ("def make(a):\n return lambda key: a\nsimulate = make(1)", "simulate = make(2)"),
    "method bound": (
        "class C:\n def __init__(self, a): self.a = a\n def run(self, key): return self.a\nsimulate = C(1).run",
        "simulate = C(2).run",
    ),
    "compiled call": (
        "class C:\n @functools.partial(jax.jit, static_argnums=0)\n def __call__(self, x): return x\nc = C()\n"
        "def simulate(key): return c(key)",
        "class C:\n @functools.partial(jax.jit, static_argnums=0)\n def __call__(self, x): return 2 * x\nc = C()",
    ),
    "partial method": (
        "A = 1\ndef f(self, a, x): return A\nclass C:\n __call__ = functools.partialmethod(f, 2)\nc = C()\n"
        "def simulate(key): return c(key)",
        "A = 2",
    ),
    "equinox inside": (
        "class N(eqx.Module):\n w: float\n def __init__(self): self.w = 1.0\n def __call__(self): return self.w\n"
        "def simulate(key): return N()()",
        "class N(eqx.Module):\n w: float\n def __init__(self): self.w = 2.0\n def __call__(self): return self.w",
    ),
    "dataclass": (
        "@dataclasses.dataclass\nclass C:\n a: float\n def __call__(self): return self.a\nc = C(1.0)\n"
        "def simulate(key): return c()",
        "@dataclasses.dataclass\nclass C:\n a: float\n def __call__(self): return 2 * self.a\nc = C(1.0)",
    ),
    "no field": (
        "@dataclasses.dataclass\nclass C:\n a: float = 1.0\n def __post_init__(self): self.b = 1\nc = C()\n"
        "def simulate(key): return c",
        "c.b = 2",
    ),
    "wrapping class": (
        "A = 1\nclass W:\n def __init__(self, f): functools.update_wrapper(self, f)\n def __call__(self): return A\n"
        "@W\ndef f(): return 1\ndef simulate(key): return f()",
        "A = 2",
    ),
    "tuple's method": (
        "A = 1\nclass T(NamedTuple):\n a: int = 1\n def m(self): return A\nt = T()\ndef simulate(key): return t.m()",
        "A = 2",
    ),
    "kind of float": (
        "A = 1\nclass F(float):\n def m(self): return A\nf = F(1)\ndef simulate(key): return f.m()",
        "A = 2",
    ),
    "kind of partial": (
        "A = 1\nclass P(functools.partial):\n def __call__(self): return A\n"
        "p = P(print)\ndef simulate(key): return p()",
        "A = 2",
    ),
    "kind of dictionary": ("class D(dict): pass\nd = D()\nd.s = 1\ndef simulate(key): return d.s", "d.s = 2"),
    "attribute dictionary": (
        "class D(dict):\n def __getattr__(self, name): return self[name]\nd = D(a=1)\ndef simulate(key): return d.a",
        "d['a'] = 2",
    ),
    "hidden state": (
        "class C:\n def __getstate__(self): return {}\nc = C()\nc.a = 1\ndef simulate(key): return c.a",
        "c.a = 2",
    ),
    "metaclass": (
        "A = 1\nclass M(type):\n @property\n def q(cls): return A\nclass C(metaclass=M): pass\n"
        "def simulate(key): return C.q",
        "A = 2",
    ),
    "kind of key": ("k = jr.key(1, impl='rbg')\ndef simulate(key): return k", "k = jr.key(1, impl='unsafe_rbg')"),
    "weak array": ("w = jnp.asarray(1.5)\ndef simulate(key): return w", "w = jnp.float32(1.5)"),
    "numpy array": ("w = np.ones(2)\ndef simulate(key): return w", "w = jnp.ones(2)"),
    "which parameter is which": (
        "def f(a, b): return a - b\ndef simulate(key): return f(key, 1)",
        "def f(b, a): return a - b",
    ),
    "its own parameters": ("def simulate(key, a, b): return a - b", "def simulate(key, b, a): return a - b"),
    "rest of the parameters": ("def f(a, *b): return b\ndef simulate(key): return f(key, 1)", "def f(a, b): return b"),
    "named parameters": ("def f(a, b): return b\ndef simulate(key): return f(key, b=1)", "def f(a, *, b): return b"),
    "factory of a dictionary": (
        "d = collections.defaultdict(lambda: 1.0)\ndef simulate(key): return d[key]",
        "d = collections.defaultdict(lambda: 2.0)",
    ),
    "hidden field of a network": (
        "class M(nn.Module):\n _k: float = 1.0\nm = M(_k=1.0)\ndef simulate(key): return m.apply(key)",
        "m = M(_k=3.0)",
    ),
    "kept": (
        "@functools.lru_cache\ndef f(x): return x\ndef simulate(key): return f(key)",
        "@functools.lru_cache\ndef f(x): return 2 * x",
    ),
}


@pytest.mark.parametrize("where", ["file", "notebook"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_and_nothing_else(change, where, tmp_path, monkeypatch):
    before, after = CHANGES[change]
    if where == "file":
        monkeypatch.syspath_prepend(str(tmp_path))
        name = f"mine_{abs(hash(change))}"
        (tmp_path / f"{name}.py").write_text(START + before, "utf-8")
        names, other = vars(importlib.import_module(name)), None
    else:
        names, other = ({"__name__": "__main__"} for _ in range(2))
        exec(START + before, names)
        exec(START + "\n\n# another cell\n" + before, other)
    first = object_digest(names["simulate"])
    assert first is not None and first == object_digest(names["simulate"])
    assert other is None or first == object_digest(other["simulate"])
    exec(after, names)
    changed = object_digest(names["simulate"])
    assert changed is not None and changed != first


@pytest.mark.parametrize(
    "simulate",
    ["lib.SCALE", "getattr(lib, 'SCALE')", "libs['a'].SCALE", "Holder.lib.SCALE", "of(lib)", "pack.inside.SCALE"],
)
def test_a_module_of_the_user_s_counts_wherever_it_goes(simulate, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "__init__.py").write_text("from far import inside")
    (tmp_path / "far" / "inside.py").write_text("SCALE = 1.0")
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.partition(".")[0] == "far"]:
        monkeypatch.delitem(sys.modules, name)
    names = {"__name__": "__main__"}
    exec(
        "import far as pack\nfrom far import inside as lib\nlibs = {'a': lib}\nclass Holder: lib = lib\n"
        f"def of(m): return m.SCALE\ndef simulate(key): return {simulate}",
        names,
    )
    first = object_digest(names["simulate"])
    names["lib"].SCALE = 2.0
    assert None is not first != object_digest(names["simulate"]) is not None


@pytest.mark.parametrize(
    "imported",
    [
        "from deep.inside import scale\n return scale(key)",
        "from deep import inside\n return inside.scale(key)",
        "import deep.inside\n return deep.inside.scale(key)",
        "import deep.inside as lib\n return getattr(lib, 'scale')(key)",
        "import optax, deep\n return deep.scale(key)",
        "from jaxstudies import fit\n from deep import scale\n return fit(scale)",
        "def f(key):\n  from deep.inside import scale\n  return scale(key)\n return f(key)",
    ],
)
def test_what_a_function_imports_counts(imported, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "__init__.py").write_text("from deep.inside import scale")
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.partition(".")[0] == "deep"]:
        monkeypatch.delitem(sys.modules, name)
    reach.find_module.cache_clear()
    names, digests = {"__name__": "__main__"}, []
    exec(f"def simulate(key):\n {imported}", names)
    for source in ("SCALE = 1\ndef scale(x): return SCALE * x", "SCALE = 20\ndef scale(x): return SCALE * x"):
        (tmp_path / "deep" / "inside.py").write_text(source)
        digests += [object_digest(names["simulate"])] * 2
    assert None is not digests[0] == digests[1] != digests[2] is not None


def test_what_a_function_imports_of_a_library_does_not_stand_in_the_way():
    names = {"__name__": "__main__"}
    exec("def simulate(key):\n import optax\n from scipy import stats\n return optax, stats", names)
    assert object_digest(names["simulate"])


def test_a_digest_is_the_same_in_another_process():
    code = (
        "import json, sys\nfrom jaxstudies.identity.live import object_digest\n"
        "for text in json.load(sys.stdin):\n names = {'__name__': '__main__'}\n exec(text, names)\n"
        " print(object_digest(names['simulate']))"
    )
    texts = [START + before for before, _ in CHANGES.values()]
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(texts), capture_output=True, text=True)
    here = []
    for text in texts:
        names = {"__name__": "__main__"}
        exec(text, names)
        here.append(object_digest(names["simulate"]))
    assert here == done.stdout.split() and len(set(here)) > 40 and None not in here


@pytest.mark.parametrize(
    "value", ["(x for x in ())", "threading.Lock()", "contextvars.ContextVar('a')", "lambda: globals()['odd']"]
)
def test_what_cannot_be_read_is_not_guessed(value):
    names = {"__name__": "__main__"}
    exec(f"import contextvars, threading\nodd = {value}\ndef simulate(key): return odd", names)
    assert object_digest(names["simulate"]) is None


def test_two_functions_that_one_statement_mentions_are_two(tmp_path):
    """In a script that loops over them."""
    script = tmp_path / "script.py"
    script.write_text(
        "import jax\nfrom jaxstudies import map_seeds\n"
        "def one(key): return {'x': jax.random.normal(key)}\n"
        "def other(key): return {'x': 7 + jax.random.normal(key)}\n"
        "for simulate in (one, other):\n"
        "    print(map_seeds(simulate, num_seeds=1, directory='there', progress=False)['x'][0] > 4)\n",
        "utf-8",
    )
    found = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "True"]


def test_settings_of_jax_that_change_numbers_are_part_of_a_run(tmp_path):
    def simulate(key):
        return {"x": jax.random.normal(key)}

    plain = map_seeds(simulate, num_seeds=2, directory=tmp_path)["x"]
    with jax.default_prng_impl("rbg"):
        other = map_seeds(simulate, num_seeds=4, directory=tmp_path)["x"]
        fresh = map_seeds(simulate, num_seeds=4)["x"]
    np.testing.assert_array_equal(other, fresh)
    assert not np.allclose(other[:2], plain)
