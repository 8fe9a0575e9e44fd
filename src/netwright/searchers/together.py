"""Train what several searchers have to train as one stacked model.

The seeds of an experiment advance in lockstep. Small networks are bound by the number of
operations launched, not by arithmetic, so the networks of ten seeds train in little more time than
that of one.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class TrainsTogether(Protocol):
    """A searcher that puts its training off until it is asked, so that it can share it.

    Training alone and training together give the same, up to rounding.
    """

    @property
    def training_due(self) -> Hashable | None:
        """What searchers must have in common to train as one; None if there is nothing to train."""
        ...

    def train_with(self, others: Sequence[Any]) -> None:
        """Train this searcher, and ``others`` of its class with an equal ``training_due``."""
        ...


def train_together(searchers: Sequence[object]) -> None:
    """Do the training that is due, that of like searchers as one stacked model.

    Args:
        searchers: Of any kind; those that train nothing, or train at once, are left alone.
    """
    groups: dict[tuple[type, Hashable], list[TrainsTogether]] = {}
    for searcher in searchers:
        if isinstance(searcher, TrainsTogether) and searcher.training_due is not None:
            groups.setdefault((type(searcher), searcher.training_due), []).append(searcher)
    for first, *others in groups.values():
        first.train_with(others)
