"""The page of verdicts holds every claim and every figure, and needs nothing else."""

import base64
import importlib.util
import io
import json
import re
from html import unescape
from pathlib import Path

import matplotlib.image
import pytest

from jaxstudies import report

ROOT = Path(__file__).parent.parent
STUDIES = ("dying_relu", "perceptron", "initialization", "lenet", "depth_width")


@pytest.fixture(scope="module")
def sections():
    return [
        report.read_section(name, f"Is it so, {name}?\n\nIt may be.", ROOT / "figures" / name)
        for name in STUDIES
    ]


def test_every_tested_claim_stands_on_top_and_with_its_study(sections):
    page = unescape(report.page(sections))
    claims = [verdict for section in sections for verdict in section.verdicts if verdict["n"]]
    assert len(claims) > 40
    rows = re.findall(r"<tr>(?!<th>)", page)
    assert len(rows) == 2 * len(claims)
    assert all(page.count(f"<td>{verdict['claim']}</td>") >= 2 for verdict in claims)


def test_images_are_inside_and_nothing_is_fetched(sections):
    page = report.page(sections)
    sources = re.findall(r"<img [^>]*src='([^']*)'", page)
    assert len(sources) == sum(len(section.figures) for section in sections) > 20
    for source in sources[:3]:
        kind, content = source.split(",", 1)
        assert kind == "data:image/png;base64"
        assert matplotlib.image.imread(io.BytesIO(base64.b64decode(content))).std() > 0
    markup = re.sub(r"src='data:[^']*'", "", page)
    assert not re.search(r"(src|href)='(?!#)|url\(|<script|<link|@import", markup)


def test_text_is_escaped_and_what_is_missing_is_said(tmp_path):
    verdict = {
        "id": "a", "claim": "<b>a < b</b>", "source": "A & B", "verdict": "refuted",
        "effect": -1.0, "low": None, "high": 2.0, "unit": "u", "n": 3, "method": "'quoted'",
    }  # fmt: skip
    (tmp_path / "claims.json").write_text(json.dumps([verdict, verdict | {"n": 0}]))
    (tmp_path / "config.json").write_text("{}")
    section = report.read_section("x", "Why <i>?", tmp_path)
    page = report.page([section, report.read_section("y", "Where?", tmp_path / "none")], "a note")
    assert "<b>" not in page and "&lt;b&gt;a &lt; b" in page and "A &amp; B" in page
    assert "−1 [–, 2]" in page and "1 claims are not tested" in page
    assert "no results" in page and "a note" in page


def test_the_script_reads_what_is_there(monkeypatch, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("report_script", ROOT / "scripts" / "report.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr("sys.argv", ["report.py", "--plots-only", "--out", str(tmp_path)])
    script.main()
    assert capsys.readouterr().err.count("no results") == len(STUDIES)
    assert (tmp_path / "report.html").read_text("utf-8").count("<h2 ") == len(STUDIES)
    assert tuple(script.QUICK) == STUDIES
