"""The tour runs from top to bottom, small; its install cell leaves an installation alone."""

import base64
import io
import json
import os
import runpy
from importlib import metadata, util
from pathlib import Path

import matplotlib.image
import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

TOUR = Path(__file__).parent.parent / "scripts" / "tour.ipynb"


@pytest.fixture(scope="module")
def saved():
    return nbformat.read(TOUR, as_version=4)


def test_it_is_valid_and_saved_without_outputs(saved):
    nbformat.validate(saved)
    assert json.loads(TOUR.read_text("utf-8"))["nbformat"] == 4
    cells = [cell for cell in saved.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


def install(cell, monkeypatch, directory, *, found, installed=()):
    """Run the install cell with a fake pip; return pip's arguments, call by call."""
    calls = []

    def version(name):
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return "1.2"

    monkeypatch.setattr(util, "find_spec", lambda name: object() if found else None)
    monkeypatch.setattr(metadata, "version", version)
    requires = ["jax>=0.7", "tyro>=0.9", "seaborn", 'torch>=2; extra == "peers"']
    monkeypatch.setattr(metadata, "requires", lambda name: requires)
    monkeypatch.setattr("subprocess.run", lambda command, check: calls.append(command[5:]))
    monkeypatch.chdir(directory)
    Path("install.py").write_text(cell.source)
    runpy.run_path("install.py")
    return calls


def test_the_install_cell_does_nothing_where_the_project_is(saved, monkeypatch, tmp_path):
    cell = next(cell for cell in saved.cells if cell.cell_type == "code")
    assert install(cell, monkeypatch, tmp_path, found=True) == []


def test_the_install_cell_keeps_the_jax_that_is_there(saved, monkeypatch, tmp_path):
    cell = next(cell for cell in saved.cells if cell.cell_type == "code")
    monkeypatch.setenv("JAXSTUDIES_SOURCE", "git+https://example.org/repository")
    project, others = install(cell, monkeypatch, tmp_path, found=False, installed=("jax", "seaborn"))
    assert project == ["--no-deps", "git+https://example.org/repository"]
    assert others == ["-c", "constraints.txt", "tyro>=0.9"]
    assert Path("constraints.txt").read_text() == "jax==1.2\n"
    monkeypatch.delenv("JAXSTUDIES_SOURCE")
    with pytest.raises(ValueError, match="SOURCE"):
        install(cell, monkeypatch, tmp_path, found=False)


@pytest.mark.slow
def test_it_runs_small_and_draws(saved, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXSTUDIES_TOUR_SEEDS", "8")
    monkeypatch.setenv("JAXSTUDIES_TOUR_OUT", str(tmp_path / "tour"))
    resources = {"metadata": {"path": str(tmp_path)}}
    client = nbclient.NotebookClient(saved.copy(), timeout=300, resources=resources)
    ran = client.execute(env=os.environ)
    outputs = [output for cell in ran.cells for output in cell.get("outputs", ())]
    images = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", ())]
    assert len(images) == 2
    for image in images:
        assert matplotlib.image.imread(io.BytesIO(base64.b64decode(image))).std() > 0
    assert (tmp_path / "tour" / "claims.json").exists()
    printed = "".join(output.get("text", "") for output in outputs)
    assert printed.count("XOR learned") == 5 and "two units suffice" in printed
