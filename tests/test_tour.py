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
ABSOLUTE = re.compile(r"(?:/(?:home|tmp|root|work|Users|var|usr|opt)/|[A-Z]:\\\\)[\w.-]+")
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?")


@pytest.fixture(scope="module")
def saved():
    return nbformat.read(TOUR, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts_of(notebook):
    """Return what each cell printed, of cells that say the same on every machine."""
    same = [cell for cell in code_cells(notebook) if "varies" not in cell.metadata.get("tags", ())]
    return ["".join(output.get("text", "") for output in cell.outputs) for cell in same]


def images_of(notebook):
    found = [output.get("data", {}).get("image/png") for cell in code_cells(notebook) for output in cell.outputs]
    return [matplotlib.image.imread(io.BytesIO(base64.b64decode(image))) for image in found if image]


def numbers_in(text):
    for found in NUMBER.findall(text):
        yield float(found.rstrip("%").replace(",", "")) / (100 if found.endswith("%") else 1)


def differ(now, then):
    """Return the pairs of numbers that differ by more than rounding explains: shares, and what is larger than 1."""
    pairs = zip(numbers_in(now), numbers_in(then), strict=True)
    return [(a, b) for a, b in pairs if abs(a - b) > (0.02 if abs(b) <= 1 else 0.05 * abs(b))]


def test_it_is_kept_with_the_outputs_of_what_it_says(saved):
    """`python scripts/renew_tour.py` runs it and keeps them."""
    nbformat.validate(saved)
    assert saved.metadata["source_digest"] == renew_tour.source_digest(saved)
    cells = code_cells(saved)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any("execution" in cell.metadata for cell in cells)
    kinds = {(output.output_type, output.get("name")) for cell in cells for output in cell.outputs}
    assert kinds == {("stream", "stdout"), ("execute_result", None), ("display_data", None)}
    images = images_of(saved)
    assert len(images) == 3 and all(image[..., :3].std() > 0.02 for image in images)
    text = TOUR.read_text("utf-8")
    assert len(text) < 1_000_000 and " at 0x" not in text
    assert 'src=\\"tour/report.html\\"' in text  # the page of verdicts
    assert not ABSOLUTE.findall(re.sub(r'"image/png": "[^"]*"', "", text))


def test_numbers_may_differ_by_rounding_alone():
    assert not differ("86.7% of 2,000 at 1.5e-3", "86.5% of 2,010 at 1.4e-3")
    assert differ("86.7% of 2,000", "89.7% of 2,000") and differ("2,000", "2,200") and differ("-0.5", "0.5")


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
    cell = code_cells(saved)[0]
    assert install(cell, monkeypatch, tmp_path, found=True) == []


def test_the_install_cell_keeps_the_jax_that_is_there(saved, monkeypatch, tmp_path):
    cell = code_cells(saved)[0]
    monkeypatch.setenv("JAXSTUDIES_SOURCE", "git+https://example.org/repository")
    project, others = install(cell, monkeypatch, tmp_path, found=False, installed=("jax", "seaborn"))
    assert project == ["--no-deps", "git+https://example.org/repository"]
    assert others == ["-c", "constraints.txt", "tyro>=0.9"]
    assert Path("constraints.txt").read_text() == "jax==1.2\n"
    monkeypatch.delenv("JAXSTUDIES_SOURCE")
    with pytest.raises(ValueError, match="SOURCE"):
        install(cell, monkeypatch, tmp_path, found=False)


@pytest.mark.slow
def test_it_runs_to_the_outputs_that_it_is_kept_with(saved):
    """Words are the same; trained numbers may differ by what another machine rounds."""
    again = renew_tour.execute(saved)
    for now, then in zip(texts_of(again), texts_of(saved), strict=True):
        assert NUMBER.sub("#", now).split() == NUMBER.sub("#", then).split()
        assert not differ(now, then)
    images = images_of(again)
    assert len(images) == len(images_of(saved)) and all(image[..., :3].std() > 0.02 for image in images)
