"""However a command ends, it says why in one line, and a status says it to machines."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jaxstudies.commands import endings, flags
from jaxstudies.commands.endings import UsageError

SCRIPTS = Path(__file__).parent.parent / "scripts"
OWN = '''"""Is it so?"""
from dataclasses import dataclass
from jaxstudies import main

@dataclass(frozen=True)
class Config:
    scale: tuple[float, ...] = (1.0, 2.0)

def simulate(key, scale):
    import jax
    return {"x": scale * jax.random.normal(key)}

def plot(results):
    return {}

main()
'''


@pytest.mark.parametrize("words", [["-m", "jaxstudies", "dying_relu"], ["-m", "jaxstudies", "replay", "x", "1"]])
@pytest.mark.parametrize("script", ["report.py", "benchmark.py", "reference.py", "dying_relu.py", None])
def test_ctrl_c_during_imports_is_one_line(tmp_path, words, script):
    if script and "replay" in words:
        pytest.skip("a script has a name, and no command")
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
    asked = [sys.executable, *([str(SCRIPTS / script)] if script else words)]
    path = os.pathsep.join([str(tmp_path), str(SCRIPTS.parent)])
    done = subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 130 and not done.stdout
    said = [line for line in done.stderr.splitlines() if line and "importing" not in line]
    assert len(said) == 1 and said[0].startswith("stopped")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own")
    (path / "own.py").write_text(OWN)
    return path


def start(own, redirected, out, **env):
    asked = f"{sys.executable} -m jaxstudies own.py --seeds 2 --out {out} {redirected}"
    return subprocess.run(asked, shell=True, cwd=own, capture_output=True, text=True, env=os.environ | env)


@pytest.mark.slow
@pytest.mark.parametrize("redirected", ["2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_a_run_whose_words_nobody_can_read_is_done_all_the_same(own, redirected):
    out = own / redirected.translate({ord(c): "_" for c in "/<>&- "})
    done = start(own, redirected, out)
    assert done.returncode == 0 and done.stderr == ""
    texts = {path.name: path.read_bytes() for path in out.iterdir()}
    assert {"claims.json", "config.json", "runs.parquet", "effects.parquet", "summary.csv"} <= set(texts)
    # Nothing that was said went into a file that got the number of a closed stream.
    assert not any(b"judging" in content or b"seed 2 of 2" in content for content in texts.values())
    assert texts["runs.parquet"][:4] == b"PAR1"


@pytest.mark.slow
def test_an_output_that_is_full_is_named_as_such_and_nothing_is_lost(own):
    done = start(own, ">/dev/full", "full")
    assert done.returncode == 2
    assert "what is printed cannot be written (No space left on device)" in done.stderr.splitlines()[-1]
    assert (own / "full" / "claims.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cuda", "nosuch"])
def test_a_platform_that_is_not_there_is_one_line_behind_that_jax_is_imported(own, platform):
    done = start(own, "", "platform", JAX_PLATFORMS=platform)
    assert done.returncode == 2 and f"JAX_PLATFORMS {platform}: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr and done.stderr.splitlines()[0] == "own: importing JAX"


def test_words_that_a_terminal_cannot_show_stop_nothing():
    said = "import sys; from jaxstudies.commands import endings\nwith endings.explained('x'): print('\\u2014 \\udcff')"
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\\u2014 \\udcff\n", b"")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\nb", "a b"),
        (f"--out {'n' * 300}: no", f"--out {'n' * 60}...: no"),
        (f"--out {'n' * 299}: no", f"--out {'n' * 299}: no"),
        ("a " * 5000, f"{'a ' * 600}..."),
    ],
)
def test_a_message_is_one_line_of_bounded_length(text, said):
    assert endings.one_line(text) == said


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([""], "argument '': a value is needed"),
        (["--out", ""], "--out '': a value is needed"),
        (["--out="], "--out '': a value is needed"),
        (["--scale", "1", ""], "--scale '': a value is needed"),
        (["a\udcff"], "argument a\udcff: is not UTF-8"),
        (["--out", "\udcff"], "--out \udcff: is not UTF-8"),
        (["--out=\udcff"], "--out \udcff: is not UTF-8"),
    ],
)
def test_words_by_which_nothing_can_be_meant_are_named(argv, said):
    with pytest.raises(UsageError, match="^" + said.replace("'", "'") + "$"):
        flags.check_words(argv)


def test_whoever_stops_a_command_that_goes_on_nowhere_is_not_told_that_it_does(capsys):
    with pytest.raises(SystemExit) as stop, endings.explained("report", after=""):
        signal.raise_signal(signal.SIGTERM)
    assert stop.value.code == 143 and capsys.readouterr().err == "\nterminated\n"
