"""Bayesian optimisation of the parameters of random graphs, as NAGO searches ([Ru2020]).

[GraphPNAS] appendix B compares its generators with this: a network's cells are Watts-Strogatz
graphs, and what is searched for are their parameters, not graphs. Every evaluation is that of one
graph drawn with the parameters that are to be tried, so scores are noisy, which a Gaussian process
knows how to read.

Deviations from [Ru2020]:

* The parameters are those of the cells alone, k and p of each; the number of nodes is the space's.
* BOHB and multi-objective optimisation there; here expected improvement over the best posterior
  mean so far, of a batch of points one after another.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.generators.blocks import Partition
from netwright.generators.random_graph import RandomGraph, even_numbers
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.searchers.base import Fresh, Proposals
from netwright.spaces.base import SearchSpace

ParameterModel = Literal["er", "ws"]


@dataclass(frozen=True)
class ParameterOptions:
    """How `ParameterSearch` searches.

    Attributes:
        initial: Evaluations with parameters drawn uniformly, before there is a model.
        candidates: Points of the box among which the acquisition chooses.
        p: Range of the probability of an edge ("er") or of rewiring one ("ws").
        k: Range of the neighbours on the ring ("ws").
    """

    initial: int = 20
    candidates: int = 2000
    p: tuple[float, float] = (0.2, 0.8)
    k: tuple[int, int] = (2, 6)

    def __post_init__(self) -> None:
        if self.initial < 2 or self.candidates < 1:
            raise ValueError("initial must be at least 2, and candidates at least 1")
        if not 0 <= self.p[0] <= self.p[1] <= 1:
            raise ValueError(f"p must be a range within [0, 1], lowest first, not {self.p}")
        if self.k[0] < 2 or not even_numbers(self.k):
            raise ValueError(f"k must be a range from 2 on with an even number, not {self.k}")


class _Point(NamedTuple):
    """Parameters of the random graphs of each cell, one row for each graph."""

    p: Float[Tensor, "graph cell"]
    k: Float[Tensor, "graph cell"]


class ParameterSearch:
    """Look for the parameters of random graphs whose draws score best.

    Proposals are of origin "random" before there is a model, "generator" after that.

    Args:
        space: Where to search, of graphs of full size; its parts without edges between them
            (`Layout.blocks`) have parameters of their own.
        model: "ws" (Watts-Strogatz: k, p) or "er" (Erdős-Rényi: p).
        options: How.

    Raises:
        ValueError: If graphs of the space end early, or it has no free edges.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        model: ParameterModel = "ws",
        options: ParameterOptions | None = None,
    ) -> None:
        if not bool(space.layout.free.any()):
            raise ValueError(f"{space.name} has no free edges, so that graphs do not differ")
        self.space, self.model = space, model
        self.options = ParameterOptions() if options is None else options
        self._partition = Partition(space.layout)
        self._graphs = [RandomGraph(layout, model=model) for layout in self._partition.layouts]
        self._fresh = Fresh(space)
        self._open: dict[tuple[int, int], Tensor] = {}  # parameters of each proposal not told
        size = self._size
        self._x = torch.zeros(0, size, dtype=torch.float64)
        self._score = torch.zeros(0, dtype=torch.float64)

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose up to ``n`` valid, new architectures; fewer only if the space is exhausted.

        Raises:
            ImportError: If BoTorch is missing.
        """
        if not n:
            return Proposals(self._fresh.none(), ())
        known = self._score.isfinite().sum()
        if known < self.options.initial:
            x = torch.rand(n, self._size, generator=rng, dtype=torch.float64)
            origin = "random"
        else:
            x, origin = self._chosen(n, rng), "generator"
        parts = [Proposals(self._fresh.none(), ())]
        for row in x:

            def drawn(m: int, row: Tensor = row) -> Proposals:
                return Proposals.of(self.draw(row.expand(m, -1), rng=rng), origin)

            found = self._fresh.fill(1, drawn)
            for key in hashing.to_pairs(self.space.keys(found.archs)):
                self._open[key] = row
            parts.append(found)
        missing = n - sum(map(len, parts))
        return Proposals.cat([*parts, self._fresh.random(missing, rng=rng)])

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Learn how good the parameters are that architectures were drawn with.

        Raises:
            ValueError: If an architecture is not a member of the space.
        """
        del rng
        archs, score = self._fresh.admit(archs, score)
        for key, value in zip(hashing.to_pairs(self.space.keys(archs)), score, strict=True):
            row = self._open.pop(key, None)
            if row is not None:
                self._x = torch.cat([self._x, row[None]])
                self._score = torch.cat([self._score, value[None].double()])

    def draw(
        self, x: Float[Tensor, "graph parameter"], *, rng: torch.Generator
    ) -> ArchitectureBatch:
        """Draw a graph with each row of parameters, as coordinates in [0, 1]."""
        point = self._parameters(x)
        none = torch.ones(len(x), dtype=torch.long)
        drawn = [
            graphs.sample_each(point.p[:, i].float(), point.k[:, i].long(), none, rng=rng)
            for i, graphs in enumerate(self._graphs)
        ]
        return self._partition.join(drawn)

    def best(self, *, rng: torch.Generator) -> Float[Tensor, " parameter"]:
        """Return the parameters tried whose posterior mean is highest, in [0, 1].

        Raises:
            ValueError: If fewer than two scores are known.
        ImportError: If BoTorch is missing.
        """
        from netwright.surrogates.gp import fit_gp  # an extra

        known = self._score.isfinite()
        gp = fit_gp(self._x[known], self._score[known], rng=rng)
        with torch.no_grad():
            return self._x[known][gp.mean(gp.features(self._x[known])).argmax()]

    @property
    def _size(self) -> int:
        return len(self._partition.layouts) * (2 if self.model == "ws" else 1)

    def _parameters(self, x: Float[Tensor, "graph parameter"]) -> _Point:
        """Return what coordinates in [0, 1] stand for; k is even."""
        cells = len(self._partition.layouts)
        low, high = self.options.p
        p = low + (high - low) * x[:, :cells]
        even = even_numbers(self.options.k)
        if self.model == "er":
            return _Point(p, torch.ones_like(p))
        step = (x[:, cells:] * len(even)).long().clamp(max=len(even) - 1)
        return _Point(p, torch.tensor(even).double()[step])

    def _chosen(self, n: int, rng: torch.Generator) -> Float[Tensor, "graph parameter"]:
        """Choose parameters of large expected improvement."""
        from netwright.surrogates.acquisition import choose_batch
        from netwright.surrogates.gp import fit_gp

        known = self._score.isfinite()
        x, score = self._x[known], self._score[known]
        gp = fit_gp(x, score, rng=rng)
        with torch.no_grad():
            best = float(gp.mean(gp.features(x)).max())
        count = max(n, self.options.candidates)
        candidates = torch.rand(count, self._size, generator=rng, dtype=torch.float64)
        pending = torch.stack([*self._open.values()]) if self._open else None
        return choose_batch(gp, candidates, n, best=best, pending=pending).points

    def state_dict(self) -> dict[str, Any]:
        """Return what was told, the proposals not told yet, and what was seen."""
        rows = torch.stack([self._x.new_zeros(self._size), *self._open.values()])[1:]
        return {
            "x": self._x,
            "score": self._score,
            "open": {"keys": torch.tensor(list(self._open)).long().view(-1, 2), "x": rows},
            "fresh": self._fresh.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._x, self._score = state["x"], state["score"]
        pairs = hashing.to_pairs(state["open"]["keys"])
        self._open = dict(zip(pairs, state["open"]["x"], strict=True))
        self._fresh.load_state_dict(state["fresh"])

    def stats(self) -> dict[str, float]:
        """Return the parameters of the best score: "best p of cell 1", "best k of cell 1", ..."""
        known = self._score.isfinite()
        if not bool(known.any()):
            return {}
        row = self._score.masked_fill(~known, -torch.inf).argmax()
        point = self._parameters(self._x[row][None])
        stats = {}
        for i in range(point.p.shape[1]):
            stats[f"best p of cell {i + 1}"] = float(point.p[0, i])
            if self.model == "ws":
                stats[f"best k of cell {i + 1}"] = float(point.k[0, i])
        return stats
