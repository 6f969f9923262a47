"""The source of a kernel that trains every network of a batch for an epoch."""

import math
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from jaxstudies.fused import loops
from jaxstudies.fused.emission import evaluate
from jaxstudies.fused.layout import BLOCK, Inputs, Leaf, Step, names
from jaxstudies.fused.program import Kind, Number, Program, Refused, check_size, spread
from jaxstudies.fused.update import write_update

C_TYPES: dict[Kind, str] = {"float": "float", "int": "int", "bool": "unsigned char"}
THREADS = 128
"""Networks of a block on a card."""
HANDLER = "// What XLA calls."
"""The line of a source from which on it is for a CPU."""
AHEAD, MOST_PREFETCHED = 16, 4
"""How many examples ahead data are asked for, and how many numbers of each: what follows them comes by itself."""


class Kernel(NamedTuple):
    """A kernel's source, the same for CPUs and cards."""

    source: str
    lanes: tuple[bool, ...]
    """Which parts of the state differ from network to network."""
    num_statements: int


def write(step: Step, inputs: Inputs, rolled: bool) -> Kernel:
    """Write the kernel, in straight lines or with loops.

    Raises:
        Refused: The step has a primitive or a type that cannot be fused, or too many of them.
    """
    check_size(sum(leaf.size for leaf in inputs.leaves()[: inputs.first_of_data()]))
    check_size(sum(math.prod(leaf.shape[1:]) for leaf in inputs.data))
    state = [leaf._replace(lanes=leaf.lanes or i < step.num_params) for i, leaf in enumerate(inputs.state)]
    while True:  # what starts alike in all networks may come to differ
        parts = _Parts(step, inputs._replace(state=tuple(state)), rolled)
        changed = [leaf._replace(lanes=leaf.lanes or now) for leaf, now in zip(state, parts.lanes, strict=True)]
        if changed == state:
            return Kernel(parts.source(), tuple(leaf.lanes for leaf in state), parts.num_statements())
        state = changed


class _Parts:
    """The parts of a kernel's source; `lanes` says which parts of the new state differ from network to network.

    Arrays are called a0, a1, ... as they come in and b0, b1, ... as they go out; inside, constants are c0, c1, ...,
    the state s0, s1, ..., gradients g0, g1, ....
    """

    def __init__(self, step: Step, inputs: Inputs, rolled: bool):
        self.inputs, self.rolled = inputs, rolled
        self.state, self.params = inputs.state, inputs.state[: step.num_params]
        if any(leaf.kind != "float" for leaf in self.params):
            raise Refused("parameters that are not float32")
        state = [names(leaf, f"s{i}") for i, leaf in enumerate(self.state)]
        params = state[: step.num_params]
        consts = [names(leaf, f"c{i}") for i, leaf in enumerate((*inputs.gradient_consts, *inputs.update_consts))]
        own = len(inputs.gradient_consts)
        # Two examples side by side: each number of the network is loaded once for both.
        self.gradient, self.at_once = Program(rolled), 2 if inputs.order[0].shape[-1] % 2 == 0 else 1
        self.loads: list[str] = []
        self.losses: list[Number] = []
        self.grads: list[list[np.ndarray]] = []
        for u in range(self.at_once):
            examples, loads = self._example(u)
            loss, *grads = evaluate(self.gradient, step.gradient.jaxpr, consts[:own], [*params, *examples])
            self.loads += loads
            self.losses.append(loss.item())
            self.grads.append(grads)
        self.update, self.lanes = write_update(step, self.state, consts[own:], rolled)

    def _example(self, u: int) -> tuple[list[np.ndarray], list[str]]:
        """Return the numbers of the u-th example of some, for each array of data, and the statements that load them."""
        order, arrays, first = self.inputs.order[0], [], self.inputs.first_of_data()
        at, where = f"a{first + len(self.inputs.data)}", f"place + k + {u}"
        lines = [f"const size_t row{u} = {at}[{where}];"]
        if order.lanes:
            lines = [f"const iv row{u} = load({at} + ({where}) * S);"]
        elif any(leaf.lanes for leaf in self.inputs.data):
            # Shuffled examples are nowhere near one another in memory.
            lines.append(f"const size_t soon{u} = {at}[min_of({where} + {AHEAD}, last)];")
        for i, leaf in enumerate(self.inputs.data, first):
            size, lanes = math.prod(leaf.shape[1:]), leaf.lanes or order.lanes
            load = {
                (False, False): f"a{i}[row{u} * {size} + {{e}}]",
                (True, False): f"load(a{i} + (row{u} * {size} + {{e}}) * S)",
                (False, True): f"gather(a{i} + {{e}}, row{u}, {size}ull)",
                (True, True): f"gather_own(a{i} + {{e}} * S, row{u}, {size} * S)",
            }[leaf.lanes, order.lanes]
            if leaf.lanes and not order.lanes:
                ahead = range(min(size, MOST_PREFETCHED))
                lines += [f"PREFETCH(a{i} + (soon{u} * {size} + {e}) * S);" for e in ahead]
            # A name for each number, as an array would go through memory.
            numbers = [Number(f"x{u}_{i}_{e}", leaf.kind, lanes) for e in range(size)]
            lines += [f"const {n.type} {n.text} = {load.format(e=e)};" for e, n in enumerate(numbers)]
            array = np.empty(size, object)
            array[:] = numbers
            arrays.append(array.reshape(leaf.shape[1:]))
        return arrays, lines

    def num_statements(self) -> int:
        """Return how much there is to compile."""
        moved = sum(1 if self._is_looped(leaf) else leaf.size for leaf in self.state)
        return len(self.gradient.lines) + len(self.update) + 3 * moved

    def _is_looped(self, leaf: Leaf) -> bool:
        return self.rolled and leaf.size > 1

    def _each(self, leaf: Leaf, form: str) -> list[str]:
        """Return a statement for each number `e` of an array, or a loop over them."""
        if self._is_looped(leaf):
            return [f"for (int e = 0; e < {leaf.size}; e++) {form.replace('{e}', 'e')}"]
        return [form.replace("{e}", str(e)) for e in range(leaf.size)]

    def source(self) -> str:
        """Return the source."""
        inputs, losses = self.inputs.leaves(), f"b{len(self.state)}"
        taken = [f"const {C_TYPES[leaf.kind]}* __restrict__ a{i}" for i, leaf in enumerate(inputs)]
        given = [f"{C_TYPES[leaf.kind]}* __restrict__ b{i}" for i, leaf in enumerate(self.state)]
        given.append(f"float* __restrict__ {losses}")
        lines = {
            "start": self._places(losses) + self._loads(),
            "zero": [line for i, leaf in enumerate(self.params) for line in self._each(leaf, f"g{i}[{{e}}] = V(0);")],
            "example": self.loads + self.gradient.lines + self._sums(),
            "update": self.update,
            "end": self._stores(),
        }
        body = _text("training.h").replace("LOSSES", losses).replace("AT_ONCE", str(self.at_once))
        for name, block in lines.items():
            body = body.replace(f"// {name}\n", "\n".join(block) + "\n")
        return body.replace("ARRAYS", ", ".join([*taken, *given])) + _entries(taken, given)

    def _places(self, losses: str) -> list[str]:
        """Return the statements that find a network's own place in each array."""
        *fixed, order = enumerate(self.inputs.leaves())
        lines = [f"a{i} += first(lane, {leaf.size});" for i, leaf in fixed if leaf.lanes]
        if order[1].lanes:
            lines.append(f"a{order[0]} += first(lane, (size_t)orders * steps * batch);")
        lines += [f"b{i} += first(lane, {leaf.size});" for i, leaf in enumerate(self.state) if leaf.lanes]
        return [*lines, f"{losses} += first(lane, epochs);"]

    def _loads(self) -> list[str]:
        """Return the statements that load constants and state, and make place for the gradients."""
        consts = (*self.inputs.gradient_consts, *self.inputs.update_consts)
        named = [(leaf, f"c{i}") for i, leaf in enumerate(consts)]
        named += [(leaf, f"s{i}") for i, leaf in enumerate(self.state)]
        lines = []
        for at, (leaf, name) in enumerate(named):
            lines.append(f"{leaf.type} {name}[{max(leaf.size, 1)}];")
            load = f"load(a{at} + {{e}} * S)" if leaf.lanes else f"a{at}[{{e}}]"
            lines += self._each(leaf, f"{name}[{{e}}] = {load};")
        return lines + [f"v g{i}[{max(leaf.size, 1)}];" for i, leaf in enumerate(self.params)]

    def _sums(self) -> list[str]:
        """Return the statements that add losses and gradients up."""
        lines = [f"step_loss += {spread(loss)};" for loss in self.losses]
        for i in range(len(self.params)):
            lines += loops.added(f"g{i}", [grads[i] for grads in self.grads])
        return lines

    def _stores(self) -> list[str]:
        """Return the statements that give the state back."""
        lines = []
        for i, leaf in enumerate(self.state):
            store = f"store(b{i} + {{e}} * S, s{i}[{{e}}]);" if leaf.lanes else f"b{i}[{{e}}] = s{i}[{{e}}];"
            lines += self._each(leaf, store)
        return lines


def _entries(taken: Sequence[str], given: Sequence[str]) -> str:
    """Return how a card enters the kernel, or, on a CPU, how XLA's call does."""
    parameters = [*taken, *given]
    types = [text.rsplit(" ", 1)[0].replace(" __restrict__", "") for text in parameters]
    arguments = ", ".join(text.rsplit(" ", 1)[1] for text in parameters)
    casts = [f"({t})in[{i}]" for i, t in enumerate(types[: len(taken)])]
    casts += [f"({t})out[{i}]" for i, t in enumerate(types[len(taken) :])]
    return f"""
#ifdef __CUDACC__
extern "C" __global__ __launch_bounds__({THREADS}) void train(
    int networks, int epochs, int orders, int steps, int batch, {", ".join(parameters)}) {{
  const unsigned lane = blockIdx.x * {THREADS} + threadIdx.x;
  if (lane < networks) train_lanes(lane, networks, epochs, orders, steps, batch, {arguments});
}}
#else
{HANDLER}
#define INPUTS {len(taken)}
#define OUTPUTS {len(given)}
// handler
static XLA_FFI_Error* launch(const XLA_FFI_CallFrame* frame, void** in, void** out, Sizes size) {{
  for (int lane = 0; lane < size.blocks * BLOCK; lane += L)
    train_lanes(lane, BLOCK, size.epochs, size.orders, size.steps, size.batch, {", ".join(casts)});
  return 0;
}}
#endif
"""


def cpu_source(kernel: Kernel) -> str:
    """Return all that a C++ compiler needs beside the headers of XLA."""
    return _prelude() + kernel.source.replace("// handler\n", _text("handler.h"))


def cuda_source(kernel: Kernel) -> str:
    """Return all that CUDA's compiler needs."""
    return _prelude() + kernel.source.partition(HANDLER)[0] + "#endif\n"


def launcher_source(num_inputs: int, num_outputs: int, image: bytes) -> str:
    """Return what loads a compiled kernel onto a card and starts it."""
    sizes = {"FOR_CUDA": 1, "INPUTS": num_inputs, "OUTPUTS": num_outputs, "THREADS": THREADS}
    lines = [f"#define {name} {value}" for name, value in sizes.items()]
    lines.append(f"alignas(16) static const unsigned char IMAGE[] = {{{','.join(map(str, image))}}};")
    return "\n".join(["#include <stddef.h>", *lines, _text("handler.h")])


def _prelude() -> str:
    return f"#define BLOCK {BLOCK}\n{_text('prelude.h')}"


def _text(name: str) -> str:
    return files("jaxstudies.fused").joinpath(name).read_text()
