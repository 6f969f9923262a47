"""What the README and the other pages show runs, what they name is there, and their verdicts are those in figures/."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import jaxstudies
from jaxstudies import studies
from jaxstudies.commands import command
from jaxstudies.study import load

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
STUDIES = list(studies.packaged())
RESULTS = {path.parent.name: path for path in sorted((ROOT / "figures").glob("*/README.md"))}
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "scripts" / "CLUSTER.md", *RESULTS.values()]
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

VERDICT = "(supported|refuted|inconclusive)"
NUMBER = r"([−+]?\d[\d.]*)"
JUDGED = re.compile(rf"{VERDICT}(?:: | \| ){NUMBER}(?: %| points| times)? \[{NUMBER}, {NUMBER}\]")
"""A verdict in a table, its effect, perhaps a unit, its interval."""


def test_the_example_is_the_file_it_is_said_to_be_and_short():
    """That it runs is for `test_examples.py` to say."""
    assert BLOCKS[0] == (ROOT / "scripts" / "examples" / "xor.py").read_text("utf-8")
    assert sum(bool(line) for line in BLOCKS[0].splitlines()) <= 30


def test_what_is_for_notebooks_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in BLOCKS[1:]:
        exec(code, {"__name__": "__main__"})


def test_the_readme_is_short():
    prose = re.sub(r"```.*?```", "", README.read_text("utf-8"), flags=re.DOTALL)
    assert len(re.findall(r"\S*\w\S*", prose)) <= 1000


@every_page
def test_paths_named_on_a_page_exist(page):
    text = page.read_text("utf-8")
    linked = [page.parent / path for path in re.findall(r"\]\(([^):#]+)\)", text)]
    named = [ROOT / path for path in re.findall(r"(?:scripts|jaxstudies|tests|figures)/[\w/]+\.\w+", text)]
    for path in linked + named:
        assert "NAME" in str(path) or path.exists(), path


@every_page
def test_commands_shown_on_a_page_have_flags_that_are_known(page):
    text = page.read_text("utf-8").replace("$SLURM_ARRAY_TASK_ID", "1")
    for name, flags in re.findall(r"python scripts/(\w+)\.py((?: (?:\"[^\"]*\"|[^\s\"`]+))*)", text):
        if name in STUDIES:
            command.parse(load(name), shlex.split(flags))


def agrees(record: dict, verdict: str, printed: list[str]) -> bool:
    """Return whether a claim's entry has a verdict and, rounded as printed, its numbers; shares may be in percent."""
    exact = [record[name] for name in ("effect", "low", "high")]
    texts = [text.replace("−", "-") for text in printed]
    halves = [0.5001 * 10.0 ** -len(text.partition(".")[2]) for text in texts]
    return record["verdict"] == verdict and any(
        all(abs(scale * a - float(b)) <= half for a, b, half in zip(exact, texts, halves, strict=True))
        for scale in (1, 100)
    )


@every_page
def test_verdicts_on_a_page_are_those_of_the_reference_results(page):
    """Each verdict in a table stands before its effect and interval, and claims.json has all of them in one entry."""
    names = [page.parent.name] if page.parent.name in STUDIES else STUDIES
    files = [path for name in names for path in sorted((ROOT / "figures" / name).rglob("claims.json"))]
    records = [record for path in files for record in json.loads(path.read_text())["claims"]]
    rows = [line for line in page.read_text("utf-8").splitlines() if line.startswith("|")]
    for row in rows:
        judged = JUDGED.findall(row)
        assert len(judged) == len(re.findall(VERDICT, row)), row
        for verdict, *printed in judged:
            assert any(agrees(record, verdict, printed) for record in records), row


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_page_that_shows_its_command_and_a_figure(name):
    text = RESULTS[name].read_text("utf-8")
    assert f"python scripts/{name}.py" in text and re.search(r"!\[.+\]\(\w+\.png\)", text)
    assert f"figures/{name}/README.md" in README.read_text("utf-8")
    assert json.loads((ROOT / "figures" / name / "claims.json").read_text())["claims"] == [] or re.search(JUDGED, text)


def test_versions_and_dates_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == jaxstudies.__version__
    changes, cited = ((ROOT / name).read_text("utf-8") for name in ("CHANGELOG.md", "CITATION.cff"))
    newest = re.search(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", changes, re.MULTILINE)
    assert newest is not None
    assert f"\nversion: {newest[1]}\n" in cited and f'\ndate-released: "{newest[2]}"\n' in cited
