"""`python -m jaxstudies`."""

import subprocess
import sys

import pytest

from jaxstudies import __main__ as main
from jaxstudies import cli

STUDIES = ["depth_width", "dying_relu", "initialization", "lenet", "perceptron"]


def test_the_studies_are_listed_with_their_questions(capsys):
    assert main.names() == STUDIES
    main.main([])
    lines = capsys.readouterr().out.splitlines()
    for name in STUDIES:
        (line,) = (line for line in lines if line.split()[:1] == [name])
        assert main.load(name).__doc__.splitlines()[0] in line


def test_a_docstring_may_be_a_single_line(monkeypatch, tmp_path):
    (tmp_path / "short.py").write_text('"""Short: is it so?"""\n')
    monkeypatch.setattr(main.studies, "__path__", [str(tmp_path)])
    assert main.question("short") == "Short: is it so?"


def test_a_study_is_run_with_its_flags(monkeypatch):
    called = []
    monkeypatch.setattr(cli, "main", lambda study, flags: called.append((study.__name__, flags)))
    main.main(["perceptron", "--seeds", "5"])
    assert called == [("jaxstudies.studies.perceptron", ["--seeds", "5"])]


def test_an_unknown_study_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["perceptrom"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "perceptrom" in line and "perceptron" in line


def test_it_runs_outside_the_checkout(tmp_path):
    command = [sys.executable, "-m", "jaxstudies"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "dying_relu" in done.stdout
