"""A space cut down to some of its members, such as those whose scores are known."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Bool
from torch import Tensor

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.spaces.base import SearchSpace, distinct_members


@final
class Listed(SearchSpace):
    """The listed members of a space; they are drawn with equal chance.

    Args:
        space: The whole space.
        archs: Its members that count; isomorphic ones count once.

    Raises:
        ValueError: If there is none.
    """

    def __init__(self, space: SearchSpace, archs: ArchitectureBatch) -> None:
        archs = distinct_members(space, archs)
        if not len(archs):
            raise ValueError(f"a part of {space.name} needs at least one of its architectures")
        self.name, self.op_names, self.layout = space.name, space.op_names, space.layout
        self.size = len(archs)
        self._space, self._archs = space, archs.pad(space.layout.max_nodes)
        self._known = hashing.distinct(space.keys(archs))

    def rules(self, archs: ArchitectureBatch) -> Mapping[str, Bool[Tensor, " batch"]]:
        """Those of the space, and to be in the list."""
        found = hashing.find(self._known.to(archs.device), self.keys(archs)) >= 0
        return {**self._space.rules(archs), "is one of those listed": found}

    def simplify(self, archs: ArchitectureBatch) -> ArchitectureBatch:
        """Remove what does not change the network."""
        return self._space.simplify(archs)

    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Draw ``n`` of the list, with repeats."""
        return self._archs[torch.randint(self.size, (n,), generator=rng)]

    def neighbours(self, arch: ArchitectureBatch) -> ArchitectureBatch:
        """List the neighbours in the whole space that are in the list."""
        near = self._space.neighbours(arch)
        return near[self.is_valid(near)]

    def enumerate(self) -> ArchitectureBatch:
        """List all of them, in the order given."""
        return self._archs

    def to_text(self, archs: ArchitectureBatch) -> list[str]:
        """Write architectures in the space's native notation."""
        return self._space.to_text(archs)

    def from_text(self, texts: Sequence[str]) -> ArchitectureBatch:
        """Read what `to_text` writes.

        Raises:
            ValueError: If a text cannot be read.
        """
        return self._space.from_text(texts)
