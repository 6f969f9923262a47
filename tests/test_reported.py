"""The notebook's networks are its own, and its shares are judged within its own sampling error."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from reading import assert_told
from test_dying_relu import results_of

from jaxstudies import results
from jaxstudies.commands import command
from jaxstudies.networks.diagnostics import COLLAPSE_RULES
from jaxstudies.networks.models import initializer
from jaxstudies.output import table
from jaxstudies.studies import dying_relu, reported
from jaxstudies.studies.reported.config import REPORTED
from jaxstudies.studies.reported.design import training
from jaxstudies.study import Results, load

STUDY, SEEDS = load("reported"), 1000


def made(shares):
    """Return results with given shares of dead networks by activation, whatever the rule."""
    rows = []
    for setting in reported.settings(reported.Config()):
        flags = np.zeros((SEEDS, 2, len(COLLAPSE_RULES)), bool)
        flags[: round(shares[setting.labels["activation"]] * SEEDS), 1] = True
        rows.append(
            pd.DataFrame(setting.labels | {"seed": np.arange(SEEDS), "collapsed": list(flags), "nonfinite": False})
        )
    return Results(reported.Config(), pd.concat(rows, ignore_index=True), pd.DataFrame(), {})


@pytest.mark.parametrize(("move", "verdict"), [(0.0, "supported"), (0.1, "refuted"), (0.03, None)])
def test_a_share_is_given_back_within_the_sampling_error_of_the_notebook(move, verdict):
    shares = {activation: count / 1000 - move for activation, _, count in REPORTED}
    verdicts = results.judge(STUDY, made(shares))[0]
    assert len(verdicts) == len(REPORTED) * len(reported.Config().inits) * len(COLLAPSE_RULES)
    if verdict:
        # Two samples of 1,000 around 83 % differ by more than three points now and then.
        expected = {"supported", "inconclusive"} if verdict == "supported" else {verdict}
        assert {v.verdict for v in verdicts} <= expected
        assert {v.verdict for v in verdicts if v.id.startswith("relu")} == {verdict}
    assert {v.id.rpartition(".")[2] for v in verdicts if v.primary} == {"zero_range"}


def test_its_networks_are_those_of_dying_relu_with_the_notebooks_layer_and_epsilon():
    how = training(reported.Config())
    assert how.linear_first_layer and how.adam_epsilon == 1e-7
    plain = dying_relu.Config()
    same = {"num_examples", "batch_size", "learning_rate", "negative_slope"}
    assert all(getattr(how, name) == getattr(plain, name) for name in same)


@pytest.mark.usefixtures("hastily")
@pytest.mark.slow
def test_they_learn_as_in_dying_relu(tmp_path):
    config = reported.Config(seeds=8, epochs=1, inits=("he_normal", "keras_uniform"))
    command.main(STUDY, ["--seeds", "8", "--epochs", "1", "--inits", *config.inits, "--out", str(tmp_path)])
    assert_told(STUDY, tmp_path)
    runs = results.read(STUDY, tmp_path)[0].runs
    there = dataclasses.replace(
        dying_relu.Config(seeds=8, epochs=1, long_epochs=0, inits=config.inits, activations=("relu",)),
        linear_first_layer=True,
        adam_epsilon=1e-7,
    )
    others = results_of(load("dying_relu"), there).runs
    for init in config.inits:
        ours, theirs = (rows[(rows["activation"] == "relu") & (rows["init"] == init)] for rows in (runs, others))
        # A ReLU network is dead at 100 points as at 1,024, unless it is alive between two of them.
        zero_slope = COLLAPSE_RULES.index("zero_slope")
        dead = [table.stacked(rows, "collapsed")[:, :, zero_slope] for rows in (ours, theirs)]
        assert (dead[0] >= dead[1]).all() and (dead[0] != dead[1]).sum() <= 1


def test_kerass_own_initializers():
    normal, uniform = (initializer(name)(jax.random.key(0), 300, 300) for name in ("keras_normal", "keras_uniform"))
    assert float(normal.kernel.std()) == pytest.approx(0.05, rel=4 / np.sqrt(2 * normal.kernel.size))
    assert float(jnp.abs(uniform.kernel).max()) <= 0.05
    assert float(uniform.kernel.std()) == pytest.approx(0.05 / np.sqrt(3), rel=0.02)
    assert not normal.bias.any() and not uniform.bias.any()
