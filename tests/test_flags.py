"""Whatever is wrong with a flag or a file, one line names it, and nothing is left behind."""

import contextlib
import dataclasses
import io
import re
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import pytest
import toy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxstudies import __main__ as main
from jaxstudies import cli, flags, launch

STUDIES = [main.load(name) for name in main.names()]
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def leaves(hint):
    """Yield the types inside a hint that are not containers."""
    arguments = [a for a in get_args(hint) if a is not Ellipsis]
    if not arguments or not any(isinstance(a, type) or get_args(a) for a in arguments):
        yield hint
    for argument in arguments:
        yield from leaves(argument)


def wrong_values(hint):
    """Return a strategy of texts that a flag of this type must refuse, or None."""
    kinds = set(leaves(hint))
    if str in kinds or bool in kinds or Path in kinds:
        return None
    words = st.text(st.characters(codec="ascii", categories=["L"]), min_size=4).map("no_".__add__)
    odd = st.sampled_from(["nan", "inf", "-inf", "1e999", "0x10", "1_0x", "1;2", "½"])
    if int in kinds and float not in kinds:
        numbers = [st.integers(max_value=int(low)) for low, _ in lower_bounds(hint)]
        numbers += [st.integers(min_value=int(high) + 1) for high in upper_bounds(hint)]
    else:
        numbers = [st.floats(max_value=low) for low, _ in lower_bounds(hint)]
        numbers += [st.floats(min_value=high, exclude_min=True) for high in upper_bounds(hint)]
    outside = [number.filter(lambda x: is_outside(x, hint)).map(repr) for number in numbers]
    return st.one_of(words, odd, *outside)


def lower_bounds(hint):
    return [(low, inclusive) for low, _, inclusive in flags.bounds(hint) if abs(low) < 1e300]


def upper_bounds(hint):
    return [high for _, high, _ in flags.bounds(hint) if abs(high) < 1e300]


def is_outside(value, hint):
    return any(
        value < low or value > high or (value == low and not inclusive)
        for low, high, inclusive in flags.bounds(hint)
    )


FLAGS = [
    (study, field, values)
    for study in STUDIES
    for part in (study.Config, launch.Options)
    for field, hint in get_type_hints(part, include_extras=True).items()
    if part is study.Config or study is STUDIES[0]
    if (values := wrong_values(hint)) is not None
]


def refuse(study, argv, directory):
    """Run a study that must stop at its flags; return its line on stderr."""
    line = refuse_there(study, argv, directory / "out")
    assert not (directory / "out").exists()
    return line


def refuse_there(study, argv, out):
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr),
        pytest.raises(SystemExit) as stop,
    ):  # fmt: skip
        cli.main(study, [*argv, "--out", str(out)])
    assert stop.value.code == 2, (argv, stdout.getvalue(), stderr.getvalue())
    assert stdout.getvalue() == ""
    (line,) = stderr.getvalue().splitlines()
    return line


def check_wrong_values(data, directory):
    study, field, values = data.draw(st.sampled_from(FLAGS))
    flag, value = f"--{field.replace('_', '-')}", data.draw(values)
    line = refuse(study, [flag, value], directory)
    assert flag in line, (flag, value, line)


@settings(max_examples=60, **QUIET)
@given(st.data())
def test_wrong_values_are_one_line(tmp_path_factory, data):
    check_wrong_values(data, tmp_path_factory.getbasetemp())


@pytest.mark.faults
@settings(max_examples=1500, **QUIET)
@given(st.data())
def test_many_wrong_values_are_one_line(tmp_path_factory, data):
    check_wrong_values(data, tmp_path_factory.getbasetemp())


def test_every_numeric_flag_of_every_study_is_tried():
    fields = {field for _, field, _ in FLAGS}
    assert {"seeds", "seed", "epochs", "learning_rate", "chunk_size", "process_id"} <= fields
    for study in STUDIES:
        assert sum(s is study for s, _, _ in FLAGS) >= 5
        named = {field.name for field in dataclasses.fields(study.Config)}
        assert named >= {field for s, field, _ in FLAGS if s is study} - {
            field.name for field in dataclasses.fields(launch.Options)
        }


@pytest.mark.parametrize("study", STUDIES, ids=main.names())
@pytest.mark.parametrize("text", ["--no-such-flag", "--seeds", "stray", "--seeds 5 stray"])
def test_unknown_and_unfinished_flags_are_one_line(study, text, tmp_path):
    assert "--help" in refuse(study, text.split(), tmp_path)


@pytest.mark.parametrize("study", STUDIES, ids=main.names())
def test_a_value_that_is_named_twice_counts_once(study):
    """Otherwise its seeds would run twice and count double."""
    hints = get_type_hints(study.Config, include_extras=True)
    lists = {k: v for k, v in vars(study.Config()).items() if isinstance(v, tuple) and k in hints}
    assert lists
    for name, values in lists.items():
        flag = f"--{name.replace('_', '-')}"
        once, twice = ([flag, *map(str, values)], [flag, *map(str, [*values, *values])])
        assert cli.parse(study, twice) == cli.parse(study, once)


def test_a_misspelt_flag_is_named_with_the_one_like_it(tmp_path):
    line = refuse(main.load("dying_relu"), ["--sedes", "3"], tmp_path)
    assert "--sedes 3: there is no such flag; perhaps --seeds was meant" in line


@pytest.mark.parametrize("study", STUDIES, ids=main.names())
def test_help_explains_every_flag(study, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(study, ["--help"])
    assert not stop.value.code
    said = capsys.readouterr().out
    assert "None" not in said
    for part in (study.Config, launch.Options):
        for field in dataclasses.fields(part):
            assert re.search(rf"--(no-)?{field.name.replace('_', '-')}\s", said), field.name


def test_an_explained_dataclass_has_the_defaults_of_the_plain_one():
    @dataclasses.dataclass(frozen=True)
    class Plain:
        """A config."""

        widths: tuple[int, ...] = dataclasses.field(default_factory=lambda: (2, 3))
        """Two
        lines."""
        rate: float | None = None
        """None is half."""
        needed: int = dataclasses.field(kw_only=True)
        """A number."""

    explained = flags.explained(Plain)
    assert vars(explained(needed=1)) == vars(Plain(needed=1))
    assert vars(flags.parse(explained, ["--needed", "4"])) == vars(Plain(needed=4))
    assert flags.field_docstrings(Plain)["widths"] == "Two lines."


@pytest.mark.parametrize(
    ("hint", "word"),
    [
        (int | None, "INT"), (tuple[float, ...] | None, "FLOAT [FLOAT ...]"),
        (Literal["a", "b"] | None, None), (Path | None, "PATH"), (bool | None, None),
    ],
)  # fmt: skip
def test_what_stands_for_a_value(hint, word):
    assert flags.metavar(hint) == word


def test_another_studys_table_is_named(finished):
    line = refuse_there(STUDIES[0], ["--plots-only"], finished[0])
    assert "of the study toy" in line


def test_maps_and_phase_diagrams_do_not_write_over_the_study():
    for name, flag in (("dying_relu", "--map"), ("initialization", "--phase")):
        study = main.load(name)
        own, other = (cli.directory(study, cli.parse(study, argv)[0]) for argv in ([], [flag]))
        assert other.parent == own == Path("figures") / name


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        cli.main(toy, ["--out", str(out)])
    return out, printed.getvalue()


def check_damage(finished, data):
    """Damage the table of runs; that is said in a line, or makes no difference to what is said."""
    finished, said = finished
    path = finished / "runs.parquet"
    whole = path.read_bytes()
    content = bytearray(whole)
    kind = data.draw(st.sampled_from(["cut", "bits", "noise", "empty"]))
    if kind == "cut":
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    elif kind == "bits":
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
            content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        content = bytearray(data.draw(st.binary(max_size=200)) if kind == "noise" else b"")
    stderr = io.StringIO()
    printed = io.StringIO()
    try:
        path.write_bytes(content)
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(stderr):
            cli.main(toy, ["--plots-only", "--out", str(finished)])
        assert printed.getvalue() == said
    except SystemExit as stop:
        assert stop.code == 2
        (line,) = stderr.getvalue().splitlines()
        assert "runs.parquet" in line
    finally:
        path.write_bytes(whole)


@settings(max_examples=40, **QUIET)
@given(st.data())
def test_a_damaged_table_is_one_line(finished, data):
    check_damage(finished, data)


@pytest.mark.faults
@settings(max_examples=2000, **QUIET)
@given(st.data())
def test_many_damaged_tables_are_one_line(finished, data):
    check_damage(finished, data)
