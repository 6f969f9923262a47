"""Runs are found again if what decides them is the same, and only then."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxstudies
from jaxstudies import study as studies
from jaxstudies import tasks
from jaxstudies.engine.levels import as_array
from jaxstudies.identity import provenance, reach

STUDY = """
import helper
from helper import scaled as by, LEVELS
from rules import Rule

LIMIT = 3
TABLE = {"plain": lambda x: x + LIMIT, "other": by}


def simulate(key, a):
    def inner(x):
        return nested(x) + helper.offset(x)

    return {"x": TABLE["plain"](inner(a)), "y": Rule().apply(a), "z": LEVELS}


def nested(x):
    return x * 2


def unreached(x):
    return x - 1
"""

HELPER = '''
"""A docstring."""
import functools

FACTOR = 2
LEVELS = (1, 2)


def decorate(function):
    return functools.wraps(function)(lambda x: function(x) + FACTOR)


@decorate
def scaled(x):
    """Return more."""
    return x * 3  # by three


def offset(x):
    return x + 1


def unreached(x):
    return x - 2
'''

RULES = """
import jax


@jax.custom_vjp
def rule(x):
    return x


def forward(x):
    return x, None


def backward(_, g):
    return (g * 2,)


rule.defvjp(forward, backward)


class Base:
    gain = 4


class Rule(Base):
    def apply(self, x):
        return rule(x) * self.gain


REGISTRY = {}
REGISTRY["later"] = 5
"""

FILES = {"own_study.py": STUDY, "helper.py": HELPER, "rules.py": RULES}


def forget():
    """Let files be read and modules be found anew."""
    reach.find_module.cache_clear()
    importlib.invalidate_caches()
    for name in [n for n in sys.modules if n.split(".")[0] in ("helper", "rules", "pack")]:
        del sys.modules[name]


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """Return a function of changes to files, (file, old, new), that returns the code's digest."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def of(*changes, name="simulate", files=FILES, root="own_study"):
        written = dict(files)
        for file, old, new in changes:
            assert old in written[file], (file, old)
            written[file] = written[file].replace(old, new)
        for file, text in written.items():
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        forget()
        path = tmp_path / (root.replace(".", "/") + ".py")
        return reach.reachable_code([(root, path, name)])

    yield of
    forget()


@pytest.mark.parametrize(
    "change",
    [
        ("own_study.py", "x * 2", "x * 5"),  # what the study calls
        ("own_study.py", "LIMIT = 3", "LIMIT = 4"),  # a constant
        ("own_study.py", "lambda x: x + LIMIT", "lambda x: x - LIMIT"),  # a function in a table
        ("own_study.py", "nested(x) + helper", "nested(x) - helper"),  # a function in a function
        ("own_study.py", "import scaled as by", "import offset as by"),
        ("own_study.py", '"other": by', '"another": by'),
        ("own_study.py", "(key, a)", "(key, a=1)"),
        # What is decorated by a name that is reached may be registered there.
        ("own_study.py", "def unreached", "@helper.decorate\ndef unreached"),
        ("helper.py", "x + 1", "x + 2"),  # `import helper`
        ("helper.py", "x * 3", "x * 4"),  # `from helper import scaled as by`
        ("helper.py", "LEVELS = (1, 2)", "LEVELS = (1, 3)"),
        ("helper.py", "@decorate\n", ""),
        ("helper.py", "function(x) + FACTOR", "function(x) - FACTOR"),  # the decorator
        ("helper.py", "FACTOR = 2", "FACTOR = 3"),  # a constant of the decorator
        ("rules.py", "rule.defvjp(forward, backward)", ""),
        ("rules.py", "g * 2", "g * 3"),  # what the statement mentions
        ("rules.py", "gain = 4", "gain = 5"),  # a class's base
        ("rules.py", "rule(x) * self", "rule(x) + self"),  # a method
    ],
)
def test_what_is_reached_counts(digest, change):
    assert digest(change) != digest()


@pytest.mark.parametrize(
    "change",
    [
        ("own_study.py", "x - 1", "x - 7"),
        ("helper.py", "x - 2", "x - 7"),
        ("helper.py", "FACTOR = 2", "FACTOR = 2  # two"),
        ("helper.py", '"""A docstring."""', ""),
        ("helper.py", '    """Return more."""\n', ""),
        ("helper.py", '"""Return more."""', '"""Return less.\n\n    Or more.\n    """'),
        ("helper.py", "  # by three", ""),
        ("helper.py", "x * 3", "(x\n        * 3)"),
        ("helper.py", "def offset", "\n\n\ndef offset"),
        ("own_study.py", "LIMIT = 3", "LIMIT = 3\nOTHER = 4"),
        ("rules.py", 'REGISTRY["later"] = 5', 'REGISTRY["later"] = 6'),
        ("rules.py", "REGISTRY = {}", "REGISTRY = dict()"),
    ],
)
def test_what_is_not_reached_and_how_it_is_written_does_not(digest, change):
    assert digest(change) == digest()


BRANCHES = {
    "if": "FAST = True\nif FAST:\n    def scale(x):\n        return 2 * x\n",
    "try": "try:\n    from nothing import scale\nexcept ImportError:\n    def scale(x):\n        return 2 * x\n",
    "with": "import contextlib\nwith contextlib.suppress(Exception):\n    def scale(x):\n        return 2 * x\n",
    "match": "match 1:\n    case 1:\n        def scale(x):\n            return 2 * x\n",
    "class": "if True:\n    class scale:\n        def __init__(self, x):\n            self.x = 2 * x\n",
}
CALLS = {
    "by another name": "import tools\nt = tools\ndef simulate(key):\n    return t.scale(key)\n",
    "as a value": "import tools\ndef go(m, x):\n    return m.scale(x)\ndef simulate(key):\n    return go(tools, key)\n",
    "as text": 'import tools\ndef simulate(key):\n    return getattr(tools, "scale")(key)\n',
    "from a package": "from . import tools\ndef simulate(key):\n    return [tools][0].scale(key)\n",
}


@pytest.mark.parametrize("branch", BRANCHES)
def test_what_a_branch_defines_counts(digest, branch):
    files = {"own_study.py": BRANCHES[branch] + "def simulate(key):\n    return scale(key)\n"}
    assert digest(("own_study.py", "2 * x", "3 * x"), files=files) != digest(files=files)


@pytest.mark.parametrize("call", CALLS)
def test_a_module_that_goes_anywhere_counts_as_a_whole(digest, call):
    inside = call == "from a package"
    at = "box/" if inside else ""
    files = {f"{at}tools.py": "def scale(x):\n    return 2 * x\n", f"{at}own_study.py": CALLS[call]}
    files |= {"box/__init__.py": ""} if inside else {}
    root = "box.own_study" if inside else "own_study"
    changed = digest((f"{at}tools.py", "2 * x", "3 * x"), files=files, root=root)
    assert changed != digest(files=files, root=root)


def test_what_is_found_by_text_counts(digest):
    text = 'def scale(x):\n    return 2 * x\ndef simulate(key):\n    return globals()["scale"](key)\n'
    assert digest(("own_study.py", "2 * x", "3 * x"), files={"own_study.py": text}) != digest(
        files={"own_study.py": text}
    )


def test_data_that_a_study_read_when_it_was_imported_count(tmp_path):
    text = (
        '"""Sums."""\nfrom dataclasses import dataclass\nfrom pathlib import Path\nimport numpy as np\n'
        'X = np.loadtxt(Path(__file__).with_name("x.csv"))\n'
        "@dataclass(frozen=True)\nclass Config:\n    a: float = 1.0\n"
        'def simulate(key, a):\n    return {"z": a * X.sum()}\n'
    )
    (tmp_path / "sums.py").write_text(text)
    codes = []
    for content in ("1\n7\n", "1\n8\n", "1\n7\n"):
        (tmp_path / "x.csv").write_text(content)
        codes.append(tasks.code_of(studies.load(str(tmp_path / "sums.py"))))
    assert codes[0] == codes[2] != codes[1]


def test_a_docstring_that_is_a_value_counts(digest):
    files = {"own_study.py": 'TEXT = """one"""\ndef simulate(key):\n    return TEXT\n'}
    assert digest(("own_study.py", "one", "two"), files=files) != digest(files=files)


def test_a_statement_that_changes_a_table_counts(digest):
    change = ("rules.py", 'REGISTRY["later"] = 5', 'REGISTRY["later"] = 6')
    assert digest(change, name="REGISTRY", root="rules") != digest(name="REGISTRY", root="rules")


def test_where_the_files_lie_does_not_count(digest, tmp_path):
    """Nor which process looks."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for file, text in FILES.items():
        (folder / file).write_text(text)
    code = (
        "import sys\nfrom pathlib import Path\nfrom jaxstudies.identity.reach import reachable_code\n"
        f"sys.path.insert(0, {str(folder)!r})\n"
        f"print(reachable_code([('own_study', Path({str(folder)!r}) / 'own_study.py', 'simulate')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest() is not None


PACKAGE = {
    "pack/__init__.py": "from .simulation import simulate\n",
    "pack/simulation.py": (
        "from . import shapes\nfrom .deep import rules\nfrom .deep.rules import LIMIT as most\n"
        "import pack.deep.more\nimport pack.other as others\n\n"
        "def simulate(key, a):\n    from .late import last\n\n"
        "    return shapes.square(a) + rules.plus(a) + most + pack.deep.more.cube(a) + last(a) "
        "+ others.half(a)\n"
    ),
    "pack/shapes.py": "def square(x):\n    return x**2\n\ndef unreached(x):\n    return x**9\n",
    "pack/late.py": "def last(x):\n    return x - 1\n",
    "pack/other.py": "def half(x):\n    return x / 2\n",
    "pack/deep/__init__.py": "",
    "pack/deep/rules.py": (
        "from .. import late\nfrom ..late import last\nLIMIT = 3\n\ndef plus(x):\n    return last(x) + 1\n"
    ),
    "pack/deep/more.py": "def cube(x):\n    return x**3\n",
}


@pytest.mark.parametrize(
    "change",
    [
        ("pack/shapes.py", "x**2", "x**4"),
        ("pack/deep/rules.py", "last(x) + 1", "last(x) + 2"),
        ("pack/deep/rules.py", "LIMIT = 3", "LIMIT = 4"),
        ("pack/deep/more.py", "x**3", "x**4"),
        ("pack/late.py", "x - 1", "x - 2"),
        ("pack/other.py", "x / 2", "x / 3"),
        ("pack/simulation.py", "shapes.square(a) +", "shapes.square(a) -"),
    ],
)
def test_imports_within_a_package_are_followed(digest, change):
    root = {"files": PACKAGE, "root": "pack.simulation"}
    assert digest(change, **root) != digest(**root)
    unreached = ("pack/shapes.py", "x**9", "x**8")
    assert digest(unreached, **root) == digest(**root)


def test_what_a_package_passes_on_is_followed(digest, tmp_path):
    digest(files=PACKAGE, root="pack.simulation")
    root = [("pack", tmp_path / "pack" / "__init__.py", "simulate")]
    before = reach.reachable_code(root)
    (tmp_path / "pack" / "late.py").write_text("def last(x):\n    return x - 3\n")
    forget()
    assert reach.reachable_code(root) != before


def test_a_name_that_is_shadowed_by_a_star_is_followed(digest):
    files = {
        "own_study.py": "from helper import *\n\ndef simulate(key):\n    return offset(key)\n",
        "helper.py": HELPER,
    }
    assert digest(("helper.py", "x + 1", "x + 2"), files=files) != digest(files=files)


def test_code_that_cannot_be_read_has_no_digest(digest, tmp_path):
    assert digest(("own_study.py", "def nested(x):", "def nested(x:")) is None
    missing = [("nothing", tmp_path / "nothing.py", "simulate")]
    assert reach.reachable_code(missing) is None


def test_installed_libraries_are_not_followed():
    assert reach.find_module("jax") is None
    assert reach.find_module("json") is None
    assert reach.find_module("no_such_module_anywhere") is None
    assert reach.find_module("jaxstudies.training") is not None


def test_libraries_that_lie_elsewhere_are_not_followed_and_not_run(tmp_path, monkeypatch):
    """As a .pth file or PYTHONPATH brings them; to look for a module would import what is around it."""
    package = tmp_path / "site-packages" / "far_library"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "inside.py").write_text("x = 1")
    monkeypatch.syspath_prepend(str(package.parent))
    reach.find_module.cache_clear()
    assert reach.find_module("far_library") is None
    assert reach.find_module("far_library.inside") is None


def test_a_package_that_cannot_be_imported_ends_nothing(tmp_path, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").write_text("assert False")
    (tmp_path / "broken" / "inside.py").write_text("x = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    reach.find_module.cache_clear()
    assert reach.find_module("broken.inside") is None
    assert reach.find_module("broken") == (tmp_path / "broken" / "__init__.py").resolve()


CHANGES = [
    ("evidence/theory.py", "1 - half, half)", "1 - half, half / 1.1)", True),
    ("engine/prng.py", "ROTATIONS = np.array(", "ROTATIONS = 0 + np.array(", True),
    ("engine/returned.py", "jnp.stack(arrays)", "jnp.stack(arrays[::-1])", True),
    ("engine/compiler.py", "fold_in(master_key, seed)", "fold_in(master_key, 1 + seed)", True),
    ("engine/tracing.py", '"highest"', '"default"', True),
    ("evidence/intervals.py", "return ", "return 0 or ", False),
    ("evidence/theory.py", "Return the exact accuracy", "Give the accuracy", False),
    ("output/plotting.py", "return ", "return 0 or ", False),
    ("commands/command.py", "return ", "return 0 or ", False),
    ("studies/perceptron/figures.py", "return ", "return 0 or ", False),
    ("studies/lenet/simulation.py", "return ", "return 0 or ", False),
]
IN_A_COPY = """
import sys
from pathlib import Path
import jaxstudies
from jaxstudies.study import load
from jaxstudies.identity import reach
from jaxstudies.tasks import code_of
package = Path(jaxstudies.__file__).parent
assert package.parent == Path(sys.argv[1])
study = load("perceptron")
print(code_of(study))
for file, old, new, _ in {changes}:
    path = package / file
    text = path.read_text("utf-8")
    assert old in text, file
    path.write_text(text.replace(old, new), "utf-8")
    print(code_of(study))
    path.write_text(text, "utf-8")
"""


def test_a_study_of_ours_is_what_its_runs_reach(tmp_path):
    """A formula of theory.py changes perceptron's runs; intervals, figures and others do not."""
    own = Path(jaxstudies.__file__).parent
    shutil.copytree(own, tmp_path / "jaxstudies", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", IN_A_COPY.format(changes=CHANGES), str(tmp_path)]
    where = {"env": os.environ | {"PYTHONPATH": str(tmp_path)}, "cwd": tmp_path}
    done = subprocess.run(command, capture_output=True, text=True, **where)
    assert done.returncode == 0, done.stderr
    before, *after = done.stdout.split()
    assert len(before) == 16
    changed = [(file, code != before) for (file, *_), code in zip(CHANGES, after, strict=True)]
    assert changed == [(file, counts) for file, _, _, counts in CHANGES]


def test_a_study_that_was_typed_in_has_no_code_to_compare():
    study = studies.Study("typed", "", None, "__main__", object, lambda key: {})
    assert tasks.code_of(study) is None


def test_arrays_are_named_by_their_content():
    data = {"x": np.arange(6.0).reshape(2, 3), "y": (np.arange(3), np.float32(1))}
    name = provenance.array_digest(data)
    assert provenance.array_digest(jax.tree.map(np.copy, data)) == name
    small = {"x": jnp.arange(3, dtype=jnp.bfloat16), "y": jnp.float8_e4m3fn(1)}
    assert provenance.array_digest(small) != provenance.array_digest(small | {"x": 1 + small["x"]})
    fortran = data | {"x": np.asfortranarray(data["x"])}
    assert provenance.array_digest(fortran) == name
    changed = data["x"].copy()
    changed[1, 2] = np.nextafter(5, 6)
    others = [
        data | {"x": changed},
        data | {"x": data["x"].ravel()},
        data | {"z": np.zeros(1)},
        data | {"x": data["x"].astype(np.float32)},
        {"a": data["x"], "y": data["y"]},
        {},
    ]
    weak = [data | {"y": (np.arange(3), one)} for one in (jnp.asarray(1.0), as_array(1.0))]
    assert provenance.array_digest(weak[0]) == provenance.array_digest(weak[1])
    others.append(weak[0])
    others += [jax.random.key(0, impl=impl) for impl in ("rbg", "unsafe_rbg")]
    names = [provenance.array_digest(other) for other in others]
    assert len({name, *names}) == 1 + len(others)
    assert provenance.array_digest({"x": jax.numpy.arange(3)}) == provenance.array_digest(
        {"x": np.arange(3, dtype=np.int32)}
    )


def test_equal_contents_have_equal_names():
    assert provenance.digest({"a": 1, "b": [2]}) == provenance.digest({"b": [2], "a": 1})
    assert provenance.digest({"a": 1}) != provenance.digest({"a": 1.5})


def test_versions_that_decide_numbers_are_compared():
    here = provenance.environment()
    assert provenance.other_versions(here) == ""
    assert provenance.other_versions(here | {"numpy": "1.0", "python": "2.7"}) == ""
    text = provenance.other_versions(here | {"jax": "0.0.1", "optax": "9"})
    assert f"jax 0.0.1 (here {here['jax']})" in text and "optax 9 (here" in text
    assert "flax" not in text


def test_the_commit_says_whether_the_checkout_was_changed(tmp_path):
    assert provenance.commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    clean = provenance.commit(tmp_path)
    assert clean is not None and len(clean) == 12
    (tmp_path / "file").write_text("two")
    assert provenance.commit(tmp_path) == f"{clean}-dirty"


def test_a_public_name_is_followed_to_its_home(tmp_path):
    """As if it had been imported from there."""
    told = []
    for home in ("jaxstudies", "jaxstudies.training", "os"):
        path = tmp_path / home / "own_home.py"
        path.parent.mkdir()
        path.write_text(f"from {home} import {'fit' if home != 'os' else 'name as fit'}\ndef simulate(key):\n    fit\n")
        told.append(reach.reachable_code([("own_home", path, "simulate")]))
    assert told[0] == told[1] != told[2]
