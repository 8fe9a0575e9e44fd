"""Random search: the baseline that every other searcher has to beat."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.generators.base import Generator
from netwright.graphs.batch import ArchitectureBatch
from netwright.searchers.base import Fresh, Proposals
from netwright.spaces.base import SearchSpace


class RandomSearch:
    """Propose random architectures, none of them twice, whatever the scores.

    Args:
        space: Where to search.
        generator: Draws the proposals (origin "generator"), for example random graphs; where it
            finds nothing new, the space takes over. If None, the space's reference distribution
            draws all (origin "random").
    """

    def __init__(self, space: SearchSpace, *, generator: Generator | None = None) -> None:
        self.space, self.generator = space, generator
        self._fresh = Fresh(space)
        self._stats: dict[str, float] = {}

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose up to ``n`` valid, new architectures; fewer only if the space is exhausted."""
        drawn, invalid, repeated = self._fresh.drawn, self._fresh.invalid, self._fresh.repeated
        found = Proposals(self._fresh.none(), ())
        if self.generator is not None:
            sample = self.generator.sample
            found = self._fresh.fill(n, lambda m: Proposals.of(sample(m, rng=rng), "generator"))
        rest = self._fresh.random(n - len(found), rng=rng)
        drawn = self._fresh.drawn - drawn
        if drawn:
            valid = drawn - (self._fresh.invalid - invalid)
            self._stats = {"valid": valid / drawn}
            if valid:
                self._stats["repeated"] = (self._fresh.repeated - repeated) / valid
        return Proposals.cat([found, rest])

    def repeat_proposals(self) -> None:
        """From now on propose whatever is valid, known or not."""
        self._fresh.repeats = True

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Note that ``archs`` need not be proposed again.

        Raises:
            ValueError: If an architecture is not a member of the space.
        """
        del rng
        self._fresh.admit(archs, score)

    def state_dict(self) -> dict[str, Any]:
        """Return what was seen; the generator, which never changes, is not part of it."""
        return {"fresh": self._fresh.state_dict(), "stats": dict(self._stats)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._fresh.load_state_dict(state["fresh"])
        self._stats = dict(state["stats"])

    def stats(self) -> dict[str, float]:
        """Return the share of valid draws in the last `ask`, and of repeats among those."""
        return dict(self._stats)
