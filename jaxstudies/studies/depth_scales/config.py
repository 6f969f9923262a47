"""The flags."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from jaxstudies.configs import MasterSeed
from jaxstudies.networks.names import DatasetName
from jaxstudies.studies.bounds import LARGEST, MOST_AT_ONCE, check_size, check_training, network_size


@dataclass(frozen=True)
class Config:
    """What is trained: tanh networks over weight variances, depths and rates of dropout."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 6
    """Networks per setting, which share their draws and images from setting to setting."""
    seed: MasterSeed = 0
    """Master seed; network i depends on it and on i alone."""
    dataset: DatasetName = "mnist"
    """MNIST, or scikit-learn's 1,797 digits, which need neither files nor network."""
    data_dir: str | None = None
    """Directory with MNIST's four .gz files, or of tensorflow-datasets (JAXSTUDIES_DATA_DIR)."""
    weight_variances: tuple[Annotated[float, Interval(gt=0, le=100)], ...] = (1.0, 1.2, 1.4, 1.76, 2.25, 3.0, 4.0)
    """Variances of a weight, times its layer's number of inputs; with the default biases 1.76 is critical."""
    depths: tuple[Annotated[int, Interval(ge=2, le=1000)], ...] = (10, 20, 40, 80)
    """Hidden layers; with dropout, those up to 40."""
    dropout_rates: tuple[Annotated[float, Interval(ge=0, le=0.99)], ...] = (0.0, 0.1)
    """Shares of hidden activations that are dropped in training."""
    bias_variance: Annotated[float, Interval(ge=0, le=100)] = 0.05
    """Variance of a bias."""
    relu_depth: Annotated[int, Interval(ge=0, le=1000)] = 30
    """Hidden layers of the ReLU networks beside them, from He's and Glorot's initialization; 0 leaves them out."""
    width: Annotated[int, Interval(ge=2, le=10_000)] = 50
    """Units per hidden layer."""
    num_images: Annotated[int, Interval(ge=1, le=MOST_AT_ONCE)] = 2000
    """Training images of each network, drawn afresh for each seed."""
    epochs: Annotated[int, Interval(ge=0, le=10_000)] = 10
    """Passes through the images."""
    batch_size: Annotated[int, Interval(ge=1, le=MOST_AT_ONCE)] = 64
    """Images per step."""
    learning_rate: Annotated[float, Interval(gt=0, le=LARGEST)] = 0.05
    """Learning rate of stochastic gradient descent."""

    def __post_init__(self):
        how = {"num_images": self.num_images, "batch_size": self.batch_size}
        images = min(self.num_images, 60_000)
        check_training(self.epochs, num_examples=images, batch_size=self.batch_size, epochs=self.epochs)
        depth, batch = max(*self.depths, self.relu_depth), min(images, self.batch_size)
        check_size(network_size(depth, self.width, batch), depths=depth, width=self.width, **how)
