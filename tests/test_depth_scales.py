"""The study of trainable depth: networks against loops by hand, depths and scales against their definitions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jaxstudies import results, study
from jaxstudies.evidence import theory
from jaxstudies.evidence.judging import judge_all
from jaxstudies.evidence.verdicts import Undecidable
from jaxstudies.selection import Selector
from jaxstudies.studies import depth_scales
from jaxstudies.studies.depth_scales.claims import in_scales, trainable_depth
from jaxstudies.studies.depth_scales.config import Config
from jaxstudies.studies.depth_scales.simulation import DeepNetwork, settings
from jaxstudies.studies.depth_scales.summary import depth_scale

STUDY = study.from_module(depth_scales)
SIX = {f"six_scales.{variance:g}" for variance in (1.0, 1.2, 1.4, 2.25, 3.0, 4.0)}
TANH = np.tanh, lambda z: 1 - np.tanh(z) ** 2


@pytest.mark.parametrize(
    ("weight", "keep", "bias"),
    [
        *((1.2, 1.0, 0.05), (3.0, 1.0, 0.05), (1.2, 0.9, 0.05), (1.76, 0.9, 0.05), (3.0, 0.9, 0.05)),
        *((4.0, 1.0, 0.0), (9.0, 1.0, 0.0), (2.0, 0.9, 0.0)),  # two inputs forget that they are alike
    ],
)
def test_correlations_near_their_fixed_point_by_a_factor_of_e_over_a_depth_scale(weight, keep, bias):
    q = theory.fixed_point(TANH[0], weight / keep, bias)
    c, gaps = 0.5, []
    for _ in range(80):
        after = (weight * theory.correlated_mean(TANH[0], q, c) + bias) / q
        gaps.append(after - c)
        c = min(after, 1.0)
    late = next(i for i, gap in enumerate(gaps) if abs(gap) < 1e-5)
    layers = -1 / np.log(gaps[late - 1] / gaps[late - 2])
    assert layers == pytest.approx(theory.correlation_depth_scale(*TANH, weight, bias, keep), rel=0.02)


def test_without_dropout_the_scale_of_the_ordered_phase_is_that_of_gradients():
    for weight in (1.0, 1.4, 1.7):
        chi = theory.gradient_factor(TANH[1], theory.fixed_point(TANH[0], weight, 0.05), weight)
        assert depth_scale(weight, 0.05) == pytest.approx(theory.depth_scale(chi), rel=1e-6)
    assert theory.correlation_depth_scale(*TANH, 0.5) == pytest.approx(1 / np.log(2))  # q* = 0, chi = 0.5


def test_dropout_leaves_no_critical_point():
    weights = np.linspace(1.0, 4.0, 61).tolist()
    without, dropped = ([depth_scale(weight, 0.05, rate) for weight in weights] for rate in (0.0, 0.1))
    assert max(without) > 100 and max(dropped) < 5
    # The longest scale moves to a larger variance.
    assert np.argmax(dropped) > np.argmax(without)


def test_the_network_is_the_loop_and_drops_in_training_alone():
    model = DeepNetwork(3, 4, "tanh", 1.5, 0.2, True, 0.5)
    inputs = jax.random.normal(jax.random.key(1), (5, 6))
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(2)}
    variables = model.init(keys, inputs)
    p = jax.tree.map(np.asarray, variables["params"])
    h = np.tanh(np.asarray(inputs) @ p["first"].kernel + p["first"].bias)
    for i in range(2):
        h = np.tanh(h @ p["hidden"].kernel[i] + p["hidden"].bias[i])
    np.testing.assert_allclose(model.apply(variables, inputs), h @ p["last"].T, rtol=1e-5, atol=1e-6)
    dropped = [model.apply(variables, inputs, train=True, rngs={"dropout": jax.random.key(i)}) for i in (3, 4)]
    assert not np.allclose(*dropped)
    plain = model.clone(use_dropout=False)
    np.testing.assert_array_equal(plain.apply(variables, inputs, train=True), model.apply(variables, inputs))


def test_weights_and_biases_have_their_variances():
    layer = DeepNetwork(2, 200, "tanh", 1.5, 0.2, False, 0.0).draw(jax.random.key(0), (4,), 100, 200)
    for values, variance in ((layer.kernel, 1.5 / 100), (layer.bias, 0.2)):
        error = variance * np.sqrt(2 / values.size)
        assert abs(float(jnp.mean(values**2)) - variance) < 4 * error


def rows_of(accuracies, **labels):
    """Return rows of accuracies (depth: values by seed)."""
    shape = {"activation": "tanh", "weight_variance": 1.0, "dropout_rate": 0.0} | labels
    return [
        shape | {"depth": depth, "seed": seed, "accuracy": accuracy}
        for depth, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


def test_trainable_depth_lies_where_accuracy_falls_through_half():
    runs = pd.DataFrame(rows_of({10: [0.9, 0.2, 0.9, 0.9], 20: [0.7, 0.2, 0.9, 0.5], 40: [0.3, 0.9, 0.8, 0.1]}))
    of = Selector(study.Results(Config(), runs, pd.DataFrame(), {}), {})
    depths = trainable_depth(of, (10, 20, 40), 1.0)
    # Halfway between the logarithms of 20 and 40; at once; not at all; at a depth itself.
    np.testing.assert_allclose(depths, [20 * 2**0.5, 10, 40, 20])
    with pytest.raises(Undecidable, match="2 of 4 networks train to the last depth tried, or not even to the first"):
        in_scales(of, (10, 20, 40), 1.0, 5.0)


def test_what_falls_at_one_depth_whatever_the_scale_supports_no_law_of_scales():
    """Depths that do not depend on the scale may lie within a factor of 2 of six scales, and do not grow with it."""
    config = Config(weight_variances=(1.0, 1.2, 1.4, 2.25, 3.0, 4.0))
    listed = {claim.id: claim for claim in results.claims_of(STUDY, config)}

    def judged(depth_of):
        rng, rows = np.random.default_rng(0), []
        for variance in config.weight_variances:
            fall = depth_of(depth_scale(variance, config.bias_variance)) * np.exp(rng.normal(0, 0.05, 12))
            # Accuracy falls through one half at `fall`, in the logarithm of depth.
            heights = {depth: 0.5 + 0.5 * np.tanh(2 * np.log(fall / depth)) for depth in config.depths}
            rows += rows_of(heights, weight_variance=variance)
        runs = pd.DataFrame(rows)
        only = [claim for id_, claim in listed.items() if id_.startswith("six_scales") or id_ == "proportional"]
        verdicts, _ = judge_all(only, Selector(study.Results(config, runs, pd.DataFrame(), {}), {}))
        return {verdict.id: verdict.verdict for verdict in verdicts}

    law, none = judged(lambda scale: 4 * scale), judged(lambda scale: 30)
    assert set(law.values()) == {"supported"}
    assert none["proportional"] == none["six_scales.2.25"] == "refuted"
    assert none["six_scales.1.2"] == none["six_scales.4"] == "supported"


def test_claims_are_of_settings_that_are_run_and_say_who_said_what():
    config = Config()
    listed = {claim.id: claim for claim in results.claims_of(STUDY, config)}
    assert set(listed) == {*SIX, "proportional", "critical", "dropout", "he_trains", "glorot_stalls"}
    for claim in listed.values():
        assert claim.source != "ours" and claim.says and claim.where and claim.population
    labels = pd.DataFrame([setting.labels for setting in settings(config)])
    runs = labels.loc[labels.index.repeat(8)].assign(seed=np.tile(np.arange(8), len(labels)), accuracy=1.0)
    verdicts, _ = results.judge(STUDY, study.Results(config, runs, pd.DataFrame(), {}))
    assert all(verdict.n == 8 for verdict in verdicts)
    # Where all train to the deepest, the six scales are not what stops them.
    judged = {verdict.id: verdict for verdict in verdicts}
    assert {judged[id_].verdict for id_ in (*SIX, "proportional")} == {"inconclusive"}
    assert judged["critical"].verdict == judged["dropout"].verdict == "inconclusive"
    assert judged["glorot_stalls"].verdict != "supported"


@pytest.mark.parametrize(
    ("changed", "gone"),
    [
        ({"dropout_rates": (0.0,)}, {"dropout"}),
        ({"dropout_rates": (0.1,)}, {*SIX, "proportional", "critical", "dropout"}),
        ({"relu_depth": 0}, {"he_trains", "glorot_stalls"}),
        ({"weight_variances": (1.76,)}, {*SIX, "proportional", "critical"}),
        ({"weight_variances": (1.0, 1.76)}, {*SIX, "proportional"} - {"six_scales.1"}),
        ({"depths": (10, 20, 40)}, {"six_scales.2.25"}),
    ],
)
def test_what_was_not_run_is_not_claimed(changed, gone):
    every = {claim.id for claim in depth_scales.claims(Config())}
    assert {claim.id for claim in depth_scales.claims(Config(**changed))} == every - gone


@pytest.mark.slow
def test_a_network_that_is_not_finite_has_learned_nothing():
    images = jnp.full((20, 28, 28), 255, jnp.uint8)
    config = Config(epochs=2, batch_size=20, width=3, num_images=20)
    run = partial(depth_scales.simulate, images=images, labels=jnp.arange(20, dtype=jnp.uint8) % 10, config=config)
    one = {"weight_variance": jnp.float32(np.nan), "bias_variance": jnp.float32(1), "dropout_rate": jnp.float32(0)}
    seen = jax.jit(partial(run, activation="relu", depth=4, use_dropout=False))(jax.random.key(0), **one)
    assert seen["accuracy"] == 0
