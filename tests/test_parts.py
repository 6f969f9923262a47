"""What is measured on an accelerator, part by part: small, without one, and whatever fails on the way."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import jax
import pytest
import toy_parts

from benchmarks import accelerator, choices, commands, kernels, outcomes, parts, peers, programs
from benchmarks.parts import Extent
from jaxstudies.commands import options
from jaxstudies.commands.endings import UsageError
from jaxstudies.engine import tracing
from jaxstudies.study import load

SCRIPT = Path(__file__).parent.parent / "scripts" / "benchmark.py"
MACHINE = {"device": "cpu", "backend": "cpu"}


def run(benchmark, monkeypatch, *flags):
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "accelerator", *flags])
    benchmark.main()


@pytest.fixture
def toys(monkeypatch):
    """Let parts be toys, and the machine be described without a process."""
    names = "sound", "failing", "hanging", "crashing"
    limits = dict.fromkeys(names, 60.0) | {"hanging": 8.0}
    monkeypatch.setattr(accelerator, "PARTS", {name: (getattr(toy_parts, name), limits[name]) for name in names})
    monkeypatch.setattr(accelerator, "describe_in_a_process", lambda: dict(MACHINE))
    monkeypatch.setattr(accelerator, "check", lambda machine, has_card: None)
    monkeypatch.setattr(accelerator, "prepared_images", lambda: "digits")


def measured(out, *only):
    accelerator.measure(out, only or None)
    return parts.read(out / accelerator.FILE)


def test_a_row_that_fails_ends_neither_its_part_nor_what_was_measured_before(toys, tmp_path):
    found = measured(tmp_path, "sound", "failing")
    assert [row["row"] for row in found["sound"]] == [1, 2]
    assert found["sound"][0]["scale"] == 0.01 and 0 < found["sound"][1]["left"] < 60
    first, second, third, last = found["failing"]
    assert first == {"row": 1, "seconds": 1.0} and third == {"row": 3, "seconds": 3.0}
    assert second == {"row": 2, "failed": "ZeroDivisionError: division by zero"}
    assert last == {"failed": "RuntimeError: no card"}
    assert found["machines"] == [MACHINE | {"parts": ["sound", "failing"]}]


def test_a_part_that_hangs_is_ended_with_all_that_it_started_and_one_that_crashes_ends_alone(toys, tmp_path):
    found = measured(tmp_path, "hanging", "crashing", "sound")
    started, cut = found["hanging"]
    assert cut == {"cut": "after 8 s"} and toy_parts.is_gone(started["started"])
    assert not Path(started["temporary"]).exists()
    assert found["crashing"] == [{"row": 1, "seconds": 1.0}, {"cut": "ended with status 3"}]
    assert len(found["sound"]) == 2


def test_a_later_run_renews_its_parts_and_leaves_the_others(toys, tmp_path):
    path = tmp_path / accelerator.FILE
    path.write_text(json.dumps({"machines": [{}], "sound": [{"row": 0}], "failing": [{"row": 0}]}))
    found = measured(tmp_path, "sound")
    assert found["failing"] == [{"row": 0}] and [row["row"] for row in found["sound"]] == [1, 2]
    assert len(found["machines"]) == 2


def test_no_part_takes_longer_than_is_left_and_what_is_late_is_not_begun(toys, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(accelerator, "run", lambda code, arguments, limit, environment: asked.append(limit))
    monkeypatch.setattr(accelerator, "MOST_SECONDS", 20.0)
    measured(tmp_path, "sound", "hanging")
    assert asked == [pytest.approx(20, abs=2), 8.0]
    monkeypatch.setattr(accelerator, "MOST_SECONDS", 0.0)
    assert measured(tmp_path, "sound")["sound"] == [{"cut": "not begun, as all is ended after 0 s"}]


def test_limits_fit_into_six_minutes_and_parts_can_be_named(benchmark):
    assert sum(limit for _, limit in accelerator.PARTS.values()) <= 330 < accelerator.MOST_SECONDS < 360
    assert list(get_args(benchmark.Part)) == list(accelerator.PARTS)


def test_a_card_that_jax_does_not_use_is_one_line(benchmark, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(accelerator, "describe_in_a_process", lambda: dict(MACHINE))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    with pytest.raises(SystemExit) as stop:
        run(benchmark, monkeypatch, "--out", str(tmp_path))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nvidia-smi is there" in line and "JAX_PLATFORMS=cpu" in line
    assert json.loads((tmp_path / accelerator.FILE).read_text())["machines"][0]["backend"] == "cpu"
    with pytest.raises(UsageError):
        accelerator.check({"backend": "cpu"}, True)
    accelerator.check({"backend": "gpu"}, True)
    accelerator.check({"backend": "cpu"}, False)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    accelerator.check({"backend": "cpu"}, True)


def test_jax_that_does_not_start_is_one_line(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "nowhere")
    with pytest.raises(UsageError, match=r"JAX does not start: .*nowhere"):
        accelerator.describe_in_a_process()


def part_rows(part, out):
    function, _ = accelerator.PARTS[part]
    parts.run(out / accelerator.FILE, part, function(Extent(0.01)))
    return parts.read(out / accelerator.FILE)[part]


LONG = dict.fromkeys(("right", "sizes", "whole", "compiling", "peers", "torch"), pytest.mark.slow)
LONG |= dict.fromkeys(("models", "commands"), pytest.mark.faults)


@pytest.mark.parametrize("part", [pytest.param(part, marks=LONG.get(part, ())) for part in accelerator.PARTS])
def test_each_part_is_a_hundredth_without_an_accelerator(part, tmp_path, monkeypatch):
    if part == "models":  # of the others it differs in numbers alone
        monkeypatch.setattr(kernels, "MODELS", dict(list(kernels.MODELS.items())[:2]))
    rows = part_rows(part, tmp_path)
    assert rows and not any("failed" in row for row in rows)
    for row in rows:
        assert all(value >= 0 for key, value in row.items() if key.endswith("seconds"))
        assert all(value > 0 for key, value in row.items() if key in ("seconds", "per_second"))
    if part == "right":
        pairs = [row for row in rows if "compared" in row]
        assert len(pairs) == len(outcomes.HERE) and all(row["born_differ"] == 0 for row in pairs)
        assert all(row["intervals_overlap"] for row in pairs)
    if part == "models":
        assert all(row["gap"] < 1e-3 for row in rows if not row["fused"])
    if part == "commands":
        cold, warm = rows
        assert warm["compile_seconds"] < cold["compile_seconds"] and warm["run_seconds"] > 0


@pytest.mark.slow
def test_parts_run_in_processes_of_their_own_from_the_command_line(benchmark, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    run(benchmark, monkeypatch, "--only", "rates", "choices", "--out", str(tmp_path))
    found = parts.read(tmp_path / accelerator.FILE)
    assert found["machines"][0]["kernels"] and found["machines"][0]["parts"] == ["rates", "choices"]
    assert [row["study"] for row in found["rates"]] == ["trainability"]
    assert len(found["choices"]) == 9 and not any("failed" in row for row in found["rates"] + found["choices"])
    out = capfd.readouterr().out
    assert out.index("machines: ") < out.index("rates: ") < out.index("choices: ")
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {accelerator.FILE}


def on_digits(flags):
    return ["digits" if word == "mnist" else word for word in flags]


@pytest.mark.parametrize("name", [*commands.COMMANDS, *commands.SHORT])
def test_each_command_that_is_timed_is_one(name):
    study = load(name)
    for flags in (commands.COMMANDS.get(name, ()), commands.SHORT.get(name, ())):
        options.parse(study.Config, name, study.text, on_digits(flags))
    assert (commands.SCRIPTS / f"{name}.py").is_file()


@pytest.mark.parametrize(
    ("name", "flags"), [*programs.PROGRAMS.items(), *((name, asked.flags) for name, asked in programs.RATES.items())]
)
def test_each_program_that_is_timed_is_one(name, flags):
    task, groups = programs.task_and_groups(name, tuple(on_digits(flags)))
    assert groups and tracing.trace(task.simulate, groups[0], dict(task.data)).shapes


def test_runs_are_compared_one_by_one():
    one = {"born_runs": "f0", "trained_runs": "ff", "trained": 8, "seeds": 8}
    other = {"born_runs": "f0", "trained_runs": "3c", "trained": 4, "seeds": 8}
    assert outcomes.compared(one, one) == {"born_differ": 0, "trained_differ": 0, "of": 8, "intervals_overlap": True}
    assert outcomes.compared(one, other)["trained_differ"] == 4
    assert not outcomes.compared({**one, "trained": 1000, "seeds": 1000}, {**other, "seeds": 1000})["intervals_overlap"]


def test_a_peer_or_a_card_that_is_not_there_is_said(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(peers, "import_module", absent)
    assert peers.torch_on_card(8, False, needs_card=True) == {"absent": "PyTorch is not installed"}


def test_jax_s_kernel_for_threefry_is_an_option():
    def lowered():
        traced = jax.jit(lambda key: jax.random.normal(key, (3,))).trace(jax.random.key(0))
        return traced.lower(lowering_platforms=("cuda",)).as_text()

    assert "threefry2x32_ffi" not in lowered()
    with choices.threefry_kernel():
        assert "cu_threefry2x32_ffi" in lowered()
    assert "threefry2x32_ffi" not in lowered()


def test_jax_does_not_start_in_the_process_that_starts_the_others(tmp_path):
    code = (
        "import sys, pathlib, toy_parts; from benchmarks import accelerator; from jax._src import xla_bridge;"
        "accelerator.PARTS = {'sound': (toy_parts.sound, 60.0)}; accelerator.measure(pathlib.Path(sys.argv[1]));"
        "assert not xla_bridge.backends_are_initialized()"
    )
    here = parts.surroundings() | {"JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=here, check=True)
    found = parts.read(tmp_path / accelerator.FILE)
    (machine,) = found["machines"]
    assert machine["backend"] == "cpu" and len(found["sound"]) == 2


def test_digits_stand_in_where_mnist_cannot_be_read(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "DATASET", "mnist")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAXSTUDIES_DATA_DIR", str(tmp_path / "file"))
    assert accelerator.prepared_images() == "digits"
