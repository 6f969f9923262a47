"""The source of a kernel that trains every network of a batch for an epoch."""

import math
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import NamedTuple

import jax
import numpy as np
from jax.extend import core

from jaxstudies.fused.emission import TYPES, Kind, Number, Program, Refused, evaluate, kind_of

C_TYPES: dict[Kind, str] = {"float": "float", "int": "int", "bool": "unsigned char"}
THREADS = 128
"""Networks of a block on a card."""
AHEAD, MOST_PREFETCHED = 16, 4
"""How many examples ahead data are asked for, and how many numbers of each: what follows them comes by itself."""


class Step(NamedTuple):
    """One step of training as two functions of one network, traced.

    `gradient` maps parameters and an example's numbers to its loss, as part of a batch's mean, and the gradient of
    that; `update` maps gradient, optimizer state, parameters and loss to parameters and optimizer state.
    """

    gradient: core.ClosedJaxpr
    update: core.ClosedJaxpr
    num_params: int


class Leaf(NamedTuple):
    """An array as the kernel sees it: a network's own if `lanes`, else one for all."""

    shape: tuple[int, ...]
    dtype: np.dtype
    lanes: bool

    @property
    def kind(self) -> Kind:
        """Return the kind of its numbers."""
        return kind_of(self.dtype)

    @property
    def size(self) -> int:
        """Return how many numbers it has."""
        return math.prod(self.shape)


class Inputs(NamedTuple):
    """What a kernel takes: constants of gradient and update, what training changes, data sets and their order."""

    gradient_consts: tuple[Leaf, ...]
    update_consts: tuple[Leaf, ...]
    state: tuple[Leaf, ...]
    data: tuple[Leaf, ...]
    order: tuple[Leaf]

    def leaves(self) -> list[Leaf]:
        """Return all of them in order."""
        return [leaf for group in self for leaf in group]


class Kernel(NamedTuple):
    """A kernel's source, the same for CPUs and cards."""

    source: str
    lanes: tuple[bool, ...]
    """Which parts of the state differ from network to network."""
    num_statements: int


def names(leaf: Leaf, name: str) -> np.ndarray:
    """Return an array of a leaf's numbers, called name[0], name[1] and so on."""
    out = np.empty(leaf.size, object)
    for i in range(leaf.size):
        out[i] = Number(f"{name}[{i}]", leaf.kind, leaf.lanes)
    return out.reshape(leaf.shape)


def write(step: Step, inputs: Inputs) -> Kernel:
    """Write the kernel.

    Raises:
        Refused: The step has a primitive or a type that cannot be fused, or too many of them.
    """
    state = [leaf._replace(lanes=leaf.lanes or i < step.num_params) for i, leaf in enumerate(inputs.state)]
    while True:  # what starts alike in all networks may come to differ
        parts = _Parts(step, inputs._replace(state=tuple(state)))
        changed = [leaf._replace(lanes=leaf.lanes or now) for leaf, now in zip(state, parts.lanes, strict=True)]
        if changed == state:
            return Kernel(parts.source(), tuple(leaf.lanes for leaf in state), parts.num_statements())
        state = changed


class _Parts:
    """The parts of a kernel's source; `lanes` says which parts of the new state differ from network to network."""

    def __init__(self, step: Step, inputs: Inputs):
        self.inputs, self.state, count = inputs, inputs.state, step.num_params
        self.params = self.state[:count]
        if any(leaf.kind != "float" for leaf in self.params):
            raise Refused("parameters that are not float32")
        self.state_names = [names(leaf, f"s{i}") for i, leaf in enumerate(self.state)]
        self.gradient, self.at_once = Program(), 1 + (inputs.order[0].shape[-1] % 2 == 0)
        consts = self._consts(inputs.gradient_consts, 0)
        self.loads, self.losses, self.grads = [], [], []
        for u in range(self.at_once):
            examples, loads = self._example(u)
            outs = evaluate(self.gradient, step.gradient.jaxpr, consts, [*self.state_names[:count], *examples])
            self.loads += loads
            self.losses.append(outs[0][()])
            self.grads.append(outs[1:])
        self.update = Program()
        consts = self._consts(inputs.update_consts, len(inputs.gradient_consts))
        grads = [names(leaf, f"g{i}") for i, leaf in enumerate(self.params)]
        loss = np.empty((), object)
        loss[()] = Number("step_loss", "float", True)
        outs = evaluate(
            self.update, step.update.jaxpr, consts, [*grads, *self.state_names[count:], *self.state_names[:count], loss]
        )
        self.new = outs
        self.lanes = tuple(i < count or any(n.lanes for n in array.flat) for i, array in enumerate(outs))

    def _consts(self, leaves: Sequence[Leaf], first: int) -> list[np.ndarray]:
        return [names(leaf, f"c{first + i}") for i, leaf in enumerate(leaves)]

    def _example(self, u: int) -> tuple[list[np.ndarray], list[str]]:
        """Return the numbers of the u-th example of some, for each array of data, and the statements that load them."""
        inputs, order, arrays = self.inputs.leaves(), self.inputs.order[0], []
        at, where = f"a{len(inputs) - 1}", f"place + k + {u}"
        row = (
            f"const iv row{u} = load({at} + ({where}) * S);" if order.lanes else f"const size_t row{u} = {at}[{where}];"
        )
        lines, first = [row], len(inputs) - 1 - len(self.inputs.data)
        if not order.lanes and any(leaf.lanes for leaf in self.inputs.data):
            # Shuffled examples are nowhere near one another in memory.
            lines.append(f"const size_t soon{u} = {at}[min_of({where} + {AHEAD}, last)];")
        for i, leaf in enumerate(self.inputs.data):
            at, size, lanes = f"a{first + i}", math.prod(leaf.shape[1:]), leaf.lanes or order.lanes
            numbers = np.empty(size, object)
            if leaf.lanes and not order.lanes:
                lines += [f"PREFETCH({at} + (soon{u} * {size} + {e}) * S);" for e in range(min(size, MOST_PREFETCHED))]
            for e in range(size):
                if not order.lanes and not leaf.lanes:
                    text = f"{at}[row{u} * {size} + {e}]"
                elif not order.lanes:
                    text = f"load({at} + (row{u} * {size} + {e}) * S)"
                elif not leaf.lanes:
                    text = f"gather({at} + {e}, row{u}, {size}ull)"
                else:
                    text = f"gather_own({at} + {e} * S, row{u}, {size} * S)"
                # A name for each, as an array would go through memory.
                number = numbers[e] = Number(f"x{u}_{i}_{e}", leaf.kind, lanes)
                lines.append(f"const {TYPES[leaf.kind, True] if lanes else leaf.kind} {number.text} = {text};")
            arrays.append(numbers.reshape(leaf.shape[1:]))
        return arrays, lines

    def num_statements(self) -> int:
        """Return how much there is to compile."""
        return len(self.gradient.lines) + len(self.update.lines) + sum(3 * leaf.size for leaf in self.state)

    def source(self) -> str:
        """Return the source."""
        inputs, state = self.inputs.leaves(), self.state
        taken = [f"const {C_TYPES[leaf.kind]}* __restrict__ a{i}" for i, leaf in enumerate(inputs)]
        given = [f"{C_TYPES[leaf.kind]}* __restrict__ b{i}" for i, leaf in enumerate((*state,))]
        given.append(f"float* __restrict__ b{len(state)}")
        first_state = len(self.inputs.gradient_consts) + len(self.inputs.update_consts)
        moved = [f"a{i} += first(lane, {leaf.size});" for i, leaf in enumerate(inputs[:-1]) if leaf.lanes]
        if inputs[-1].lanes:
            moved.append(f"a{len(inputs) - 1} += first(lane, (size_t)orders * steps * batch);")
        moved += [f"b{i} += first(lane, {leaf.size});" for i, leaf in enumerate(state) if leaf.lanes]
        moved.append(f"b{len(state)} += first(lane, epochs);")
        loads = []
        for i in range(first_state):
            loads += _load(inputs[i], f"a{i}", f"c{i}")
        for i, leaf in enumerate(state):
            loads += _load(leaf, f"a{first_state + i}", f"s{i}")
        grads = [f"v g{i}[{max(leaf.size, 1)}];" for i, leaf in enumerate(self.params)]
        zero = [f"g{i}[{e}] = V(0);" for i, leaf in enumerate(self.params) for e in range(leaf.size)]
        losses = [f"step_loss += {_spread(loss)};" for loss in self.losses]
        sums = []
        for i, leaf in enumerate(self.params):
            for e in range(leaf.size):
                terms = " + ".join(_spread(grads[i].flat[e]) for grads in self.grads)
                sums.append(f"g{i}[{e}] += {terms};")
        changes, puts = [], []
        for i, (leaf, array) in enumerate(zip(state, self.new, strict=True)):
            for e, number in enumerate(array.flat):
                if number.text == f"s{i}[{e}]":
                    continue
                type_ = TYPES[leaf.kind, True] if leaf.lanes else leaf.kind
                changes.append(f"const {type_} n{i}_{e} = {_spread(number) if leaf.lanes else number.text};")
                puts.append(f"{self.state_names[i].flat[e].text} = n{i}_{e};")
        ends = []
        for i, leaf in enumerate(state):
            for e in range(leaf.size):
                put = f"store(b{i} + {e} * (size_t)S, s{i}[{e}]);" if leaf.lanes else f"b{i}[{e}] = s{i}[{e}];"
                ends.append(put)
        indent = lambda lines, by: "\n".join(" " * by + line for line in lines)  # noqa: E731
        body = f"""
EACH void train_lanes(size_t lane, size_t S, int epochs, int orders, int steps, int batch, {", ".join([*taken, *given])}) {{
{indent(moved + loads + grads, 2)}
  const size_t last = (size_t)orders * steps * batch - 1;
  for (int epoch = 0; epoch < epochs; epoch++) {{
    const int turn = epoch % orders;
    v sum = V(0);
    for (int s = 0; s < steps; s++) {{
{indent(zero, 6)}
      v step_loss = V(0);
      const size_t place = ((size_t)turn * steps + s) * batch;
      NO_UNROLL
      for (int k = 0; k < batch; k += {self.at_once}) {{
{indent(self.loads + self.gradient.lines + losses + sums, 8)}
      }}
      sum += step_loss;
{indent(self.update.lines + changes + puts, 6)}
    }}
    store(b{len(state)} + epoch * S, sum / (float)steps);
  }}
{indent(ends, 2)}
}}
"""
        return body + _entries(taken, given, len(inputs), len(state) + 1)


def _extent(leaf: Leaf) -> str:
    return str(leaf.size)


def _spread(number: Number) -> str:
    return number.text if number.lanes else f"V({number.text})"


def _load(leaf: Leaf, at: str, name: str) -> list[str]:
    """Return the statements that make an array of the program of one in memory."""
    lines = [f"{TYPES[leaf.kind, True] if leaf.lanes else leaf.kind} {name}[{max(leaf.size, 1)}];"]
    texts = (f"load({at} + {e} * (size_t)S)" if leaf.lanes else f"{at}[{e}]" for e in range(leaf.size))
    return lines + [f"{name}[{e}] = {text};" for e, text in enumerate(texts)]


def _entries(taken: Iterable[str], given: Iterable[str], num_inputs: int, num_outputs: int) -> str:
    """Return how a card enters the kernel, or, on a CPU, how XLA's call does."""
    parameters = [*taken, *given]
    types = [text.rsplit(" ", 1)[0].replace(" __restrict__", "") for text in parameters]
    arguments = ", ".join(text.rsplit(" ", 1)[1] for text in parameters)
    casts = [f"({t})in[{i}]" for i, t in enumerate(types[:num_inputs])]
    casts += [f"({t})out[{i}]" for i, t in enumerate(types[num_inputs:])]
    return f"""
#ifdef __CUDACC__
extern "C" __global__ __launch_bounds__({THREADS}) void train(int networks, int epochs, int orders, int steps, int batch, {", ".join(parameters)}) {{
  const unsigned lane = blockIdx.x * {THREADS} + threadIdx.x;
  if (lane < networks) train_lanes(lane, networks, epochs, orders, steps, batch, {arguments});
}}
#else
#define INPUTS {num_inputs}
#define OUTPUTS {num_outputs}
#include "handler.h"
static XLA_FFI_Error* launch(const XLA_FFI_CallFrame* frame, void** in, void** out, Sizes size) {{
  for (int lane = 0; lane < size.blocks * BLOCK; lane += L)
    train_lanes(lane, BLOCK, size.epochs, size.orders, size.steps, size.batch, {", ".join(casts)});
  return 0;
}}
#endif
"""


def cpu_source(kernel: Kernel) -> str:
    """Return all that a C++ compiler needs beside the headers of XLA."""
    return (
        "#include <stddef.h>\n" + _text("prelude.h") + kernel.source.replace('#include "handler.h"', _text("handler.h"))
    )


def cuda_source(kernel: Kernel) -> str:
    """Return all that CUDA's compiler needs."""
    return _text("prelude.h") + kernel.source.split("#else\n#define INPUTS")[0] + "#endif\n"


def launcher_source(num_inputs: int, num_outputs: int, image: bytes) -> str:
    """Return what loads a compiled kernel onto a card and starts it."""
    numbers = ",".join(map(str, image))
    head = f"#define FOR_CUDA\n#define INPUTS {num_inputs}\n#define OUTPUTS {num_outputs}\n#define THREADS {THREADS}\n"
    return f"#include <stddef.h>\n{head}alignas(16) static const unsigned char IMAGE[] = {{{numbers}}};\n" + _text(
        "handler.h"
    )


def _text(name: str) -> str:
    return files("jaxstudies.fused").joinpath(name).read_text()


def aval_leaf(aval: jax.ShapeDtypeStruct, lanes: bool) -> Leaf:
    """Return how the kernel sees an array of one network."""
    return Leaf(tuple(aval.shape), np.dtype(aval.dtype), lanes)
