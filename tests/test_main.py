"""`python -m jaxstudies`."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import jaxstudies
from jaxstudies import studies, study
from jaxstudies.commands import command, main
from jaxstudies.study import load
from jaxstudies.tasks import code_of

STUDIES = ["born_dead", "collapse", "depth_scales", "depth_width", "dying_relu", "initialization"]
STUDIES += ["lenet", "order_chaos", "perceptron", "reported", "rescue", "trainability"]
OWN = '''"""Is it so here?"""
from dataclasses import dataclass
import beside_it

@dataclass(frozen=True)
class Config:
    rate: float = 1.0

def simulate(key, rate):
    return {"x": rate}
'''


def test_the_studies_are_listed_with_their_questions(capsys):
    assert list(studies.packaged()) == STUDIES
    for argv in ([], ["--help"]):
        main.main(argv)
        lines = capsys.readouterr().out.splitlines()
        for name in STUDIES:
            (line,) = (line for line in lines if line.split()[:1] == [name])
            assert load(name).question in line


def test_the_version_is_that_of_the_package(capsys):
    main.main(["--version"])
    assert capsys.readouterr().out.strip() == jaxstudies.__version__


HEAVY = ["jax", "jaxlib", "jaxtyping", "flax", "optax", "pandas", "pyarrow", "scipy", "matplotlib", "sklearn"]
ONCE = f"""
import sys
try:
    from jaxstudies.commands.main import main
    main(sys.argv[1:])
finally:
    print("imported:", *sorted(set(sys.modules) & set({HEAVY})), file=sys.stderr)
"""


def run_once(*argv):
    """Run the command in a process of its own; return the process, its lines on stderr and what heavy it imported."""
    done = subprocess.run([sys.executable, "-c", ONCE, *argv], capture_output=True, text=True)
    *lines, imported = done.stderr.splitlines()
    return done, lines, imported.split()[1:]


def test_the_package_imports_nothing_heavy():
    code = f"import sys, jaxstudies; assert not set(sys.modules) & set({HEAVY})"
    subprocess.run([sys.executable, "-c", code], check=True)


SAID = [[], ["--help"], ["--version"], *([name, "--help"] for name in STUDIES)]
ALL = f"""
import contextlib, io, sys
from jaxstudies.commands.main import main
for argv in {SAID}:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            main(argv)
        except SystemExit as stop:
            assert not stop.code, argv
    heavy = set(sys.modules) & set({HEAVY})
    assert said.getvalue() and not heavy, (argv, heavy)
"""


def test_nothing_that_is_only_said_imports_anything_heavy():
    done = subprocess.run([sys.executable, "-c", ALL], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("argv", [["--version"], ["dying_relu", "--help"]], ids=" ".join)
def test_what_is_only_said_in_a_process_of_its_own_imports_nothing_heavy(argv):
    done, lines, imported = run_once(*argv)
    assert (done.returncode, lines, imported) == (0, [], []) and done.stdout


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["dying_relu", "--seeds", "0"], "dying_relu: error: --seeds 0: must be"),
        (["dying_relu", "--map"], "dying_relu: error: --map: the map is a study of its own"),
        (["dying_relu", "--shard", "3/2"], "dying_relu: error: --shard 3/2: must be"),
        (["depth_width", "--shapes", "x"], "depth_width: error: --shapes x: must be"),
        (["none.py", "--seeds", "1"], "jaxstudies: error: none.py: does not exist"),
    ],
)
def test_a_mistake_is_said_before_anything_heavy_is_imported(argv, said):
    done, lines, imported = run_once(*argv)
    (line,) = lines
    assert done.returncode == 2 and line.startswith(said) and imported == [] and not done.stdout


@pytest.mark.slow
def test_the_light_config_of_a_study_is_its_own():
    code = """
import sys
from jaxstudies import studies
configs = {name: studies.config_of(name) for name in studies.packaged()}
assert "jax" not in sys.modules
from jaxstudies.study import load
for name, config in configs.items():
    assert f"jaxstudies.studies.{name}" not in sys.modules or name == "dying_relu"  # others are built on it
    study = load(name)
    assert study.Config is config is studies.config_of(name) and study.text == studies.text_of(name)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_ctrl_c_while_it_imports_is_one_line(monkeypatch, capsys):
    def load(name):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(study, "load", load)
    with pytest.raises(SystemExit) as stop:
        main.main(["perceptron"])
    assert stop.value.code == 130
    assert "stopped" in capsys.readouterr().err.strip()


def test_the_reader_of_help_may_leave():
    asked = [sys.executable, "-m", "jaxstudies", "perceptron", "--help"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait() == 128 + signal.SIGPIPE


def test_a_study_is_run_with_its_flags(monkeypatch):
    called = []
    monkeypatch.setattr(command, "main", lambda study, flags: called.append((study.name, flags)))
    main.main(["perceptron", "--seeds", "5"])
    assert called == [("perceptron", ["--seeds", "5"])]


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_of_ours_is_one_and_has_a_script(name):
    study = load(name)
    assert study.name == name and study.question.strip()
    script = Path(__file__).parent.parent / "scripts" / f"{name}.py"
    assert f'run_study("{name}")' in script.read_text()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A study of the reader's as a file and as a folder, each with a module beside it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "beside_it.py").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__init__.py").write_text("from .simulation import Config, simulate\n")
    (tmp_path / "folder" / "simulation.py").write_text(OWN)
    yield tmp_path
    for name in ("mine", "folder", "folder.simulation", "beside_it"):
        sys.modules.pop(name, None)


def test_a_file_or_a_folder_of_the_reader_s_is_a_study(own):
    for path, name in ((own / "mine.py", "mine"), (own / "folder", "folder")):
        study = load(str(path))
        assert study.name == name and study.simulate(None, 2.0) == {"x": 2.0}
        assert code_of(study) is not None


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("perceptrom", "does not exist; name a file with a study, or one of born_dead"),
        ("none.py", "does not exist"),
        ("none/none.py", "does not exist"),
        ("notes.txt", "file with a study"),
        (".", "file with a study"),
        ("empty.py", "does not define Config"),
        ("config.py", "does not define simulate"),
    ],
)
def test_what_is_no_study_is_one_line(capsys, tmp_path, monkeypatch, name, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "config.py").write_text("class Config:\n    pass\n")
    with pytest.raises(SystemExit) as stop:
        main.main([name])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert name in line and named in line


def test_it_runs_outside_the_checkout(tmp_path):
    asked = [sys.executable, "-m", "jaxstudies"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "dying_relu" in done.stdout
