"""The benchmark runs, small, and lists what is not installed."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "benchmark.py"


@pytest.fixture
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(benchmark, monkeypatch, *flags):
    monkeypatch.setattr("sys.argv", [str(SCRIPT), *flags])
    benchmark.main()


def test_it_measures_what_is_installed_and_lists_the_rest(benchmark, monkeypatch, tmp_path, capsys):
    def absent(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(benchmark, "import_module", absent)
    flags = [
        "--seeds",
        "4",
        "--repeats",
        "2",
        "--only",
        "jaxstudies",
        "PyTorch LeNet-5, one network",
    ]
    run(benchmark, monkeypatch, *flags, "--out", str(tmp_path))
    assert "skipped, not installed: PyTorch LeNet-5, one network (torch)" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "benchmark.json").read_text())["results"]
    assert row["contestant"] == "jaxstudies" and row["ratio"] == 1
    assert 0 < row["least"] <= row["seconds"] <= row["most"]
    assert (tmp_path / "benchmark.png").exists()


def test_an_unknown_contestant_is_one_line(benchmark, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        run(benchmark, monkeypatch, "--only", "numpy")
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--only numpy" in line
