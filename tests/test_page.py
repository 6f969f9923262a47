"""The page in a real browser: it judges as Python does, asks nobody for anything, and serves every reader."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import PROGRAM, browser

from jaxstudies.output import page
from jaxstudies.output.page import ladders, rendering

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "figures"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")]

FLOWING = '''"""Is a number of mine below zero? </script><b>"""

from dataclasses import dataclass

import jax

from jaxstudies import Claim


@dataclass(frozen=True)
class Config:
    shift: tuple[float, ...] = (0.0, 0.3)


def simulate(key, shift):
    x = jax.random.normal(key)
    return {"below": x < shift, "share": jax.nn.sigmoid(x + shift), "x": x}


def of_shares(of):
    return of("share", shift=0.3) - of("share", shift=0.0)


def more(of):
    return of("below", shift=0.3)


OTHERS = {"r2_below_0.01": lambda of: 1 - more(of), "constructor": lambda of: more(of)[more(of) == 0]}
OTHERS |= {"some <i>": lambda of: more(of).iloc[7:]}
CLAIMS = (
    Claim("half", "half are </script><img src=x>", lambda of: of("below", shift=0.0), (0.4, 0.6), estimand="share"),
    Claim("more", "more are & so on", more, (0.5, 1), estimand="share", ends="(]", readings=OTHERS),
    Claim("gain", "by a tenth", of_shares, (0.0, 0.1), bounds=(-1, 1), primary=False),
    Claim("wide", "no sequence is known", lambda of: of("x", shift=0.0), (-0.1, 0.1)),
    Claim("median", "the median is 0", lambda of: of("x", shift=0.0), (-0.2, 0.2), estimand="median", level=0.93),
    Claim("absent", "nobody asks", lambda of: of("x", shift=7.0), (0, 1)),
    Claim("pair", "a side is not there", lambda of: of("x", shift=7.0) - of("x", shift=0.0), (0, 1)),
    Claim("none", "no run has a number", lambda of: of("x", shift=0.0) * float("nan"), (0, 1)),
)
'''


TOGETHER = """
import functools, json, sys
from jaxstudies.commands.main import main
from jaxstudies.output.page import ladders, pictures

# What two pages have in common is made once.
ladders.ladders_of, pictures.preview = functools.cache(ladders.ladders_of), functools.cache(pictures.preview)
for arguments in json.load(sys.stdin):
    main(arguments)
"""


def commands(*asked):
    """Run commands of one's own in one process, which imports once."""
    subprocess.run([sys.executable, "-c", TOGETHER], input=json.dumps(asked), text=True, check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Results of a study of a reader's, with seeds set beforehand, and with seeds added until claims are decided."""
    here = tmp_path_factory.mktemp("strangers")
    (here / "mine.py").write_text(FLOWING)
    fixed, flowing = ["--seeds", "120"], ["--until-decided", "--seeds", "40", "--max-seeds", "80"]
    asked = {"fixed": fixed, "flowing": flowing}
    commands(*([str(here / "mine.py"), *flags, "--out", str(here / name)] for name, flags in asked.items()))
    return [here / "fixed", here / "flowing"]


@pytest.fixture(scope="module")
def directories(strangers):
    return [*page.found_in([FIGURES]), *strangers]


@pytest.fixture(scope="module")
def pages(directories, tmp_path_factory):
    """The page of all, and that of the references alone."""
    here = tmp_path_factory.mktemp("page")
    whole, reference = here / "report.html", here / "reference.html"
    asked = {whole: directories, reference: [FIGURES]}
    commands(*(["report", *map(str, named), "--out", str(path)] for path, named in asked.items()))
    return whole, reference


@pytest.fixture(scope="module")
def address(pages):
    return pages[0].as_uri()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


READINGS = ["", "zero_slope", "zero_range", "range_1e-3", "r2_below_0.01", "some <i>", "constructor", "none"]


def settings(number: int) -> list[tuple[float | None, float, int | None, str]]:
    """Return levels, margins, numbers of seeds and readings, the first of which change nothing."""
    draw = random.Random(0)
    margins = [0.0, *(sign * margin for margin in rendering.MARGINS for sign in (1, -1))]
    levels, seeds = [None, *ladders.LEVELS], [None, *ladders.SEEDS[:10]]
    return [
        (None, 0.0, None, ""),
        *((None, 0.0, None, reading) for reading in READINGS[1:]),
        *(
            (draw.choice(levels), draw.choice(margins), draw.choice(seeds), draw.choice(READINGS))
            for _ in range(number)
        ),
    ]


SETTINGS = settings(20)
JUDGE = """
import functools, json, sys
from pathlib import Path
from jaxstudies.evidence import records

records.effects_of = functools.cache(records.effects_of)  # of all settings
directories, settings = json.load(sys.stdin)
found = [[records.again(Path(d), records.read(Path(d)), *setting) for d in directories] for setting in settings]
json.dump([[[(v.verdict, v.family_verdict, v.n) for v in one] for one in all_] for all_ in found], sys.stdout)
"""


@pytest.fixture(scope="module")
def judged(directories):
    """Verdicts of Python's, alone and as a family, and n: by setting, directory and claim."""
    given = json.dumps([[str(directory) for directory in directories], SETTINGS])
    command = [sys.executable, "-c", JUDGE]
    return json.loads(subprocess.run(command, input=given, check=True, cwd=ROOT, capture_output=True, text=True).stdout)


@pytest.fixture(scope="module")
def shown(chromium, address):
    """The same as the page has it."""
    chromium.open(address)
    names = "level", "margin", "seeds", "reading"
    settings = [dict(zip(names, setting, strict=True)) | {"unit": ""} for setting in SETTINGS]
    return [chromium.run(f"judgedBy({json.dumps(setting)})") for setting in settings]


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_browser_and_python_judge_alike(shown, judged, number):
    kinds = [[[claim["kind"], claim["family"], claim["n"]] for claim in claims] for claims in shown[number]]
    assert kinds == judged[number]


@pytest.fixture
def opened(chromium, address):
    """The page, freshly loaded at 1,200 pixels, on which nothing may have gone wrong in the end."""
    chromium.open(address)
    yield chromium
    assert chromium.run("1") == 1  # what the browser had to tell has arrived
    assert chromium.told("Runtime.exceptionThrown") == chromium.told("Runtime.consoleAPICalled") == []
    assert chromium.told("Log.entryAdded") == []
    asked = [told["request"]["url"] for told in chromium.told("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [address]


def move(opened, name, value):
    """Choose a value as a reader does."""
    event = f"$({name!r}).dispatchEvent(new Event('input', {{bubbles: true}}))"
    opened.run(f"$({name!r}).value = {json.dumps(value)}; {event}")


def visible(opened):
    """Return the rows that are shown: their addresses, studies, sources and verdicts."""
    return opened.run("rows.filter((r) => r.checkVisibility()).map((r) => ({...r.dataset, id: r.id}))")


def test_rows_are_filtered_by_study_source_verdict_and_text(opened):
    whole = visible(opened)
    for name in ("study", "source", "verdict"):
        for value in sorted({row[name] for row in whole}):
            move(opened, name, value)
            assert visible(opened) == [row for row in whole if row[name] == value] != []
        move(opened, name, "")
    move(opened, "text", "BATCH norm")
    assert 0 < len(visible(opened)) < len(whole)
    assert opened.run("rows.filter((r) => !r.hidden).every((r) => /batch norm/i.test(r.textContent))")
    assert opened.run("document.querySelector('.state').textContent").startswith(f"{len(visible(opened))} of ")
    opened.run("form.reset()")
    opened.run("new Promise((done) => setTimeout(done, 50))")
    assert visible(opened) == whole


def test_sliders_change_verdicts_at_once_and_reset_brings_them_back(opened):
    before = opened.run("body.innerHTML.length"), visible(opened)
    for name, value in (("level", len(ladders.LEVELS)), ("seeds", 1), ("margin", 0)):
        move(opened, name, value)
        changed = [row["id"] for row in visible(opened) if row["verdict"] != row["first"]]
        assert 0 < len(changed) < len(before[1])
        said = opened.run("document.querySelector('tr.changed .verdict').textContent")
        assert re.search(r"(supported|refuted|inconclusive|not tested)was (supported|refuted|inconclusive)", said)
        opened.run("form.reset()")
        opened.run("new Promise((done) => setTimeout(done, 50))")
        assert [row["verdict"] for row in visible(opened)] == [row["verdict"] for row in before[1]]
    counted = opened.run(
        "[...document.querySelectorAll('.count b')].reduce((sum, b) => sum + Number(b.textContent), 0)"
    )
    assert counted == len(before[1])


def test_a_rule_changes_the_claims_that_can_be_read_by_it(opened, judged):
    listed = opened.run("[...$('reading').options].map((o) => [o.value, o.textContent])")
    known = {"r2_below_0.01": "R² < 0.01", "some <i>": "some <i>", "constructor": "constructor"}
    assert listed[0] == ["", "each its own"] and known.items() <= dict(listed).items()
    before = visible(opened)
    move(opened, "reading", "r2_below_0.01")
    changed = [row["id"] for row in visible(opened) if row["verdict"] != row["first"]]
    assert "mine/more" in changed and len(changed) < len(before) / 4
    said = "document.getElementById('mine/more').querySelector('.verdict').textContent"
    assert opened.run(said).endswith("; by the rule R² < 0.01")
    (read,) = re.findall(r"(\d+) are read by this rule", opened.run("$('level').form.textContent"))
    assert len(changed) <= int(read) < len(before)
    move(opened, "reading", "")
    assert [row["verdict"] for row in visible(opened)] == [row["verdict"] for row in before]


def test_a_margin_can_be_of_one_unit_alone(opened):
    unit = opened.run("data.studies.flatMap((s) => s.claims ?? []).find((c) => c.unit).unit")
    move(opened, "margin", 0)
    everywhere = opened.run("document.querySelectorAll('tr.changed').length")
    move(opened, "unit", unit)
    units = opened.run("[...document.querySelectorAll('tr.changed .unit')].map((u) => u.textContent)")
    assert set(units) == {unit} and 0 < len(units) < everywhere


def test_each_column_sorts_up_and_down(opened):
    for column in range(6):
        order = f"[...body.rows].map((r) => r.cells[{column}].textContent.trim())"
        first = opened.run(order)
        opened.run(f"document.querySelectorAll('.claims thead button')[{column}].click()")
        up = opened.run(order)
        opened.run(f"document.querySelectorAll('.claims thead button')[{column}].click()")
        down = opened.run(order)
        assert sorted(up) == sorted(first) == sorted(down) and up != down
        if column >= 4:
            numbers = [float(text.split()[0].replace(",", "").replace("−", "-")) for text in up if text[0] != "–"]
            assert numbers == sorted(numbers)
            assert all(text[0] == "–" for text in (*up[len(numbers) :], *down[len(numbers) :]))


def test_an_address_opens_its_claim(opened, address):
    for place in (0, 40, -1):
        anchor = opened.run(f"rows.at({place}).id")
        opened.run(f"location.hash = {anchor!r}")
        opened.run("new Promise((done) => setTimeout(done, 100))")
        row = f"document.getElementById({anchor!r})"
        assert opened.run(f"{row}.querySelector('details').open")
        assert opened.run(f"(({{top, bottom}}) => top >= 0 && top < innerHeight)({row}.getBoundingClientRect())")
    assert opened.run(
        "[...document.querySelectorAll('a[href^=\"#\"]')].every((a) => $(decodeURIComponent(a.hash.slice(1))))"
    )


def test_everything_is_reached_by_the_keyboard_alone(opened):
    reached = set()
    for _ in range(40):
        opened.press("Tab", 9)
        reached.add(opened.run("document.activeElement.id || document.activeElement.tagName"))
        assert opened.run("getComputedStyle(document.activeElement).outlineStyle !== 'none'")
    assert {"level", "seeds", "margin", "unit", "study", "source", "verdict", "text", "BUTTON", "SUMMARY"} <= reached
    opened.run("$('level').focus()")
    opened.press("End", 35)
    assert opened.run("document.querySelector('output[for=level]').value") == "99.9 %"
    assert opened.run("document.querySelectorAll('tr.changed').length") > 0
    opened.run("rows[0].querySelector('summary').focus()")
    opened.press("Enter", 13, "\r")
    assert opened.run("rows[0].querySelector('details').open")


@pytest.mark.parametrize(("width", "scripts"), [(1200, True), (400, True), (400, False), (1200, False)])
def test_nothing_is_cut_and_text_stands_out_at_any_width(chromium, address, width, scripts):
    chromium.open(address, width, scripts=scripts)
    chromium.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert chromium.run("[...document.images].every((i) => { i.loading = 'eager'; return true; })")
    assert chromium.run("Promise.all([...document.images].map((i) => i.decode())).then((all) => all.length)") >= 25
    assert chromium.run("document.querySelector('.controls').hidden") is not scripts
    assert chromium.run("document.querySelectorAll('.claims svg .interval').length") > 90
    for scheme in ("light", "dark"):
        chromium.choose(scheme)
        assert chromium.run("matchMedia('(prefers-color-scheme: dark)').matches") is (scheme == "dark")
        assert chromium.run("document.documentElement.scrollWidth") <= width
        assert min(chromium.run(CONTRASTS)) >= 4.5


CONTRASTS = """(() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => parts(text).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor, alpha = parts(color)[3];
      if (alpha !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const written = [...document.body.querySelectorAll("*")].filter((e) => e.checkVisibility() &&
    [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()));
  return written.map((e) => [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => b - a))
    .map(([more, less]) => (more + 0.05) / (less + 0.05));
})()"""


def test_charts_answer_the_pointer_and_the_arrow_keys(opened):
    charts = opened.run("document.querySelectorAll('.chart').length")
    kinds = opened.run("[...document.querySelectorAll('.chart svg')].map((s) => s.getAttribute('class'))")
    assert charts > 15 and set(kinds) == {"rows", "lines", "map"}
    for kind in sorted(set(kinds)):
        chart = f"document.querySelector('.chart:has(svg.{kind})')"
        opened.run(f"{chart}.scrollIntoView({{block: 'center'}})")
        place = f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({chart}.querySelectorAll('.mark')[3]"
        x, y = opened.run(f"{place}.querySelector('circle')?.getBoundingClientRect() ?? {place[place.index(chart) :]}"
                          ".getBoundingClientRect())")  # fmt: skip
        opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        said = opened.run(f"{chart}.querySelector('.readout').textContent")
        assert re.search(r".+: .+ −?[\d.e−]+ \[−?[\d.e−]+, −?[\d.e−]+\], n = [\d,]+$", said)
        opened.run(f"{chart}.querySelector('svg').focus()")
        opened.press("ArrowRight", 39)
        assert opened.run(f"{chart}.querySelector('.readout').textContent") != said


def test_a_click_on_a_cell_of_a_map_and_enter_show_its_runs_and_their_commands(opened):
    chart = "document.querySelector('.chart:has(+ .cells)')"
    panel = f"{chart}.nextElementSibling.querySelector('.closer')"
    assert opened.run(f"{panel}.hidden")
    opened.run(f"{chart}.scrollIntoView({{block: 'center'}})")
    x, y = opened.run(f"(({{x, y}}) => [x + 3, y + 3])({chart}.querySelectorAll('.mark')[5].getBoundingClientRect())")
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        opened.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    said = f"[...{panel}.querySelectorAll('li')].map((i) => i.textContent)"
    first = opened.run(said)
    assert len(first) == opened.run(f"{panel}.querySelectorAll('path').length") == 4
    for seed, line in enumerate(first):
        assert re.fullmatch(rf"seed {seed}: from \S+ to \S+ jaxstudies replay \S+ {seed}( \S+=\S+)+", line)
    cell = opened.run(f"{panel}.querySelector('p').textContent")
    assert cell.startswith(opened.run(f"{chart}.querySelector('.readout').textContent").partition(":")[0])
    opened.run(f"{chart}.querySelector('svg').focus()")
    opened.press("ArrowRight", 39)
    opened.press("Enter", 13, "\r")
    assert opened.run(f"{panel}.querySelector('p').textContent") != cell


def test_it_prints_with_every_claim_and_figure(chromium, address):
    chromium.open(address)
    printed = chromium.pdf()
    assert printed.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) > 20


def test_what_a_stranger_wrote_is_text(opened):
    assert opened.run("[...document.querySelectorAll('summary')].some((s) => s.textContent.includes('</script><img'))")
    assert opened.run("document.querySelectorAll('img[src=x], script').length") == 2  # the data, and the page's own


def test_the_committed_page_is_the_one_that_its_command_writes(pages):
    """But for what machines may round otherwise, and links, which start elsewhere."""
    left = (FIGURES / "report.html").read_text("utf-8")
    path = pages[1]
    machine = re.compile(r'"packed": "[^"]*"|src="data:[^"]*"|"effect": [-\d.e]+|<path d=.*')
    made = path.read_text("utf-8").replace(f"./{os.path.relpath(FIGURES, path.parent)}/", "./")
    assert machine.sub("", left) == machine.sub("", made)
