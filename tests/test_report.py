"""The page of verdicts holds every claim and every figure, and needs nothing else."""

import base64
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import matplotlib.image
import pytest

from jaxstudies import cli, mnist, report

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
    for source in sources:
        kind, content = source.split(",", 1)
        assert kind == "data:image/png;base64"
        assert matplotlib.image.imread(io.BytesIO(base64.b64decode(content))).std() > 0
    markup = re.sub(r"src='data:[^']*'", "", page)
    assert not re.search(r"(src|href)='(?!#)|url\(|<script|<link|@import", markup)
    assert "http" not in markup


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
    assert "none/config.json does not exist" in page and "a note" in page


def test_what_a_variant_has_left_below_is_on_the_page(tmp_path):
    verdict = {"claim": "so it is", "n": 3}
    (tmp_path / "map").mkdir()
    for directory, verdicts in ((tmp_path, []), (tmp_path / "map", [verdict, verdict | {"n": 0}])):
        (directory / "claims.json").write_text(json.dumps(verdicts))
        (directory / "config.json").write_text("{}")
        (directory / "figure.png").touch()
    section = report.read_section("x", "Why?", tmp_path)
    assert section.verdicts == [verdict]
    assert section.figures == [tmp_path / "figure.png", tmp_path / "map" / "figure.png"]


@pytest.fixture
def script(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("report_script", ROOT / "scripts" / "report.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "report_script", module)
    spec.loader.exec_module(module)
    return module


def start(script, monkeypatch, *flags):
    monkeypatch.setattr("sys.argv", ["report.py", *map(str, flags)])
    script.main()


def test_the_script_reads_what_is_there(script, monkeypatch, tmp_path, capsys):
    shutil.copytree(ROOT / "figures" / "perceptron", tmp_path / "perceptron")
    start(script, monkeypatch, "--plots-only", "--out", tmp_path)
    assert capsys.readouterr().err.count("does not exist") == len(STUDIES) - 1
    assert (tmp_path / "report.html").read_text("utf-8").count("<h2 ") == len(STUDIES)
    assert tuple(script.QUICK) == STUDIES


def test_without_any_results_there_is_no_page(script, monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        start(script, monkeypatch, "--plots-only", "--out", tmp_path)
    assert stop.value.code == 2
    assert f"--out {tmp_path}" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_every_quick_flag_is_one_of_the_study_s(script):
    for name, flags in script.QUICK.items():
        config, _ = cli.parse(script.load(name), flags)
        assert config.seeds <= 2000


def test_digits_stand_in_for_missing_mnist_and_the_page_says_so(
    script, monkeypatch, tmp_path, capsys
):
    def absent(name):
        raise mnist.DataError("MNIST is not here <at all>")

    calls = {}

    def record(study, argv):
        calls[cli.study_name(study)] = argv
        if cli.study_name(study) == "lenet":
            raise ValueError("nothing\nworks")
        if cli.study_name(study) == "perceptron":
            sys.exit(2)

    monkeypatch.setattr(mnist, "load", absent)
    monkeypatch.setattr(cli, "main", record)
    start(script, monkeypatch, "--out", tmp_path)
    with_digits = {name for name, argv in calls.items() if argv[-2:] == script.DIGITS}
    assert list(calls) == list(STUDIES) and with_digits == {"initialization", "lenet"}
    page, errors = (tmp_path / "report.html").read_text("utf-8"), capsys.readouterr().err
    assert "digits stand in for MNIST: MNIST is not here &lt;at all&gt;" in page
    for text in ("the study failed (ValueError: nothing)", "the study ended with status 2"):
        assert text in page and text in errors


@pytest.mark.parametrize("flags", [["--quik"], ["--quick", "--out", __file__]])
def test_a_mistake_is_one_line(script, monkeypatch, capsys, flags):
    with pytest.raises(SystemExit) as stop:
        start(script, monkeypatch, *flags)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert flags[-2 if len(flags) > 1 else 0] in line


LOOK = """<script>
const errors = [];
addEventListener("error", event => errors.push(String(event.message)), true);
addEventListener("load", () => {
  const images = [...document.images];
  document.documentElement.dataset.seen = JSON.stringify({
    errors, width: innerWidth, needed: document.documentElement.scrollWidth,
    images: images.length, loaded: images.filter(i => i.complete && i.naturalWidth > 0).length,
    fetched: performance.getEntriesByType("resource").map(r => r.name)
      .filter(n => !n.startsWith("data:")),
    cut: [...document.querySelectorAll(".scroll")]
      .filter(e => e.scrollWidth > e.clientWidth).length,
  });
});
</script>"""


@pytest.mark.parametrize("width", [1200, 500])  # no window of it is narrower than 500
def test_a_browser_shows_all_of_it(sections, tmp_path, width):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium")
    path = tmp_path / "report.html"
    path.write_text(report.page(sections).replace("<head>", f"<head>{LOOK}"), "utf-8")
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--window-size={width},900", "--enable-logging=stderr", "--dump-dom"]
    shown = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'data-seen="(.*?)"', shown.stdout)
    assert found is not None
    seen = json.loads(unescape(found[1]))
    assert seen["errors"] == [] and "CONSOLE" not in shown.stderr
    assert seen["loaded"] == seen["images"] >= 25
    assert seen["fetched"] == []
    assert seen["needed"] <= seen["width"] and seen["cut"] == 0
