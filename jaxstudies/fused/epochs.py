"""Training that becomes a kernel where it is mapped over networks, and stays XLA's where it is not."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.interpreters import mlir

from jaxstudies.errors import Notice, warn
from jaxstudies.fused import build, choice
from jaxstudies.fused.kernel import Kernel, write
from jaxstudies.fused.layout import BLOCK, Inputs, Leaf, Step
from jaxstudies.fused.mapping import Blocks, Flat, mappable, widened
from jaxstudies.fused.program import Refused


class NoKernel(Notice):
    """What a kernel needs is not there."""


class Groups(NamedTuple):
    """The arrays of a training by kind, and the same of whatever else there is one of for each."""

    plain: tuple
    """Constants of training as XLA compiles it."""
    order: tuple
    """Constants of the order of the examples."""
    observe: tuple
    """Constants of what is kept after each epoch."""
    gradient: tuple
    """Constants of the gradient."""
    update: tuple
    """Constants of the optimizer."""
    state: tuple
    """Parameters and optimizer state."""
    data: tuple
    """Data sets, examples first."""
    count: tuple
    """The number of epochs, if it is traced."""

    def flat(self) -> tuple:
        """Return all of them in order."""
        return tuple(each for group in self for each in group)


@dataclass(eq=False)
class Training:
    """A training of one network, and how it is mapped.

    Attributes:
        step: One step of it.
        plain: All of it as XLA compiles it, of the arrays of all kinds: state, mean losses, what is kept.
        order: The order of the examples in an epoch, int32 (steps, batch), of constants and the number of the epoch.
        reshuffled: Whether it differs from epoch to epoch.
        observe: What is kept after an epoch, of constants and state.
        num_epochs: How many there are, if that is not traced.
        num_kept: How many arrays there are of losses and of what is kept.
        insisted: Whether nothing but a kernel will do, where it is mapped.
        sizes: How many arrays there are of each kind.
    """

    step: Step
    plain: Callable[..., Flat]
    order: Callable[..., jax.Array]
    reshuffled: bool
    observe: Callable[..., Flat]
    num_epochs: int | None
    num_kept: int
    insisted: bool
    sizes: Sequence[int]
    kernels: dict[Inputs, Kernel | Refused] = field(default_factory=dict)

    def one(self, groups: Groups) -> Flat:
        """Train one network, for which there is no kernel."""
        alone = mappable(self.plain, self.mapped)
        differentiable = jax.custom_jvp(lambda *flat: alone(*flat))
        differentiable.defjvp(lambda primals, tangents: jax.jvp(self.plain, primals, tangents))
        return differentiable(*groups.flat())

    def grouped(self, flat: Sequence[Any]) -> Groups:
        """Return arrays by their kind."""
        ends = np.cumsum(self.sizes)
        return Groups(*(tuple(flat[end - size : end]) for end, size in zip(ends, self.sizes, strict=True)))

    def kernel(self, own: Groups, flat: Groups) -> tuple[Kernel, Inputs]:
        """Return the kernel, and how it sees its arrays, given which of them each network has of its own."""

        def leaves(kind: str) -> tuple[Leaf, ...]:
            pairs = zip(getattr(flat, kind), getattr(own, kind), strict=True)
            return tuple(Leaf(a.shape[1:] if each else a.shape, np.dtype(a.dtype), each) for a, each in pairs)

        consts = zip(flat.order, own.order, strict=True)
        one = (jax.ShapeDtypeStruct(a.shape[1:] if each else a.shape, a.dtype) for a, each in consts)
        order = jax.eval_shape(self.order, *one, 0)
        ordered = Leaf((1, *order.shape), np.dtype(np.int32), any(own.order))
        inputs = Inputs(leaves("gradient"), leaves("update"), leaves("state"), leaves("data"), (ordered,))
        if inputs not in self.kernels:
            try:
                self.kernels[inputs] = write(self.step, inputs, choice.is_rolled(self.step.size))
            except Refused as error:  # which takes as long to find out
                self.kernels[inputs] = error
        found = self.kernels[inputs]
        if isinstance(found, Refused):
            raise found
        return found, inputs

    def wanted(self, own: Groups, flat: Groups) -> Kernel | None:
        """Return the kernel, None where XLA trains.

        That it pays was seen of arrays of which each network has its own; of those that all share, it may be another.
        """
        if any(own.count):  # of networks that are trained for different times, each epoch would be masked
            return None
        try:
            kernel, _ = self.kernel(own, flat)
        except Refused as error:
            if self.insisted:
                raise ValueError(f"fused True: {error}") from error
            return None
        return kernel if self.insisted or not choice.objection(kernel, self.step.size) else None

    def lanes(self, own: Groups, flat: Groups) -> tuple[bool, ...]:
        """Return which parts of the state differ from network to network in the end."""
        kernel = self.wanted(own, flat)
        return (True,) * len(flat.state) if kernel is None else tuple(kernel.lanes)

    def mapped(self, size: int, batched: Sequence[bool], flat: Flat) -> tuple[Flat, tuple[bool, ...]]:
        """Train `size` networks; return which of the results differ from network to network, too."""
        own = self.grouped(batched)
        train = functools.partial(self.trained, size, batched)
        lanes = (*self.lanes(own, self.grouped(flat)), *[True] * self.num_kept)

        def again(times: int, more: Sequence[bool], flat: Flat) -> tuple[Flat, tuple[bool, ...]]:
            outs, now = self.mapped(times * size, *widened(times, size, batched, more, flat))
            outs = [a.reshape(times, size, *a.shape[1:]) if each else a for a, each in zip(outs, now, strict=True)]
            cut = (a[:, 0] if each and not before else a for a, each, before in zip(outs, now, lanes, strict=True))
            return tuple(cut), now

        return mappable(train, again)(*flat), lanes

    def trained(self, size: int, batched: Sequence[bool], *flat: jax.Array) -> Flat:
        """Train `size` networks, in a kernel where one is wanted and can be had for the platform."""
        own = self.grouped(batched)
        if self.wanted(own, self.grouped(flat)) is None:
            return self.by_xla(batched, *flat)
        _, inputs = self.kernel(own, self.grouped(flat))
        numbers = sum(leaf.size // leaf.shape[0] for leaf in inputs.data if leaf.lanes)
        too_many = choice.platform() == "cpu" and numbers > choice.MOST_OF_ITS_OWN
        if (too_many or choice.ALLOWED.get() is False) and not self.insisted:
            return self.by_xla(batched, *flat)
        return tuple(trained_p.bind(*flat, training=self, size=size, batched=tuple(batched)))

    def by_xla(self, batched: Sequence[bool], *flat: jax.Array) -> Flat:
        """Train networks as XLA compiles it."""
        lanes = self.lanes(self.grouped(batched), self.grouped(flat))
        outs = jax.vmap(self.plain, in_axes=[0 if each else None for each in batched])(*flat)
        state = (a if each else a[0] for a, each in zip(outs, lanes, strict=False))
        return *state, *outs[len(lanes) :]

    def by_kernel(self, name: str, block: int, size: int, batched: Sequence[bool], *flat: jax.Array) -> Flat:
        """Train `size` networks in the kernel of that name, which is launched for each epoch."""
        own, groups = self.grouped(batched), self.grouped(flat)
        kernel, inputs = self.kernel(own, groups)
        blocks = Blocks(size, block)
        fixed = [(*groups.gradient, *groups.update), (*own.gradient, *own.update)]
        before, data = blocks.split(*fixed), blocks.split(groups.data, own.data)

        def order_of(index: Any) -> jax.Array:
            if not any(own.order):
                return self.order(*groups.order, index)[None]
            axes = [0 if each else None for each in own.order]
            order = jax.vmap(lambda *consts: self.order(*consts, index), axes)(*groups.order)
            return blocks.split([order[:, None]], [True])[0]

        def epochs(state: Flat, order: jax.Array, count: int = 1) -> tuple[Flat, jax.Array]:
            """Launch the kernel for some epochs in one order."""
            results = [*zip(inputs.state, kernel.lanes, strict=True), (Leaf((count,), np.dtype("float32"), True), True)]
            shapes = [
                jax.ShapeDtypeStruct(blocks.shape(leaf.shape) if each else leaf.shape, leaf.dtype)
                for leaf, each in results
            ]
            *new, losses = jax.ffi.ffi_call(name, shapes)(*before, *state, *data, order)
            return tuple(new), losses

        def body(state: Flat, index: Any) -> tuple[Flat, Flat]:
            state, losses = epochs(state, order_of(index))
            joined = blocks.joined(state, kernel.lanes)
            axes = [0 if each else None for each in (*own.observe, *kernel.lanes)]
            seen = jax.vmap(self.observe, axes, axis_size=size)(*groups.observe, *joined)
            return state, (*blocks.joined([losses[..., 0, :]], [True]), *seen)

        # What is the same for all networks at first may differ after a step.
        starts = zip(groups.state, own.state, kernel.lanes, strict=True)
        first = [jnp.broadcast_to(a, (size, *a.shape)) if now and not before else a for a, before, now in starts]
        state: Flat = blocks.split(first, kernel.lanes)
        if self.num_epochs is None:
            state = jax.lax.fori_loop(0, groups.count[0], lambda i, s: epochs(s, order_of(i))[0], state)
            return blocks.joined(state, kernel.lanes)
        if self.reshuffled or not self.num_epochs:
            state, kept = jax.lax.scan(body, state, jnp.arange(self.num_epochs))
            return *blocks.joined(state, kernel.lanes), *(jnp.moveaxis(a, 0, 1) for a in kept)
        state, losses = epochs(state, order_of(0), self.num_epochs)
        return *blocks.joined(state, kernel.lanes), *blocks.joined([losses], [True])


trained_p = core.Primitive("trained_networks")
"""Networks trained in a kernel, which is compiled when a program is, and not while it is traced: of nested maps the
inner ones are traced, too."""
trained_p.multiple_results = True


@trained_p.def_impl
def _run(*flat: jax.Array, **params: Any) -> Flat:
    return jax.jit(functools.partial(trained_p.bind, **params))(*flat)


@trained_p.def_abstract_eval
def _shapes(*flat: Any, training: Training, size: int, batched: tuple[bool, ...]) -> Sequence[Any]:
    return jax.make_jaxpr(functools.partial(training.by_xla, batched))(*flat).out_avals


def _lower(platform: str | None, ctx: Any, *flat: Any, training: Training, size: int, batched: tuple[bool, ...]) -> Any:
    train = functools.partial(training.by_xla, batched)
    if platform is not None and platform == choice.platform():  # otherwise it is not to run on what is here
        own, groups = training.grouped(batched), training.grouped(ctx.avals_in)
        kernel, inputs = training.kernel(own, groups)
        try:
            name = build.register(kernel, len(inputs.leaves()), len(kernel.lanes) + 1, platform)
        except build.NoCompiler as error:
            if training.insisted:
                raise ValueError(f"fused True: {error}") from error
            choice.note(False)
            warn(
                f"networks are trained without a kernel, at half the speed or less: {error}; "
                "pip install 'jaxstudies[fused]' brings a compiler",
                NoKernel,
            )
        else:
            choice.note()
            block = BLOCK if platform == "cpu" else size
            train = functools.partial(training.by_kernel, name, block, size, batched)
    return mlir.lower_fun(train, multiple_results=True)(ctx, *flat)


mlir.register_lowering(trained_p, functools.partial(_lower, None))
for _platform in choice.PLATFORMS.values():
    mlir.register_lowering(trained_p, functools.partial(_lower, _platform), platform=_platform)
