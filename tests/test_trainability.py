"""Training is what the paper says, its boundary is known where the problem is linear, and planes are what runs are."""

import dataclasses
import json
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from test_dying_relu import results_of

from jaxstudies import configs, presentation, results
from jaxstudies.commands import command
from jaxstudies.commands.endings import UsageError
from jaxstudies.engine.planes import Plane, grids
from jaxstudies.evidence.boxcounting import dimension
from jaxstudies.networks.data import Dataset
from jaxstudies.networks.states import start_state
from jaxstudies.studies.trainability import design, outcome
from jaxstudies.studies.trainability.config import CONDITIONS, Config
from jaxstudies.studies.trainability.design import beside
from jaxstudies.studies.trainability.simulation import Params, draw, judged, network, simulate, train
from jaxstudies.study import Results, load
from jaxstudies.training import fit

KEY = jax.random.key(3)
FUNCTIONS = {
    "tanh": (lambda z: np.tanh(2**0.5 * z), lambda z: 2**0.5 / np.cosh(2**0.5 * z) ** 2),
    "relu": (lambda z: 2**0.5 * np.maximum(z, 0), lambda z: 2**0.5 * (z > 0)),
    "identity": (lambda z: z, np.ones_like),
}


def drawn(condition):
    """Return weights and examples in 64 bits."""
    params, data = draw(jax.random.split(KEY)[0], condition.num_examples)
    return [np.asarray(a, float) for a in (*params, *data)]


def losses_by_hand(condition, x, y, steps):
    """Return the losses by the formula of the gradient, example by example."""
    value, slope = FUNCTIONS[condition.activation]
    hidden, output, inputs, targets = drawn(condition)
    hidden, losses = hidden + x * (condition.across == "offset"), []
    for step in range(steps):
        hidden = hidden + x * (condition.across == "drift")
        errors = [(output @ value(hidden @ a / 4) / 16 - b)[0] for a, b in zip(inputs, targets, strict=True)]
        losses.append(np.mean(np.square(errors)))
        picks = range(len(inputs))
        if condition.batch_size:
            batches = jax.random.randint(jax.random.split(KEY)[1], (steps, 16), 0, len(inputs))
            picks = np.asarray(batches[step]).tolist()
        by_hidden, by_output = np.zeros_like(hidden), np.zeros_like(output)
        for i in picks:
            z = hidden @ inputs[i] / 4
            back = 2 * errors[i] / 16 / len(picks)
            by_output += back * value(z)
            by_hidden += back * np.outer(output[0] * slope(z), inputs[i]) / 4
        hidden, output = hidden - (x if condition.across == "rates" else y) * by_hidden, output - y * by_output
    return losses


@pytest.mark.parametrize("name", CONDITIONS)
def test_steps_are_those_of_the_hand_formula(name):
    x, y = (0.01, 5.0) if CONDITIONS[name].across != "rates" else (3.0, 5.0)
    losses = train(KEY, jnp.float32(x), jnp.float32(y), CONDITIONS[name], 4)
    np.testing.assert_allclose(losses, losses_by_hand(CONDITIONS[name], x, y, 4), rtol=2e-4)


def test_conditions_are_those_of_the_paper():
    assert {name: c.num_examples for name, c in CONDITIONS.items() if c.num_examples != 272} == {
        "identity": 16,
        "single": 1,
    }
    assert [name for name, c in CONDITIONS.items() if c.batch_size] == ["minibatch"]
    assert set(CONDITIONS) >= set(outcome.REPORTED)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("relu", "identity", "single")]


@pytest.mark.parametrize("name", ["tanh", *SLOW])
def test_with_no_rate_in_the_hidden_layer_the_boundary_is_two_over_the_curvature(name):
    """The loss is quadratic in the output weights then: below they contract, above they grow."""
    condition = CONDITIONS[name]
    hidden, _, inputs, _ = drawn(condition)
    h = FUNCTIONS[name if name in FUNCTIONS else "tanh"][0](inputs @ hidden.T / 4) / 16
    critical = 2 / np.linalg.eigvalsh(2 * h.T @ h / len(h)).max()
    pixels = 10 ** np.linspace(-0.5, 0.5, 101)  # each 2.3 % above the one below
    found = jax.vmap(lambda y: simulate(KEY, jnp.float32(0), y, condition=condition, steps=500))(critical * pixels)
    trained = np.asarray(found["converged"])
    assert trained[:50].all() and not trained[51:].any()
    assert (np.asarray(found["diverged_at"])[60:] < 500).all()


def test_a_run_is_judged_as_the_paper_says():
    falling, rising = np.linspace(2.0, 1.0, 50), np.geomspace(2.0, 1e5, 50)
    late = np.where(np.arange(50) < 30, 2.0, 1.9)
    nan, huge = np.where(np.arange(50) < 40, rising, np.nan), np.geomspace(2.0, 1e12, 50)
    for losses, trains, when in ((falling, 1, 50), (rising, 0, 50), (late, 1, 50), (nan, 0, 40), (huge, 0, None)):
        converged, diverged_at, measure = judged(jnp.asarray(losses, jnp.float32))
        relative = np.minimum(np.where(np.isnan(losses), 1e6, losses) / losses[0], 1e6)
        assert bool(converged) == trains
        expected = when if when is not None else int((losses / losses[0] > 1e6).argmax())
        assert int(diverged_at) == expected
        np.testing.assert_allclose(measure, -relative.sum() if trains else (1 / relative).sum(), rtol=1e-5)
    # The last twenty decide, and their mean must be below the first loss.
    assert not judged(jnp.array([1.0] + [0.5] * 29 + [1.0] * 20))[0]
    assert judged(jnp.array([1.0] + [9.0] * 29 + [1.0] * 19 + [0.9]))[0]


@pytest.mark.slow
def test_no_run_comes_back_from_where_it_is_stopped():
    """All steps of all runs are taken by `fit`."""
    across, up = Plane((3.0, 2.4), 2.0, 8).axes
    x, y = (jnp.asarray(10.0**a, jnp.float32).ravel() for a in np.meshgrid(across, up))

    def fitted(x, y):
        params, data = draw(jax.random.split(KEY)[0], 272)
        optimizer = optax.stateless(lambda g, _: jax.tree.map(lambda r, a: -r * a, Params(x, y), g))
        how = {"num_epochs": 150, "state": start_state(params, optimizer), "fused": False}
        return fit(KEY, network("tanh"), optimizer, optax.squared_error, Dataset(*data), **how).history

    stopped = jax.jit(jax.vmap(lambda x, y: train(KEY, x, y, CONDITIONS["tanh"], 150)))(x, y)
    whole = jax.jit(jax.vmap(fitted))(x, y)
    over = np.isnan(stopped[:, -1])
    assert over.any() and not over.all()
    assert not np.isfinite(whole[over, -20:]).any() and not np.asarray(jax.vmap(judged)(whole)[0])[over].any()


SMALL = Config(seeds=1, zooms=0, points=9, points_of_all=9, steps=100)


def config(**fields):
    return dataclasses.replace(SMALL, **fields)


@pytest.mark.slow
def test_a_point_is_the_same_point_trained_alone():
    runs = results_of(load("trainability"), config(center=(1.0, 2.3), points=6)).runs
    assert runs["converged"].nunique() == 2
    key = jax.random.fold_in(jax.random.key(0), 0)
    train = jax.jit(partial(simulate, key, condition=CONDITIONS["tanh"], steps=100))
    for row in runs.iloc[::5].itertuples():
        alone = train(jnp.float32(row.x), jnp.float32(row.y))
        assert bool(alone["converged"]) == row.converged and int(alone["diverged_at"]) == row.diverged_at
        np.testing.assert_allclose(alone["measure"], row.measure, rtol=1e-3)


@pytest.mark.slow
def test_windows_agree_where_they_overlap():
    """Of an odd number of points, a tenth of the window has every tenth in common with the whole one."""
    runs = results_of(load("trainability"), config(center=(0.5, 2.4), points=21, zooms=1)).runs
    here, x = (grids(runs.assign(seed=0), ["part"], measure) for measure in ("measure", "x"))
    here, x = ({part: grid for (part,), grid in found.items()} for found in (here, x))
    np.testing.assert_allclose(x["picture"][9:12, 9:12], x["zoom_1"][::10, ::10], rtol=1e-9)
    assert (np.sign(here["picture"][9:12, 9:12]) == np.sign(here["zoom_1"][::10, ::10])).all()
    np.testing.assert_allclose(here["picture"][9:12, 9:12], here["zoom_1"][::10, ::10], rtol=1e-2)


def test_all_networks_are_trained_in_one_part_and_the_first_in_the_others():
    made = design.settings(config(seeds=3, zooms=1, points=4, points_of_all=3))
    assert [(len(group.positions), group.num_seeds) for group in made.groups] == [(16, 1), (16, 1), (9, None)]
    spans = [np.ptp(np.log10(group.mapped["x"])) for group in made.groups]
    np.testing.assert_allclose(spans, [3 * 3 / 4, 0.3 * 3 / 4, 0.3 * 2 / 3], rtol=1e-3)
    assert set(made.labels["part"].tolist()) == {"picture", "zoom_1", "all"}


@pytest.mark.slow
def test_a_refined_picture_is_the_whole_one_near_its_boundary():
    """By another program, which rounds otherwise: so it may be on the boundary that they differ, and nowhere else."""
    small = config(points=24, refine=24, steps=60, center=(1.0, 2.3), span=2.0)
    kept = {}

    def remember(name, compute):
        return kept.setdefault(name, None) or kept.__setitem__(name, compute()) or kept[name]

    rows = beside(small, remember)["refined"]
    of = results_of(load("trainability"), small)._replace(beside={"refined": rows})
    (found,) = outcome.tables(of)["refinement"].to_dict("records")
    assert found["runs"] < 0.6 * 24**2 and found["share"] == found["runs"] / 24**2
    assert found["differ"] < 0.01 and 0.9 < found["dimension"] < 1.5
    assert beside(small, remember)["refined"]["grid"].equals(rows["grid"])  # from what was kept


def table_of(planes_, config):
    """Return results whose networks train where the planes say so."""
    runs = []
    for seed, trained in enumerate(planes_):
        side = len(trained)
        y, x = np.indices((side, side)).reshape(2, -1)
        columns = {"condition": "tanh", "part": "all", "x": 10.0**x, "y": 10.0**y, "seed": seed}
        columns |= {"converged": trained.ravel(), "diverged_at": np.where(trained.ravel(), 100, 5)}
        measure = np.where(trained.ravel(), -1.0, 1.0)
        runs.append(pd.DataFrame(columns | {"measure": measure}).sample(frac=1, random_state=seed))
    return Results(config, pd.concat(runs, ignore_index=True), pd.DataFrame(), {})


def verdicts(planes_, part="all", **fields):
    of = table_of(planes_, config(points=len(planes_[0]), points_of_all=len(planes_[0]), **fields))
    of = of._replace(runs=of.runs.assign(part=part))
    return {v.id: v for v in results.judge(load("trainability"), of)[0]}


@pytest.mark.parametrize(("noise", "kinds"), [(0.0, ("refuted", "supported")), (0.5, ("supported", "refuted"))])
def test_over_networks_claims_are_of_the_plane_of_all(noise, kinds):
    """A line is smooth, noise is not; of fifteen lines or noises a majority is what one of them is."""
    rng, at = np.random.default_rng(0), np.arange(48) / 48
    lines = [at[:, None] < 0.5 + rng.normal(0, 0.02) + 0.2 * at for _ in range(15)]
    trained = [line ^ (rng.random((48, 48)) < noise) for line in lines]
    found = verdicts(trained, seeds=15)
    assert (found["rough.tanh"].verdict, found["smooth.tanh"].verdict) == kinds
    assert found["rough.tanh"].effect == pytest.approx(np.mean([dimension(plane) for plane in trained]))
    assert found["smooth.tanh"].n == found["smoother.tanh"].n == 5
    assert found["picture.tanh"].verdict == "not tested"  # no run is of that part


@pytest.mark.parametrize(("noise", "kind"), [(0.0, "refuted"), (0.5, "supported")])
def test_of_one_network_they_are_over_scales(noise, kind):
    at, rng = np.arange(96) / 96, np.random.default_rng(0)
    plane = (at[:, None] < 0.5 + 0.2 * at) ^ (rng.random((96, 96)) < noise)
    found = verdicts([plane], part="picture", seeds=1)
    assert found["rough.tanh"].verdict == found["picture.tanh"].verdict == kind
    assert found["reported.tanh"].verdict == "refuted"
    assert found["reported.tanh"].region == [1.46, 1.71]
    assert found["rough.tanh"].n == 6 and found["rough.tanh"].population == outcome.OF_SCALES
    assert found["smooth.tanh"].verdict == found["smoother.tanh"].verdict == "not tested"


def test_windows_in_which_rounding_decides_are_not_claimed_of():
    ids = {claim.id for claim in outcome.claims(config(seeds=1, zooms=12, span=3.0, double=True))}
    assert {"picture.tanh", "zoom_1.tanh"} <= ids and "zoom_2.tanh" not in ids


@pytest.mark.parametrize("center", [("1.5", "1.5"), ("2", "-1e1")])
def test_a_center_is_two_numbers_equal_ones_too(center):
    given_ = command.parse(load("trainability"), ["--center", *center])[0]
    assert vars(given_)["center"] == tuple(map(float, center))
    assert configs.from_json(Config, json.loads(json.dumps(configs.to_json(given_)))) == given_


@pytest.mark.parametrize(
    ("center", "said"), [("1e30", "must be at least -30 and at most 30"), ("29.9", "no point"), ("-29", "no point")]
)
def test_a_plane_that_32_bits_do_not_hold_is_refused(center, said):
    with pytest.raises(UsageError, match=re.escape(f"--center {float(center)}: {said}")):
        command.parse(load("trainability"), ["--center", "0", center])


@pytest.mark.parametrize("center", [("1",), ("1", "2", "3")])
def test_a_center_of_another_number_of_values_is_refused(center):
    with pytest.raises(UsageError, match=re.escape(f"--center {' '.join(center)}: takes 2 values")):
        command.parse(load("trainability"), ["--center", *center])


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--span", "1e-9", "--zooms", "9"], "--span 1e-09 (zoom_5): 96"), (["--span", "1e-30"], "--span 1e-30: must")],
)
def test_points_that_cannot_be_told_apart_are_refused_by_the_flag(flags, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(load("trainability"), [*flags, "--out", str(tmp_path / "out")])
    assert stop.value.code == 2 and said in capsys.readouterr().err


def test_two_networks_have_no_majority_of_three():
    noise = np.random.default_rng(0).random((2, 24, 24)) < 0.5
    assert verdicts(list(noise), seeds=2)["smooth.tanh"].verdict == "not tested"


def test_every_condition_is_claimed_to_be_rough_and_has_the_dimension_that_is_reported():
    both = {seeds: outcome.claims(config(seeds=seeds, conditions=tuple(CONDITIONS))) for seeds in (1, 9)}
    for listed in both.values():
        ids = {claim.id for claim in listed}
        assert {f"rough.{name}" for name in CONDITIONS} | {f"reported.{name}" for name in outcome.REPORTED} <= ids
    assert min(outcome.REPORTED.values()) == 1.17 and max(outcome.REPORTED.values()) == 1.98


@pytest.mark.slow
def test_the_same_networks_are_trained_with_64_bits(tmp_path):
    """Where training is smooth, their losses agree with those of 32 bits."""
    tables = []
    for flags in ([], ["--double"]):
        small = ["--points", "4", "--zooms", "0", "--steps", "20", "--center", "0", "0", "--span", "1"]
        command.main(load("trainability"), [*small, *flags, "--out", str(tmp_path / f"out{len(flags)}")])
        tables.append(pd.read_parquet(tmp_path / f"out{len(flags)}" / "runs.parquet"))
    assert [table["measure"].dtype for table in tables] == ["float32", "float64"]
    np.testing.assert_allclose(tables[0]["measure"], tables[1]["measure"], rtol=1e-4)
    assert (tables[0]["measure"] != tables[1]["measure"]).any()


def test_planes_without_a_boundary_are_summarized():
    study, ones = load("trainability"), [np.ones((9, 9), bool)] * 2
    of = table_of(ones, config(seeds=2))
    assert presentation.summary_of(study, of)["dimension"].isna().all()
    assert set(outcome.tables(of)) == {"scales", "known", "shares", "majorities"}
