"""What a reader's file gets wrong is one line, and what it changes is seen."""

import json
import os
import textwrap

import jax
import pytest

from jaxstudies import configs, study, tasks
from jaxstudies.commands import main
from jaxstudies.engine import functions, levels, tracing
from jaxstudies.evidence import registration
from jaxstudies.training import losses_until_nonfinite

HEAD = """
\"\"\"What is drawn?\"\"\"
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import ClassVar
import jax
from jaxstudies import Claim, Setting

class Mode(Enum):
    LOW = 1
    HIGH = 2
"""
PLAIN = """
@dataclass(frozen=True)
class Config:
    scale: float = 1.0
def simulate(key, scale):
    return {"x": scale * jax.random.normal(key)}
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs a study of some text; it returns the status, and what was said."""
    monkeypatch.chdir(tmp_path)

    def of(text, *flags, name="mine.py"):
        (tmp_path / name).write_text(textwrap.dedent(HEAD) + textwrap.dedent(text))
        status = 0
        with study.apart():
            try:
                main.main([name, "--seeds", "4", *flags])
            except SystemExit as stop:
                status = stop.code
        return status, *capsys.readouterr()

    return of


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("def data(config):\n    return None", "data returned None"),
        ("def data(config):\n    return {}['a']", "data raises KeyError: 'a'"),
        ("def settings(config):\n    return [{'scale': 1.0}]", "settings returned {'scale': 1.0}: each is a Setting"),
        ("def settings(config):\n    return {}['a']", "settings raises KeyError: 'a'"),
        ("def beside(config, remember):\n    return {}['a']", "beside raises KeyError: 'a'"),
        (
            "import pandas as pd\ndef beside(config, remember):\n    return {'times': pd.DataFrame({'a': [1]})}",
            "beside: the name times is that of the table of how long runs took",
        ),
        (
            "import pandas\ndef beside(config, remember):\n"
            "    return {'b': pandas.DataFrame({'a': [pandas.Timestamp(0)]})}",
            "beside, 'b': column 'a' is no numbers or texts",
        ),
    ],
)
def test_a_slip_in_a_function_of_a_study_is_one_line(run, more, said):
    status, _, told = run(PLAIN + more)
    assert status == 2 and "Traceback" not in told and said in told.splitlines()[-1]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("out: tuple[float, ...] = (1.0,)", "Config's field out has the name of a flag of every run"),
        ("plan: str = 'a'", "Config's field plan has the name of a flag of every run"),
        ("scale: float = field(default=1.0, init=False)", "Config's field scale cannot be given"),
    ],
)
def test_a_field_that_can_be_no_flag_is_one_line(run, fields, said):
    status, _, told = run(PLAIN.replace("scale: float = 1.0", fields))
    assert status == 2 and said in told.splitlines()[-1]


def test_a_class_variable_is_no_flag_and_slots_are_fields(run):
    text = PLAIN.replace("scale: float = 1.0", "scale: float = 1.0\n    LIMIT: ClassVar[float] = float('inf')")
    text = text.replace("frozen=True", "frozen=True, slots=True")
    assert run(text)[0] == 0 and run(text, "--plots-only")[0] == 0


def test_claims_are_judged_with_the_config_that_was_asked_for(run, tmp_path):
    """A member of an Enum, a path and a set are what they were, not their names."""
    text = """
    @dataclass(frozen=True)
    class Config:
        mode: Mode = Mode.HIGH
        place: Path = Path("a/b")
        words: frozenset[str] = frozenset({"one", "two", "three"})
    def simulate(key):
        return {"x": jax.random.normal(key)}
    def claims(config):
        assert config.place / "c" and "two" in config.words
        region = (10, 20) if config.mode is Mode.HIGH else (-5, 5)
        return [Claim("it", "it is", lambda of: of("x"), region, near_normal="drawn so")]
    """
    assert run(text)[0] == 0
    (claim,) = json.loads((tmp_path / "results" / "mine" / "claims.json").read_text())["claims"]
    assert claim["region"] == [10, 20]
    status, said, _ = run(text)
    assert status == 0 and "holds these runs already" in said
    found = study.load(str(tmp_path / "mine.py")).Config
    assert configs.from_json(found, configs.to_json(found())) == found()


CALLED = """
@dataclass(frozen=True)
class Config:
    base: float = 1.0
    @property
    def scale(self):
        return self.base * 2
def simulate(key, *, config):
    return {"x": config.scale * jax.random.normal(key)}
"""


def test_what_a_config_does_is_code_where_runs_see_it(run, tmp_path):
    def code(text):
        (tmp_path / "mine.py").write_text(textwrap.dedent(HEAD) + text)
        with study.apart():
            return tasks.code_of(study.load(str(tmp_path / "mine.py")))

    assert code(CALLED) == code(CALLED) != code(CALLED.replace("* 2", "* 300"))
    assert code(PLAIN) == code(PLAIN.replace("scale: float = 1.0", "scale: float = 2.0"))


def test_a_study_in_a_file_called_run_is_replayed_and_verified(run, tmp_path, capsys):
    assert run(PLAIN, name="run.py")[0] == 0
    main.main(["replay", "results/run", "2"])
    main.main(["verify", "results/run", "--from-runs"])
    assert "It equals its row to the bit." in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["verify"], ["report"], ["replay"]])
def test_a_name_that_can_be_no_file_s_is_one_line(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main.main([*argv, "n" * 300, *(["0"] if argv == ["replay"] else [])])
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and "Traceback" not in line


def test_pages_do_not_take_the_place_of_results(run, tmp_path, capsys):
    pytest.importorskip("pdoc")
    assert run(PLAIN)[0] == 0
    before = {path.name for path in (tmp_path / "results" / "mine").iterdir()}
    with pytest.raises(SystemExit) as stop:
        main.main(["docs", "--out", "results/mine"])
    assert stop.value.code == 2 and "holds results" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "results" / "mine").iterdir()} == before


def test_a_pipe_in_place_of_what_was_registered_is_told(tmp_path):
    os.mkfifo(tmp_path / registration.FILE)
    with pytest.raises(registration.Damaged, match="is no file"):
        registration.read(tmp_path)


def test_a_link_to_nothing_is_not_replaced_by_a_page(run, tmp_path, capsys):
    assert run(PLAIN)[0] == 0
    (tmp_path / "page.html").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SystemExit):
        main.main(["report", "results/mine", "--out", "page.html"])
    assert (tmp_path / "page.html").is_symlink() and "no page of verdicts" in capsys.readouterr().err


def test_rare_settings_of_jax_count_where_they_are_set():
    if not hasattr(jax.config, "jax_high_dynamic_range_gumbel"):
        pytest.skip("not in this version of JAX")
    usual = tracing.jax_settings()
    jax.config.update("jax_high_dynamic_range_gumbel", True)
    try:
        assert tracing.jax_settings() == usual | {"jax_high_dynamic_range_gumbel": "True"}
    finally:
        jax.config.update("jax_high_dynamic_range_gumbel", False)
    assert "jax_high_dynamic_range_gumbel" not in usual


def test_zeros_of_either_sign_are_two_settings():
    assert not levels.is_same(0.0, -0.0) and functions.likeness(0.0) != functions.likeness(-0.0)


def test_no_steps_have_no_losses():
    assert losses_until_nonfinite(lambda state, i: (state, state), 1.0, 0).shape == (0,)
