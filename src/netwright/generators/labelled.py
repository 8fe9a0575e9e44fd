"""Graphs with scores to learn from, and the guard that none of them is held out."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch


@dataclass(frozen=True, eq=False)
class Labelled:
    """All that a generator learns the worth of architectures from.

    Attributes:
        archs: The training graphs.
        scores: One for each, larger is better.

    Raises:
        ValueError: If there are not as many scores as graphs, or one is not finite.
    """

    archs: ArchitectureBatch
    scores: Float[Tensor, " label"]

    def __post_init__(self) -> None:
        if len(self.scores) != len(self.archs):
            raise ValueError(
                f"{len(self.scores)} scores for {len(self.archs)} graphs: give one for each"
            )
        if bad := int((~self.scores.isfinite()).sum()):
            raise ValueError(
                f"{bad} of {len(self.scores)} scores are NaN or infinite: leave those graphs out"
            )

    def __len__(self) -> int:
        return len(self.archs)


def insist_apart(labelled: Int[Tensor, "label 2"], held_out: Int[Tensor, "held_out 2"]) -> None:
    """Insist that no label is that of a held-out architecture.

    Args:
        labelled: Keys (`netwright.graphs.hashing.keys`) of what is to be learned from. They are
            equal for isomorphic graphs, so however a held-out one is stored, it is recognised.
        held_out: Keys of what must not be, in any order.

    Raises:
        ValueError: If there is one, with the number of them.
    """
    known = hashing.distinct(held_out).to(labelled.device)
    if leaked := int((hashing.find(known, labelled) >= 0).sum()):
        raise ValueError(
            f"{leaked} of {len(labelled)} labels are of held-out architectures: learn from the "
            "training rows of the split only"
        )
