"""The benchmark runs, small, lists what is not installed, and measures how the engine scales."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from benchmarks import peers, planes, scaling, steps, timing
from jaxstudies.output import owned
from jaxstudies.studies import depth_width, trainability
from jaxstudies.studies.trainability.config import CONDITIONS

SCRIPT = Path(__file__).parent.parent / "scripts" / "benchmark.py"


def run(benchmark, monkeypatch, *flags):
    monkeypatch.setattr("sys.argv", [str(SCRIPT), *flags])
    benchmark.main()


@pytest.mark.slow
def test_it_measures_what_is_installed_and_lists_the_rest(benchmark, monkeypatch, tmp_path, capsys):
    def absent(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(peers, "import_module", absent)
    names = ["jaxstudies", "PyTorch loop (extrapolated)", "Keras start-up"]
    file = tmp_path / "times.json"
    flags = ["--seeds", "4", "--epochs", "1", "--repeats", "2", "--only", *names]
    monkeypatch.chdir(tmp_path)
    run(benchmark, monkeypatch, *flags, "--json", str(file))
    out = capsys.readouterr().out
    assert "not installed: PyTorch loop (extrapolated) (torch), Keras start-up (keras)" in out
    content = json.loads(file.read_text())
    assert content["machine"]["cpu"] in out and content["machine"]["cores"] == timing.cores()
    assert content["options"] == {"seeds": 4, "epochs": 1, "repeats": 2, "only": names}
    (row,) = content["results"]
    assert row["contestant"] == "jaxstudies" and row["ratio"] == 1
    assert 0 < row["least"] <= row["seconds"] <= row["most"]
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {owned.LIST, "times.json", "times.csv", "times.png"}


def test_a_loop_is_multiplied_up_to_all_networks_and_epochs():
    pytest.importorskip("torch")
    _, factor = peers.torch_loop(1000, 20)
    assert factor == 20_000
    assert all("extrapolated" in name for name in peers.CONTESTANTS if "loop" in name)


@pytest.mark.slow
def test_an_epoch_is_timed_per_network():
    """On any number of devices, of eight networks or more if they do not divide by the devices."""
    _, prepare = peers.CONTESTANTS["jaxstudies 512 SGD, eight networks"]
    train, factor = prepare(1, 1)
    assert len(train()["bias"]) == round(1 / factor) >= 8
    task, prepare = peers.CONTESTANTS["jaxstudies 512 SGD, one network"]
    train, factor = prepare(1, 1)
    assert len(train()["bias"]) == factor == 1
    assert sum(other == task for other, _ in peers.CONTESTANTS.values()) == 3


def test_pytorch_trains_the_same_networks():
    torch = pytest.importorskip("torch")
    for widths, recipe in steps.EGGHOLDER:
        network = steps.eggholder_network(torch, widths, recipe)
        kind = depth_width.Kind(widths, recipe, "none", "relu", 1, 1000)
        count = sum(parameter.numel() for parameter in network.parameters())
        assert count == depth_width.count_parameters(depth_width.Config(), kind)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--only", "numpy"], "--only numpy"),
        (["--seeds", "0"], "--seeds 0"),
        (["--json", "nowhere/times.json"], "--json nowhere/times.json"),
        (["scaling", "--seeds", "10", "-5"], "--seeds -5"),
        (["scaling", "--device-seeds", "many"], "--device-seeds many"),
        (["trainability", "--points", "12"], "--points 12"),
    ],
)
def test_a_mistake_is_one_line(benchmark, monkeypatch, tmp_path, capsys, flags, named):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        run(benchmark, monkeypatch, *flags)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line


@pytest.mark.slow
def test_scaling_has_a_row_for_each_size_and_number_of_devices(benchmark, monkeypatch, tmp_path):
    flags = ["--seeds", "6", "2", "--device-seeds", "4", "--epochs", "1", "--repeats", "1"]
    run(benchmark, monkeypatch, "scaling", *flags, "--out", str(tmp_path))
    rows = json.loads((tmp_path / "scaling.json").read_text())["results"]
    devices = scaling.device_counts(len(scaling.choose_devices()))
    expected = [("seeds", 2), ("seeds", 6), *(("devices", 4) for _ in devices)]
    assert [(row["against"], row["seeds"]) for row in rows] == expected
    assert [row["devices"] for row in rows[2:]] == devices
    for row in rows:
        assert row["networks_per_second"] == pytest.approx(row["seeds"] / row["seconds"])
        assert row["least"] <= row["seconds"] <= row["most"]
    assert (tmp_path / "scaling.png").exists()


@pytest.mark.slow
def test_all_train_the_same_map_and_their_rates_follow_from_their_seconds(benchmark, monkeypatch, tmp_path):
    """In a smooth part of the plane, where rounding decides nothing."""
    flags = ["--points", "4", "--steps", "20", "--spans", "3", "--repeats", "1"]
    run(benchmark, monkeypatch, "trainability", *flags, "--out", str(tmp_path))
    rows = json.loads((tmp_path / "trainability.json").read_text())["results"]
    assert [row["contestant"] for row in rows] == list(planes.CONTESTANTS)
    assert all(row["networks_per_second"] == pytest.approx(16 / row["seconds"]) for row in rows)
    assert (tmp_path / "trainability.png").exists()
    key, at = jax.random.fold_in(jax.random.key(0), 0), (jnp.float32(1.0), jnp.float32(2.0))
    found = [planes.plain(key, *at, steps=50), planes.fitted(key, *at, fused=False, steps=50)]
    found.append(trainability.simulate(key, *at, condition=CONDITIONS["tanh"], steps=50))
    for name in planes.NAMES:
        assert [float(one[name]) for one in found] == pytest.approx([float(found[0][name])] * 3, rel=1e-4)


def test_device_counts_double_up_to_all():
    assert scaling.device_counts(1) == [1]
    assert scaling.device_counts(6) == [1, 2, 4, 6]
    assert scaling.device_counts(8) == [1, 2, 4, 8]


def test_the_processor_has_its_name(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast: 9000\n\nprocessor\t: 1\nmodel name\t: x\n")
    assert timing.cpu_model(cpuinfo) == "Fast: 9000"
    assert timing.cpu_model(tmp_path / "none")


def test_what_takes_long_is_not_repeated(monkeypatch):
    runs = []
    assert set(timing.least(lambda: runs.append(1), repeats=2)) == {"first_seconds", "seconds"} and len(runs) == 3
    monkeypatch.setattr(timing, "LONG_SECONDS", 0.0)
    timing.least(lambda: runs.append(1))
    assert len(runs) == 4
