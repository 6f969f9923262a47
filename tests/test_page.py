"""The page in a real browser: it judges as Python does, asks nobody for anything, and serves every reader."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from browser import PROGRAM, Page, browser

from jaxstudies.commands import main
from jaxstudies.evidence import records
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


CLAIMS = (
    Claim("half", "half are </script><img src=x>", lambda of: of("below", shift=0.0), (0.4, 0.6), estimand="share"),
    Claim("more", "more are & so on", lambda of: of("below", shift=0.3), (0.5, 1), estimand="share", ends="(]"),
    Claim("gain", "by a tenth", of_shares, (0.0, 0.1), bounds=(-1, 1), primary=False),
    Claim("wide", "no sequence is known", lambda of: of("x", shift=0.0), (-0.1, 0.1)),
    Claim("median", "the median is 0", lambda of: of("x", shift=0.0), (-0.2, 0.2), estimand="median", level=0.93),
    Claim("absent", "nobody asks", lambda of: of("x", shift=7.0), (0, 1)),
)
'''


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Results of a study of a reader's, with seeds set beforehand, and with seeds added until claims are decided."""
    here = tmp_path_factory.mktemp("strangers")
    (here / "mine.py").write_text(FLOWING)
    fixed, flowing = ["--seeds", "120"], ["--until-decided", "--seeds", "40", "--max-seeds", "80"]
    main.main([str(here / "mine.py"), *fixed, "--out", str(here / "fixed")])
    main.main([str(here / "mine.py"), *flowing, "--out", str(here / "flowing")])
    return [here / "fixed", here / "flowing"]


@pytest.fixture(scope="module")
def directories(strangers):
    return [*page.found_in([FIGURES]), *strangers]


@pytest.fixture(scope="module")
def address(directories, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    command = [sys.executable, "-m", "jaxstudies", "report", *map(str, directories), "--out", str(path)]
    subprocess.run(command, check=True, cwd=ROOT)
    return path.as_uri()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def settings(number: int) -> list[tuple[float | None, int | None, float]]:
    """Return levels, numbers of seeds and margins, each of which occurs."""
    draw = random.Random(0)
    margins = [0.0, *(sign * margin for margin in rendering.MARGINS for sign in (1, -1))]
    levels, seeds = [None, *ladders.LEVELS], [None, *ladders.SEEDS[:10]]
    return [
        (None, None, 0.0),
        *((draw.choice(levels), draw.choice(seeds), draw.choice(margins)) for _ in range(number)),
    ]


def judged_in(chromium: Page, level: float | None, seeds: int | None, margin: float) -> list[list[dict]]:
    """Return what the browser's rule says of every claim."""
    return chromium.run(f"judgedBy({json.dumps({'level': level, 'seeds': seeds, 'margin': margin, 'unit': ''})})")


@pytest.mark.parametrize(("level", "seeds", "margin"), settings(20))
def test_browser_and_python_judge_alike(chromium, address, directories, level, seeds, margin):
    if not chromium.run("typeof judgedBy === 'function'"):
        chromium.open(address)
    shown = judged_in(chromium, level, seeds, margin)
    for directory, claims in zip(directories, shown, strict=True):
        now = records.again(directory, records.read(directory), level, margin, seeds)
        assert [v.verdict for v in now] == [claim["kind"] for claim in claims], directory
        assert [v.family_verdict for v in now] == [claim["family"] for claim in claims], directory
        assert [v.n for v in now] == [claim["n"] for claim in claims], directory
