"""The flags."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from annotated_types import Interval

from jaxstudies.configs import MasterSeed
from jaxstudies.studies.bounds import LARGEST, MOST_EPOCHS, check_steps

RuleName = Literal["perceptron", "hinge", "averaged_perceptron", "svm", "bayes_point"]
RULES: tuple[RuleName, ...] = get_args(RuleName)
CURVE_SIZES = (5, 10, 20, 50, 100, 200)


@dataclass(frozen=True)
class Config:
    """What is simulated. Flags that take lists run every combination."""

    seeds: Annotated[int, Interval(ge=1, le=10**9)] = 20_000
    """Pairs of independent training sets per setting."""
    seed: MasterSeed = 0
    """Master seed; the i-th pair depends on it and on i alone."""
    num_train: tuple[Annotated[int, Interval(ge=1, le=10_000)], ...] = (20,)
    """Training points; the first size is the one judged. With a single size, a learning curve over
    5 to 200 points is run beside it, on up to 1,000 sets."""
    rules: tuple[RuleName, ...] = RULES
    """Learning rules, paired on the same training and test points."""
    learning_rates: tuple[Annotated[float, Interval(gt=0, le=LARGEST)], ...] = (0.1,)
    """Learning rates of perceptron, averaged perceptron and hinge; the first is the one judged."""
    epochs: tuple[Annotated[int, Interval(ge=1, le=MOST_EPOCHS)], ...] = (50, 200)
    """Budgets of training: passes through the points."""
    convergence_epochs: Annotated[int, Interval(ge=0, le=MOST_EPOCHS)] = 500
    """A longer budget beside them; 0 leaves it out. Few hinge runs have converged even then (see
    `converged` in summary.csv); sets on which both rules have are judged apart."""
    margins: tuple[Annotated[float, Interval(gt=0, le=LARGEST)], ...] = (1.0,)
    """The hinge's a in the loss max(0, a - y W.x); the first is the one judged."""
    num_test: Annotated[int, Interval(ge=1, le=100_000)] = 1000
    """Test points per pair of training sets."""
    map: bool = True
    """Run hinge and perceptron over learning rates and epochs as well, on up to 2,000 sets, and at the largest of
    both, where they are trained out, on all sets."""

    def __post_init__(self):
        size, budget = max(self.num_train), max(self.budgets)
        check_steps(size * budget, num_train=size, epochs=max(self.epochs), convergence_epochs=self.convergence_epochs)

    @property
    def budgets(self) -> tuple[int, ...]:
        """All budgets, ascending."""
        return tuple(sorted({*self.epochs, self.convergence_epochs} - {0}))

    @property
    def curve_sizes(self) -> tuple[int, ...]:
        """The sizes of the learning curve that are run beside the one asked for."""
        alone = len(self.num_train) == 1
        return tuple(n for n in CURVE_SIZES if n not in self.num_train) if alone else ()
