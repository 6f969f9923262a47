"""The page of verdicts holds every claim and every figure, and needs nothing else."""

import base64
import functools
import hashlib
import importlib.util
import io
import json
import operator
import os
import re
import shlex
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxstudies import configs
from jaxstudies.commands import command, main, report_command
from jaxstudies.networks import mnist
from jaxstudies.output import owned, page
from jaxstudies.output.page import charts
from jaxstudies.studies import packaged
from jaxstudies.study import load

ROOT = Path(__file__).parent.parent
STUDIES = list(packaged())
VERDICT = {
    **{"id": "a", "claim": "<b>a < b</b>", "source": "A & B", "verdict": "refuted"},
    **{"effect": -1.0, "low": None, "high": 2.0, "unit": "u", "n": 3, "method": "'quoted'", "interval": "", "why": ""},
    **{
        "family_verdict": "inconclusive",
        "selection": "",
        "where": "p. 3",
        "says": "",
        "population": "all",
        "margin": "",
    },
    "not_shown": "",
}


def judged(verdicts):
    """Return what claims.json says."""
    return {"claims": verdicts, "registered": None, "rule": {"name": "fixed n", "looks": None}}


def leave(directory, verdicts, **origin):
    """Write what a study leaves."""
    directory.mkdir(exist_ok=True, parents=True)
    (directory / "claims.json").write_text(json.dumps(judged(verdicts)))
    (directory / "config.json").write_text(json.dumps({"study": directory.name} | origin))


@pytest.fixture(scope="module")
def sections():
    left = sorted(path.parent for path in (ROOT / "figures").glob("*/claims.json"))
    return [page.read_section(directory) for directory in left]


@pytest.fixture(scope="module")
def whole(sections):
    """Return the page of all references."""
    return page.page(sections, place=ROOT)


def test_every_claim_stands_in_one_row_that_its_study_links_to(sections, whole):
    text = unescape(whole)
    claims = [verdict for section in sections for verdict in section.verdicts]
    assert len(claims) > 20
    rows = re.findall(r'<tr id="([^"]+)" data-study', text)
    assert len(rows) == len(set(rows)) == len(claims)
    assert all(text.count(f">{verdict['claim']}") >= 2 for verdict in claims)
    assert all(
        f'<li data-verdict="{kind}"><a href="#{row}">' in text for row, kind in zip(rows, kinds(text), strict=True)
    )


def kinds(text):
    """Return the verdicts in the rows of a page."""
    return re.findall(r'<tr id="[^"]+" data-study="\d+" data-claim="\d+" data-verdict="([^"]+)"', text)


def test_images_are_inside_and_nothing_is_fetched(sections, whole):
    text = whole
    sources = re.findall(r'<img [^>]*?src="([^"]*)"', text)
    assert len(sources) == sum(len(section.figures) for section in sections) > 20
    for source in sources:
        kind, content = source.split(",", 1)
        assert kind == "data:image/webp;base64"
        assert np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).std() > 0
    markup = re.sub(r'src="data:[^"]*"', "", text)
    assert not re.search(r"\bsrc=|url\(|<link|@import", markup)
    assert "http" not in markup.replace("http-equiv=", "")
    links = [unquote(link) for link in re.findall(r'href="(?!#)([^"]*)"', markup)]
    assert all(link.startswith("./figures/") and (ROOT / link).exists() for link in links)
    assert sum(link.endswith(".png") for link in links) == len(sources)


def test_nothing_but_the_page_s_own_script_may_run_and_nothing_may_be_asked_for(whole):
    text = whole
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    rules = dict(rule.split(" ", 1) for rule in unescape(policy).split("; "))
    (script,), (style,) = (
        re.findall(r"<script>(.*?)</script>", text, re.DOTALL),
        re.findall(r"<style>(.*?)</style>", text, re.DOTALL),
    )
    for name, code in (("script-src", script), ("style-src", style)):
        assert rules[name] == f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'" and rules["img-src"] == "data:"
    assert not re.search(r"<[^>]*\b(style|on\w+)=", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))


def test_text_is_escaped_and_what_is_missing_is_said(tmp_path):
    other = VERDICT | {"verdict": "supported", "level": 0.9}
    leave(
        tmp_path / "x",
        [VERDICT, VERDICT | {"n": 0, "verdict": "not tested"}, other],
        text="Why <i>?\n\nSo & so.\n\nNot.",
    )
    section = page.read_section(tmp_path / "x")
    missing = section._replace(name="y", verdicts=(), problem="it is <missing>")
    text = page.page([section, missing], "a <note>")
    assert "<b>a" not in text and "<i>" not in text and "&lt;b&gt;a &lt; b" in text and "A &amp; B" in text
    assert "<h2>Why &lt;i&gt;?</h2>\n<p>So &amp; so.</p>" in text and "Not." not in text
    assert "−1 [–, 2]<" in text and "−1 [–, 2] at 90 %<" in text
    assert kinds(text) == ["refuted", "not tested", "supported"]
    counted = re.findall(r'class="count" data-verdict="([^"]+)"><b>(\d+)</b>', text)
    assert counted == [("supported", "1"), ("refuted", "1"), ("inconclusive", "0"), ("not tested", "1")]
    assert "it is &lt;missing&gt;" in text and "a &lt;note&gt;" in text


def test_what_was_run_is_said(tmp_path):
    config = {"seeds": 7, "depths": [10, 2], "rate": 0.1, "other": None}
    leave(tmp_path / "x", [], config=config, num_seeds=2000, seed=3, environment={"commit": "c0ffee"})
    ran = page.read_section(tmp_path / "x").ran
    what = "x; 2,000 seeds from master seed 3; depths 10, 2; rate 0.1; commit c0ffee"
    assert ran == f"{what}; claims not registered before the run; number of seeds set beforehand"
    leave(tmp_path / "own", [], file="../own.py", environment={"commit": "c0ffee"})
    section = page.read_section(tmp_path / "own")
    assert "commit c0ffee of jaxstudies" in section.ran and section.facts["commit"] == "c0ffee of jaxstudies"


def test_a_study_is_linked_even_if_another_has_its_name(tmp_path):
    leave(tmp_path / "x", [VERDICT])
    text = page.page([page.read_section(tmp_path / "x")] * 2)
    ids = re.findall(r'\bid="(.*?)"', text)
    assert len(set(ids)) == len(ids)
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert set(re.findall(r'href="#(.*?)"', markup)) <= set(ids) and {"x", "x-2", "x/a", "x-2/a"} <= set(ids)


def shown_by(text):
    """Return where the first link of each claim to what shows it leads, and its words."""
    return re.findall(r'<dt>see</dt><dd><a href="#(.*?)">(.*?)</a>', text)


def test_a_claim_links_to_the_figure_that_it_names_or_to_the_only_one(tmp_path):
    leave(tmp_path / "x", [VERDICT, VERDICT | {"id": "b", "figure": "two &"}, VERDICT | {"id": "c", "figure": "none"}])
    section = page.read_section(tmp_path / "x")
    content = io.BytesIO()
    Image.new("RGB", (2, 2)).save(content, "PNG")
    figures = dict.fromkeys(("one", "two &"), content.getvalue())
    text = page.page([section._replace(figures=figures)])
    assert shown_by(text) == [("x/figures", "figures"), ("x/figures/two-", "figure"), ("x/figures", "figures")]
    assert re.search(r'<figure id="x/figures/two-">\n<img .*>\n<figcaption><b>two &amp;</b>', text)
    alone = page.page([section._replace(figures={"one": content.getvalue()})])
    assert shown_by(alone) == [("x/figures/one", "figure")] * 3 and '<figure id="x/figures/one">' in alone


def test_a_region_is_open_where_it_is_infinite_and_seeds_without_a_number_are_told(tmp_path):
    asked = VERDICT | {"estimand": "mean", "ends": "[]", "absent": 3}
    leave(tmp_path / "x", [asked | {"region": [None, 0.5]}, asked | {"region": [0.5, None], "id": "b"}])
    text = page.page([page.read_section(tmp_path / "x")])
    assert "if the mean lies in (−∞, 0.5]<" in text and "if the mean lies in [0.5, ∞)<" in text
    assert text.count("<dt>seeds without a number</dt><dd>3</dd>") == 2


MINE = '''"""Is a number of mine below zero?

In half of the cases."""

from dataclasses import dataclass

import jax

from jaxstudies import study


@dataclass(frozen=True)
class Config:
    shift: tuple[float, ...] = (0.0, 1.0)


def simulate(key, shift):
    return {"below": jax.random.normal(key) < shift}


CLAIMS = (
    study.Claim("half", "half are", lambda of: of("below", shift=0.0), (0, 1), estimand="share"),
)
'''


def test_a_study_of_the_reader_s_is_on_the_page_like_ours(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    main.main(["mine.py", "--seeds", "20", "--out", "left"])
    main.main(["report", "left", str(ROOT / "figures" / "order_chaos"), "left/"])
    assert capsys.readouterr().out.splitlines()[-1] == "report.html"
    text = Path("report.html").read_text("utf-8")
    assert text.count('<section class="study"') == 2 and "Is a number of mine below zero?</h2>" in text
    assert text.count(">half are</") == 2 and "mine; 20 seeds from master seed 0" in text
    assert 'alt="Estimates over seeds' in text and "<figcaption><b>below<" in text
    assert "jaxstudies mine.py --shift 0.0 1.0 --seeds 20 --seed 0<" in text and str(tmp_path) not in text
    assert text.count("a quick look: 1,000 seeds are usual<") == 1
    assert "cannot be judged anew" not in text


def test_a_page_is_written_without_jax(tmp_path):
    code = "import sys; from jaxstudies.commands.main import main; main(sys.argv[1:]); assert 'jax' not in sys.modules"
    directories = [str(ROOT / "figures" / name) for name in ("born_dead", "order_chaos")]
    command_ = [sys.executable, "-c", code, "report", *directories, "--out", str(tmp_path / "page.html")]
    subprocess.run(command_, check=True, cwd=ROOT)
    assert (tmp_path / "page.html").read_text("utf-8").count('<svg class="cell"') == 180


@pytest.mark.parametrize(
    ("config", "claims", "named"),
    [
        (None, None, "x/config.json does not exist"),
        ("{}", None, "x/claims.json does not exist"),
        ("{", "[]", "x: no results of a study"),
        ("[]", "[]", "x: no results of a study"),
        ('{"config": {}}', "[]", "x: no results of a study"),
        ('{"study": "x"}', '["a"]', "x: no results of a study"),
        ('{"study": "x"}', '[{"n": 1}]', "x: no results of a study"),
    ],
)
def test_a_directory_without_results_is_one_line(tmp_path, capsys, config, claims, named):
    (tmp_path / "x").mkdir()
    for name, content in (("config.json", config), ("claims.json", claims)):
        if content is not None:
            (tmp_path / "x" / name).write_text(content)
    with pytest.raises(SystemExit) as stop:
        main.main(["report", str(tmp_path / "x"), "--out", str(tmp_path / "page.html")])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line and not (tmp_path / "page.html").exists()


def test_directories_are_found_once_inside_one_that_holds_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("results/b", "results/a"):
        leave(tmp_path / name, [VERDICT])
    (tmp_path / "results" / "other").mkdir()
    here = [Path("results/a"), Path("results/b")]
    assert page.found_in([Path("results"), Path("results/b/")]) == here
    assert page.found_in([Path("results/b"), Path("results")]) == here[::-1]
    assert page.found_in([Path("none"), Path("results/other")]) == [Path("none"), Path("results/other")]
    main.main(["report"])
    assert kinds(Path("report.html").read_text("utf-8")) == ["refuted"] * 2


NUMBERS = st.one_of(st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats())
NESTED = st.one_of(st.lists(NUMBERS, max_size=2), st.dictionaries(st.text(max_size=2), NUMBERS, max_size=2))
ODD = st.one_of(NUMBERS, NESTED, st.text(st.characters()), st.just("\ud800"))


def places(content, path=()):
    """Yield the paths to everything in JSON."""
    yield path
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inside:
        yield from places(value, (*path, key))


def with_odd(data, content):
    """Return JSON in which one thing is another, or is missing."""
    *path, key = data.draw(st.sampled_from([path for path in places(content) if path]))
    copy = json.loads(json.dumps(content))
    inside = functools.reduce(operator.getitem, path, copy)
    if data.draw(st.booleans()):
        inside[key] = data.draw(ODD)
    else:
        del inside[key]
    return copy


@given(st.data())
@settings(max_examples=300)
def test_odd_results_are_on_the_page_or_one_line(tmp_path_factory, data):
    here = tmp_path_factory.mktemp("odd")
    config: dict = {"study": "x", "text": "Is it?", "num_seeds": 3, "seed": 0, "config": {"a": [1], "b": 2}}
    config["environment"], content = {"commit": "c0ffee"}, judged([VERDICT])
    if data.draw(st.booleans()):
        config = with_odd(data, config)
    else:
        content = with_odd(data, content)
    (here / "config.json").write_text(json.dumps(config))
    (here / "claims.json").write_text(json.dumps(content))
    (here / "a.png").write_bytes(data.draw(st.binary(max_size=20)))
    try:
        section = page.read_section(here)
    except page.UnreadableResults as error:
        assert str(here) in str(error)
    else:
        report_command.write(here / "page.html", [section])


@pytest.mark.parametrize("name", ["config.json", "claims.json", "a.png", owned.LIST])
def test_nobody_waits_on_a_pipe(tmp_path, name):
    leave(tmp_path, [VERDICT])
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    if name.endswith(".png") or name == owned.LIST:
        assert page.read_section(tmp_path).figures == {}
    else:
        with pytest.raises(page.UnreadableResults, match=f"{name}: is no file"):
            page.read_section(tmp_path)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], "name one directory"),
        (["--out", "page.html"], "name one directory"),
        (["x", "--out", "."], "--out .: is a directory"),
        (["x", "--out", "none/page.html"], "--out none/page.html: cannot be written"),
        (["x", "--ot", "page.html"], "--ot"),
    ],
)
def test_a_mistake_of_the_command_is_one_line(monkeypatch, tmp_path, capsys, flags, named):
    monkeypatch.chdir(tmp_path)
    leave(tmp_path / "x", [])
    with pytest.raises(SystemExit) as stop:
        main.main(["report", *flags])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line


@pytest.mark.parametrize("name", STUDIES)
def test_the_command_on_the_page_asks_for_the_same_configuration(sections, name):
    directory = ROOT / "figures" / name
    section = next(section for section in sections if section.directory == directory)
    origin = json.loads((directory / "config.json").read_text())
    called, study, *flags = shlex.split(section.command)
    assert (called, study) == ("jaxstudies", name)
    config, seeds, _ = command.parse(load(name), flags)
    # A flag that was not there yet when it was run is at its default.
    asked = configs.to_json(load(name).Config()) | origin["config"]
    assert configs.to_json(config) | vars(seeds) == asked | {"seeds": origin["num_seeds"], "seed": origin["seed"]}


@pytest.mark.parametrize(("flow", "flags"), [(True, 75), ({"seeds": 40, "max_seeds": 80}, 40)])
def test_the_command_of_a_run_until_decided_says_what_was_planned(flow, flags):
    """Older runs do not say it."""
    config = {"rules": ["hinge"], "seeds": 75}
    origin = {"study": "perceptron", "config": config, "num_seeds": 75, "seed": 0, "until_decided": flow}
    words = shlex.split(page.repeating.command_of(origin, Path()))
    _, seeds, options = command.parse(load("perceptron"), words[2:])
    assert options.until_decided and seeds.seeds == flags
    assert options.max_seeds == (None if flow is True else 80)


def test_a_claim_names_the_runs_it_rests_on(tmp_path):
    asked = [{"a": 1}, {"a": 1}, {"b": "x y", "c": None}, {"d": 2}]
    leave(tmp_path / "x", [VERDICT | {"asked": asked}, VERDICT | {"asked": None}], config={}, num_seeds=3, seed=0)
    text = unescape(page.page([page.read_section(tmp_path / "x")]))
    named = ["jaxstudies replay results/x 0 a=1", "jaxstudies replay results/x 0 'b=x y'"]
    assert re.findall(r"<code>(jaxstudies replay [^<]*)</code>", text) == named
    (tmp_path / "x" / "runs.parquet").touch()
    assert f"jaxstudies replay {tmp_path / 'x'} 0 a=1<" in page.page([page.read_section(tmp_path / "x")])


@pytest.fixture
def script(monkeypatch):
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
    shutil.copytree(ROOT / "figures" / "order_chaos", tmp_path / "order_chaos")
    start(script, monkeypatch, "--plots-only", "--out", tmp_path)
    assert capsys.readouterr().err.count("does not exist") == len(STUDIES) - 1
    assert (tmp_path / "report.html").read_text("utf-8").count('<section class="study"') == len(STUDIES)


def test_without_any_results_there_is_no_page(script, monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        start(script, monkeypatch, "--plots-only", "--out", tmp_path)
    assert stop.value.code == 2
    assert f"--out {tmp_path}" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", STUDIES)
def test_every_quick_flag_is_one_of_the_study_s(name):
    study = load(name)
    config, seeds, _ = command.parse(study, list(study.QUICK))
    assert seeds.seeds <= 2000
    assert vars(config).get("dataset", "digits") == "digits"


def test_digits_stand_in_for_missing_mnist_and_the_page_says_so(script, monkeypatch, tmp_path, capsys):
    def absent(name):
        raise mnist.DataError("MNIST is not here <at all>")

    calls = {}

    def record(study, argv):
        calls[study.name] = argv
        if study.name == "lenet":
            raise ValueError("nothing\nworks")
        if study.name == "perceptron":
            sys.exit(2)

    monkeypatch.setattr(mnist, "load", absent)
    monkeypatch.setattr(command, "main", record)
    start(script, monkeypatch, "--out", tmp_path)
    with_digits = {name for name, argv in calls.items() if argv[-2:] == script.DIGITS}
    assert list(calls) == STUDIES and with_digits == {"depth_scales", "initialization", "lenet", "order_chaos"}
    text, errors = (tmp_path / "report.html").read_text("utf-8"), capsys.readouterr().err
    assert "digits stand in for MNIST: MNIST is not here &lt;at all&gt;" in text
    for words in ("the study failed (ValueError: nothing)", "the study ended with status 2"):
        assert words in text and words in errors


@pytest.mark.parametrize("status", [130, 143])
def test_who_stops_a_study_stops_all(script, monkeypatch, tmp_path, status):
    monkeypatch.setattr(command, "main", lambda study, argv: sys.exit(status))
    with pytest.raises(SystemExit) as stop:
        start(script, monkeypatch, "--quick", "--out", tmp_path)
    assert stop.value.code == status and not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags", [["--quik"], ["--quick", "--out", __file__]])
def test_a_mistake_is_one_line(script, monkeypatch, capsys, flags):
    with pytest.raises(SystemExit) as stop:
        start(script, monkeypatch, *flags)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert flags[-2 if len(flags) > 1 else 0] in line


@pytest.mark.parametrize(("number", "drawn"), [(charts.MOST_LINES, 1), (charts.MOST_LINES + 1, 0)])
def test_no_chart_has_more_lines_than_can_be_told_apart(tmp_path, number, drawn):
    rows = [f"{arm},{epoch},3,0.5,0.4,0.6" for arm in range(number) for epoch in range(1, 6)]
    text = "\n".join(["arm,epoch,n,loss,low,high", *(f"a{row}" for row in rows)])
    (tmp_path / "summary.csv").write_text(text)
    assert [chart.kind for chart in charts.charts_of(tmp_path)] == ["lines"] * drawn
