"""How many networks of the trainability map are trained a second, by the study and by plain maps of the same training.

All train the same network at the same points of the learning rates' plane and say of each whether it converged, when
it diverged and its measure. The study stops runs that have diverged; `fit` and a plain `vmap`, in blocks of 128 points,
take all steps.
"""

from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.timing import Timed, interleave
from jaxstudies.engine import monte_carlo
from jaxstudies.engine.devices import choose_devices
from jaxstudies.engine.execution import Execution
from jaxstudies.networks.states import start_state
from jaxstudies.output import plotting
from jaxstudies.studies import trainability
from jaxstudies.studies.trainability.config import CONDITIONS
from jaxstudies.studies.trainability.simulation import Params, draw, judged, network
from jaxstudies.study import from_module
from jaxstudies.tasks import task_of
from jaxstudies.training import fit

BLOCK = 128
NAMES = "converged", "diverged_at", "measure"


def fitted(key: jax.Array, x: jax.Array, y: jax.Array, *, fused: bool, steps: int) -> dict[str, jax.Array]:
    """Train at a point by `fit`."""
    params, data = draw(jax.random.split(key)[0], CONDITIONS["tanh"].num_examples)
    descend = optax.stateless(lambda grads, _: jax.tree.map(lambda rate, g: -rate * g, Params(x, y), grads))
    how = {"num_epochs": steps, "state": start_state(params, descend), "fused": fused}
    losses = fit(key, network("tanh"), descend, optax.squared_error, data, **how).history
    return dict(zip(NAMES, judged(losses), strict=True))


def plain(key: jax.Array, x: jax.Array, y: jax.Array, *, steps: int) -> dict[str, jax.Array]:
    """Train at a point as one would without a library: a scan over steps, examples in rows."""
    (hidden, output), data = draw(jax.random.split(key)[0], CONDITIONS["tanh"].num_examples)

    def loss(params):
        predictions = jnp.tanh(2**0.5 * data.inputs @ params[0].T / 4) @ params[1].T / 16
        return ((predictions - data.targets) ** 2).mean()

    def step(params, _):
        value, (by_hidden, by_output) = jax.value_and_grad(loss)(params)
        return (params[0] - x * by_hidden, params[1] - y * by_output), value

    _, losses = jax.lax.scan(step, (hidden, output), None, steps)
    return dict(zip(NAMES, judged(losses), strict=True))


def study(points: int, span: float, steps: int, simulate=None) -> Timed:
    """Ready the study, or the study with another way to train."""
    made = from_module(trainability)
    config = trainability.Config(points=points, zooms=0, span=span, steps=steps)
    how = Execution(runs_per_device=made.RUNS_PER_DEVICE if simulate is None else BLOCK, progress=False)
    task = task_of(made, config, 1, execution=how)
    if simulate is not None:
        groups = [group._replace(static=()) for group in task.design.groups]
        task = task._replace(
            simulate=partial(simulate, steps=steps), design=task.design._replace(groups=groups), identity=simulate
        )
    run = partial(monte_carlo.run_design, task)
    run()
    return run, 1.0


def by_vmap(points: int, span: float, steps: int) -> Timed:
    """Ready a plain `vmap` on one device, block by block."""
    config = trainability.Config(points=points, zooms=0, span=span, steps=steps)
    (group,) = trainability.settings(config).groups
    x, y = (np.asarray(group.mapped[name]).reshape(-1, min(BLOCK, points**2)) for name in "xy")
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    block = jax.jit(jax.vmap(partial(plain, key, steps=steps))).lower(x[0], y[0]).compile()
    return lambda: [jax.block_until_ready(block(*at)) for at in zip(x, y, strict=True)], 1.0


CONTESTANTS = {
    "the study": study,
    "fit, in a kernel": partial(study, simulate=partial(fitted, fused=True)),
    "fit, by XLA": partial(study, simulate=partial(fitted, fused=False)),
    "plain vmap": by_vmap,
}


def measure(points: int, spans: tuple[float, ...], steps: int, repeats: int) -> pd.DataFrame:
    """Time all contestants on windows of several spans; return a row for each."""
    choose_devices()
    asked = [(name, span) for span in spans for name in CONTESTANTS]
    ready = {f"{name}, {span:g} decades": CONTESTANTS[name](points, span, steps) for name, span in asked}
    table = pd.DataFrame(asked, columns=["contestant", "span"]).join(pd.DataFrame(interleave(ready, repeats)))
    return table.assign(networks_per_second=points**2 / table["seconds"])


def draw_rates(table: pd.DataFrame, points: int, steps: int) -> Figure:
    """Draw the networks per second of each contestant, a panel for each window."""
    plotting.use_style()
    spans = table["span"].unique()
    figure, axes = plt.subplots(1, len(spans), figsize=(5 * len(spans), 2.6), sharey=True, squeeze=False)
    for ax, span in zip(axes[0], spans, strict=True):
        rows = table[table["span"] == span]
        ax.barh(rows["contestant"], rows["networks_per_second"], color=plotting.COLORS[0])
        ax.set(xlabel="networks a second", title=f"a window of {span:g} decades")
    axes[0, 0].invert_yaxis()
    figure.suptitle(f"{points} x {points} networks, {steps} steps")
    return figure
