"""The reference of the public names: every one has words and, where it is called, examples that run."""

import doctest
import importlib
import inspect

import pytest

import jaxstudies
from jaxstudies.commands import docs_command


@pytest.mark.parametrize("name", jaxstudies.__all__)
def test_every_public_name_has_words_and_examples_that_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = getattr(jaxstudies, name)
    assert (inspect.getdoc(value) or "").strip()
    module = importlib.import_module(value.__module__)
    tests = [test for test in doctest.DocTestFinder(recurse=False).find(value, name, module) if test.examples]
    for test in tests:
        test.globs = {}
        assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0
    if inspect.isfunction(value) and name != "main":
        assert tests, f"{name} has no example"


def test_the_names_are_about_fifteen_and_each_is_where_it_is_said_to_be():
    assert len(jaxstudies.__all__) <= 16
    assert set(jaxstudies.__all__) == set(jaxstudies._HOMES)
    for name in jaxstudies.__all__:
        assert getattr(jaxstudies, name).__module__ == f"jaxstudies.{jaxstudies._HOMES[name]}"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        jaxstudies.nothing  # noqa: B018


def test_the_reference_is_built_from_docstrings(tmp_path):
    pytest.importorskip("pdoc")
    docs_command.main(["--out", str(tmp_path)])
    page = (tmp_path / "jaxstudies.html").read_text("utf-8")
    for name in jaxstudies.__all__:
        assert f'id="{name}"' in page
    assert "less an exact interval" in page and 'id="Study.CAPTIONS"' in page
