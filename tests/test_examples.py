"""Every example of a reader's own study, and every study of the package, run small to its end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from reading import FILES, assert_told

from jaxstudies import studies
from jaxstudies.study import load

EXAMPLES = sorted((Path(__file__).parent.parent / "scripts" / "examples").glob("*.py"))
SMALL = {
    "born_dead": ["--seeds", "40", "--depths", "1", "2", "5", "--widths", "2", "3"],
    "collapse": ["--seeds", "2", "--epochs", "1", "--long-epochs", "1"],
    "depth_width": [
        *("--seeds", "1", "--epochs", "1", "--shapes", "8,16,8-8,8-16", "--num-examples", "400"),
        *("--recipes", "sgd", "--modern-epochs", "0"),
    ],
    "dying_relu": ["--seeds", "6", "--epochs", "1", "--long-epochs", "0", "--num-examples", "128"],
    "initialization": ["--seeds", "1", "--dataset", "digits", "--activations", "tanh", "--epochs", "1"],
    "lenet": ["--seeds", "1", "--dataset", "digits", "--epochs", "5", "--arms", "standardized", "bn_input"],
    "order_chaos": ["--seeds", "1", "--dataset", "digits", "--points", "3", "--width", "10"],
    "perceptron": ["--seeds", "20", "--num-test", "50"],
    "reported": ["--seeds", "2", "--epochs", "1", "--inits", "he_normal", "keras_uniform"],
    "rescue": ["--seeds", "4", "--epochs", "1", "--remedies", "none", "elu"],
    "trainability": [
        "--seeds",
        "3",
        "--points",
        "9",
        "--points-of-all",
        "9",
        "--zooms",
        "1",
        "--steps",
        "9",
        "--refine",
        "9",
    ],
    "depth_scales": ["--seeds", "1", "--dataset", "digits", "--depths", "3", "--relu-depth", "2", "--epochs", "1"],
}
ELSEWHERE = {"born_dead", "collapse", "dying_relu", "initialization"}
ELSEWHERE |= {"order_chaos", "perceptron", "reported", "rescue"}
"""Studies that tests of their own run small, and hold against `assert_told`."""
HASTILY = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # no number of these runs is read


def run(out, *command):
    done = subprocess.run(
        [sys.executable, *map(str, command), "--out", str(out)],
        capture_output=True, text=True, cwd=out.parent, env=os.environ | HASTILY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in out.iterdir()} >= FILES and list(out.glob("*.png"))
    return json.loads((out / "claims.json").read_text())["claims"]


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_study_of_fifty_lines(path, tmp_path):
    assert len(path.read_text().splitlines()) < 50
    claims = run(tmp_path / "out", path, "--seeds", "4")
    assert claims and all(claim["n"] == 4 for claim in claims)
    table = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    assert set(table["seed"]) == {0, 1, 2, 3}


def test_a_file_anywhere_is_a_study_of_the_command(tmp_path):
    (path,) = (path for path in EXAMPLES if path.stem == "xor")
    flags = ["--seeds", "3", "--width", "2", "--learning-rate", "0.1:1:4:log"]
    run(tmp_path / "out", "-m", "jaxstudies", path, *flags)
    table = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    assert len(table) == 12 and table["learning_rate"].nunique() == 4


def test_every_study_has_a_small_run():
    assert set(SMALL) == set(studies.packaged())
    for name in ELSEWHERE:
        assert "assert_told(" in Path(__file__).with_name(f"test_{name}.py").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SMALL if name not in ELSEWHERE])
def test_a_study_runs_small(name, tmp_path):
    run(tmp_path / "out", "-m", "jaxstudies", name, *SMALL[name])
    assert_told(load(name), tmp_path / "out")
