"""The tour is kept with the outputs of its last run, and runs to the same; its install cell leaves what is there."""

import base64
import io
import re
import runpy
from importlib import metadata, util
from pathlib import Path

import matplotlib.image
import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

import renew_tour  # noqa: E402

TOUR = renew_tour.TOUR
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?")


@pytest.fixture(scope="module")
def saved():
    return nbformat.read(TOUR, as_version=4)


def outputs_of(notebook):
    """Return the outputs of cells that do not vary from machine to machine."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [output for cell in cells if "varies" not in cell.metadata.get("tags", ()) for output in cell.outputs]


def texts_of(notebook):
    return "\n".join(str(output.get("text", "")) for output in outputs_of(notebook))


def images_of(notebook):
    return [output.data["image/png"] for output in outputs_of(notebook) if "image/png" in output.get("data", ())]


def numbers_in(text):
    for found in NUMBER.findall(text):
        yield float(found.rstrip("%").replace(",", "")) / (100 if found.endswith("%") else 1)


def test_it_is_kept_with_the_outputs_of_what_it_says(saved):
    """`python scripts/renew_tour.py` runs it and keeps them."""
    nbformat.validate(saved)
    assert saved.metadata["source_digest"] == renew_tour.source_digest(saved)
    cells = [cell for cell in saved.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {(output.output_type, output.get("name")) for output in outputs_of(saved)}
    assert not kinds & {("error", None), ("stream", "stderr")}
    text = TOUR.read_text("utf-8")
    assert len(text) < 1_000_000 and not re.search(r"/(?:home|tmp|root|work|Users)/", texts_of(saved))
    assert len(images_of(saved)) == 3
    for image in images_of(saved):
        assert matplotlib.image.imread(io.BytesIO(base64.b64decode(image))).std() > 0


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
def test_it_runs_to_the_outputs_that_it_is_kept_with(saved, monkeypatch):
    """Words are the same; trained numbers may differ by what another machine rounds."""
    for name in ("JAXSTUDIES_TOUR_SEEDS", "JAXSTUDIES_TOUR_OUT"):
        monkeypatch.delenv(name, raising=False)
    again = renew_tour.execute(saved)
    then, now = texts_of(saved), texts_of(again)
    assert NUMBER.sub("#", now).split() == NUMBER.sub("#", then).split()
    assert list(numbers_in(now)) == pytest.approx(list(numbers_in(then)), rel=0.05, abs=0.02)
    assert len(images_of(again)) == len(images_of(saved))
