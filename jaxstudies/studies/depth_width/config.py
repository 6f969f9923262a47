"""What is trained: the flags, and the networks that they stand for."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from annotated_types import Interval

from jaxstudies.configs import MasterSeed
from jaxstudies.studies.bounds import LARGEST, MOST_AT_ONCE, MOST_EPOCHS, check_size, check_training
from jaxstudies.studies.depth_width.shapes import Shape, choose_shapes

# Some networks are best at a hundredth of the middle and below; what a walk does not come to costs nothing.
SGD_RATES = (3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4)
ADAM_RATES = (3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True)
class Config:
    """What is trained. Flags that take lists run every combination."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 5
    """Data sets, with one network each per shape, recipe and learning rate."""
    seed: MasterSeed = 0
    """Master seed; data set and network i depend on it and on i alone."""
    shapes: tuple[str, ...] = ("paper",)
    """Sets of shapes or shapes: paper (one and two layers, and the notebook's of three), notebook,
    all (143), or hidden widths such as 64-64,128."""
    epochs: Annotated[int, Interval(ge=1, le=100_000)] = 10
    """Passes through the data."""
    recipes: tuple[Literal["sgd", "adam"], ...] = ("sgd", "adam")
    """sgd: Nesterov momentum, batch norm in two and three layers; adam: cosine decay, no norm."""
    sgd_rates: tuple[Annotated[float, Interval(gt=0, le=LARGEST)], ...] = SGD_RATES
    """Learning rates of SGD, from which each network has the best by a walk from the middle, times the width
    of the last hidden layer, on which the curvature of the squared error depends; --raw has the
    notebook's own, 1e-7 for one layer and else 1e-4."""
    adam_rates: tuple[Annotated[float, Interval(gt=0, le=LARGEST)], ...] = ADAM_RATES
    """The same of Adam, at the start of the decay."""
    search_epochs: Annotated[int, Interval(ge=1, le=MOST_EPOCHS)] | None = None
    """Passes through the data with which a rate is tried (a sixth of --epochs, but 3 to 10)."""
    batch_size: Annotated[int, Interval(ge=1, le=MOST_AT_ONCE)] = 1000
    """Points per step."""
    num_examples: Annotated[int, Interval(ge=100, le=10**7)] = 100_000
    """Points: 72 % to train, 8 % to choose the learning rate, 20 % to test."""
    noise_variance: Annotated[float, Interval(ge=0, le=1e12)] = 0.3
    """Variance of the noise on the targets (0.09: a standard deviation of 0.3)."""
    raw: bool = False
    """Do not standardize inputs and targets, as the source notebook."""
    features: Literal["none", "fourier"] = "none"
    """Map of the inputs before the first layer."""
    num_features: Annotated[int, Interval(ge=1, le=10**5)] = 128
    """Frequencies of the Fourier features."""
    fourier_scale: Annotated[float, Interval(gt=0, le=LARGEST)] = 6.0
    """Standard deviation of the frequencies, in radians per standard deviation of an input."""
    activation: Literal["relu", "sine"] = "relu"
    """Activation of the hidden layers."""
    modern_epochs: Annotated[int, Interval(ge=0, le=MOST_EPOCHS)] | None = None
    """Budget of 128-256-128 on Fourier features (--epochs); 0 leaves it out."""

    def __post_init__(self):
        """Check what depends on several fields."""
        shapes = choose_shapes(self.shapes)
        how = {"num_examples": self.num_examples, "batch_size": self.batch_size}
        check_training(self.epochs, epochs=self.epochs, **how)
        check_training(self.modern_budget, modern_epochs=self.modern_budget, **how)
        check_training(self.search_budget, search_epochs=self.search_budget, **how)
        # Weights are some billions at most; the outputs of all units on a batch may be more.
        features = 2 * self.num_features if self.modern_budget or self.features == "fourier" else 0
        numbers = (features + max(map(sum, shapes))) * min(how.values())
        check_size(numbers, shapes=" ".join(self.shapes), num_features=self.num_features, **how)
        if self.raw and self.sgd_rates != Config.sgd_rates:
            raise ValueError("sgd_rates: raw trains at the notebook's own rates; leave one out")

    @property
    def modern_budget(self) -> int:
        """Epochs of the network on Fourier features; 0 if there is none."""
        return self.epochs if self.modern_epochs is None else self.modern_epochs

    @property
    def search_budget(self) -> int:
        """Epochs with which a rate is tried."""
        return self.search_epochs or min(max(self.epochs // 6, 3), 10)


class Kind(NamedTuple):
    """What makes a program of its own: a network's layers, padding included, and its training."""

    widths: Shape
    recipe: str
    features: str
    activation: str
    epochs: int
    batch_size: int


def learning_rates(config: Config, recipe: str, shape: Shape) -> list[float]:
    """Return the learning rates to try, ascending."""
    if recipe == "adam":
        return sorted(config.adam_rates)
    if config.raw:
        return [1e-7 if len(shape) == 1 else 1e-4]
    return [rate / shape[-1] for rate in sorted(config.sgd_rates)]
