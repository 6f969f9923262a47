"""`python -m jaxstudies`."""

import subprocess
import sys
from pathlib import Path

import pytest

import jaxstudies
from jaxstudies import study as studies
from jaxstudies.commands import command, main

STUDIES = ["born_dead", "depth_width", "dying_relu", "initialization", "lenet", "order_chaos", "perceptron"]
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
            assert main.load(name).question in line


def test_the_version_is_that_of_the_package(capsys):
    main.main(["--version"])
    assert capsys.readouterr().out.strip() == jaxstudies.__version__


def test_listing_the_studies_imports_none_of_them(tmp_path):
    code = (
        "import sys\nfrom jaxstudies.commands.main import main\nmain([])\n"
        "assert not [m for m in sys.modules if m.startswith('jaxstudies.studies.')]"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path)


def test_a_docstring_may_be_a_single_line(monkeypatch, tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "short.py").write_text('"""Short: is it so?"""\n')
    monkeypatch.setattr(main.studies, "__file__", str(tmp_path / "study.py"))
    assert main.question("short") == "Short: is it so?"


def test_a_study_is_run_with_its_flags(monkeypatch):
    called = []
    monkeypatch.setattr(command, "main", lambda study, flags: called.append((study.name, flags)))
    main.main(["perceptron", "--seeds", "5"])
    assert called == [("perceptron", ["--seeds", "5"])]


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_of_ours_is_one_and_has_a_script(name):
    study = main.load(name)
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
        study = main.load(str(path))
        assert study.name == name and study.simulate(None, 2.0) == {"x": 2.0}
        assert studies.code_of(study) is not None


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("perceptrom", "perceptron"),
        ("none.py", "none.py"),
        (".", "file with a study"),
        ("empty.py", "does not define Config"),
        ("config.py", "does not define simulate"),
    ],
)
def test_what_is_no_study_is_one_line(capsys, tmp_path, monkeypatch, name, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "empty.py").write_text("")
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
