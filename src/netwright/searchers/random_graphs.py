"""Random graphs as search methods: ER, WS and BA with their parameters left open.

[GraphPNAS] section 4.1 compares its generator with two estimators that know nothing but a model of
random graphs. "topk" draws the model's parameters anew for every graph, and its answer is the best
architectures found. "best" looks for the best parameters instead, and its answer is the random
graph model they make.

Choices where the paper is silent:

* "best" draws a number of settings first, explores them in turn, as often as ``repeats`` says, and
  then only draws from the one whose mean score is highest, which goes on changing.
* k of a WS graph is even, so 2, 4 or 6. BA is ours, and so are its ranges.
* Operations are uniform and independent.
* A setting that yields too little that is new is given up; parameters drawn anew make up for it.
"""

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright.generators.random_graph import Model, RandomGraph, Sizes, even_numbers
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.searchers.base import Fresh, Proposals
from netwright.spaces.base import SearchSpace

Estimator = Literal["topk", "best"]

#: The ranges of p in [GraphPNAS] section 4.1.
P_RANGES: dict[str, tuple[float, float]] = {"er": (0.1, 0.5), "ws": (0.2, 0.8)}
#: What each model has to be told.
_PARAMETERS: dict[str, tuple[str, ...]] = {"er": ("p",), "ws": ("k", "p"), "ba": ("m",)}


class _Settings(NamedTuple):
    """Settings of a model's parameters, some of which it may not have."""

    p: Float[Tensor, " setting"]
    k: Int[Tensor, " setting"]
    m: Int[Tensor, " setting"]


class RandomGraphSearch:
    """Propose random graphs whose model's parameters are drawn, or found, within ranges.

    Args:
        space: Where to search.
        model: "er" (Erdős-Rényi), "ws" (Watts-Strogatz) or "ba" (Barabási-Albert).
        estimator: "topk" or "best".
        p: Range of the probability of an edge ("er") or of rewiring one ("ws"); if None, the
            paper's.
        k: Range of the neighbours on the ring ("ws").
        m: Range of the edges each new node comes with ("ba").
        settings: How many settings of the parameters "best" explores.
        repeats: How many evaluations of each, on average, before it settles for one.
        sizes: See `RandomGraph`.
        rng: Draws the settings.

    Raises:
        ValueError: If the space leaves no edges to decide, or an option is out of its range.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        model: Model = "er",
        estimator: Estimator = "topk",
        p: tuple[float, float] | None = None,
        k: tuple[int, int] = (2, 6),
        m: tuple[int, int] = (1, 5),
        settings: int = 10,
        repeats: int = 5,
        sizes: Sizes = "full",
        rng: torch.Generator,
    ) -> None:
        if not bool(space.layout.free.any()):
            raise ValueError(
                f"{space.name} has no free edges, so that random graphs would differ in their "
                "operations only: use random search"
            )
        if estimator not in ("topk", "best"):
            raise ValueError(f"unknown estimator {estimator!r}: use 'topk' or 'best'")
        if min(settings, repeats) < 1:
            raise ValueError(f"settings and repeats must be at least 1: {settings=}, {repeats=}")
        self.space, self.estimator, self.repeats = space, estimator, repeats
        self.graphs = RandomGraph(space.layout, model=model, sizes=sizes)
        self._p = P_RANGES.get(model, (0.0, 0.0)) if p is None else p
        self._k, self._m = even_numbers(k), range(m[0], m[1] + 1)
        if not 0 <= self._p[0] <= self._p[1] <= 1:
            raise ValueError(f"p must be a range within [0, 1], lowest first, not {self._p}")
        for name, lowest, values in (("k", 2, self._k), ("m", 1, self._m)):
            if not values or values[0] < lowest:
                given = {"k": k, "m": m}[name]
                even = " with an even number in it" if name == "k" else ""
                raise ValueError(f"{name} must be a range from {lowest} on{even}, not {given}")
        self._settings = self._anew(settings if estimator == "best" else 0, rng)
        self._turn = self._explored = 0
        self._dry = torch.zeros(len(self._settings.p), dtype=torch.bool)  # settings given up
        self._open: dict[tuple[int, int], int] = {}  # setting of each proposal not told; -1: none
        self._row = torch.zeros(0, dtype=torch.long)  # setting of each score
        self._score = torch.zeros(0, dtype=torch.float64)
        self._fresh = Fresh(space)
        self._stats: dict[str, float] = {}

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose up to ``n`` valid, new architectures; fewer only if the space is exhausted.

        Their origin is "generator" from the best setting on, before that "explorer", and "random"
        where random graphs find nothing new.
        """
        drawn, invalid, repeated = self._fresh.drawn, self._fresh.invalid, self._fresh.repeated
        parts = [Proposals(self._fresh.none(), ())]
        missing = n
        for setting, share, origin in self._plan(n):
            parts.append(self._draw(min(share, missing), setting, origin, rng))
            missing -= len(parts[-1])
        parts.append(self._draw(missing, None, "explorer", rng))
        parts.append(self._fresh.random(missing - len(parts[-1]), rng=rng))
        if drawn := self._fresh.drawn - drawn:
            valid = drawn - (self._fresh.invalid - invalid)
            self._stats = {"valid": valid / drawn}
            if valid:
                self._stats["repeated"] = (self._fresh.repeated - repeated) / valid
        return Proposals.cat(parts)

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Learn how good the settings are; a failed evaluation counts as the worst there is.

        Raises:
            ValueError: If an architecture is not a member of the space.
        """
        del rng
        archs, score = self._fresh.admit(archs, score)
        if not self._open:
            return
        rows = [self._open.pop(key, None) for key in hashing.to_pairs(self.space.keys(archs))]
        self._explored += sum(row is not None for row in rows)
        scored = [i for i, row in enumerate(rows) if row is not None and row >= 0]
        self._row = torch.cat([self._row, torch.tensor([rows[i] for i in scored]).long()])
        self._score = torch.cat([self._score, score[torch.tensor(scored).long()].double()])

    def best_model(self) -> RandomGraph:
        """Return the random graphs of the setting whose mean score is highest ("best" only).

        Raises:
            ValueError: If no setting has a score.
        """
        means = self._means()
        if not len(means) or not bool(means.isfinite().any()):
            raise ValueError("no setting has a score yet")
        best = int(means.argmax())
        p, k, m = (values[best].item() for values in self._settings)
        graphs = self.graphs
        sizes: Sizes = "uniform" if len(graphs.sizes) > 1 else "full"
        return RandomGraph(
            graphs.layout, model=graphs.model, p=float(p), k=int(k), m=int(m), sizes=sizes
        )

    def _plan(self, n: int) -> list[tuple[int, int, str]]:
        """List the settings to draw from, how many graphs each at most, and their origin."""
        count = len(self._settings.p)
        if not count:
            return []
        if self._explored >= count * self.repeats and len(self._row):
            means = self._means()
            order = means.argsort(descending=True, stable=True)
            order = order[(means[order] > -torch.inf) & ~self._dry[order]]
            return [(i, n, "generator") for i in order.tolist()]  # the second if the first is dry
        left = (~self._dry).nonzero()[:, 0]
        if not len(left):
            return []
        turns = left[(self._turn + torch.arange(n)) % len(left)]
        self._turn += n
        return [(i, c, "explorer") for i, c in enumerate(turns.bincount().tolist()) if c]

    def _draw(self, n: int, setting: int | None, origin: str, rng: torch.Generator) -> Proposals:
        """Draw new architectures from a setting, or with other parameters for each if None."""

        def draw(some: int) -> Proposals:
            if setting is None:
                drawn = self._anew(some, rng)
            else:
                drawn = _Settings(*(values[setting].expand(some) for values in self._settings))
            return Proposals.of(self.graphs.sample_each(*drawn, rng=rng), origin)

        found = self._fresh.fill(n, draw)
        if setting is not None and len(found) < n:
            self._dry[setting] = True
        if len(self._settings.p) and len(found):
            row = -1 if setting is None else setting
            self._open |= dict.fromkeys(hashing.to_pairs(self.space.keys(found.archs)), row)
        return found

    def _anew(self, n: int, rng: torch.Generator) -> _Settings:
        """Draw parameters uniformly from their ranges."""
        low, high = self._p
        return _Settings(
            low + (high - low) * torch.rand(n, generator=rng),
            torch.tensor(self._k)[torch.randint(len(self._k), (n,), generator=rng)],
            torch.tensor(self._m)[torch.randint(len(self._m), (n,), generator=rng)],
        )

    def _means(self) -> Float[Tensor, " setting"]:
        """Return the mean score of each setting; minus infinity if it has none."""
        ok = self._score.isfinite()
        worst = self._score[ok].min() if bool(ok.any()) else self._score.new_zeros(())
        score = torch.where(ok, self._score, worst)
        count = self._row.bincount(minlength=len(self._settings.p))
        total = torch.zeros(len(count), dtype=score.dtype).index_add(0, self._row, score)
        return (total / count.clamp(min=1)).masked_fill(count == 0, -torch.inf)

    def state_dict(self) -> dict[str, Any]:
        """Return the settings, their scores, the proposals not told yet, and what was seen."""
        return {
            "settings": self._settings._asdict(),
            "dry": self._dry.clone(),
            "turn": self._turn,
            "explored": self._explored,
            "open": {
                "keys": torch.tensor(list(self._open), dtype=torch.long).view(-1, 2),
                "setting": torch.tensor(list(self._open.values()), dtype=torch.long),
            },
            "row": self._row,
            "score": self._score,
            "fresh": self._fresh.state_dict(),
            "stats": dict(self._stats),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._settings = _Settings(**state["settings"])
        self._dry = state["dry"].clone()
        self._turn, self._explored = state["turn"], state["explored"]
        keys, rows = state["open"]["keys"].tolist(), state["open"]["setting"].tolist()
        self._open = {(hi, lo): row for (hi, lo), row in zip(keys, rows, strict=True)}
        self._row, self._score = state["row"], state["score"]
        self._fresh.load_state_dict(state["fresh"])
        self._stats = dict(state["stats"])

    def stats(self) -> dict[str, float]:
        """Return what is worth plotting; what is not known yet is left out.

        "valid" and "repeated": shares of the draws in the last `ask`, as of random search; "best
        mean": that of the best setting's scores; "best p", "best k", "best m": its parameters.
        """
        stats = dict(self._stats)
        if len(self._row):
            means = self._means()
            best = int(means.argmax())
            stats["best mean"] = float(means[best])
            for name in _PARAMETERS[self.graphs.model]:
                stats[f"best {name}"] = float(getattr(self._settings, name)[best])
        return stats
