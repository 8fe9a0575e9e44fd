"""Predictor search: learn from random architectures, then evaluate those of the best predictions.

[Wen2019] with a graph network, "GCN Pred" of [GraphPNAS] Table 4; any other predictor will do.
Deviation: the paper evaluates the best predictions all at once; here they come in that order, and
with ``update_every`` the predictor learns from them as well.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.searchers.base import LISTABLE, Fresh, Proposals
from netwright.spaces.base import Enumerable, SearchSpace, distinct_members
from netwright.surrogates.predictors import Predictor


@runtime_checkable
class MakePredictor(Protocol):
    """Makes a new predictor for a layout, for example ``GraphNetworkPredictor`` itself."""

    def __call__(self, layout: Layout) -> Predictor:
        """Return a predictor that has learnt nothing."""
        ...


class PredictorSearch:
    """Propose random architectures, and from then on those for which a predictor predicts most.

    The first ``initial`` are random (origin "random"). The predictor learns their scores when it
    is needed, and ranks the whole space, if it is small enough to be listed, or ``pool``
    architectures drawn from it. They are proposed from the best down (origin "prediction");
    random ones again where all are known. Failed evaluations are not learnt.

    Args:
        space: Where to search.
        make_predictor: Makes the predictor.
        initial: How many random architectures to learn from.
        pool: How many architectures to rank, where the space cannot be listed.
        update_every: Learn all scores anew, and rank another pool, after so many evaluations
            told; if None, the predictor learns once.

    Raises:
        ValueError: If a number is not positive.
    """

    def __init__(
        self,
        space: SearchSpace,
        make_predictor: MakePredictor,
        *,
        initial: int = 100,
        pool: int = 10_000,
        update_every: int | None = None,
    ) -> None:
        for name, value in (("initial", initial), ("pool", pool), ("update_every", update_every)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self.space, self.make_predictor = space, make_predictor
        self.initial, self.pool, self.update_every = initial, pool, update_every
        self._fresh = Fresh(space)
        self._archs = self._fresh.none()  # all that were told, and
        self._score = torch.zeros(0)  # their scores
        self._learns = 0  # the first so many are what the predictor learns,
        self._seed = 0  # with this seed
        self._ranked: ArchitectureBatch | None = None  # by prediction; made when needed, no state
        self._next = 0  # those before this place are known
        self._fallback = 0

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose ``n`` valid, new architectures; fewer only if the space is exhausted."""
        owed = n if self._learns else 0
        best = self._best(owed)
        rest = self._fresh.random(n - len(best), rng=rng)
        self._fallback += owed - len(best)
        return Proposals.cat([best, rest])

    def _best(self, n: int) -> Proposals:
        """Return those of the best predictions that are new."""
        found = self._fresh.none()
        if n and self._ranked is None:
            self._ranked, self._next = self._ranking(), 0
        while len(found) < n and self._ranked is not None and self._next < len(self._ranked):
            some = self._ranked[self._next : self._next + n - len(found)]
            self._next += len(some)
            some = some[self._fresh.unseen(some)]
            self._fresh.add(some)
            found = ArchitectureBatch.cat([found, some])
        return Proposals.of(found, "prediction")

    def _ranking(self) -> ArchitectureBatch:
        """Fit the predictor; return the architectures it was asked about, the best first."""
        rng = torch.Generator().manual_seed(self._seed)
        predictor = self.make_predictor(self.space.layout)
        predictor.fit(self._archs[: self._learns], self._score[: self._learns], rng=rng)
        if isinstance(self.space, Enumerable) and self.space.size <= LISTABLE:
            archs = self.space.enumerate()
        else:
            archs = distinct_members(self.space, self.space.sample(self.pool, rng=rng))
        return archs[predictor.predict(archs).argsort(descending=True, stable=True)]

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Take down scores, for the predictor to learn when that is due.

        Raises:
            ValueError: If an architecture is not a member of the space.
        """
        archs, score = self._fresh.admit(archs, score)
        before = len(self._score)
        self._archs = ArchitectureBatch.cat([self._archs, archs])
        self._score = torch.cat([self._score, score.float()])
        told, every = len(self._score), self.update_every
        if every is not None and self._learns:
            due = (told - self.initial) // every > (before - self.initial) // every
        else:
            due = told >= self.initial and not self._learns
        if due and bool(self._score.isfinite().any()):
            self._learns, self._ranked = told, None
            self._seed = int(torch.randint(2**53, (), generator=rng))

    def state_dict(self) -> dict[str, Any]:
        """Return what was told and seen; the predictor is fitted again."""
        archs = self._archs
        return {
            "fresh": self._fresh.state_dict(),
            "archs": {"ops": archs.ops, "adj": archs.adj, "num_nodes": archs.num_nodes},
            "score": self._score,
            "learns": self._learns,
            "seed": self._seed,
            "fallback": self._fallback,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._fresh.load_state_dict(state["fresh"])
        self._archs, self._score = ArchitectureBatch(**state["archs"]), state["score"]
        self._learns, self._seed, self._ranked = state["learns"], state["seed"], None
        self._fallback = state["fallback"]

    def stats(self) -> dict[str, float]:
        """Return the scores that the predictor learns, and the random proposals it owed so far."""
        return {"learns": float(self._learns), "fallback": float(self._fallback)}
