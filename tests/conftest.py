import functools
import gc
import importlib.util
import os
import sys
from pathlib import Path

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

# Shapes and types in annotations are checked at run time, in tests alone; and so is that no
# operation broadcasts arrays of different rank unasked.
install_import_hook(["jaxstudies", "benchmarks"], "typecheck.check")
jax.config.update("jax_numpy_rank_promotion", "raise")

# A busy machine is no failure.
hypothesis.settings.register_profile("jaxstudies", deadline=None)
hypothesis.settings.load_profile("jaxstudies")

from jaxstudies import compilation_cache  # noqa: E402
from jaxstudies.engine import compiler, devices  # noqa: E402
from jaxstudies.identity import provenance  # noqa: E402
from jaxstudies.output import plotting  # noqa: E402

devices.use_all_cores()

# The commit of the checkout stays while it is tested: each run would ask git for it several times.
provenance.commit_here = functools.cache(provenance.commit_here)

# Figures have a quarter of the pixels.
plotting.STYLE["savefig.dpi"] = 100

OWN_CACHE = {"test_compilation_cache"}

# What together sees every room in a minute or two on two cores: files, and single tests of longer ones.
QUICK = {"baselines", "claims", "intervals", "main", "mnist", "provenance", "readme", "references", "study", "table"}
QUICK |= {
    "theory",
    "reference",
    "tour",
    "runs::test_more_seeds_run_only_those_that_are_new",
    "engine::test_mapped_equals_looped",
    "engine::test_fewer_seeds_are_a_prefix",
    "engine::test_floats_share_one_program_and_one_launch",
    "engine::test_finished_chunks_are_not_run_again_and_damaged_ones_are",
    "training::test_one_sgd_step_equals_the_hand_formula",
}


def pytest_configure(config):
    # What tests and their commands compile is kept where pytest keeps its own, from run to run, and never where the
    # user's is; with `-p no:cacheprovider` nothing is kept.
    kept = config.cache.mkdir("compiled") if config.pluginmanager.hasplugin("cacheprovider") else ""
    os.environ[compilation_cache.VARIABLE] = str(kept)


@pytest.fixture(scope="module", autouse=True)
def _compiled_once(request):
    """Keep the programs of a file's tests, but where it is tested how they are kept."""
    if request.module.__name__ in OWN_CACHE:
        yield
        return
    with compilation_cache.programs_kept():
        yield


@pytest.fixture
def hastily(monkeypatch):
    """Compile programs fast: for tests of whole runs, whose laws are not about numbers."""
    monkeypatch.setattr(compiler, "USUAL", compiler.HASTY)
    compiler.forget()
    yield
    compiler.forget()


def pytest_collection_finish(session):
    """Let no collection of garbage go through what is imported, which stays."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what `pytest -m quick` runs; what plain `pytest` runs stays as it is."""
    for item in items:
        file = item.path.stem.removeprefix("test_")
        longer = {mark.name for mark in item.iter_markers()} & {"slow", "faults"}
        if not longer and {file, f"{file}::{getattr(item, 'originalname', '')}"} & QUICK:
            item.add_marker(pytest.mark.quick)


@pytest.fixture
def benchmark(monkeypatch):
    """`scripts/benchmark.py` as a module."""
    spec = importlib.util.spec_from_file_location(
        "benchmark", Path(__file__).parent.parent / "scripts" / "benchmark.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "benchmark", module)
    spec.loader.exec_module(module)
    return module
