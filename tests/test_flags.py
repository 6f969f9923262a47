"""Whatever is wrong with a flag or a file, one line names it, and nothing is left behind."""

import contextlib
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import pytest
import toy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxstudies import configs
from jaxstudies.commands import command, endings, flags, options
from jaxstudies.configs import Levels
from jaxstudies.output import stored
from jaxstudies.studies import packaged
from jaxstudies.study import load

NAMES = list(packaged())
STUDIES = [load(name) for name in NAMES]
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
        value < low or value > high or (value == low and not inclusive) for low, high, inclusive in flags.bounds(hint)
    )


FLAGS = [
    (study, field, values)
    for study in STUDIES
    for part in (study.Config, options.Seeds, options.Options)
    for field, hint in get_type_hints(part, include_extras=True).items()
    if part is not options.Options or study is STUDIES[0]
    if part is not options.Seeds or field not in study.Config.__dataclass_fields__
    if (values := wrong_values(hint)) is not None
]


def refuse(study, argv, directory):
    """Run a study that must stop at its flags; return its line on stderr."""
    line = refuse_there(study, argv, directory / "out")
    assert not (directory / "out").exists()
    return line


def refuse_there(study, argv, out):
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), pytest.raises(SystemExit) as stop:
        command.main(study, [*argv, "--out", str(out)])
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


NAMED = [
    (study, f"--{field.replace('_', '-')}")
    for study in STUDIES
    for part in (study.Config, options.Seeds, options.Options)
    for field in get_type_hints(part)
]
ODD = [
    "None",
    "5'",
    '5"',
    "",
    "True",
    "1e400",
    "-0",
    "0x1",
    "1:2:3",
    "1:2:999999999",
    "a:b:c:log",
    "~nosuchuser/x",
    "9" * 5000,
]
WORDS = st.one_of(
    st.sampled_from(ODD), st.text(st.characters(), max_size=8), st.integers().map(str), st.floats().map(str)
)


def parse_or_refuse(study, argv):
    """Parse flags, or say in one line what is wrong with them."""
    try:
        options.parse(study.Config, study.name, study.text, argv)
    except flags.UsageError as error:
        assert len(endings.one_line(f"{study.name}: error: {error}").splitlines()) == 1 and str(error).strip()
    except SystemExit as stop:  # of --help
        assert not stop.code


def check_any_words(data):
    study, flag = data.draw(st.sampled_from(NAMED))
    argv = [flag, *data.draw(st.lists(WORDS, max_size=3))]
    if data.draw(st.booleans()):
        argv += [data.draw(st.sampled_from(NAMED))[1], data.draw(WORDS)]
    with contextlib.redirect_stdout(io.StringIO()):
        parse_or_refuse(study, argv)


@settings(max_examples=100, **QUIET)
@given(st.data())
def test_any_words_are_parsed_or_refused_in_a_line(data):
    check_any_words(data)


@pytest.mark.slow
@settings(max_examples=2000, **QUIET)
@given(st.data())
def test_thousands_of_any_words_are_parsed_or_refused_in_a_line(data):
    check_any_words(data)


def test_every_numeric_flag_of_every_study_is_tried():
    fields = {field for _, field, _ in FLAGS}
    assert {"seeds", "seed", "epochs", "learning_rate", "chunk_size", "process_id"} <= fields
    for study in STUDIES:
        tried = [field for s, field, _ in FLAGS if s is study]
        assert len(tried) >= 4 and {"seeds", "seed"} <= set(tried)
        named = {field.name for field in dataclasses.fields(study.Config)}
        assert named | {"seeds", "seed"} >= set(tried) - {field.name for field in dataclasses.fields(options.Options)}


@pytest.mark.parametrize("study", STUDIES, ids=NAMES)
@pytest.mark.parametrize("text", ["--no-such-flag", "--seeds", "stray", "--seeds 5 stray"])
def test_unknown_and_unfinished_flags_are_one_line(study, text, tmp_path):
    assert "--help" in refuse(study, text.split(), tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--init-std 0.1 0.2", "--init-std 0.1 0.2: takes one value"),
        ("--init-std=0.1 -0.2 --seeds 5", "--init-std 0.1 -0.2: takes one value"),
        ("--widths 2 3 --loss mse mae", "--loss mse mae: takes one value"),
        ("--out there and here", "--out there and here: takes one value"),
        ("--verbose yes --widths 2 3", "--verbose yes: takes no value"),
        ("--seeds 5 6 --sedes 7", "--seeds 5 6: takes one value"),
        ("--sedes 7 --seeds 5 6", "--sedes 7 6: there is no such flag"),
    ],
)
def test_a_flag_with_too_many_values_is_named(text, said, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(load("born_dead"), text.split())
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"born_dead: error: {said}")


@pytest.mark.parametrize("study", STUDIES, ids=NAMES)
def test_a_value_that_is_named_twice_counts_once(study):
    """Otherwise its seeds would run twice and count double."""
    hints = get_type_hints(study.Config, include_extras=True)
    lists = {k: v for k, v in vars(study.Config()).items() if isinstance(v, tuple) and k in hints}
    assert lists or study.name == "collapse"  # what the papers have is all that it has
    for name, values in lists.items():
        flag = f"--{name.replace('_', '-')}"
        once, twice = ([flag, *map(str, values)], [flag, *map(str, [*values, *values])])
        assert command.parse(study, twice) == command.parse(study, once)


def test_a_misspelt_flag_is_named_with_the_one_like_it(tmp_path):
    line = refuse(load("dying_relu"), ["--sedes", "3"], tmp_path)
    assert "--sedes 3: there is no such flag; perhaps --seeds was meant" in line


@pytest.mark.parametrize("study", STUDIES, ids=NAMES)
def test_help_explains_every_flag(study, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(study, ["--help"])
    assert not stop.value.code
    said = capsys.readouterr().out
    assert "None" not in said
    for part in (study.Config, options.Seeds, options.Options):
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
        (int | None, "INT"),
        (tuple[float, ...] | None, "FLOAT [FLOAT ...]"),
        (Literal["a", "b"] | None, None),
        (Path | None, "PATH"),
        (bool | None, None),
    ],
)
def test_what_stands_for_a_value(hint, word):
    assert flags.metavar(hint) == word


def test_another_studys_table_is_named(finished):
    line = refuse_there(STUDIES[0], ["--plots-only"], finished[0])
    assert "of the study toy" in line


def test_every_study_writes_into_a_directory_of_its_own():
    assert len(set(NAMES)) == len(NAMES) == len({study.name for study in STUDIES})


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("depths 9, num_examples 7: too much", "--depths 9, --num-examples 7: too much"),
        ("depths: num_examples decides", "--depths: num_examples decides"),
        ("--depths 9: as the study's author has it", "--depths 9: as the study's author has it"),
        ("no depths, no num_examples", "no depths, no num_examples"),
        ("all depths: no name stands first", "all depths: no name stands first"),
        ("depths_in_all 3: no field", "depths_in_all 3: no field"),
    ],
)
def test_what_an_error_says_of_fields_is_said_of_flags(message, said):
    config = dataclasses.make_dataclass("Config", [("depths", int, 1), ("num_examples", int, 1)])
    assert flags.in_flags(message, config) == said


def test_python_is_told_of_fields_and_not_of_flags():
    for name, wrong in {
        "depth_width": {"shapes": ("64-0",)},
        "dying_relu": {"widths": (10**6,), "depths": (10**6,)},
        "trainability": {"center": (1e9, 0.0)},
        "perceptron": {"epochs": (10**6,), "num_train": (10**6,)},
    }.items():
        with pytest.raises(ValueError, match=next(iter(wrong))) as caught:
            load(name).Config(**wrong)
        assert "--" not in str(caught.value)


def test_a_number_with_a_capital_exponent_is_no_wrong_one(tmp_path):
    assert "--scale abc: must be a number" in refuse(toy.STUDY, ["--scale", "1E-3", "abc"], tmp_path)


# Factors with very many levels.


def test_a_range_is_evenly_spaced():
    assert Levels.parse("0:1:5") == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert Levels.parse("2:-2:5") == (2.0, 1.0, 0.0, -1.0, -2.0)
    assert Levels.parse("0.01:100:5:log") == pytest.approx((0.01, 0.1, 1, 10, 100))
    assert Levels.parse("1e-3:1E3:3:LOG") == pytest.approx((1e-3, 1, 1e3))
    assert Levels.parse("3:9:1") == (3.0,)


def test_a_range_of_whole_numbers_has_each_once():
    assert Levels.parse("1:4:100", whole=True) == (1, 2, 3, 4)
    assert Levels.parse("1:1000:4:log", whole=True) == (1, 10, 100, 1000)
    assert {type(level) for level in Levels.parse("1:9:3", whole=True)} == {int}


def test_a_million_levels_are_named_by_their_text():
    config, _, _ = command.parse(toy.STUDY, ["--scale", "0.01:2:1000000:log"])
    assert len(config.scale) == 10**6
    told = configs.to_json(config)
    assert told["scale"] == "0.01:2:1000000:log"
    assert configs.from_json(toy.Config, json.loads(json.dumps(told))) == config


def test_a_config_is_restored_from_json():
    for study in [toy.STUDY, *STUDIES]:
        config = study.Config()
        assert configs.from_json(study.Config, json.loads(json.dumps(configs.to_json(config)))) == config


@pytest.mark.parametrize("flags", [["--scale", "1:2:3"], ["--scale=1:2:3"]])
def test_a_range_may_stand_between_other_flags(flags):
    config, seeds, _ = command.parse(toy.STUDY, ["--seeds", "5", *flags, "--bad"])
    assert config.scale == (1.0, 1.5, 2.0) and config.bad and seeds.seeds == 5


@pytest.mark.parametrize(
    "value", ["1:2", "1:2:0", "1:2:3:lag", "0:1:5:log", "-1:1:5:log", "1:2:1000000000", "a:b:3", "1:2:2.5", "1:2:3:4"]
)
def test_a_wrong_range_is_one_line(tmp_path, value):
    line = refuse(toy.STUDY, ["--scale", value], tmp_path)
    assert "--scale" in line and value in line


def test_the_levels_of_a_range_are_held_to_the_bounds(tmp_path):
    for value in ("0:1:3", "-1:1:2"):
        line = refuse(toy.STUDY, ["--scale", value], tmp_path)
        assert "--scale" in line and "more than 0" in line
    assert "--seeds" in refuse(toy.STUDY, ["--seeds", "1:3:3"], tmp_path)


def test_a_range_is_run_found_again_and_redrawn(tmp_path, capsys):
    out, asked = str(tmp_path), ["--scale", "0.5:2:40:log", "--seeds", "3"]
    command.main(toy.STUDY, [*asked, "--out", out])
    runs = stored.read_runs(tmp_path / "runs.parquet")
    assert len(runs) == 120 and runs["scale"].nunique() == 40
    capsys.readouterr()
    command.main(toy.STUDY, [*asked, "--out", out])
    command.main(toy.STUDY, ["--plots-only", *asked, "--out", out])
    command.main(toy.STUDY, ["--plots-only", "--out", out])
    assert "holds these runs already" in capsys.readouterr().out
    line = refuse_there(toy.STUDY, ["--plots-only", "--scale", "0.5:2:41:log"], tmp_path)
    assert "--scale" in line and "another configuration" in line


def test_flags_that_contradict_a_stored_table_are_named(finished):
    for asked in (["--seeds", "9"], ["--seed", "1"], ["--bad"], ["--scale", "3"]):
        line = refuse_there(toy.STUDY, ["--plots-only", *asked], finished[0])
        assert asked[0] in line and "another configuration" in line


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        command.main(toy.STUDY, ["--out", str(out)])
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
            command.main(toy.STUDY, ["--plots-only", "--out", str(finished)])
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
