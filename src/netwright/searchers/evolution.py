"""Regularised evolution [Real2019]: mutate the best of a few, and let the oldest die.

Deviation: in the released code for NAS-Bench-101 [White2020] graphs keep nodes that lie on no
path; here they are drawn anew for each mutation (`netwright.searchers.mutation`). The defaults are
that code's; [Real2019] has a population of 100, all of it random at first, and tournaments of 25.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.searchers.base import Fresh, Proposals
from netwright.searchers.mutation import mutate
from netwright.spaces.base import SearchSpace


class Evolution:
    """Propose mutations of tournament winners among the youngest architectures.

    The first ``initial`` are random (origin "random"). From then on the best of ``tournament``
    draws, with replacement, from the ``population`` architectures told last is mutated (origin
    "mutation"), which is tried again where the result is invalid or known. Several asked for at
    once are children of as many tournaments in the same population. A failed evaluation counts
    as minus infinity.

    Args:
        space: Where to search.
        population: How many of the youngest may have children.
        tournament: How many of them compete; with 1, there is no selection.
        initial: How many random architectures to begin with.
        rate: How many edges, and how many operations, a mutation changes on average.

    Raises:
        ValueError: If a number is not positive.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        population: int = 30,
        tournament: int = 10,
        initial: int = 10,
        rate: float = 1.0,
    ) -> None:
        settings = {"population": population, "tournament": tournament, "initial": initial}
        for name, value in settings.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if not 0 < rate < math.inf:
            raise ValueError(f"rate must be above 0, not {rate}")
        self.space, self.population, self.tournament = space, population, tournament
        self.initial, self.rate = initial, rate
        self._fresh = Fresh(space)
        self._living = self._fresh.none()  # oldest first
        self._score = torch.zeros(0)
        self._told = self._fallback = 0

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose ``n`` valid, new architectures; fewer only if the space is exhausted."""
        missing = max(self.initial - self._told, 0)
        first = self._fresh.random(min(n, missing) if len(self._living) else n, rng=rng)
        owed = n - len(first) if len(self._living) else 0
        children = self._fresh.fill(owed, lambda m: self._children(m, rng))
        last = self._fresh.random(owed - len(children), rng=rng)
        self._fallback += len(last)
        return Proposals.cat([first, children, last])

    def _children(self, n: int, rng: torch.Generator) -> Proposals:
        rivals = torch.randint(len(self._living), (n, self.tournament), generator=rng)
        best = self._score[rivals].argmax(dim=1, keepdim=True)
        parents = self._living[rivals.gather(1, best)[:, 0]]
        archs = mutate(parents, self.space.layout, rng=rng, rate=self.rate)
        return Proposals.of(archs, "mutation")

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Let architectures join the population, in this order, and the oldest leave it.

        Raises:
            ValueError: If an architecture is not a member of the space.
        """
        del rng
        archs, score = self._fresh.admit(archs, score)
        self._told += len(score)
        score = score.float().nan_to_num(nan=-math.inf)
        self._living = ArchitectureBatch.cat([self._living, archs])[-self.population :]
        self._score = torch.cat([self._score, score])[-self.population :]

    def state_dict(self) -> dict[str, Any]:
        """Return the population, what was seen, and counters."""
        living = self._living
        return {
            "fresh": self._fresh.state_dict(),
            "living": {"ops": living.ops, "adj": living.adj, "num_nodes": living.num_nodes},
            "score": self._score,
            "told": self._told,
            "fallback": self._fallback,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._fresh.load_state_dict(state["fresh"])
        self._living, self._score = ArchitectureBatch(**state["living"]), state["score"]
        self._told, self._fallback = state["told"], state["fallback"]

    def stats(self) -> dict[str, float]:
        """Return what is worth plotting; what is not known yet is left out.

        "fallback": random proposals so far that mutations owed; "population mean" and "population
        max" of the scores that are known.
        """
        stats, known = {"fallback": float(self._fallback)}, self._score[self._score.isfinite()]
        if len(known):
            summary = {"mean": float(known.mean()), "max": float(known.max())}
            stats |= {f"population {name}": value for name, value in summary.items()}
        return stats
