import hypothesis
import jax
from jaxtyping import install_import_hook

# Shapes and types in annotations are checked at run time, in tests alone; and so is that no
# operation broadcasts arrays of different rank unasked.
install_import_hook(["jaxstudies", "benchmarks"], "typecheck.check")
jax.config.update("jax_numpy_rank_promotion", "raise")

# A busy machine is no failure.
hypothesis.settings.register_profile("jaxstudies", deadline=None)
hypothesis.settings.load_profile("jaxstudies")

from jaxstudies.engine import programs  # noqa: E402

programs.use_all_cores()
