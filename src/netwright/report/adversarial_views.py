"""What a page about an adversarial fit shows, as plain tensors, graphs and numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch


@dataclass(frozen=True, eq=False)
class Spread:
    """Accuracies of generated architectures among those of a whole table, as fractions.

    Attributes:
        made: Of the generated graphs that the table knows; a graph counts each time it came up.
        table: Of all architectures of the table that have one.
        best_seen: Of the best training cell.
        held_out: Of the worst and of the best of the cells held out as the best; None where none
            are, or where accuracies are others than those they were chosen by.
    """

    made: Float[Tensor, " made"]
    table: Float[Tensor, " row"]
    best_seen: float
    held_out: tuple[float, float] | None = None


@dataclass(frozen=True)
class Measured:
    """What one generator's graphs were measured to be.

    Attributes:
        name: Whose graphs.
        colour: Of all that is drawn of them.
        values: By the names of the measures, in percent but for numbers.
    """

    name: str
    colour: str
    values: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Cell:
    """A generated architecture.

    Attributes:
        arch: A single one.
        text: To copy.
        accuracy: A fraction.
        rank: How many of the table are at least as good, itself included.
        times: How often it came up.
        held_out: Whether it is one of those held out as the best.
        parameters: Number of weights; NaN if unknown.
    """

    arch: ArchitectureBatch
    text: str
    accuracy: float
    rank: int
    times: int
    held_out: bool
    parameters: float


@dataclass(frozen=True, eq=False)
class Judged:
    """What the valuer says of cells held out at random.

    Attributes:
        predicted: The probability of being strong, or the accuracy.
        actual: The accuracy.
        classifies: Whether it is a probability.
        tau: Kendall's rank correlation of the two.
        tau_made: The same on the different generated cells that the table knows.
        strong: The accuracy from which on the valuer learned to call a cell strong; None if it
            predicts accuracies, or learned from others.
    """

    predicted: Float[Tensor, " cell"]
    actual: Float[Tensor, " known"]
    classifies: bool
    tau: float
    tau_made: float
    strong: float | None = None

    def __post_init__(self) -> None:
        if len(self.predicted) != len(self.actual):
            raise ValueError(f"{len(self.predicted)} predictions of {len(self.actual)} cells")


@dataclass(frozen=True, eq=False)
class AdversarialPage:
    r"""All that a page about an adversarial fit shows.

    Attributes:
        method: The generator, as people call it.
        data: What it was trained on, and what was held out, in words.
        metric: The accuracy that generated architectures are measured by.
        parameters: Number of trained parameters of the generator.
        graphs: Graphs of the data seen in training, repeats counted.
        total: How many the fit has in all.
        epochs: Passes over the data.
        seconds: That training took.
        history: Records: ``graphs`` (seen until then), ``generator``, ``discriminator``, ``valuer``
            (losses) and ``told_apart``.
        levels: Where those are for critics that can tell nothing.
        balance: $\lambda$ once the valuer is heeded.
        heeded: Graphs seen when it first is; None if from the beginning, or never.
        generated: Number of graphs generated for this page.
        spread: Their accuracies.
        measures: Of this fit, then of what it is compared with.
        published: Where measures that were published are from, if there are any.
        cells: The best novel ones, best first.
        judged: What the valuer says; None if there is nothing it has not seen.
    """

    method: str
    data: str
    metric: str
    parameters: int
    graphs: int
    total: int
    epochs: float
    seconds: float
    history: Sequence[Mapping[str, Any]]
    levels: Mapping[str, float]
    balance: float
    heeded: float | None
    generated: int
    spread: Spread
    measures: Sequence[Measured]
    published: str = ""
    cells: Sequence[Cell] = ()
    judged: Judged | None = None
