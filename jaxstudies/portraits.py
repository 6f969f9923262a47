"""What the first runs of a study are, as functions, where the study can say it."""

import contextlib
import json
from functools import partial
from pathlib import Path

from jaxstudies import configs, studies
from jaxstudies.evidence import records
from jaxstudies.output.curves import Portrait

SEEDS = 4
"""Runs of a setting that are shown, at most."""


def portraits_of(directory: Path) -> list[Portrait]:
    """Return curves of the first runs in a directory, by the code that is here; none where its study offers none.

    Only the package's own studies are asked: what lies in a directory of results is read here, and never run.
    """
    found, config, origin = None, None, {}
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        origin = json.loads((directory / records.CONFIG).read_text("utf-8"))
        if origin["study"] not in studies.packaged() or origin.get("file"):
            return []
        from jaxstudies import study  # it imports JAX

        found = study.load(origin["study"])
        config = configs.from_json(found.Config, origin["config"])
    if found is None or config is None or found.portraits is None:
        return []
    import jax

    key_of = partial(jax.random.fold_in, jax.random.key(origin["seed"]))
    keys = jax.vmap(key_of)(jax.numpy.arange(min(SEEDS, origin["num_seeds"])))
    return list(found.portraits(config, keys))
